"""Elman RNN on the GPU: the twins of `fastrecur.kernels.reference.rnn_forward`, ``rnn_backward`` and ``rnn_step``.

The kernels here keep a tile of sequences in one block (see `fastrecur.kernels.cuda.layout`); for larger H those of
`fastrecur.kernels.cuda.stepwise` run behind the same names.
"""

from fastrecur.kernels.cuda import equations, products, stepwise
from fastrecur.kernels.cuda.layout import PIECE, block_layout, in_one_block
from fastrecur.kernels.cuda.recurrence import column_product
from fastrecur.kernels.cuda.runtime import Kernel, cuda, n_multiprocessors, no_array


def _threads(layout):
    return layout.n_hidden


@Kernel("r2 i2 r3 i i b r2 b", _threads)
def forward(layout):
    """The recurrence of `rnn_forward`: thread j holds column j of W_hh^T and computes unit j of every row of its tile.

    No race: shared ``halves`` hold h in turn. A step reads the one and writes the other, and its barrier stands between
    these writes and the reads of the next step, and between these reads and the writes of the next step. In device
    memory each number of ``h`` is read (as x W + b) and overwritten by the same thread.
    """
    n_hidden, rows, real, pieces = layout.n_hidden, layout.rows, layout.real, layout.pieces
    second, third, fourth = (PIECE if pieces > n else 1 for n in (1, 2, 3))
    zero = real(0)
    load, add = column_product(layout)
    state, _ = equations.rnn(layout)

    def rnn_forward(w_hh_t, steps, h, direction, n_rows, relu, mask, masked):
        halves = cuda.shared.array((2, rows, n_hidden), real)
        w0 = cuda.local.array(PIECE, real)
        w1 = cuda.local.array(second, real)
        w2 = cuda.local.array(third, real)
        w3 = cuda.local.array(fourth, real)
        z = cuda.local.array(rows, real)
        ahead = cuda.local.array(rows, real)
        drop = cuda.local.array(rows, real)
        j = cuda.threadIdx.x
        first = cuda.blockIdx.x * rows
        load(w0, w1, w2, w3, w_hh_t, 0, j)
        for r in range(rows):
            drop[r] = real(1)
            halves[0, r, j] = zero
            if first + r < n_rows:
                if masked:
                    drop[r] = mask[first + r, j]
                halves[0, r, j] = h[first + r, direction, j] * drop[r]
        at = n_rows + steps[0, 0] + first
        alive = steps[0, 1] - first
        for r in range(rows):
            ahead[r] = h[at + r, direction, j] if r < alive else zero
        cuda.syncthreads()
        now = 0
        for s in range(steps.shape[0]):
            at = n_rows + steps[s, 0] + first
            alive = steps[s, 1] - first
            for r in range(rows):
                z[r] = ahead[r]
            if s + 1 < steps.shape[0]:  # on their way while this step is computed
                next_at = n_rows + steps[s + 1, 0] + first
                next_alive = steps[s + 1, 1] - first
                for r in range(rows):
                    ahead[r] = h[next_at + r, direction, j] if r < next_alive else zero
            if alive > 0:  # the same in all threads of the block
                add(w0, w1, w2, w3, w_hh_t, 0, j, halves, now, z, h.shape[2])
                for r in range(rows):
                    if r < alive:
                        h_t = state(z[r], relu)
                        h[at + r, direction, j] = h_t
                        halves[1 - now, r, j] = h_t * drop[r]
                    else:  # it may begin at a later step
                        halves[1 - now, r, j] = halves[now, r, j]
                now = 1 - now
                cuda.syncthreads()

    return rnn_forward


@Kernel("r2 i2 r3 i i b r2 r3 b r2 r2 b", _threads)
def backward(layout):
    """The recurrence of `rnn_backward`: thread j holds column j of W_hh, and with it dh of unit j of every row.

    No race: shared ``halves`` of dz are written and read in turn as those of `forward`. dh of a unit stays with its
    thread, and each number of ``dgates`` is written by one.
    """
    n_hidden, rows, real, pieces = layout.n_hidden, layout.rows, layout.real, layout.pieces
    second, third, fourth = (PIECE if pieces > n else 1 for n in (1, 2, 3))
    load, add = column_product(layout)
    _, gradient = equations.rnn(layout)
    zero, one = real(0), real(1)

    def rnn_backward(w_hh, steps, h, direction, n_rows, relu, dgates, dy, has_dy, dh, mask, masked):
        halves = cuda.shared.array((2, rows, n_hidden), real)
        w0 = cuda.local.array(PIECE, real)
        w1 = cuda.local.array(second, real)
        w2 = cuda.local.array(third, real)
        w3 = cuda.local.array(fourth, real)
        z = cuda.local.array(rows, real)
        dh_now = cuda.local.array(rows, real)
        drop = cuda.local.array(rows, real)
        j = cuda.threadIdx.x
        first = cuda.blockIdx.x * rows
        load(w0, w1, w2, w3, w_hh, 0, j)
        for r in range(rows):
            halves[0, r, j] = zero
            halves[1, r, j] = zero
            drop[r] = one
            dh_now[r] = zero
            if first + r < n_rows:
                dh_now[r] = dh[first + r, j]
                if masked:
                    drop[r] = mask[first + r, j]
        now = 0
        for back in range(steps.shape[0]):
            s = steps.shape[0] - 1 - back
            at = steps[s, 0] + first
            alive = steps[s, 1] - first
            if alive > 0:  # the same in all threads of the block
                now = 1 - now
                for r in range(rows):
                    if r < alive:
                        n = at + r
                        dh_t = dh_now[r]
                        if has_dy:
                            dh_t += dy[n, direction, j]
                        value = gradient(h[n_rows + n, direction, j], dh_t, relu)
                        halves[now, r, j] = value
                        dgates[n, j] = value
                cuda.syncthreads()
                for r in range(rows):
                    z[r] = zero
                add(w0, w1, w2, w3, w_hh, 0, j, halves, now, z, h.shape[2])
                for r in range(rows):
                    if r < alive:
                        dh_now[r] = z[r] * drop[r]
        for r in range(rows):
            if first + r < n_rows:
                dh[first + r, j] = dh_now[r]

    return rnn_backward


