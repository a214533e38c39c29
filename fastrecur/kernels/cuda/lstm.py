"""LSTM on the GPU: the twins of `fastrecur.kernels.reference.lstm_forward`, ``lstm_backward`` and ``lstm_step``.

The kernels here keep a tile of sequences in one block (see `fastrecur.kernels.cuda.layout`); for larger H those of
`fastrecur.kernels.cuda.stepwise` run behind the same names.
"""

from fastrecur.kernels.cuda import equations, products, stepwise
from fastrecur.kernels.cuda.layout import PIECE, block_layout, in_one_block
from fastrecur.kernels.cuda.recurrence import column_product
from fastrecur.kernels.cuda.runtime import Kernel, cuda, n_multiprocessors, no_array


def _threads(layout):
    return 4 * layout.n_hidden


@Kernel("r2 i2 r3 i i r2 r2 r2 b b", _threads)
def forward(layout):
    """The recurrence of `lstm_forward`: thread j holds column j of W_hh^T and computes gate j of every row of its tile.

    No race: shared ``h_now`` is read by all threads in the product and written by the owners of its units after a
    barrier that all reads precede; ``gates`` is written before that barrier and read behind it; c stays with the owner
    of the unit. A second barrier closes the step. In device memory each number of ``record``, h and c is
    written by one thread, and a row of ``record`` holds x W + b until the very thread that read it overwrites it.
    """
    n_hidden, rows, real, pieces = layout.n_hidden, layout.rows, layout.real, layout.pieces
    n_threads, n_units = 4 * n_hidden, rows * n_hidden
    n_items = -(-n_units // n_threads)
    second, third, fourth = (PIECE if pieces > n else 1 for n in (1, 2, 3))
    sigmoid, tanh = equations.activations(layout)
    state, _ = equations.lstm(layout)
    load, add = column_product(layout)

    def lstm_forward(w_hh_t, steps, h, direction, n_rows, c, record, mask, masked, keep):
        h_now = cuda.shared.array((1, rows, n_hidden), real)
        c_now = cuda.local.array(n_items, real)
        gates = cuda.shared.array((4, rows, n_hidden), real)
        w0 = cuda.local.array(PIECE, real)
        w1 = cuda.local.array(second, real)
        w2 = cuda.local.array(third, real)
        w3 = cuda.local.array(fourth, real)
        z = cuda.local.array(rows, real)
        ahead = cuda.local.array(rows, real)
        drop = cuda.local.array(n_items, real)
        j = cuda.threadIdx.x
        gate = j // n_hidden
        unit = j % n_hidden
        first = cuda.blockIdx.x * rows
        load(w0, w1, w2, w3, w_hh_t, 0, j)
        for q in range(n_items):
            i = j + q * n_threads
            drop[q] = real(1)
            c_now[q] = real(0)
            if i < n_units:
                r = i // n_hidden
                u = i % n_hidden
                b = first + r
                h_now[0, r, u] = real(0)
                if b < n_rows:
                    if masked:
                        drop[q] = mask[b, u]
                    h_now[0, r, u] = h[b, direction, u] * drop[q]
                    c_now[q] = c[b, u]
        at = steps[0, 0] + first
        alive = steps[0, 1] - first
        for r in range(rows):
            ahead[r] = record[at + r, j] if r < alive else real(0)
        cuda.syncthreads()
        for s in range(steps.shape[0]):
            at = steps[s, 0] + first
            alive = steps[s, 1] - first
            for r in range(rows):
                z[r] = ahead[r]
            if s + 1 < steps.shape[0]:  # on their way while this step is computed
                next_at = steps[s + 1, 0] + first
                next_alive = steps[s + 1, 1] - first
                for r in range(rows):
                    ahead[r] = record[next_at + r, j] if r < next_alive else real(0)
            if alive > 0:  # the same in all threads of the block
                add(w0, w1, w2, w3, w_hh_t, 0, j, h_now, 0, z, h.shape[2])
                for r in range(rows):
                    value = tanh(z[r]) if gate == 2 else sigmoid(z[r])
                    gates[gate, r, unit] = value
                    if keep and r < alive:
                        record[at + r, j] = value
                cuda.syncthreads()
                for q in range(n_items):
                    i = j + q * n_threads
                    r = i // n_hidden
                    u = i % n_hidden
                    if i < n_units and r < alive:
                        c_t, h_t = state(gates[0, r, u], gates[1, r, u], gates[2, r, u], gates[3, r, u], c_now[q])
                        c_now[q] = c_t
                        h_now[0, r, u] = h_t * drop[q]
                        h[n_rows + at + r, direction, u] = h_t
                        if keep:
                            c[n_rows + at + r, u] = c_t
                cuda.syncthreads()
        if not keep:
            for q in range(n_items):
                i = j + q * n_threads
                b = first + i // n_hidden
                if i < n_units and b < n_rows:
                    c[b, i % n_hidden] = c_now[q]

    return lstm_forward


@Kernel("r2 i2 r3 i i r2 r2 r3 b r2 r2 r2 b", _threads)
def backward(layout):
    """The recurrence of `lstm_backward`: thread (g, k) holds column k of the rows of gate g of W_hh.

    Its products with dz of gate g are parts of dh_{t-1} of unit k; the owner of the unit adds up the four, always in
    the same order.

    No race: ``dz`` is written by the owners and read by all threads behind a barrier; ``parts`` is written then and
    read by the owners behind a second one. The owners write the next ``dz`` after that barrier, which all reads of the
    old one precede, and the next ``parts`` come after the next barrier, which the owners' reads precede. dh and dc of a
    unit belong to its owner, as do the four numbers of ``record`` that it reads and then overwrites.
    """
    n_hidden, rows, real, pieces = layout.n_hidden, layout.rows, layout.real, layout.pieces
    n_threads, n_units = 4 * n_hidden, rows * n_hidden
    n_items = -(-n_units // n_threads)
    second, third, fourth = (PIECE if pieces > n else 1 for n in (1, 2, 3))
    _, gradient = equations.lstm(layout)
    load, add = column_product(layout)

    def lstm_backward(w_hh, steps, h, direction, n_rows, c, record, dy, has_dy, dh, dc, mask, masked):
        dz = cuda.shared.array((4, rows, n_hidden), real)
        parts = cuda.shared.array((4, rows, n_hidden), real)
        w0 = cuda.local.array(PIECE, real)
        w1 = cuda.local.array(second, real)
        w2 = cuda.local.array(third, real)
        w3 = cuda.local.array(fourth, real)
        z = cuda.local.array(rows, real)
        dh_now = cuda.local.array(n_items, real)
        dc_now = cuda.local.array(n_items, real)
        drop = cuda.local.array(n_items, real)
        j = cuda.threadIdx.x
        first = cuda.blockIdx.x * rows
        gate = j // n_hidden
        unit = j % n_hidden
        load(w0, w1, w2, w3, w_hh, gate * n_hidden, unit)
        for r in range(rows):
            dz[gate, r, unit] = real(0)
        for q in range(n_items):
            i = j + q * n_threads
            b = first + i // n_hidden
            u = i % n_hidden
            dh_now[q] = real(0)
            dc_now[q] = real(0)
            drop[q] = real(1)
            if i < n_units and b < n_rows:
                dh_now[q] = dh[b, u]
                dc_now[q] = dc[b, u]
                if masked:
                    drop[q] = mask[b, u]
        cuda.syncthreads()
        for back in range(steps.shape[0]):
            s = steps.shape[0] - 1 - back
            at = steps[s, 0] + first
            alive = steps[s, 1] - first
            if alive > 0:
                for q in range(n_items):
                    i = j + q * n_threads
                    r = i // n_hidden
                    u = i % n_hidden
                    if i < n_units and r < alive:
                        n = at + r
                        b = first + r
                        before = steps[s, 3] + b if b < steps[s, 2] else b
                        i_t = record[n, u]
                        f_t = record[n, n_hidden + u]
                        g_t = record[n, 2 * n_hidden + u]
                        o_t = record[n, 3 * n_hidden + u]
                        dh_t = dh_now[q]
                        if has_dy:
                            dh_t += dy[n, direction, u]
                        di, df, dg, do, dc_now[q] = gradient(
                            i_t, f_t, g_t, o_t, c[before, u], c[n_rows + n, u], dh_t, dc_now[q]
                        )
                        dz[0, r, u] = di
                        dz[1, r, u] = df
                        dz[2, r, u] = dg
                        dz[3, r, u] = do
                        record[n, u] = di
                        record[n, n_hidden + u] = df
                        record[n, 2 * n_hidden + u] = dg
                        record[n, 3 * n_hidden + u] = do
                cuda.syncthreads()
                for r in range(rows):
                    z[r] = real(0)
                add(w0, w1, w2, w3, w_hh, gate * n_hidden, unit, dz, gate, z, h.shape[2])
                for r in range(rows):
                    parts[gate, r, unit] = z[r]
                cuda.syncthreads()
                for q in range(n_items):
                    i = j + q * n_threads
                    r = i // n_hidden
                    if i < n_units and r < alive:
                        u = i % n_hidden
                        left = parts[0, r, u] + parts[1, r, u]
                        dh_now[q] = (left + (parts[2, r, u] + parts[3, r, u])) * drop[q]
        for q in range(n_items):
            i = j + q * n_threads
            b = first + i // n_hidden
            if i < n_units and b < n_rows:
                dh[b, i % n_hidden] = dh_now[q]
                dc[b, i % n_hidden] = dc_now[q]

    return lstm_backward


def lstm_forward(w_ih, w_hh_t, bias, x, steps, h, c, gates, scratch, direction=0, mask=None, keep=True, stream=0):
    """Twin of `fastrecur.kernels.reference.lstm_forward` on device arrays, H padded with zero weights.

    Parameters
    ----------
    w_ih : device array of shape (4H, I)
    w_hh_t : device array of shape (H, 4H)
        W_hh transposed: threads side by side read its columns.
    bias : device array of shape (1, 4H)
    x : device array of shape (N, I)
    steps : fastrecur.kernels.cuda.steps.Steps
    h : device array of shape (B + N, D, H)
        ``direction`` is read and written.
    c : device array of shape (B + N, H) or, without ``keep``, (B, H)
        Without ``keep`` the initial states are replaced: they end as the final states.
    gates : device array of shape (N, 4H)
        Without ``keep`` scratch.
    scratch : device array of one axis
        As long as `fastrecur.kernels.cuda.layout.scratch` says.
    mask : device array of shape (B, H), optional
    """
    n_hidden, n_packed, n_rows = h.shape[2], x.shape[0], h.shape[0] - x.shape[0]
    products.multiply(x, w_ih, gates, n_packed, 4 * n_hidden, x.shape[1], False, True, bias=bias, stream=stream)
    masked, mask = mask is not None, no_array(2, str(h.dtype)) if mask is None else mask
    if in_one_block(n_hidden):
        layout = block_layout(n_hidden, n_rows, h.dtype, n_multiprocessors())
        given = w_hh_t, steps.device, h, direction, n_rows, c, gates, mask, masked, keep
        forward.launch(layout, -(-n_rows // layout.rows), *given, stream=stream)
    else:
        h_now = scratch[: n_rows * n_hidden].reshape(n_rows, n_hidden)
        given = w_hh_t, None, steps, h, direction, n_rows, (c, gates, keep), gates, mask, masked, h_now
        stepwise.walk_forward(stepwise.lstm_cell, *given, stream)


def lstm_backward(
    w_ih, w_hh, x, steps, h, c, gates, dy, dh, dc, dx, dw_ih, dw_hh, dbias, parts, scratch, direction=0, mask=None,
    add_dx=False, stream=0,
):  # fmt: skip
    """Twin of `fastrecur.kernels.reference.lstm_backward`: see `lstm_forward`, and `products.weight_gradients`.

    ``dy`` (N, D, H) and ``dx`` (N, I) may be None; with ``add_dx`` dx is added to. ``parts`` is scratch of the sums.
    """
    n_hidden, n_rows, dtype = h.shape[2], h.shape[0] - x.shape[0], str(h.dtype)
    masked, mask_or_none, mask = mask is not None, mask, no_array(2, dtype) if mask is None else mask
    has_dy, dy = dy is not None, no_array(3, dtype) if dy is None else dy
    if in_one_block(n_hidden):
        layout = block_layout(n_hidden, n_rows, dtype, n_multiprocessors())
        given = w_hh, steps.device, h, direction, n_rows, c, gates, dy, has_dy, dh, dc, mask, masked
        backward.launch(layout, -(-n_rows // layout.rows), *given, stream=stream)
    else:
        given = w_hh, steps, h, direction, n_rows, (c, gates, dy, has_dy, dh, dc), gates, dh, None, mask, masked
        stepwise.walk_backward(stepwise.lstm_gradient, *given, stream)
    if dx is not None:
        products.multiply(gates, w_ih, dx, x.shape[0], x.shape[1], 4 * n_hidden, add=add_dx, stream=stream)
    products.weight_gradients(gates, 0, 4 * n_hidden, x, dw_ih, dbias, parts, stream)
    before = products.states_before(h, direction, steps, mask_or_none, scratch, stream)
    products.recurrent_gradient(gates, 0, 4 * n_hidden, before, dw_hh, 0, parts, stream)


def lstm_step(w_ih, w_hh_t, bias, x, h, c, gates, steps, scratch, stream=0):
    """Twin of `fastrecur.kernels.reference.lstm_step`: ``c`` (B, H) is replaced.

    Of ``h`` (2 B, 1, H) the new states come behind the old ones. ``steps`` is the table of one step of B rows.
    """
    lstm_forward(w_ih, w_hh_t, bias, x, steps, h, c, gates, scratch, keep=False, stream=stream)
