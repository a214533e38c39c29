"""The GPU's cells in the simulator against their reference twins, threads shuffled, buffers poisoned with NaN.

The simulated device counts as two multiprocessors: up to two sequences have a block each, more share blocks of four.
"""

import numpy as np
import pytest

from fastrecur.kernels import reference
from fastrecur.kernels.cuda import elman, gru, layout, lstm, runtime
from fastrecur.kernels.cuda.steps import upload
from fastrecur.kernels.steps import step_table
from tests.helpers import CELLS, final_states, make_problem, reference_backward, reference_forward
from tests.kernels.cuda.problems import OnDevice
from tests.kernels.cuda.simulator import shuffle

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("simulator")]

#: Lengths, F, H. Up to five blocks of four sequences, or a block for each; padding of H from nothing to 15.
SIZES = [
    ((1,), 1, 1),
    ((3, 2, 1, 1, 1), 3, 7),
    ((2, 2, 2, 2, 2, 2), 2, 17),
    ((4, 1), 2, 16),
    ((2, 2, 0), 17, 2),
    ((2, 1, 1), 1, 33),
    ((4, 3, 3, 2, 2, 2, 1, 1, 1), 7, 17),
    ((2,) * 17, 33, 2),
    ((2, 1), 63, 3),
    ((3, 2, 1), 2, 63),
]

#: Absolute errors of outputs, relative ones of gradients in the norm.
TOLERANCE = {"float32": (1e-6, 1e-5), "float64": (1e-12, 1e-12)}

each_cell = pytest.mark.parametrize("cell", CELLS)
each_dtype = pytest.mark.parametrize("dtype", TOLERANCE)
each_direction = pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reversed"])


def make(cell, lengths, n_features, n_hidden, reverse=False, masked=False):
    """A problem in numbers of float32, so that one reference serves both dtypes."""
    p = make_problem(cell, lengths, n_features, n_hidden, reverse)
    for array in (p.x, p.h, p.c, p.dy, p.dh, p.dc, *p.weights.values()):
        if array is not None:
            array[:] = array.astype(np.float32)
    if masked:
        p.mask = 2.0 * np.random.default_rng(1).integers(0, 2, p.dh.shape)
    return p


def by_reference(p, dy=True):
    """Outputs and gradients by name; uses the problem up."""
    if not dy:
        p.dy[:] = 0.0
    reference_forward(p)
    results = {"y": p.h[len(p.lengths) :].copy(), "final h": final_states(p, p.h)}
    if p.c is not None:
        results["final c"] = final_states(p, p.c)
    return results | reference_backward(p)


def assert_close(actual, expected, dtype):
    absolute, relative = TOLERANCE[dtype]
    assert actual.keys() == expected.keys()
    for name, array in actual.items():
        assert array.dtype == dtype
        assert array.shape == expected[name].shape
        error = array - expected[name]
        if name == "y" or name.startswith("final"):
            assert np.abs(error).max() <= absolute * max(1.0, np.abs(expected[name]).max()), name
        else:
            assert np.linalg.norm(error) <= relative * np.linalg.norm(expected[name]), name


def run(p, dtype):
    device = OnDevice(p, dtype)
    return device.forward() | device.backward()


@pytest.mark.parametrize(("dtype", "reverse"), [("float32", False), ("float64", True)])
@pytest.mark.parametrize("size", SIZES, ids=str)
@each_cell
def test_forward_and_gradients_equal_the_reference(cell, size, dtype, reverse):
    assert_close(run(make(cell, *size, reverse), dtype), by_reference(make(cell, *size, reverse)), dtype)


@pytest.mark.parametrize("n_hidden", [48, 50, 100])
@each_cell
def test_wide_cells_equal_the_reference(cell, n_hidden):
    lengths = (2, 1, 1) if n_hidden == 50 and not cell.startswith("rnn") else (2,)
    expected = by_reference(make(cell, lengths, 1, n_hidden))
    assert_close(run(make(cell, lengths, 1, n_hidden), "float32"), expected, "float32")


@each_direction
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "dropped"])
@pytest.mark.parametrize("lengths", [(3, 2, 1), (2, 2)], ids=str)
@each_cell
def test_a_launch_a_step_equals_the_reference(cell, lengths, masked, reverse, monkeypatch):
    for module in (elman, gru, lstm):
        monkeypatch.setattr(module, "in_one_block", lambda n_hidden: False)
    expected = by_reference(make(cell, lengths, 3, 9, reverse, masked))
    assert_close(run(make(cell, lengths, 3, 9, reverse, masked), "float64"), expected, "float64")


@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm", "gru"])
def test_beyond_128_units_a_step_is_launched_by_itself(cell, monkeypatch):
    monkeypatch.setattr(layout, "STEPWISE_MULTIPLE", 2)
    expected = by_reference(make(cell, (1,), 1, 129))
    assert_close(run(make(cell, (1,), 1, 129), "float32"), expected, "float32")


