"""What the layers take, whatever its layout and dtype, and what they refuse."""

import numpy as np
import pytest

from fastrecur.kernels import threads
from fastrecur.layers import GRU, LSTM, RNN
from tests.network.data import assert_same_bits, each_cell, make, normal, parts, random_state, run

# --- layouts and dtypes of the arguments -----------------------------------------------------------------------------


@each_cell
def test_layout_of_x_does_not_matter(cell):
    layer, x, dy = make(cell, 3, 7), normal(0, 4, 6, 3), normal(1, 4, 6, 7)
    expected = run(layer, x, dy=dy)
    wide = np.full((4, 6, 9), np.nan, np.float32)
    wide[:, :, ::3] = x
    time_major = np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1)
    views = {
        "Fortran": np.asfortranarray(x),
        "strided": wide[:, :, ::3],
        "backwards": np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
        "time-major": time_major,
        "list": x.tolist(),
    }
    for name, view in views.items():
        for lengths in (None, [6, 6, 6, 6]):
            y, _ = layer.forward(view, lengths=lengths)
            np.testing.assert_array_equal(y, expected["y"], err_msg=name)
        assert_same_bits(run(layer, view, dy=np.asfortranarray(dy)), expected)
        ragged, _ = layer.forward(view, lengths=[2, 6, 1, 3])
        np.testing.assert_array_equal(ragged, layer.forward(x, lengths=[2, 6, 1, 3])[0], err_msg=name)
    np.testing.assert_array_equal(x, normal(0, 4, 6, 3))  # nothing was written


@each_cell
@pytest.mark.parametrize("n_hidden", [7, 32])
@pytest.mark.parametrize("lengths", [None, [2, 6, 1, 3]])
def test_layout_of_dy_does_not_matter(cell, lengths, n_hidden):
    layer, x, dy = make(cell, 3, n_hidden, bidirectional=True), normal(0, 4, 6, 3), normal(1, 4, 6, 2 * n_hidden)
    expected = run(layer, x, None, lengths, dy)
    time_major = np.ascontiguousarray(dy.swapaxes(0, 1)).swapaxes(0, 1)
    for view in (np.asfortranarray(dy), time_major, dy.tolist()):
        assert_same_bits(run(layer, x, None, lengths, view), expected)


@pytest.mark.parametrize("lengths", [None, [2, 6, 1, 3]])
def test_dy_is_read_where_it_lies_and_not_written_to(lengths, monkeypatch):
    layer, x, dy, seen = make("lstm", 3, 7, bidirectional=True), normal(0, 4, 6, 3), normal(1, 4, 6, 14), []
    time_major = np.ascontiguousarray(dy.swapaxes(0, 1)).swapaxes(0, 1)
    backward = layer._stack.backward

    def watched(trace, grads, n_threads, dy, *rest, **places):
        seen.append(dy)
        return backward(trace, grads, n_threads, dy, *rest, **places)

    monkeypatch.setattr(layer._stack, "backward", watched)
    for view in (dy, time_major):
        run(layer, x, None, lengths, view)
        assert np.shares_memory(seen.pop(), view)
        np.testing.assert_array_equal(view, normal(1, 4, 6, 14))


@each_cell
@pytest.mark.parametrize("n_rows", [1, 5])
def test_threads_read_their_parts_of_dy(cell, n_rows, monkeypatch):
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(threads, "WORTH_A_MEETING", 1)
    one, two = (make(cell, 3, 40, bidirectional=True, n_threads=n) for n in (1, 2))
    x, dy, lengths = normal(0, n_rows, 9, 3), normal(1, n_rows, 9, 80), [6, 9, 1, 3, 9][:n_rows]
    assert_same_bits(run(two, x, None, lengths, dy), run(one, x, None, lengths, dy))


def test_dy_out_of_the_gradients_is_as_it_was_when_given():
    layer, x = make("lstm", 4, 8, bidirectional=True), normal(0, 1, 4, 4)
    dstate = random_state(layer, 1)
    expected = run(layer, x, dy=np.zeros((1, 4, 16), np.float32), dstate=dstate)
    view = next(iter(layer.grads.values())).base[:64].reshape(1, 4, 16)  # zeros, until they are added to
    assert_same_bits(run(layer, x, dy=view, dstate=dstate), expected)


