"""Values as JSON and back: equal to the bit and of the same type, or refused by name; nonsense is refused too."""

import collections
import enum
import json
import math
import random
import types

import numpy as np
import pytest

from fastrecur.persistence.encoding import MAX_DEPTH, decode, encode
from tests.helpers import assert_same_value, objects


def there_and_back(value):
    tensors = {}
    text = json.dumps(encode(value, "x", tensors), allow_nan=False)
    assert all(type(array) is np.ndarray and array.flags.c_contiguous for array in tensors.values())
    result = decode(json.loads(text), tensors)
    assert not tensors
    return result


class Colour(str, enum.Enum):  # noqa: UP042, whose str() is the text
    RED = "red"


NUMBERS = [np.bool_, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
FLOATS = [np.float16, np.float32, np.float64]


@pytest.mark.parametrize(
    "value",
    [
        None, True, False, 0, -1, 2**63, 10**40, 0.1, -0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf,
        math.nan, "", "ü", "\ud800", "a\0b", "'\"\\", [], (), {}, [[]], ((),), [1, (2.0, [None, "x"])],
        {"tensor": ["x", "<f8"]},
        {1: "a", "1": "b", (1, "x"): "c", None: "d", 2.5: "e", np.int64(7): "f", np.str_("s"): "g"},
        {"float": "inf"}, {0: {0: {0: np.zeros(2)}}},
    ],
    ids=repr,
)  # fmt: skip
def test_plain_values(value):
    assert_same_value(there_and_back(value), value)


@pytest.mark.parametrize("dtype", NUMBERS + FLOATS)
def test_scalars_and_arrays_of_numbers(dtype):
    info = np.iinfo(dtype) if dtype in NUMBERS[1:] else None
    extremes = [False, True] if info is None else [info.min, info.max]
    if dtype in FLOATS:
        extremes = [np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal, -0.0, np.nan, np.inf, -np.inf, 0.1]
    array = np.array(extremes, dtype=dtype)
    for value in (*array, array, array[:0], array.reshape(1, -1, 1), array[0:1].reshape(()), np.zeros((0, 3), dtype)):
        assert_same_value(there_and_back(value), value)
        assert_same_value(there_and_back([(value,)]), [(value,)])


@pytest.mark.parametrize("dtype", [">f8", ">i4", ">u2", ">f2", ">U3", ">M8[s]"])
def test_byte_orders_come_back(dtype):
    array = np.arange(6).astype(dtype)
    assert_same_value(there_and_back(array), array)


def test_layouts_become_one():
    array = np.arange(24.0).reshape(2, 3, 4)
    for other in (array.T, array[:, ::-1], array[:, :, 1], np.asfortranarray(array), np.broadcast_to(1.0, (2, 3))):
        result = there_and_back(other)
        assert_same_value(result, np.array(other))
        assert result.flags.writeable
        assert result.flags.owndata


def test_the_result_shares_nothing_with_the_tensors():
    tensors = {"x": np.zeros(2)}
    decode({"tensor": ["x", "<f8"]}, kept := dict(tensors))[:] = 1
    assert not kept
    assert not tensors["x"].any()


@pytest.mark.parametrize(
    "array",
    [
        np.array(["low", "middle", "high"]), np.array([""], dtype="U0"), np.array([], dtype="U5"), np.array("scalar"),
        np.array([["a", "ü"], ["\ud800", "x" * 50]]), np.array(["a"], dtype="U1000"),
        np.array(["2020-01-01", "NaT"], dtype="M8[D]"), np.array(["NaT", 5], dtype="m8[25s]"), np.array(["NaT"], "M8"),
        objects("a", 1, None, 2.5, np.nan, True, np.int64(3), np.str_("b")), objects(), objects("a").reshape(()),
        objects([1, 2], (3,), {"a": np.zeros(2)}, np.arange(3)), objects("a", "b", "c", "d").reshape(2, 2),
    ],
    ids=lambda array: f"{array.dtype}-{array.shape}",
)  # fmt: skip
def test_arrays_of_other_kinds(array):
    assert_same_value(there_and_back(array), array)
    if array.size and array.dtype.kind in "UMm":
        assert_same_value(there_and_back(array.flat[0]), array.flat[0])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.defaultdict(float, {0: 1.5}), {0: 1.5}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (Colour.RED, "red"),
        (enum.IntEnum("Number", {"ONE": 1}).ONE, 1),
        (collections.namedtuple("Pair", "a b")(1, 2), (1, 2)),
    ],
    ids=["OrderedDict", "defaultdict", "MappingProxyType", "enum", "IntEnum", "namedtuple"],
)
def test_subclasses_become_their_base(value, expected):
    assert_same_value(there_and_back(value), expected)


def test_memory_maps(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(3.0))
    assert_same_value(there_and_back(np.load(tmp_path / "x.npy", mmap_mode="r")), np.arange(3.0))


@pytest.mark.parametrize("n_drawn", [0, 1, 700])
def test_random_states(n_drawn):
    random_state = np.random.RandomState(3)
    random_state.normal(size=n_drawn)  # an odd number leaves a second one in store
    result = there_and_back({"random_state": random_state})["random_state"]
    np.testing.assert_array_equal(result.normal(size=9), random_state.normal(size=9))


# --- what cannot be written ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        {1, 2}, b"bytes", 1j, print, object(), range(3), np.complex64(1), np.longdouble(1), np.zeros(2, np.longdouble),
        np.zeros(2, complex), np.array([b"a"]), np.zeros(2, "f4,i4"), np.ma.masked_array([1.0]), np.void(b"ab"),
        np.array(["a"], dtype=np.dtypes.StringDType()), objects(object()), np.random.RandomState(np.random.PCG64(0)),
        np.random.default_rng(0),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_other_values_are_refused_by_name(value):
    with pytest.raises(TypeError, match=r"^here\.1(\.0)? is (a|of dtype) "):
        encode([0, value], "here", {})


