"""GRU on the GPU: the twins of `fastrecur.kernels.reference.gru_forward`, ``gru_backward`` and ``gru_step``.

The kernels here keep a tile of sequences in one block (see `fastrecur.kernels.cuda.layout`); for larger H those of
`fastrecur.kernels.cuda.stepwise` run behind the same names.
"""

from fastrecur.kernels.cuda import equations, products, stepwise
from fastrecur.kernels.cuda.layout import PIECE, block_layout, in_one_block
from fastrecur.kernels.cuda.recurrence import column_product
from fastrecur.kernels.cuda.runtime import Kernel, cuda, n_multiprocessors, no_array


def _threads(layout):
    return 3 * layout.n_hidden


@Kernel("r2 r2 i2 r3 i i r2 r2 b b", _threads)
def forward(layout):
    """The recurrence of `gru_forward`: thread j holds column j of W_hh^T and computes r, z or q of its unit.

    No race: shared ``h_now`` is read by all threads in the product and written by the
    owners of its units after a barrier that all reads precede. ``gates`` is written before that
    barrier and read behind it. A second barrier closes the step. In device memory each number of ``h`` is written by
    one thread; x W + b lies in the columns r, z, n of ``record``: those of r and z are overwritten by the thread that
    read them, those of n behind the barrier.
    """
    n_hidden, rows, real, pieces = layout.n_hidden, layout.rows, layout.real, layout.pieces
    n_threads, n_units = 3 * n_hidden, rows * n_hidden
    n_items = -(-n_units // n_threads)
    second, third, fourth = (PIECE if pieces > n else 1 for n in (1, 2, 3))
    sigmoid, _ = equations.activations(layout)
    state, _ = equations.gru(layout)
    load, add = column_product(layout)

    def gru_forward(w_hh_t, bias_hh, steps, h, direction, n_rows, record, mask, masked, keep):
        h_now = cuda.shared.array((1, rows, n_hidden), real)
        gates = cuda.shared.array((4, rows, n_hidden), real)
        w0 = cuda.local.array(PIECE, real)
        w1 = cuda.local.array(second, real)
        w2 = cuda.local.array(third, real)
        w3 = cuda.local.array(fourth, real)
        z = cuda.local.array(rows, real)
        x_part = cuda.local.array(rows, real)
        ahead = cuda.local.array(rows, real)
        h_own = cuda.local.array(n_items, real)
        drop = cuda.local.array(n_items, real)
        j = cuda.threadIdx.x
        gate = j // n_hidden
        unit = j % n_hidden
        first = cuda.blockIdx.x * rows
        load(w0, w1, w2, w3, w_hh_t, 0, j)
        bias = bias_hh[0, j]
        for q in range(n_items):
            i = j + q * n_threads
            drop[q] = real(1)
            h_own[q] = real(0)
            if i < n_units:
                r = i // n_hidden
                u = i % n_hidden
                b = first + r
                if b < n_rows:
                    if masked:
                        drop[q] = mask[b, u]
                    h_own[q] = h[b, direction, u]
                h_now[0, r, u] = h_own[q] * drop[q]
        at = steps[0, 0] + first
        alive = steps[0, 1] - first
        for r in range(rows):
            ahead[r] = record[at + r, j] if r < alive else real(0)
        cuda.syncthreads()
        for s in range(steps.shape[0]):
            at = steps[s, 0] + first
            alive = steps[s, 1] - first
            for r in range(rows):
                x_part[r] = ahead[r]
                z[r] = bias
            if s + 1 < steps.shape[0]:  # on their way while this step is computed
                next_at = steps[s + 1, 0] + first
                next_alive = steps[s + 1, 1] - first
                for r in range(rows):
                    ahead[r] = record[next_at + r, j] if r < next_alive else real(0)
            if alive > 0:  # the same in all threads of the block
                add(w0, w1, w2, w3, w_hh_t, 0, j, h_now, 0, z, h.shape[2])
                for r in range(rows):
                    if gate == 2:
                        gates[2, r, unit] = x_part[r]
                        gates[3, r, unit] = z[r]
                    else:
                        value = sigmoid(x_part[r] + z[r])
                        gates[gate, r, unit] = value
                        if keep and r < alive:
                            record[at + r, j] = value
                cuda.syncthreads()
                for q in range(n_items):
                    i = j + q * n_threads
                    r = i // n_hidden
                    u = i % n_hidden
                    if i < n_units and r < alive:
                        hidden_part = gates[3, r, u]
                        n_t, h_t = state(gates[0, r, u], gates[1, r, u], gates[2, r, u], hidden_part, h_own[q])
                        h_own[q] = h_t
                        h_now[0, r, u] = h_t * drop[q]
                        h[n_rows + at + r, direction, u] = h_t
                        if keep:
                            record[at + r, 2 * n_hidden + u] = n_t
                            record[at + r, 3 * n_hidden + u] = hidden_part
                cuda.syncthreads()

    return gru_forward


@Kernel("r2 i2 r3 i i r2 r3 b r2 r2 b", _threads)
def backward(layout):
    """The recurrence of `gru_backward`: thread (g, k) holds column k of the rows of gate g of W_hh.

    Its products with the gradient of gate g are parts of dh_{t-1} of unit k; the owner of the unit adds up the three,
    always in the same order, and what comes past the gates, dh_t z.

    No race: ``dz`` is written by the owners and read by all threads behind a barrier; ``parts`` is written then and
    read by the owners behind a second one. The owners write the next ``dz`` after that barrier, which all reads of the
    old one precede, and the next ``parts`` come after the next barrier, which the owners' reads precede. dh of a unit
    belongs to its owner, as do the four numbers of ``record`` that it reads and then overwrites.
    """
    n_hidden, rows, real, pieces = layout.n_hidden, layout.rows, layout.real, layout.pieces
    n_threads, n_units = 3 * n_hidden, rows * n_hidden
    n_items = -(-n_units // n_threads)
    second, third, fourth = (PIECE if pieces > n else 1 for n in (1, 2, 3))
    _, gradient = equations.gru(layout)
    load, add = column_product(layout)

    def gru_backward(w_hh, steps, h, direction, n_rows, record, dy, has_dy, dh, mask, masked):
        dz = cuda.shared.array((3, rows, n_hidden), real)
        parts = cuda.shared.array((3, rows, n_hidden), real)
        w0 = cuda.local.array(PIECE, real)
        w1 = cuda.local.array(second, real)
        w2 = cuda.local.array(third, real)
        w3 = cuda.local.array(fourth, real)
        z = cuda.local.array(rows, real)
        dh_now = cuda.local.array(n_items, real)
        drop = cuda.local.array(n_items, real)
        j = cuda.threadIdx.x
        gate = j // n_hidden
        unit = j % n_hidden
        first = cuda.blockIdx.x * rows
        load(w0, w1, w2, w3, w_hh, gate * n_hidden, unit)
        for r in range(rows):
            dz[gate, r, unit] = real(0)
        for q in range(n_items):
            i = j + q * n_threads
            b = first + i // n_hidden
            u = i % n_hidden
            dh_now[q] = real(0)
            drop[q] = real(1)
            if i < n_units and b < n_rows:
                dh_now[q] = dh[b, u]
                if masked:
                    drop[q] = mask[b, u]
        cuda.syncthreads()
        for back in range(steps.shape[0]):
            s = steps.shape[0] - 1 - back
            at = steps[s, 0] + first
            alive = steps[s, 1] - first
            if alive > 0:  # the same in all threads of the block
                for q in range(n_items):
                    i = j + q * n_threads
                    r = i // n_hidden
                    u = i % n_hidden
                    if i < n_units and r < alive:
                        n = at + r
                        b = first + r
                        before = steps[s, 3] + b if b < steps[s, 2] else b
                        r_t = record[n, u]
                        z_t = record[n, n_hidden + u]
                        n_t = record[n, 2 * n_hidden + u]
                        hidden_part = record[n, 3 * n_hidden + u]
                        dh_t = dh_now[q]
                        if has_dy:
                            dh_t += dy[n, direction, u]
                        dr, du, dn, dq, dh_now[q] = gradient(r_t, z_t, n_t, hidden_part, h[before, direction, u], dh_t)
                        dz[0, r, u] = dr
                        dz[1, r, u] = du
                        dz[2, r, u] = dq
                        record[n, u] = dr
                        record[n, n_hidden + u] = du
                        record[n, 2 * n_hidden + u] = dn
                        record[n, 3 * n_hidden + u] = dq
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
                    u = i % n_hidden
                    if i < n_units and r < alive:
                        dh_now[q] += (parts[0, r, u] + parts[1, r, u] + parts[2, r, u]) * drop[q]
        for q in range(n_items):
            i = j + q * n_threads
            b = first + i // n_hidden
            if i < n_units and b < n_rows:
                dh[b, i % n_hidden] = dh_now[q]

    return gru_backward


def gru_forward(
    w_ih, w_hh_t, bias_ih, bias_hh, x, steps, h, gates, scratch, direction=0, mask=None, keep=True, stream=0
):  # fmt: skip
    """Twin of `fastrecur.kernels.reference.gru_forward` on device arrays, H padded with zero weights.

    Parameters
    ----------
    w_ih : device array of shape (3H, I)
    w_hh_t : device array of shape (H, 3H)
        W_hh transposed: threads side by side read its columns.
    bias_ih, bias_hh : device arrays of shape (1, 3H)
    x : device array of shape (N, I)
    steps : fastrecur.kernels.cuda.steps.Steps
    h : device array of shape (B + N, D, H)
        ``direction`` is read and written.
    gates : device array of shape (N, 4H)
        Without ``keep`` scratch.
    scratch : device array of one axis
        As long as `fastrecur.kernels.cuda.layout.scratch` says.
    mask : device array of shape (B, H), optional
    """
    n_hidden, n_packed, n_rows = h.shape[2], x.shape[0], h.shape[0] - x.shape[0]
    products.multiply(x, w_ih, gates, n_packed, 3 * n_hidden, x.shape[1], False, True, bias=bias_ih, stream=stream)
    masked, mask = mask is not None, no_array(2, str(h.dtype)) if mask is None else mask
    if in_one_block(n_hidden):
        layout = block_layout(n_hidden, n_rows, h.dtype, n_multiprocessors())
        given = w_hh_t, bias_hh, steps.device, h, direction, n_rows, gates, mask, masked, keep
        forward.launch(layout, -(-n_rows // layout.rows), *given, stream=stream)
    else:
        size = n_rows * n_hidden
        h_now = scratch[:size].reshape(n_rows, n_hidden)
        hidden_part = scratch[size : 4 * size].reshape(n_rows, 3 * n_hidden)
        given = w_hh_t, bias_hh, steps, h, direction, n_rows, (hidden_part, gates, keep), gates, mask, masked, h_now
        stepwise.walk_forward(stepwise.gru_cell, *given, stream)


def gru_backward(
    w_ih, w_hh, x, steps, h, gates, dy, dh, dx, dw_ih, dw_hh, dbias_ih, dbias_hh, parts, scratch, direction=0,
    mask=None, add_dx=False, stream=0,
):  # fmt: skip
    """Twin of `fastrecur.kernels.reference.gru_backward`: see `gru_forward`, and `products.weight_gradients`.

    ``dy`` (N, D, H) and ``dx`` (N, I) may be None; with ``add_dx`` dx is added to. ``parts`` is scratch of the sums.
    """
    n_hidden, n_rows, dtype = h.shape[2], h.shape[0] - x.shape[0], str(h.dtype)
    masked, mask_or_none, mask = mask is not None, mask, no_array(2, dtype) if mask is None else mask
    has_dy, dy = dy is not None, no_array(3, dtype) if dy is None else dy
    if in_one_block(n_hidden):
        layout = block_layout(n_hidden, n_rows, dtype, n_multiprocessors())
        given = w_hh, steps.device, h, direction, n_rows, gates, dy, has_dy, dh, mask, masked
        backward.launch(layout, -(-n_rows // layout.rows), *given, stream=stream)
    else:
        past = scratch[: n_rows * n_hidden].reshape(n_rows, n_hidden)
        given = w_hh, steps, h, direction, n_rows, (gates, dy, has_dy, dh, past), gates, dh, past, mask, masked
        stepwise.walk_backward(stepwise.gru_gradient, *given, stream)
    if dx is not None:
        products.multiply(gates, w_ih, dx, x.shape[0], x.shape[1], 3 * n_hidden, add=add_dx, stream=stream)
    products.weight_gradients(gates, 0, 3 * n_hidden, x, dw_ih, dbias_ih, parts, stream)
    before = products.states_before(h, direction, steps, mask_or_none, scratch, stream)
    for first, count, row in ((0, 2 * n_hidden, 0), (3 * n_hidden, n_hidden, 2 * n_hidden)):  # r and z, then q
        products.recurrent_gradient(gates, first, count, before, dw_hh, row, parts, stream)
        products.add_column_sums(gates, dbias_hh, x.shape[0], count, parts, first, row, stream)


def gru_step(w_ih, w_hh_t, bias_ih, bias_hh, x, h, gates, steps, scratch, stream=0):
    """Twin of `fastrecur.kernels.reference.gru_step`: ``h`` (2 B, 1, H), the new states come behind the old ones.

    ``steps`` is the table of one step of B rows.
    """
    gru_forward(w_ih, w_hh_t, bias_ih, bias_hh, x, steps, h, gates, scratch, keep=False, stream=stream)
