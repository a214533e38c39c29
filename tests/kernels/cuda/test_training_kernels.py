"""Kernels with which training stays on the GPU, in the simulator: pooling, embeddings, masks, copies, uploads."""

import numpy as np
import pytest

from fastrecur.kernels.cpu import masks as host_masks
from fastrecur.kernels.cpu import pooling as host_pooling
from fastrecur.kernels.cuda import batches, embeddings, masks, pooling, runtime
from fastrecur.kernels.steps import step_table
from tests.helpers import packed_index

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("simulator")]

LENGTHS, N_HIDDEN = np.array([4, 3, 3, 1]), 3
RNG = np.random.default_rng(0)


def send(array, dtype="float64"):
    return runtime.to_device(np.asarray(array, dtype))


def poisoned(*shape, dtype="float64"):
    return send(np.full(shape, np.nan if np.dtype(dtype).kind == "f" else -9), dtype)


def cut_at(begin):
    """Steps of the first ``begin`` and of the others: (first row, table, packed rows, begin)."""
    whole = step_table(LENGTHS)
    at = whole[begin, 0]
    first, second = step_table(np.minimum(LENGTHS, begin)), step_table(LENGTHS[begin < LENGTHS] - begin)
    return ((first, slice(0, at), 0), (second, slice(at, None), begin))


@pytest.mark.parametrize("kind", ["mean", "max"])
def test_pooling_in_pieces_equals_the_cpu(kind):
    states, dpooled = RNG.normal(size=(LENGTHS.sum(), 2 * N_HIDDEN)), RNG.normal(size=(4, 2 * N_HIDDEN))
    dpooled_there, lengths = send(dpooled), send(LENGTHS, "int32")
    pooled, sums, step = poisoned(4, 6), poisoned(4, 6), poisoned(4, 6, dtype="int32")
    sums_here, largest_here, step_here = np.zeros((4, 6)), np.empty((4, 6)), np.empty((4, 6), np.int64)
    pieces = cut_at(2)
    for steps, rows, begin in pieces:
        there = send(np.vstack([np.full((2, 6), np.nan), states[rows]])), 2, send(steps, "int32")
        here = states[rows].reshape(-1, 2, N_HIDDEN), 0, steps, N_HIDDEN
        if kind == "mean":
            pooling.mean(*there, begin, lengths, sums, pooled)
            host_pooling.add_states(*here, sums_here)
        else:
            pooling.largest(*there, begin, pooled, step)
            host_pooling.raise_largest(*here, begin, largest_here, step_here)
    expected = sums_here / LENGTHS[:, np.newaxis] if kind == "mean" else largest_here
    np.testing.assert_array_equal(runtime.to_host(pooled), expected)
    for steps, rows, begin in pieces:
        n_packed = len(states[rows])
        dy, dy_here = poisoned(n_packed, 6), np.full((n_packed, 2, N_HIDDEN), np.nan)
        n_rows = steps[0, 1]
        if kind == "mean":
            pooling.spread_mean(dpooled_there, lengths, send(steps, "int32"), dy)
            host_pooling.spread_mean(dpooled[:n_rows], LENGTHS[:n_rows], steps, N_HIDDEN, dy_here)
        else:
            pooling.spread_largest(dpooled_there, step, send(steps, "int32"), begin, dy)
            host_pooling.spread_largest(dpooled[:n_rows], step_here, steps, N_HIDDEN, begin, dy_here)
        np.testing.assert_array_equal(runtime.to_host(dy), dy_here.reshape(n_packed, 6))


def test_embeddings_and_their_gradients():
    tokens, rows, table = RNG.integers(0, 6, 20), RNG.permutation(20)[:9], RNG.normal(size=(6, 3))
    out = poisoned(9, 3)
    embeddings.gather(send(tokens, "int32"), send(rows, "int32"), send(table), out)
    np.testing.assert_array_equal(runtime.to_host(out), table[tokens[rows]])
    dx, used = RNG.normal(size=(9, 3)), np.unique(tokens[rows])
    order = np.argsort(tokens[rows], kind="stable")
    bounds = np.searchsorted(tokens[rows][order], np.append(used, 6))
    given, expected = RNG.normal(size=(len(used), 3)), np.zeros((6, 3))
    np.add.at(expected, tokens[rows], dx)
    dtable = send(given)
    embeddings.add_rows(send(dx), send(order, "int32"), send(bounds, "int32"), dtable)
    np.testing.assert_allclose(runtime.to_host(dtable), given + expected[used], rtol=1e-14)


