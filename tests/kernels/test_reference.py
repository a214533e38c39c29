"""The reference against central differences, its own single steps, and PyTorch."""

import numpy as np
import pytest

from fastrecur.kernels import reference
from tests.helpers import (
    CELLS,
    central_differences,
    final_states,
    make_problem,
    pack,
    packed_index,
    reference_backward,
    reference_forward,
    unpack,
)

LENGTHS = {
    "ragged": [5, 3, 3, 1],
    "equal": [4, 4],
    "empty rows": [4, 2, 0, 0],
    "one row": [5],
    "one step": [1, 1, 1],
}
N_FEATURES, N_HIDDEN = 3, 4

each_cell = pytest.mark.parametrize("cell", CELLS)
each_length = pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
each_direction = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reversed"])


def make_small(cell, lengths, reverse):
    return make_problem(cell, lengths, N_FEATURES, N_HIDDEN, reverse, seed=sum(lengths))


def leaves(p):
    """What the loss depends on, by name; the initial states are views, so a change in place reaches the problem."""
    n_rows = len(p.lengths)
    arrays = {**p.weights, "x": p.x, "h": p.h[:n_rows]}
    if p.c is not None:
        arrays["c"] = p.c[:n_rows]
    return arrays


# --- Gradients against central differences ---------------------------------------------------------------------------


def loss(p, dh, dc):
    """Weighted sum of every h_t and of the final states; its gradients are dy, dh and dc."""
    reference_forward(p)
    value = np.sum(p.dy * p.h[len(p.lengths) :]) + np.sum(dh * final_states(p, p.h))
    return value if dc is None else value + np.sum(dc * final_states(p, p.c))


@each_direction
@each_length
@each_cell
def test_gradients_equal_central_differences(cell, lengths, reverse):
    check_gradients(make_small(cell, lengths, reverse))


@each_direction
@each_length
@each_cell
def test_gradients_with_recurrent_dropout_equal_central_differences(cell, lengths, reverse):
    p = make_small(cell, lengths, reverse)
    p.mask = 1.6 * np.random.default_rng(2).integers(2, size=p.dh.shape)
    check_gradients(p)


def check_gradients(p):
    dh, dc = p.dh.copy(), None if p.dc is None else p.dc.copy()
    reference_forward(p)
    gradients = reference_backward(p)
    assert gradients.keys() == leaves(p).keys()
    for name, array in leaves(p).items():
        expected = central_differences(array, lambda: loss(p, dh, dc))
        np.testing.assert_allclose(gradients[name], expected, rtol=1e-6, atol=1e-7, err_msg=name)


# --- Recurrent dropout -----------------------------------------------------------------------------------------------


@each_direction
@each_length
@each_cell
def test_a_mask_is_a_factor_of_the_columns_of_the_recurrent_weights(cell, lengths, reverse):
    p, other = make_small(cell, lengths, reverse), make_small(cell, lengths, reverse)
    mask = np.array([2.0, 0.0, 1.0, 0.5])
    p.mask = np.tile(mask, (len(lengths), 1))
    other.weights["w_hh"] *= mask
    for q in (p, other):
        reference_forward(q)
    np.testing.assert_allclose(p.h, other.h, rtol=1e-13, atol=1e-14)
    gradients, expected = reference_backward(p), reference_backward(other)
    expected["w_hh"] *= mask
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-12, atol=1e-13, err_msg=name)


# --- Single steps ----------------------------------------------------------------------------------------------------


def step(p, x, h, c):
    """One `_step` of the problem's cell: ``h`` and ``c`` are replaced."""
    weights = p.weights.values()
    if p.cell == "lstm":
        reference.lstm_step(*weights, x, h, c)
    elif p.cell == "gru":
        reference.gru_step(*weights, x, h)
    else:
        reference.rnn_step(*weights, x, h, relu=p.cell == "rnn_relu")