def test_depth_is_bounded():
    value = []
    value.append(value)
    with pytest.raises(ValueError, match=r"^x\.0.* nests more than 32 containers"):
        encode(value, "x", {})


def test_arrays_far_wider_than_their_strings_are_refused():
    with pytest.raises(ValueError, match=r"^x is an array of str of dtype <U20000000, far wider.*astype\(str\)"):
        encode(np.array(["a"], dtype="U20000000"), "x", {})


# --- what cannot be read ---------------------------------------------------------------------------------------------


def nested(depth):
    value = None
    for _ in range(depth):
        value = [value]
    return value


STATE = json.loads(json.dumps(encode(np.random.RandomState(0), "x", {})))["random_state"]["tuple"]


@pytest.mark.parametrize(
    "value",
    [
        {}, {"other": 1}, {"tuple": [], "dict": []}, {"float": "1"}, {"float": 1}, {"float": []}, {"float": None},
        {"tuple": None}, {"tuple": {"tuple": []}}, {"dict": [1]}, {"dict": [[1]]}, {"dict": [[1, 2, 3]]},
        {"dict": [[[], 1]]}, {"dict": {"a": 1}}, {"tensor": "x"}, {"tensor": ["y", "<f8"]}, {"tensor": ["x", "<f4"]},
        {"tensor": ["x", "<i8"]}, {"tensor": ["x", "|O"]}, {"tensor": ["x", 3]}, {"tensor": [["x"], "<f8"]},
        {"tensor": ["x"]}, {"array": ["<U1", [1], ["ab"]]}, {"array": ["<U1", [2], ["a"]]},
        {"array": ["<U1", 1, ["a"]]},
        {"array": ["<U1", [-1], ["a"]]}, {"array": ["<U1", [True], ["a"]]}, {"array": ["<U1", [1.0], ["a"]]},
        {"array": ["<U1", [1], "a"]}, {"array": ["<U1", [1], [1]]}, {"array": ["<U1", [1], [None]]},
        {"array": ["<U999999999", [1], ["a"]]}, {"array": ["<U99999999", [3], ["a", "b", "c"]]},
        {"array": ["<U1", [2**70, 0], []]}, {"array": ["<U1", [2**62, 0], []]}, {"array": ["<U1", [1] * 100, ["a"]]},
        {"array": ["V8", [1], ["a"]]}, {"array": ["f4,f4", [1], [1.0]]}, {"array": ["object", [1], [1]]},
        {"array": ["|b8", [1], [True]]}, {"array": ["<M8[99999999999999999999s]", [1], [1]]},
        {"array": ["<M8[s]", [1], [2**64]]}, {"array": ["<M8[s]", [1], [1.5]]}, {"array": [None, [1], [1]]},
        {"scalar": ["|i1", 300]}, {"scalar": ["|u1", -1]}, {"scalar": ["<f4", 1e300]}, {"scalar": ["<f8", 1]},
        {"scalar": ["<f8", "1"]}, {"scalar": ["|b1", 1]}, {"scalar": ["<i8", True]}, {"scalar": ["|O", 1]},
        {"scalar": ["<i8", {"tuple": []}]}, {"scalar": ["<i8"]}, {"scalar": None}, {"random_state": 0},
        {"random_state": {"tuple": STATE[:4]}}, {"random_state": {"tuple": ["PCG64", *STATE[1:]]}},
        {"random_state": {"tuple": [*STATE[:2], 625, *STATE[3:]]}}, {"random_state": {"tuple": STATE}},
        {"random_state": {"tuple": [{"tensor": ["x", "<f8"]}] * 5}}, nested(MAX_DEPTH + 2),
    ],
    ids=str,
)  # fmt: skip
def test_nonsense_is_refused(value):
    with pytest.raises(ValueError, match=r"."):
        decode(value, {"x": np.zeros(3), "x.1": np.zeros(624)})


def test_the_position_in_a_random_state_is_checked():
    """NumPy takes any, and reads there."""
    tensors = {}
    state = encode(np.random.RandomState(0), "x", tensors)
    state["random_state"]["tuple"][2] = 100_000
    with pytest.raises(ValueError, match="RandomState is not whole"):
        decode(state, tensors)


def test_a_tensor_is_used_once():
    """A short file cannot ask for a long tensor many times."""
    reference = {"tensor": ["x", "<f8"]}
    with pytest.raises(ValueError, match="tensor 'x' is missing"):
        decode([reference, reference], {"x": np.zeros(3)})


def test_random_json_is_a_value_or_a_value_error():
    rng = random.Random(0)
    kinds = ["float", "tuple", "dict", "tensor", "array", "scalar", "random_state", "other"]
    leaves = [None, True, 0, -1, 7, 1e300, 2**70, "inf", "x", "<f8", "<U3", "|O", "|i1", "<M8[s]", "MT19937", "é"]

    def draw(depth):
        choice = rng.random()
        if depth == 0 or choice < 0.3:
            return rng.choice(leaves)
        if choice < 0.6:
            return [draw(depth - 1) for _ in range(rng.choice([0, 1, 2, 2, 3, 3, 5]))]
        return {rng.choice(kinds): draw(depth - 1) for _ in range(rng.choice([1, 1, 1, 1, 2]))}

    n_read = 0
    for _ in range(20_000):
        try:
            decode(draw(5), {"x": np.zeros(3)})
            n_read += 1
        except ValueError:
            pass
    assert 2_000 < n_read < 18_000
