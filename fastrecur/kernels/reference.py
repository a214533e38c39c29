"""The cells as equations: NumPy, float64, one line an equation. Every compiled kernel is checked against this file.

Letters: T time steps, B batch rows, N packed rows (all valid steps of all rows), F features, H hidden units.
Gate order and weight layout are PyTorch's: LSTM i, f, g, o; GRU r, z, n; ``w_ih`` (G*H, F), ``w_hh`` (G*H, H).

The buffer contract, the same for all cells (the caller allocates, a kernel only fills):

``x`` (N, F)
    Inputs, packed step after step (see `fastrecur.kernels.steps`). Read only.
``steps`` (T, 4)
    The table of `fastrecur.kernels.steps.step_table`. A reversed table makes the reversed direction.
``h``, ``c`` (B + N, H)
    States. The caller fills rows 0..B with the initial state; `forward` assigns row B + n, the state after
    packed row n; `backward` reads them.
``gates`` (N, G*H)
    The record. `forward` assigns the activated gates; `backward` reads them and overwrites them with
    the gradients of the pre-activations. May not alias any other buffer.
``dy`` (N, H)
    Gradient of each h_t from outside the recurrence (the layers above). Read only.
``dh``, ``dc`` (B, H)
    In: gradient of each row's final state. Out: gradient of its initial state.
``mask`` (B, H) or None
    Recurrent dropout: row b multiplies h_{t-1} of row b in W_hh h_{t-1}, at all steps, and nowhere else. Read only.
``dx`` (N, F)
    Assigned.
``dw_ih``, ``dw_hh``, ``dbias`` ...
    Shaped as the parameters. Added to: the caller zeroes them.

The compiled twins in `fastrecur.kernels.cpu` have the same names and the same order of arguments; their hidden
axis is padded and cut into panels (see `fastrecur.kernels.cpu.panels`). Initial states that are all zero they multiply
with nothing, so that a weight of NaN shows one step later; and forward they take an ``h`` of 3 B rows.

References
----------
Elman, "Finding structure in time", Cognitive Science 14 (1990). Hochreiter and Schmidhuber, "Long short-term
memory", Neural Computation 9 (1997), with the forget gate of Gers et al. (2000). Cho et al., "Learning phrase
representations using RNN encoder-decoder" (2014), in the reset-after form of cuDNN and PyTorch.
"""

import numpy as np


def sigmoid(z):
    """1 / (1 + exp(-z)) without overflow."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, e) / (1.0 + e)


def _previous(state, step):
    """State before a step: carried rows from the step before, the others from the initial state."""
    _, rows, carried, before = step
    return np.concatenate([state[before : before + carried], state[carried:rows]])


def _masked(values, mask):
    """The first rows of a batch, (rows, H), times their rows of the mask."""
    return values if mask is None else values * mask[: len(values)]


# --- Elman RNN -------------------------------------------------------------------------------------------------------


def rnn_forward(w_ih, w_hh, bias, x, steps, h, relu=False, mask=None):
    """Elman RNN: h_t = tanh(W_ih x_t + W_hh h_{t-1} + b), or max(0, .) with ``relu``. No record but h itself."""
    n_rows = len(h) - len(x)
    for step in steps:
        at, rows = step[:2]
        z = x[at : at + rows] @ w_ih.T + _masked(_previous(h, step), mask) @ w_hh.T + bias
        h[n_rows + at : n_rows + at + rows] = np.maximum(z, 0.0) if relu else np.tanh(z)


def rnn_backward(w_ih, w_hh, x, steps, h, dgates, dy, dh, dx, dw_ih, dw_hh, dbias, relu=False, mask=None):
    """Backpropagation through time of `rnn_forward`; ``dgates`` (N, H) is scratch: the pre-activations' gradients."""
    n_rows = len(h) - len(x)
    for step in steps[::-1]:
        at, rows = step[:2]
        now = h[n_rows + at : n_rows + at + rows]
        slope = (now > 0) if relu else 1.0 - now**2
        dz = (dh[:rows] + dy[at : at + rows]) * slope
        dgates[at : at + rows] = dz
        dh[:rows] = _masked(dz @ w_hh, mask)
        dw_hh += dz.T @ _masked(_previous(h, step), mask)
    dx[:] = dgates @ w_ih
    dw_ih += dgates.T @ x
    dbias += dgates.sum(axis=0)


def rnn_step(w_ih, w_hh, bias, x, h, relu=False):
    """One step of `rnn_forward`: ``x`` (B, F); ``h`` (B, H) is replaced."""
    z = x @ w_ih.T + h @ w_hh.T + bias
    h[:] = np.maximum(z, 0.0) if relu else np.tanh(z)


# --- LSTM ------------------------------------------------------------------------------------------------------------


def _lstm_cell(z, c):
    """Gates (i, f, g, o) and the new states from the pre-activations (B, 4H) and the old cell state (B, H)."""
    i, f, g, o = np.split(z, 4, axis=1)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    c = f * c + i * g
    return (i, f, g, o), o * np.tanh(c), c