@each_direction
@each_length
@each_cell
def test_forward_equals_steps_of_each_sequence(cell, lengths, reverse):
    p = make_small(cell, lengths, reverse)
    reference_forward(p)
    n_rows, index = len(lengths), packed_index(lengths)
    for b, length in enumerate(lengths):
        h = p.h[b : b + 1].copy()
        c = None if p.c is None else p.c[b : b + 1].copy()
        for t in range(length)[:: -1 if reverse else 1]:
            n = index[b, t]
            step(p, p.x[n : n + 1], h, c)
            np.testing.assert_allclose(p.h[n_rows + n], h[0], rtol=1e-13, atol=1e-14)
            if c is not None:
                np.testing.assert_allclose(p.c[n_rows + n], c[0], rtol=1e-13, atol=1e-14)


@each_cell
def test_step_of_a_batch(cell):
    p = make_small(cell, [1, 1, 1, 1, 1], reverse=False)
    h, c = p.h[:5].copy(), None if p.c is None else p.c[:5].copy()
    step(p, p.x, h, c)
    reference_forward(p)
    np.testing.assert_array_equal(h, p.h[5:])
    if c is not None:
        np.testing.assert_array_equal(c, p.c[5:])


# --- The buffer contract ---------------------------------------------------------------------------------------------


@each_direction
@each_length
@each_cell
def test_weight_gradients_accumulate_and_activation_gradients_are_assigned(cell, lengths, reverse):
    p, again = make_small(cell, lengths, reverse), make_small(cell, lengths, reverse)
    rng = np.random.default_rng(0)
    start = {name: rng.normal(size=w.shape) for name, w in p.weights.items()}
    reference_forward(p)
    reference_forward(again)
    expected = reference_backward(p)
    gradients = reference_backward(again, dweights={name: dw.copy() for name, dw in start.items()})
    for name, gradient in gradients.items():
        assert np.isfinite(gradient).all(), name  # dx comes poisoned with NaN
        np.testing.assert_allclose(gradient - start.get(name, 0.0), expected[name], rtol=1e-12, atol=1e-13)


@each_direction
@each_length
@each_cell
def test_every_row_is_assigned_and_nothing_read_only_is_written(cell, lengths, reverse):
    p = make_small(cell, lengths, reverse)
    initial = {name: leaves(p)[name].copy() for name in leaves(p)}
    for array in (p.x, p.steps, p.dy, *p.weights.values()):
        array.flags.writeable = False
    reference_forward(p)
    for buffer in (p.h, p.c, None if cell.startswith("rnn") else p.gates):
        assert buffer is None or np.isfinite(buffer).all()
    for buffer in (p.h, p.c):
        if buffer is not None:
            buffer.flags.writeable = False
    reference_backward(p)
    assert np.isfinite(p.gates).all()
    for name, array in leaves(p).items():
        np.testing.assert_array_equal(array, initial[name], err_msg=name)


@each_cell
def test_gradients_of_empty_rows_pass_through(cell):
    p = make_small(cell, [3, 1, 0, 0], reverse=False)
    dh, dc = p.dh[2:].copy(), None if p.dc is None else p.dc[2:].copy()
    reference_forward(p)
    gradients = reference_backward(p)
    np.testing.assert_array_equal(gradients["h"][2:], dh)
    if dc is not None:
        np.testing.assert_array_equal(gradients["c"][2:], dc)


@each_direction
@each_cell
def test_no_valid_step(cell, reverse):
    p = make_problem(cell, [0, 0], N_FEATURES, N_HIDDEN, reverse)
    dh = p.dh.copy()
    reference_forward(p)
    gradients = reference_backward(p)
    np.testing.assert_array_equal(gradients["h"], dh)
    assert all(not np.any(gradients[name]) for name in p.weights)


def test_sigmoid_neither_overflows_nor_hides_nan():
    z = np.array([-np.inf, -1e4, -2.0, 0.0, 2.0, 1e4, np.inf, np.nan])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        actual = reference.sigmoid(z)
    np.testing.assert_allclose(actual[[2, 4]], 1 / (1 + np.exp([2.0, -2.0])), rtol=1e-15)
    np.testing.assert_array_equal(actual[[0, 1, 3, 5, 6, 7]], [0.0, 0.0, 0.5, 1.0, 1.0, np.nan])