def test_masks_have_the_bits_of_the_cpu():
    seed, rate, kept = 2**63 + 5, 0.3, np.empty((2, 4, 5), np.float32)
    there = poisoned(2, 4, 5, dtype="float32")
    host_masks.recurrent_masks(np.uint64(seed), 1 << 32, rate, N_HIDDEN, kept)
    masks.recurrent_masks(seed, 1 << 32, rate, N_HIDDEN, there)
    np.testing.assert_array_equal(runtime.to_host(there), kept)
    steps, n_packed = step_table(LENGTHS), LENGTHS.sum()
    values = np.zeros((n_packed, 2, 5), np.float32)
    values[:, :, :N_HIDDEN] = RNG.normal(size=(n_packed, 2, N_HIDDEN))
    expected, there = np.zeros_like(values), send(values.reshape(n_packed, 10), "float32")
    given = N_HIDDEN, steps, np.uint64(seed), 7, 11, rate
    host_masks.drop_steps(values, *given, expected, np.array([0, len(LENGTHS)]))
    for out in (poisoned(n_packed, 10, dtype="float32"), there):  # elsewhere, then in place
        masks.drop_steps(there, N_HIDDEN, 5, send(steps, "int32"), seed, 7, 11, rate, out)
        np.testing.assert_array_equal(runtime.to_host(out), expected.reshape(n_packed, 10))


def test_rows_of_a_batch_among_all_time_steps():
    starts = np.array([40, 3, 20, 9])
    rows = poisoned(LENGTHS.sum(), dtype="int32")
    batches.packed_rows(send(starts, "int32"), send(step_table(LENGTHS), "int32"), rows)
    expected = np.empty(LENGTHS.sum(), int)
    for b, of_sequence in enumerate(packed_index(LENGTHS)):
        expected[of_sequence[: LENGTHS[b]]] = starts[b] + np.arange(LENGTHS[b])
    np.testing.assert_array_equal(runtime.to_host(rows), expected)


@pytest.mark.parametrize("shape", [(23, 3), (23,), (1, 40)], ids=str)
def test_an_upload_goes_in_pieces_through_pinned_memory(shape, monkeypatch):
    monkeypatch.setattr(runtime, "PINNED", 64)
    array, pinned, taken = RNG.normal(size=shape), runtime.pinned_empty, []

    def pinned_empty(*given):
        taken.append(pinned(*given))
        return taken[-1]

    monkeypatch.setattr(runtime, "pinned_empty", pinned_empty)
    np.testing.assert_array_equal(runtime.to_host(runtime.upload(array, "float32")), array.astype(np.float32))
    assert len(taken) == (2 if len(array) > 1 else 1)
    assert max(buffer.nbytes for buffer in taken) <= max(64, 4 * 40)


def test_a_pinned_buffer_is_written_again_when_the_copy_from_it_is_over(monkeypatch):
    """On a device whose copies come late: when an event behind them is waited for."""
    under_way = []

    class Event:
        def record(self, stream):
            self.behind = len(under_way)

        def synchronize(self):
            for place in range(getattr(self, "behind", 0)):
                out, staged = under_way[place]
                if staged is not None:
                    out._ary[:] = staged
                    under_way[place] = out, None

    class Late:
        def __init__(self, array):
            self._ary, self.dtype, self.shape = array, array.dtype, array.shape

        def copy_to_device(self, staged, stream):
            assert stream is not None
            under_way.append((self, staged))

    monkeypatch.setattr(runtime.cuda, "event", Event)
    sender, arrays = runtime.Sender(2), [RNG.integers(0, 99, size) for size in (5, 3, 5000, 1, 7)]
    received = [Late(np.full(len(array), -1, np.int32)) for array in arrays]
    for array, out in zip(arrays, received, strict=True):
        sender.send(array, out)
    last = Event()
    last.record(None)
    last.synchronize()
    for array, out in zip(arrays, received, strict=True):
        np.testing.assert_array_equal(out._ary, array)


def test_what_is_too_much_to_pin_goes_as_it_is(monkeypatch):
    monkeypatch.setattr(runtime, "PINNED", 8)
    array, out = RNG.normal(size=(5, 3)), poisoned(5, 3, dtype="float32")
    sender = runtime.Sender(1)
    sender.send(array, out)
    np.testing.assert_array_equal(runtime.to_host(out), array.astype(np.float32))
    assert sender._lanes[0] == (None, None)