def lstm_forward(w_ih, w_hh, bias, x, steps, h, c, gates, mask=None):
    """LSTM: i, f, o = sigmoid(.), g = tanh(.) of W_ih x_t + W_hh h_{t-1} + b; c_t = f c_{t-1} + i g; h_t = o tanh(c_t).

    ``gates`` (N, 4H) receives i, f, g, o.
    """
    n_rows = len(h) - len(x)
    for step in steps:
        at, rows = step[:2]
        now = slice(n_rows + at, n_rows + at + rows)
        z = x[at : at + rows] @ w_ih.T + _masked(_previous(h, step), mask) @ w_hh.T + bias
        activated, h[now], c[now] = _lstm_cell(z, _previous(c, step))
        gates[at : at + rows] = np.concatenate(activated, axis=1)


def lstm_backward(w_ih, w_hh, x, steps, h, c, gates, dy, dh, dc, dx, dw_ih, dw_hh, dbias, mask=None):
    """Backpropagation through time of `lstm_forward`.

    dc_t += dh_t o (1 - tanh(c_t)^2); dc_{t-1} = f dc_t; dh_{t-1} = W_hh^T dz_t, with dz the gradients before the gates.
    """
    n_rows = len(h) - len(x)
    for step in steps[::-1]:
        at, rows = step[:2]
        i, f, g, o = np.split(gates[at : at + rows], 4, axis=1)
        tanh_c = np.tanh(c[n_rows + at : n_rows + at + rows])
        dh_t = dh[:rows] + dy[at : at + rows]
        dc_t = dc[:rows] + dh_t * o * (1.0 - tanh_c**2)
        di = dc_t * g * i * (1.0 - i)
        df = dc_t * _previous(c, step) * f * (1.0 - f)
        dg = dc_t * i * (1.0 - g**2)
        do = dh_t * tanh_c * o * (1.0 - o)
        dc[:rows] = dc_t * f
        dz = np.concatenate([di, df, dg, do], axis=1)
        gates[at : at + rows] = dz
        dh[:rows] = _masked(dz @ w_hh, mask)
        dw_hh += dz.T @ _masked(_previous(h, step), mask)
    dx[:] = gates @ w_ih
    dw_ih += gates.T @ x
    dbias += gates.sum(axis=0)


def lstm_step(w_ih, w_hh, bias, x, h, c):
    """One step of `lstm_forward`: ``x`` (B, F); ``h`` and ``c`` (B, H) are replaced."""
    _, h[:], c[:] = _lstm_cell(x @ w_ih.T + h @ w_hh.T + bias, c)


# --- GRU -------------------------------------------------------------------------------------------------------------


def _gru_cell(zx, zh, h):
    """Gates (r, z, n, q) and the new state from both pre-activations (B, 3H) and the old state (B, H)."""
    (rx, ux, nx), (rh, uh, q) = np.split(zx, 3, axis=1), np.split(zh, 3, axis=1)
    r, u = sigmoid(rx + rh), sigmoid(ux + uh)
    n = np.tanh(nx + r * q)
    return (r, u, n, q), (1.0 - u) * n + u * h


def gru_forward(w_ih, w_hh, bias_ih, bias_hh, x, steps, h, gates, mask=None):
    """GRU: r, z = sigmoid(.); q = W_hn h_{t-1} + b_hn; n = tanh(W_in x_t + b_in + r q); h_t = (1 - z) n + z h_{t-1}.

    ``gates`` (N, 4H) receives r, z, n and the hidden part q of the candidate.
    """
    n_rows = len(h) - len(x)
    for step in steps:
        at, rows = step[:2]
        h_prev = _previous(h, step)
        zx = x[at : at + rows] @ w_ih.T + bias_ih
        zh = _masked(h_prev, mask) @ w_hh.T + bias_hh
        activated, h[n_rows + at : n_rows + at + rows] = _gru_cell(zx, zh, h_prev)
        gates[at : at + rows] = np.concatenate(activated, axis=1)


def gru_backward(w_ih, w_hh, x, steps, h, gates, dy, dh, dx, dw_ih, dw_hh, dbias_ih, dbias_hh, mask=None):
    """Backpropagation through time of `gru_forward`; ``gates`` ends as the gradients of (r, z, n, q)."""
    n_hidden = h.shape[1]
    for step in steps[::-1]:
        at, rows = step[:2]
        r, u, n, q = np.split(gates[at : at + rows], 4, axis=1)
        h_prev = _previous(h, step)
        dh_t = dh[:rows] + dy[at : at + rows]
        dn = dh_t * (1.0 - u) * (1.0 - n**2)
        du = dh_t * (h_prev - n) * u * (1.0 - u)
        dr = dn * q * r * (1.0 - r)
        dq = dn * r
        dzh = np.concatenate([dr, du, dq], axis=1)
        dh[:rows] = dh_t * u + _masked(dzh @ w_hh, mask)
        gates[at : at + rows] = np.concatenate([dr, du, dn, dq], axis=1)  # only now: r, u, n, q are views of it
        dw_hh += dzh.T @ _masked(h_prev, mask)
        dbias_hh += dzh.sum(axis=0)
    dzx = gates[:, : 3 * n_hidden]
    dx[:] = dzx @ w_ih
    dw_ih += dzx.T @ x
    dbias_ih += dzx.sum(axis=0)


def gru_step(w_ih, w_hh, bias_ih, bias_hh, x, h):
    """One step of `gru_forward`: ``x`` (B, F); ``h`` (B, H) is replaced."""
    _, h[:] = _gru_cell(x @ w_ih.T + bias_ih, h @ w_hh.T + bias_hh, h)
