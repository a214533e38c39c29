"""The recurrences for an H whose W_hh does not fit on one multiprocessor: each step is launched, which is the barrier.

A step is a product of `fastrecur.kernels.cuda.products` with W_hh, spread over all multiprocessors, and a launch of the
cell's equations, one thread a unit. Launches on one stream follow each other: what one has written the next one reads.
Within a launch no thread waits for another.
"""

from fastrecur.kernels.cuda import equations, products
from fastrecur.kernels.cuda.layout import Layout
from fastrecur.kernels.cuda.runtime import Kernel, block_of, cuda, no_array

_THREADS = block_of(128)

#: What each kernel knows of its step: first packed row, rows, those carried on, and where their states lie.
_STEP = "i i i i"


def _threads(layout):
    return _THREADS


def _layout(dtype):
    return Layout(0, 0, str(dtype))


def _blocks(rows, n_hidden):
    return -(-rows * n_hidden // _THREADS)


@Kernel("r3 i i r2 r2 b", _threads)
def begin(layout):
    """Initial states times the mask, as the first product reads them.

    No race: a thread writes one number of ``h_now``; ``h`` and ``mask`` are only read.
    """

    def begin(h, direction, n_rows, h_now, mask, masked):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        n_hidden = h_now.shape[1]
        if i < n_rows * n_hidden:
            b = i // n_hidden
            u = i % n_hidden
            value = h[b, direction, u]
            h_now[b, u] = value * mask[b, u] if masked else value

    return begin


@Kernel(f"r3 i i r2 r2 b b {_STEP}", _threads)
def rnn_cell(layout):
    """h from the pre-activations, which lie in its place.

    No race: a thread reads and overwrites one number of ``h``, and writes that of ``h_now`` for the same unit. The
    product that wrote the one and read the other before is another launch.
    """
    state, _ = equations.rnn(layout)

    def rnn_cell(h, direction, n_rows, h_now, mask, masked, relu, at, rows, carried, before):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        n_hidden = h_now.shape[1]
        if i < rows * n_hidden:
            b = i // n_hidden
            u = i % n_hidden
            value = state(h[n_rows + at + b, direction, u], relu)
            h[n_rows + at + b, direction, u] = value
            h_now[b, u] = value * mask[b, u] if masked else value

    return rnn_cell


@Kernel(f"r3 i i r2 b r2 r3 b r2 {_STEP}", _threads)
def rnn_gradient(layout):
    """Gradients of the pre-activations.

    No race: a thread writes one number of ``dgates``, from numbers of its own unit that only earlier launches wrote.
    """
    _, gradient = equations.rnn(layout)

    def rnn_gradient(h, direction, n_rows, dgates, relu, dh, dy, has_dy, unused, at, rows, carried, before):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        n_hidden = dh.shape[1]
        if i < rows * n_hidden:
            b = i // n_hidden
            u = i % n_hidden
            dh_t = dh[b, u]
            if has_dy:
                dh_t += dy[at + b, direction, u]
            dgates[at + b, u] = gradient(h[n_rows + at + b, direction, u], dh_t, relu)

    return rnn_gradient


@Kernel(f"r3 i i r2 r2 b r2 r2 b {_STEP}", _threads)
def lstm_cell(layout):
    """i, f, g, o, c and h from the pre-activations in ``record``.

    No race: of its unit and row a thread reads the four numbers of ``record`` and overwrites them, and writes c, h and
    ``h_now``. Without ``keep`` it reads the c that it overwrites. With it, it reads the c of the step before, in a row
    that belongs to no step of this launch.
    """
    sigmoid, tanh = equations.activations(layout)
    state, _ = equations.lstm(layout)

    def lstm_cell(h, direction, n_rows, h_now, mask, masked, c, record, keep, at, rows, carried, before):
        index = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        n_hidden = h_now.shape[1]
        if index < rows * n_hidden:
            b = index // n_hidden
            u = index % n_hidden
            n = at + b
            i = sigmoid(record[n, u])
            f = sigmoid(record[n, n_hidden + u])
            g = tanh(record[n, 2 * n_hidden + u])
            o = sigmoid(record[n, 3 * n_hidden + u])
            source = b
            if keep and b < carried:
                source = before + b
            c_t, h_t = state(i, f, g, o, c[source, u])
            h[n_rows + n, direction, u] = h_t
            h_now[b, u] = h_t * mask[b, u] if masked else h_t
            if keep:
                c[n_rows + n, u] = c_t
                record[n, u] = i
                record[n, n_hidden + u] = f
                record[n, 2 * n_hidden + u] = g
                record[n, 3 * n_hidden + u] = o
            else:
                c[b, u] = c_t

    return lstm_cell


@Kernel(f"r3 i i r2 r2 r3 b r2 r2 {_STEP}", _threads)
def lstm_gradient(layout):
    """Gradients of the pre-activations, over the gates; dc of the step before.

    No race: the four numbers of ``record`` and the one of ``dc`` that a thread reads and overwrites are those of its
    unit and row; states and gradients of h are only read.
    """
    _, gradient = equations.lstm(layout)

    def lstm_gradient(h, direction, n_rows, c, record, dy, has_dy, dh, dc, at, rows, carried, before):
        index = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        n_hidden = dh.shape[1]
        if index < rows * n_hidden:
            b = index // n_hidden
            u = index % n_hidden
            n = at + b
            i = record[n, u]
            f = record[n, n_hidden + u]
            g = record[n, 2 * n_hidden + u]
            o = record[n, 3 * n_hidden + u]
            dh_t = dh[b, u]
            if has_dy:
                dh_t += dy[n, direction, u]
            c_before = c[before + b if b < carried else b, u]
            di, df, dg, do, dc[b, u] = gradient(i, f, g, o, c_before, c[n_rows + n, u], dh_t, dc[b, u])
            record[n, u] = di
            record[n, n_hidden + u] = df
            record[n, 2 * n_hidden + u] = dg
            record[n, 3 * n_hidden + u] = do

    return lstm_gradient


@Kernel(f"r3 i i r2 r2 b r2 r2 b {_STEP}", _threads)
def gru_cell(layout):
    """r, z, n, q and h from both pre-activations: of x in ``record``, of h in ``hidden_part`` (B, 3 H).

    No race: of its unit and row a thread reads the numbers of ``record`` and overwrites them, and writes h and
    ``h_now``. The h that it reads is that of the step before, in a row that belongs to no step of this launch.
    """
    sigmoid, _ = equations.activations(layout)
    state, _ = equations.gru(layout)

    def gru_cell(h, direction, n_rows, h_now, mask, masked, hidden_part, record, keep, at, rows, carried, before):
        index = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        n_hidden = h_now.shape[1]
        if index < rows * n_hidden:
            b = index // n_hidden
            u = index % n_hidden
            row = at + b
            r = sigmoid(record[row, u] + hidden_part[b, u])
            z = sigmoid(record[row, n_hidden + u] + hidden_part[b, n_hidden + u])
            q = hidden_part[b, 2 * n_hidden + u]
            h_before = h[before + b if b < carried else b, direction, u]
            n, h_t = state(r, z, record[row, 2 * n_hidden + u], q, h_before)
            h[n_rows + row, direction, u] = h_t
            h_now[b, u] = h_t * mask[b, u] if masked else h_t
            if keep:
                record[row, u] = r
                record[row, n_hidden + u] = z
                record[row, 2 * n_hidden + u] = n
                record[row, 3 * n_hidden + u] = q

    return gru_cell


@Kernel(f"r3 i i r2 r3 b r2 r2 {_STEP}", _threads)
def gru_gradient(layout):
    """Gradients of r, z, n, q, over the record; ``past`` (B, H) receives dh_t z, which passes the gates by.

    No race: the four numbers of ``record`` that a thread reads and overwrites, and the one of ``past``, are those of
    its unit and row; states and gradients of h are only read.
    """
    _, gradient = equations.gru(layout)

    def gru_gradient(h, direction, n_rows, record, dy, has_dy, dh, past, at, rows, carried, before):
        index = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        n_hidden = dh.shape[1]
        if index < rows * n_hidden:
            b = index // n_hidden
            u = index % n_hidden
            row = at + b
            r = record[row, u]
            z = record[row, n_hidden + u]
            n = record[row, 2 * n_hidden + u]
            q = record[row, 3 * n_hidden + u]
            dh_t = dh[b, u]
            if has_dy:
                dh_t += dy[row, direction, u]
            h_before = h[before + b if b < carried else b, direction, u]
            dr, dz, dn, dq, past[b, u] = gradient(r, z, n, q, h_before, dh_t)
            record[row, u] = dr
            record[row, n_hidden + u] = dz
            record[row, 2 * n_hidden + u] = dn
            record[row, 3 * n_hidden + u] = dq

    return gru_gradient


@Kernel("r2 r2 b r2 b i", _threads)
def complete(layout):
    """dh of the step before: the product with W_hh, which lies in its place, times the mask, plus ``past``.

    No race: a thread reads and overwrites one number of ``dh``.
    """

    def complete(dh, mask, masked, past, has_past, rows):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        n_hidden = dh.shape[1]
        if i < rows * n_hidden:
            b = i // n_hidden
            u = i % n_hidden
            value = dh[b, u]
            if masked:
                value *= mask[b, u]
            if has_past:
                value += past[b, u]
            dh[b, u] = value

    return complete


# --- through time ----------------------------------------------------------------------------------------------------


def walk_forward(cell, w_hh_t, bias_hh, steps, h, direction, n_rows, middle, record, mask, masked, h_now, stream):
    """Launch all steps of a cell forward.

    ``middle`` are the arguments of the cell's kernel between ``masked`` and the step; for the GRU it begins with the
    scratch of the hidden part. For the Elman RNN ``record`` is ``h`` in two axes. ``h_now`` (B, H) is scratch.
    """
    n_hidden, layout = h.shape[2], _layout(h.dtype)
    begin.launch(layout, _blocks(n_rows, n_hidden), h, direction, n_rows, h_now, mask, masked, stream=stream)
    for at, rows, carried, before in steps.host.tolist():
        if cell is gru_cell:
            products.multiply(h_now, w_hh_t, middle[0], rows, 3 * n_hidden, n_hidden, bias=bias_hh, stream=stream)
        elif cell is lstm_cell:
            products.multiply(h_now, w_hh_t, record, rows, 4 * n_hidden, n_hidden, c_row=at, add=True, stream=stream)
        else:
            place = {"c_row": n_rows + at, "c_first": direction * n_hidden}
            products.multiply(h_now, w_hh_t, record, rows, n_hidden, n_hidden, **place, add=True, stream=stream)
        given = h, direction, n_rows, h_now, mask, masked, *middle, at, rows, carried, before
        cell.launch(layout, _blocks(rows, n_hidden), *given, stream=stream)


def walk_backward(gradient, w_hh, steps, h, direction, n_rows, middle, gates, dh, past, mask, masked, stream):
    """Launch all steps of a cell backward. ``middle`` are the kernel's arguments between ``n_rows`` and the step."""
    n_hidden, layout = h.shape[2], _layout(h.dtype)
    n_gates = w_hh.shape[0]
    has_past = past is not None
    past = past if has_past else no_array(2, str(h.dtype))
    for at, rows, carried, before in steps.host[::-1].tolist():
        blocks = _blocks(rows, n_hidden)
        given = h, direction, n_rows, *middle, at, rows, carried, before
        gradient.launch(layout, blocks, *given, stream=stream)
        if gradient is gru_gradient:  # of r and z, then of q, which lies behind n
            both = 2 * n_hidden
            products.multiply(gates, w_hh[:both], dh, rows, n_hidden, both, a_row=at, stream=stream)
            rest = {"a_row": at, "a_first": 3 * n_hidden, "add": True}
            products.multiply(gates, w_hh[both:], dh, rows, n_hidden, n_hidden, **rest, stream=stream)
        else:
            products.multiply(gates, w_hh, dh, rows, n_hidden, n_gates, a_row=at, stream=stream)
        if masked or has_past:
            complete.launch(layout, blocks, dh, mask, masked, past, has_past, rows, stream=stream)