# --- PyTorch ---------------------------------------------------------------------------------------------------------

TORCH_NAMES = {"w_ih": "weight_ih_l0", "w_hh": "weight_hh_l0", "bias": "bias_ih_l0"}
TORCH_NAMES |= {"bias_ih": "bias_ih_l0", "bias_hh": "bias_hh_l0"}


def torch_module(torch, p):
    """A bidirectional float64 module whose direction ``p.reverse`` has the problem's weights; and those, by our names.

    PyTorch has two biases where RNN and LSTM here have one: the second is zero.
    """
    kind, options = {
        "rnn_tanh": (torch.nn.RNN, {"nonlinearity": "tanh"}),
        "rnn_relu": (torch.nn.RNN, {"nonlinearity": "relu"}),
        "lstm": (torch.nn.LSTM, {}),
        "gru": (torch.nn.GRU, {}),
    }[p.cell]
    module = kind(p.x.shape[1], p.h.shape[1], bidirectional=True, dtype=torch.float64, **options)
    suffix = "_reverse" if p.reverse else ""
    parameters = {name: getattr(module, TORCH_NAMES[name] + suffix) for name in p.weights}
    with torch.no_grad():
        getattr(module, "bias_hh_l0" + suffix).zero_()
        for name, w in p.weights.items():
            parameters[name].copy_(torch.from_numpy(w))
    return module, parameters


def torch_run(torch, p):
    """States and gradients of the problem by PyTorch: (h_t packed (N, H), final states [h, c]), gradients by name."""
    module, leaf = torch_module(torch, p)
    n_hidden, side = p.h.shape[1], int(p.reverse)
    padded = torch.from_numpy(np.ascontiguousarray(unpack(p.x, p.lengths)))
    for name in ("h", "c") if p.cell == "lstm" else ("h",):
        leaf[name] = torch.from_numpy(leaves(p)[name].copy())
    leaf["x"] = padded
    for name in leaf.keys() - p.weights.keys():
        leaf[name].requires_grad_()

    packed = torch.nn.utils.rnn.pack_padded_sequence(padded, torch.from_numpy(p.lengths), batch_first=True)
    initial = {name: torch.stack([leaf[name], leaf[name]]) for name in ("h", "c") if name in leaf}
    output, final = module(packed, tuple(initial.values()) if p.cell == "lstm" else initial["h"])
    y = output.data[:, side * n_hidden : (side + 1) * n_hidden]
    final = [state[side] for state in (final if p.cell == "lstm" else (final,))]

    value = (torch.from_numpy(p.dy) * y).sum()
    for state, gradient in zip(final, (p.dh, p.dc), strict=False):
        value = value + (torch.from_numpy(gradient) * state).sum()
    value.backward()
    gradients = {name: array.grad.numpy() for name, array in leaf.items()}
    gradients["x"] = pack(gradients["x"], p.lengths)
    return y.detach().numpy(), [state.detach().numpy() for state in final], gradients


@pytest.mark.torch
@each_direction
@pytest.mark.parametrize("lengths", [[7, 5, 5, 2, 1], [6, 6, 6], [9], [1, 1]], ids=str)
@each_cell
def test_states_and_gradients_equal_pytorch(cell, lengths, reverse):
    torch = pytest.importorskip("torch")
    p = make_problem(cell, lengths, 5, 6, reverse, seed=1)
    y, final, expected = torch_run(torch, p)
    reference_forward(p)
    np.testing.assert_allclose(p.h[len(lengths) :], y, rtol=1e-10, atol=1e-10)
    for state, expected_state in zip((p.h, p.c), final, strict=False):
        np.testing.assert_allclose(final_states(p, state), expected_state, rtol=1e-10, atol=1e-10)
    gradients = reference_backward(p)
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-10, atol=1e-10, err_msg=name)