@pytest.mark.parametrize("time_major", [False, True])
def test_read_only_arguments(time_major):
    layer, state = make("lstm", 3, 7), random_state(make("lstm", 3, 7), 4)
    x, dy = normal(0, 4, 6, 3), normal(1, 4, 6, 7)
    expected = run(layer, x, state, None, dy, state)
    x = np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1) if time_major else x
    for array in (x, dy, *state):
        array.flags.writeable = False
    assert_same_bits(run(layer, x, state, None, dy, state), expected)


@each_cell
def test_dtype_of_x_is_converted(cell):
    layer, wide = make(cell, 3, 7), make(cell, 3, 7, dtype="float64")
    x = normal(0, 4, 6, 3, dtype="float64") * 3
    y, _ = layer.forward(x)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, layer.forward(x.astype(np.float32))[0])
    y, _ = wide.forward(x.astype(np.float32))
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y, wide.forward(x.astype(np.float32).astype(np.float64))[0])
    for dtype in (np.int64, np.int8, np.uint8, bool, np.float16):
        numbers = np.abs(x).astype(dtype)
        np.testing.assert_array_equal(layer.forward(numbers)[0], layer.forward(numbers.astype(np.float32))[0])
    time_major = np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1)
    np.testing.assert_array_equal(layer.forward(time_major)[0], layer.forward(x)[0])


@each_cell
def test_layout_and_dtype_of_states_do_not_matter(cell):
    layer, x = make(cell, 3, 7, 2), normal(0, 4, 6, 3)
    state = random_state(layer, 4)
    expected, _ = layer.forward(x, state)
    for change in (np.asfortranarray, lambda part: part.astype(np.float64), lambda part: part.tolist()):
        changed = tuple(map(change, parts(state)))
        y, _ = layer.forward(x, changed if cell == "lstm" else changed[0])
        np.testing.assert_array_equal(y, expected)
    if cell == "lstm":
        np.testing.assert_array_equal(layer.forward(x, list(state))[0], expected)
    given = [part.copy() for part in parts(state)]
    layer.forward(x, state, training=True)
    for part, before in zip(parts(state), given, strict=True):
        np.testing.assert_array_equal(part, before)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int64])
def test_lengths_of_any_integer_type(dtype):
    layer, x = make("gru", 3, 7), normal(0, 3, 6, 3)
    lengths = [2, 6, 4]
    np.testing.assert_array_equal(
        layer.forward(x, lengths=np.array(lengths, dtype))[0], layer.forward(x, lengths=lengths)[0]
    )


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [RNN, LSTM, GRU])
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"input_size": 0}, ValueError, "input_size must be at least 1, found 0"),
        ({"hidden_size": 0}, ValueError, "hidden_size must be at least 1, found 0"),
        ({"hidden_size": -4}, ValueError, "hidden_size must be at least 1, found -4"),
        ({"num_layers": 0}, ValueError, "num_layers must be at least 1, found 0"),
        ({"hidden_size": 8.0}, TypeError, r"hidden_size must be an int of at least 1, found 8\.0"),
        ({"input_size": "3"}, TypeError, "input_size must be an int of at least 1, found '3'"),
        ({"num_layers": True}, TypeError, "num_layers must be an int of at least 1, found True"),
        ({"n_threads": 0}, ValueError, "n_threads must be at least 1, found 0"),
        ({"n_threads": 1.5}, TypeError, r"n_threads must be an int of at least 1, found 1\.5"),
        ({"dtype": "float16"}, ValueError, "dtype must be one of 'float32', 'float64', found 'float16'"),
        ({"dtype": "int64"}, ValueError, "dtype must be one of 'float32', 'float64', found 'int64'"),
        ({"device": "tpu"}, ValueError, "device must be one of 'cpu'.*, found 'tpu'"),
    ],
    ids=str,
)
def test_bad_options(kind, options, error, message):
    with pytest.raises(error, match=message):
        kind(**{"input_size": 3, "hidden_size": 7, **options})


def test_bad_nonlinearity():
    with pytest.raises(ValueError, match="nonlinearity must be one of 'tanh', 'relu', found 'sigmoid'"):
        RNN(3, 7, nonlinearity="sigmoid")


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 2), (4, 6, 3, 1), (0, 6, 3), (4, 0, 3), (3,)], ids=str)
@each_cell
def test_bad_shape_of_x(cell, shape):
    with pytest.raises(ValueError, match=r"x must have shape \(B, T, 3\) without empty axes, found"):
        make(cell, 3, 7).forward(np.zeros(shape))