def rnn_forward(w_ih, w_hh_t, bias, x, steps, h, scratch, direction=0, relu=False, mask=None, stream=0):
    """Twin of `fastrecur.kernels.reference.rnn_forward` on device arrays, H padded with zero weights.

    Parameters
    ----------
    w_ih : device array of shape (H, I)
    w_hh_t : device array of shape (H, H)
        W_hh transposed: threads side by side read its columns.
    bias : device array of shape (1, H)
    x : device array of shape (N, I)
    steps : fastrecur.kernels.cuda.steps.Steps
    h : device array of shape (B + N, D, H)
        ``direction`` is read and written.
    scratch : device array of one axis
        As long as `fastrecur.kernels.cuda.layout.scratch` says.
    mask : device array of shape (B, H), optional
    """
    n_hidden, n_packed, n_rows = h.shape[2], x.shape[0], h.shape[0] - x.shape[0]
    flat = h.reshape(h.shape[0], h.shape[1] * n_hidden)
    place = {"c_row": n_rows, "c_first": direction * n_hidden}
    products.multiply(x, w_ih, flat, n_packed, n_hidden, x.shape[1], False, True, **place, bias=bias, stream=stream)
    masked, mask = mask is not None, no_array(2, str(h.dtype)) if mask is None else mask
    if in_one_block(n_hidden):
        layout = block_layout(n_hidden, n_rows, h.dtype, n_multiprocessors())
        given = w_hh_t, steps.device, h, direction, n_rows, relu, mask, masked
        forward.launch(layout, -(-n_rows // layout.rows), *given, stream=stream)
    else:
        h_now = scratch[: n_rows * n_hidden].reshape(n_rows, n_hidden)
        given = w_hh_t, None, steps, h, direction, n_rows, (relu,), flat, mask, masked, h_now
        stepwise.walk_forward(stepwise.rnn_cell, *given, stream)


def rnn_backward(
    w_ih, w_hh, x, steps, h, dgates, dy, dh, dx, dw_ih, dw_hh, dbias, parts, scratch, direction=0, relu=False,
    mask=None, add_dx=False, stream=0,
):  # fmt: skip
    """Twin of `fastrecur.kernels.reference.rnn_backward`: see `rnn_forward`, and `products.weight_gradients`.

    ``dy`` (N, D, H) and ``dx`` (N, I) may be None; with ``add_dx`` dx is added to. ``parts`` is scratch of the sums.
    """
    n_hidden, n_rows, dtype = h.shape[2], h.shape[0] - x.shape[0], str(h.dtype)
    masked, mask_or_none, mask = mask is not None, mask, no_array(2, dtype) if mask is None else mask
    has_dy, dy = dy is not None, no_array(3, dtype) if dy is None else dy
    if in_one_block(n_hidden):
        layout = block_layout(n_hidden, n_rows, dtype, n_multiprocessors())
        given = w_hh, steps.device, h, direction, n_rows, relu, dgates, dy, has_dy, dh, mask, masked
        backward.launch(layout, -(-n_rows // layout.rows), *given, stream=stream)
    else:
        middle = dgates, relu, dh, dy, has_dy, no_array(2, dtype)
        given = w_hh, steps, h, direction, n_rows, middle, dgates, dh, None, mask, masked
        stepwise.walk_backward(stepwise.rnn_gradient, *given, stream)
    if dx is not None:
        products.multiply(dgates, w_ih, dx, x.shape[0], x.shape[1], n_hidden, add=add_dx, stream=stream)
    products.weight_gradients(dgates, 0, n_hidden, x, dw_ih, dbias, parts, stream)
    before = products.states_before(h, direction, steps, mask_or_none, scratch, stream)
    products.recurrent_gradient(dgates, 0, n_hidden, before, dw_hh, 0, parts, stream)


def rnn_step(w_ih, w_hh_t, bias, x, h, steps, scratch, relu=False, stream=0):
    """Twin of `fastrecur.kernels.reference.rnn_step`: ``h`` (2 B, 1, H), the new states come behind the old ones."""
    rnn_forward(w_ih, w_hh_t, bias, x, steps, h, scratch, 0, relu, None, stream)
