"""Lists of arrays against `numpy.concatenate`; what is no such list is left to NumPy, and to its errors."""

import pickle

import numpy as np
import pytest

from fastrecur import sequences
from fastrecur.kernels.cpu import lists
from fastrecur.kernels.cpu.lists import stack_arrays

LENGTHS = 3, 1, 7, 200, 2, 1, 1, 5, 30, 4, 1, 2, 6, 9, 1, 1, 8, 3, 2, 1, 400


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Lists as short as those here are put together."""
    monkeypatch.setattr(lists, "MANY", 1)


def make(lengths=LENGTHS, shape=(3,), dtype="float32"):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(length, *shape)).astype(dtype) for length in lengths]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (1,), (12,)])
@pytest.mark.parametrize("n", [1, 2, 5, 20, 21])
def test_all_rows_in_their_order_and_how_many_each_array_has(n, shape, dtype):
    arrays = make(LENGTHS[-n:], shape, dtype)
    arrays[0].flags.writeable = False
    out, lengths = stack_arrays(arrays, np.dtype(dtype))
    np.testing.assert_array_equal(out, np.concatenate(arrays).reshape(-1, *shape or (1,)))
    assert (out.dtype, lengths.tolist()) == (dtype, list(LENGTHS[-n:]))


def unaligned():
    return np.frombuffer(bytes(25), np.uint8)[1:].view(np.float32).reshape(2, 3)


OTHERS = {
    "strided": np.zeros((4, 6), np.float32)[:, ::2],
    "Fortran-ordered": np.zeros((4, 3), np.float32, "F"),
    "unaligned": unaligned(),
    "without axes": np.zeros((), np.float32),
    "of one axis": np.zeros(4, np.float32),
    "of three axes": np.zeros((4, 3, 1), np.float32),
    "without rows": np.zeros((0, 3), np.float32),
    "without columns": np.zeros((4, 0), np.float32),
    "of other columns": np.zeros((4, 4), np.float32),
}


@pytest.mark.parametrize("place", [0, 2, -1])
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_one_array_that_does_not_fit_is_enough(other, place):
    arrays = make()
    arrays[place] = other
    assert stack_arrays(arrays, np.dtype("float32")) is None


def test_arrays_without_axes_or_of_three_are_left_alone():
    for array in (np.array(1.0), np.zeros((2, 3, 4))):
        assert stack_arrays([array] * 20, np.dtype("float64")) is None


def checked(X):
    """What `check_sequences` makes of X, or its error."""
    try:
        found = sequences.check_sequences(X)
    except (TypeError, ValueError) as error:
        return type(error), str(error)
    return found.values.dtype, found.values.tolist(), found.starts.tolist(), found.lengths.tolist(), found.scalar_steps


BAD = {
    "float64 among float32": np.zeros((4, 3)),
    "integers": np.zeros((4, 3), int),
    "the other byte order": np.ones((4, 3), np.dtype("float32").newbyteorder()),
    "NaN": np.full((4, 3), np.nan, np.float32),
    "a list": [[1.0, 2.0, 3.0]],
    "a masked array": np.ma.masked_equal(np.zeros((4, 3), np.float32), 1.0),
    "a number": np.float32(1.0),
}


@pytest.mark.parametrize("one", [*OTHERS.values(), *BAD.values()], ids=[*OTHERS, *BAD])
@pytest.mark.parametrize("container", [list, tuple])
def test_sequences_are_what_numpy_makes_of_them(container, one, monkeypatch):
    several = container(make()), container([*make(), one]), container(make(shape=()))
    found = [checked(X) for X in several]
    monkeypatch.setattr(lists, "MANY", 1000)
    assert found == [checked(X) for X in several]
    assert stack_arrays(several[0], np.dtype("float32")) is None
    monkeypatch.setattr(lists, "MANY", len(LENGTHS))
    assert stack_arrays(several[0], np.dtype("float32")) is not None


class Lazy(tuple):
    """Makes its arrays when they are asked for."""

    __slots__ = ()

    def __iter__(self):
        return (np.full((5, 3), number, np.float32) for number in tuple.__iter__(self))

    def __getitem__(self, k):
        return np.full((5, 3), tuple.__getitem__(self, k), np.float32)


def test_arrays_that_a_container_makes_as_they_are_asked_for_are_kept():
    found = sequences.check_sequences(Lazy(range(200)))
    np.testing.assert_array_equal(found.values[:, 0], np.repeat(np.arange(200.0), 5))


def test_dtypes_must_be_one_object():
    """Of an equal one that came out of a pickle nothing is known without asking Python."""
    arrays = make()
    assert stack_arrays(arrays, np.dtype("float64")) is None
    arrays[3] = pickle.loads(pickle.dumps(arrays[3]))
    assert stack_arrays(arrays, np.dtype("float32")) is None
    expected = np.concatenate(arrays)
    np.testing.assert_array_equal(sequences.check_sequences(arrays).values, expected)
    arrays[3] = arrays[3].view(np.int32)
    assert stack_arrays(arrays, np.dtype("float32")) is None


def test_shapes_are_read_while_no_other_thread_can_assign_to_them():
    assert not lists.read_heads.targetoptions["nogil"]
    assert lists.copy_rows.targetoptions["nogil"]


@pytest.mark.parametrize("column", range(6))
@pytest.mark.parametrize("place", [("_AXES", 0), None])
def test_memory_that_is_laid_out_in_another_way_is_not_read(place, column, monkeypatch):
    heads = lists._heads

    def others(arrays):
        found = heads(arrays)
        found[1, column] += 1
        return found

    assert lists._can_be_read()
    if place is not None:
        monkeypatch.setattr(lists, *place)
    monkeypatch.setattr(lists, "_heads", others)
    monkeypatch.setattr(lists, "_can_be_read", lists._can_be_read.__wrapped__)
    assert not lists._can_be_read()
    assert stack_arrays(make(), np.dtype("float32")) is None