@pytest.mark.parametrize("x", [np.zeros((2, 4, 3), complex), np.full((2, 4, 3), "one")], ids=["complex", "strings"])
def test_x_that_holds_no_real_numbers(x):
    with pytest.raises((ValueError, TypeError)):
        make("gru", 3, 7).forward(x)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([6, 0, 6, 6], "lie between 1 and T = 6, found 0 in row 1"),
        ([6, 6, 6, 7], "lie between 1 and T = 6, found 7 in row 3"),
        ([6, -1, 6, 6], "lie between 1 and T = 6, found -1 in row 1"),
        ([6, 6, 6], r"be 4 whole numbers, found shape \(3,\)"),
        ([[6, 6, 6, 6]], r"be 4 whole numbers, found shape \(1, 4\)"),
        ([6.0, 6.0, 6.0, 6.0], "be 4 whole numbers, found shape .* of float64"),
        (6, r"be 4 whole numbers, found shape \(\)"),
    ],
    ids=str,
)
@each_cell
def test_bad_lengths(cell, lengths, message):
    with pytest.raises(ValueError, match=f"lengths must {message}"):
        make(cell, 3, 7).forward(np.zeros((4, 6, 3)), lengths=lengths)


@each_cell
def test_bad_state(cell):
    layer, x = make(cell, 3, 7, 2), np.zeros((4, 6, 3))
    right, wrong = (
        np.zeros((2, 4, 7)),
        [np.zeros((4, 7)), np.zeros((1, 4, 7)), np.zeros((2, 3, 7)), np.zeros((2, 4, 8))],
    )
    for bad in wrong:
        states = [(bad, right), (right, bad)] if cell == "lstm" else [bad]
        for state in states:
            with pytest.raises(ValueError, match=r"state [hc] must have shape \(2, 4, 7\), found"):
                layer.forward(x, state)
    with pytest.raises(ValueError, match="state h"):
        layer.step(np.zeros((5, 3)), (right, right) if cell == "lstm" else right)


def test_a_state_of_the_lstm_has_two_parts():
    layer, x, h = make("lstm", 3, 7), np.zeros((4, 6, 3)), np.zeros((1, 4, 7))
    for state in ((h,), (h, h, h)):
        with pytest.raises(ValueError, match=r"state must be a tuple \(h, c\), found"):
            layer.forward(x, state)
    layer.forward(x, training=True)
    with pytest.raises(ValueError, match=r"dstate must be a tuple \(h, c\), found 1 elements"):
        layer.backward(np.zeros((4, 6, 7)), (h,))


@each_cell
def test_bad_gradients_leave_the_trace_for_a_right_call(cell):
    layer, x = make(cell, 3, 7), normal(0, 4, 6, 3)
    layer.forward(x, training=True)
    for shape in ((4, 6, 8), (6, 4, 7), (24, 7)):
        with pytest.raises(ValueError, match=r"dy must have shape \(4, 6, 7\), found"):
            layer.backward(np.zeros(shape))
    bad = np.zeros((1, 3, 7))
    with pytest.raises(ValueError, match=r"dstate h must have shape \(1, 4, 7\), found \(1, 3, 7\)"):
        layer.backward(None, (bad, bad) if cell == "lstm" else bad)
    assert all(not gradient.any() for gradient in layer.grads.values())
    layer.backward(normal(1, 4, 6, 7))


@each_cell
def test_backward_needs_a_forward_of_its_own(cell):
    layer, dy = make(cell, 3, 7), np.zeros((4, 6, 7))
    message = r"backward\(\) needs forward\(training=True\)"
    with pytest.raises(RuntimeError, match=message):
        layer.backward(dy)
    layer.forward(np.zeros((4, 6, 3)))
    with pytest.raises(RuntimeError, match=message):
        layer.backward(dy)
    layer.forward(np.zeros((4, 6, 3)), training=True)
    layer.backward(dy)
    with pytest.raises(RuntimeError, match=message):
        layer.backward(dy)


@each_cell
def test_step_needs_one_direction_and_two_axes(cell):
    with pytest.raises(ValueError, match=r"step\(\) needs a layer of one direction"):
        make(cell, 3, 7, bidirectional=True).step(np.zeros((4, 3)))
    layer = make(cell, 3, 7)
    for shape in ((3,), (4, 1, 3), (4, 5), (0, 3)):
        with pytest.raises(ValueError, match=r"x_t must have shape \(B, 3\).*, found"):
            layer.step(np.zeros(shape))
