"""Buffers by name: which memory they are, when it changes, and what is kept for a packing."""

import gc
import pickle
import weakref

import numpy as np
import pytest

from fastrecur.kernels.cpu.panels import CACHE_LINE
from fastrecur.layers import LSTM
from fastrecur.network.packing import Packing
from fastrecur.network.parameters import Parameters, recurrent_shapes
from fastrecur.network.recurrent import RecurrentStack
from fastrecur.network.workspace import KEPT_STEPS, Workspace
from tests.helpers import nothing_left_of


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_buffer_is_the_same_memory_at_every_call(dtype):
    workspace = Workspace(np.dtype(dtype))
    first = workspace.take("a", 3, 5)
    assert (first.shape, first.dtype) == ((3, 5), dtype)
    assert first.flags.c_contiguous
    assert first.flags.writeable
    assert first.ctypes.data % CACHE_LINE == 0
    assert workspace.take("a", 3, 5) is first
    for shape in ((2, 2), (15,), (1, 1, 4)):
        other = workspace.take("a", *shape)
        assert (other.shape, other.ctypes.data) == (shape, first.ctypes.data)


def test_buffers_of_other_names_lie_elsewhere():
    workspace = Workspace(np.dtype("float32"))
    taken = {name: workspace.take(name, 4, 4) for name in ("a", ("a", 0), ("a", 1), ("b", 0), 0)}
    for i, array in enumerate(taken.values()):
        array[...] = i
    for i, name in enumerate(taken):
        assert (workspace.take(name, 4, 4) == i).all()


def test_a_buffer_that_grows_serves_every_shape_from_then_on():
    workspace = Workspace(np.dtype("float32"))
    small = workspace.take("a", 2, 3)
    large = workspace.take("a", 4, 30)
    assert not np.shares_memory(small, large)
    again = workspace.take("a", 2, 3)
    assert again is not small  # the old memory is given up, not written to beside the new one
    assert np.shares_memory(again, large)
    assert workspace.take("a", 4, 30) is large


def test_a_buffer_that_was_too_small_leaves_room_for_a_little_more():
    """So that batches which differ by a few time steps do not each take new memory. The first has no such room."""
    workspace = Workspace(np.dtype("float32"))
    first = workspace.take("a", 80)
    larger = workspace.take("a", 81)
    assert not np.shares_memory(first, larger)
    larger = workspace.take("a", 160)
    assert np.shares_memory(workspace.take("a", 180), larger)
    assert not np.shares_memory(workspace.take("a", 181), larger)


def test_hundreds_of_shapes_are_views_of_one_buffer():
    workspace = Workspace(np.dtype("float32"))
    largest = workspace.take("a", 1000)
    for n in range(1, 1000):
        assert workspace.take("a", n).ctypes.data == workspace.take("a", 1, n).ctypes.data == largest.ctypes.data
    assert len(workspace._views) <= 1001


def test_packings_are_kept_by_their_lengths():
    workspace = Workspace(np.dtype("float32"))
    packing = workspace.packing(np.array([3, 1, 2]))
    assert workspace.packing(np.array([3, 1, 2])) is packing
    other = workspace.packing(np.array([1, 3, 2]))
    assert other is not packing
    assert other.order.tolist() == [1, 2, 0]
    for n in range(1, 100):
        assert workspace.packing(np.array([n, 1])).n_packed == n + 1
    assert len(workspace._packings) <= 21
    assert workspace.packing(np.array([3, 1, 2])).order.tolist() == packing.order.tolist()


def make_stack():
    return RecurrentStack("lstm", Parameters(recurrent_shapes("lstm", 3, 7, 2, 1), "float32"), 7, num_layers=2)


def test_traces_are_kept_by_packing_threads_and_record():
    workspace, stack, packing = Workspace(np.dtype("float32")), make_stack(), Packing([3, 1, 2])
    trace = workspace.trace(stack, packing, 1, True)
    assert workspace.trace(stack, packing, 1, True) is trace
    for key in ((Packing([3, 1, 2]), 1, True), (packing, 2, True), (packing, 1, False)):
        assert workspace.trace(stack, *key) is not trace
    assert workspace.trace(stack, packing, 1, False, last_only=True) is not workspace.trace(stack, packing, 1, False)
    for _ in range(100):
        workspace.trace(stack, Packing([2]), 1, True)
    assert len(workspace._traces) <= 21


def test_traces_are_laid_out_anew_when_a_buffer_grows():
    """What they hold would be the smaller one, which nobody else writes to."""
    workspace, stack, packing = Workspace(np.dtype("float32")), make_stack(), Packing([3, 1, 2])
    trace = workspace.trace(stack, packing, 1, True)
    large = workspace.trace(stack, Packing([30, 30]), 1, True)
    again = workspace.trace(stack, packing, 1, True)
    assert again is not trace
    for old, new, other in zip(trace.gates, again.gates, large.gates, strict=True):
        assert np.shares_memory(new, other)
        assert not np.shares_memory(new, old)


def test_layers_go_back_one_after_another_in_the_same_memory():
    shapes = recurrent_shapes("rnn", 3, 7, 2, 2)
    stack = RecurrentStack("rnn", Parameters(shapes, "float32"), 7, num_layers=2, n_directions=2)
    workspace = Workspace(np.dtype("float32"))
    back = workspace.trace(stack, Packing([3, 1, 2]), 1, True).back(stack, 1)
    for buffers in (back.gates, back.dw, back.dbias):
        assert len(buffers) == 4
        assert all(np.shares_memory(buffers[0], buffer) for buffer in buffers)


def test_a_pickled_workspace_is_an_empty_one():
    workspace = Workspace(np.dtype("float64"))
    workspace.take("a", 1000)
    data = pickle.dumps(workspace)
    assert len(data) < 1000
    copied = pickle.loads(data)
    assert copied.take("a", 3).dtype == np.float64
    assert not np.shares_memory(copied.take("a", 3), workspace.take("a", 3))


def test_buffers_are_free_with_the_last_user_without_a_search_for_circles():
    """Or the next fit would begin in new memory of the system, while Python has not yet searched."""
    with nothing_left_of(Workspace):
        workspace, stack = Workspace(np.dtype("float32")), make_stack()
        workspace.trace(stack, Packing([3, 1, 2]), 1, True).back(stack, 1)
        held = weakref.ref(workspace.take(("gates", 0), 1).base)
        del workspace
        assert held() is None


def test_inference_lets_go_of_what_it_was_given():
    """Time-major x is read where it lies; lengths that never come again leave nothing behind."""
    layer = LSTM(3, 7, num_layers=2, n_threads=1)
    x = np.zeros((9, 4, 3), np.float32)
    for lengths in (None, [9, 9, 9, 8]):
        y, _ = layer.forward(x.transpose(1, 0, 2), lengths=lengths)
    held = weakref.ref(x), weakref.ref(y if y.base is None else y.base)
    del x, y
    gc.collect()
    assert [one() for one in held] == [None, None]


@pytest.mark.parametrize(("length", "kept"), [(KEPT_STEPS, 1), (KEPT_STEPS + 1, 0)])
def test_long_batches_leave_no_tables_behind(length, kept):
    workspace, lengths = Workspace(np.dtype("float32")), np.array([length, 2])
    workspace.trace(make_stack(), workspace.packing(lengths), 1, False)
    assert len(workspace._traces) == len(workspace._packings) == kept