@each_direction
@each_cell
def test_recurrent_dropout_equals_the_reference(cell, reverse):
    size = (3, 2, 2, 1, 1), 2, 7
    expected = by_reference(make(cell, *size, reverse, masked=True))
    assert_close(run(make(cell, *size, reverse, masked=True), "float64"), expected, "float64")


@each_cell
def test_without_a_record_the_states_have_the_same_bits(cell):
    size = (3, 2, 2, 1), 2, 7
    kept, forgotten = (OnDevice(make(cell, *size), "float32").forward(keep) for keep in (True, False))
    assert kept.keys() == forgotten.keys()
    for name in kept:
        np.testing.assert_array_equal(kept[name], forgotten[name], err_msg=name)


@each_cell
def test_no_gradient_from_above_is_a_gradient_of_zero(cell):
    device = OnDevice(make(cell, (2, 1), 2, 5), "float64")
    results = device.forward() | device.backward(dy=False)
    assert_close(results, by_reference(make(cell, (2, 1), 2, 5), dy=False), "float64")


@each_cell
def test_dx_may_be_added_to_or_left_out(cell):
    size = (2, 1), 3, 5
    expected = run(make(cell, *size), "float64")
    given = np.arange(9.0).reshape(3, 3)
    device = OnDevice(make(cell, *size), "float64")
    device.forward()
    np.testing.assert_allclose(device.backward(add_dx=given)["x"], expected["x"] + given, rtol=0, atol=1e-14)
    device = OnDevice(make(cell, *size), "float64")
    device.forward()
    without = device.backward(need_dx=False)
    assert "x" not in without
    for name, gradient in without.items():
        np.testing.assert_array_equal(gradient, expected[name], err_msg=name)


@each_cell
def test_the_bits_depend_on_no_order_of_threads(cell, monkeypatch):
    size = (3, 2, 2, 1, 1), 2, 17
    first = run(make(cell, *size), "float32")
    for seed in (1, 2):
        shuffle(monkeypatch, seed)
        again = run(make(cell, *size), "float32")
        for name in first:
            np.testing.assert_array_equal(first[name], again[name], err_msg=name)


@each_cell
def test_a_row_has_the_same_bits_in_any_batch(cell):
    """Alone in its block, beside others, and by the layout of four a block."""
    whole = make(cell, (2,) * 6, 2, 7)
    results = OnDevice(whole, "float32").forward()
    for rows in ([0], [5], [3, 1], [4, 2, 0]):
        some = make(cell, (2,) * len(rows), 2, 7)
        some.x = whole.x.reshape(2, 6, 2)[:, rows].reshape(-1, 2)
        for name in ("h", "c"):
            if getattr(some, name) is not None:
                getattr(some, name)[: len(rows)] = getattr(whole, name)[rows]
        y = OnDevice(some, "float32").forward()["y"]
        expected = results["y"].reshape(2, 6, 7)[:, rows].reshape(-1, 7)
        np.testing.assert_array_equal(y, expected, err_msg=str(rows))


@each_cell
def test_nan_stays_in_its_sequence(cell):
    p = make(cell, (2,) * 5, 2, 7)
    p.x[1] = np.nan
    device = OnDevice(p, "float64")
    h = device.forward()["y"].reshape(2, 5, 7)
    assert np.isnan(h[:, 1]).all()
    assert np.isfinite(np.delete(h, 1, axis=1)).all()


@each_dtype
@each_cell
def test_step_equals_the_reference(cell, dtype):
    n_rows, n_hidden = 3, 5
    p = make(cell, (1,) * n_rows, 2, n_hidden)
    device = OnDevice(p, dtype)
    w_ih, w_hh, *biases = device.weights.values()
    w_hh_t = runtime.to_device(np.ascontiguousarray(runtime.to_host(w_hh).T))
    h = np.full((2 * n_rows, 1, device.width), np.nan)
    h[:n_rows] = 0.0
    h[:n_rows, 0, :n_hidden] = p.h[:n_rows]
    h, steps = device.send(h), upload(step_table(np.ones(n_rows, np.int64)))
    expected_h, expected_c = p.h[:n_rows].copy(), None
    weights = p.weights.values()
    if p.c is not None:
        expected_c, c = p.c[:n_rows].copy(), device._cells(keep=False)
        lstm.lstm_step(w_ih, w_hh_t, *biases, device.x, h, c, device.gates, steps, device.scratch)
        reference.lstm_step(*weights, p.x, expected_h, expected_c)
        np.testing.assert_allclose(runtime.to_host(c)[:, :n_hidden], expected_c, atol=TOLERANCE[dtype][0], rtol=0)
    elif cell == "gru":
        gru.gru_step(w_ih, w_hh_t, *biases, device.x, h, device.gates, steps, device.scratch)
        reference.gru_step(*weights, p.x, expected_h)
    else:
        elman.rnn_step(w_ih, w_hh_t, *biases, device.x, h, steps, device.scratch, cell == "rnn_relu")
        reference.rnn_step(*weights, p.x, expected_h, cell == "rnn_relu")
    h = runtime.to_host(h)[n_rows:, 0, :n_hidden]
    np.testing.assert_allclose(h, expected_h, atol=4 * TOLERANCE[dtype][0], rtol=0)
