"""The walk back through time that all cells share: gate gradients, then dh of the step before.

The way there is `fastrecur.kernels.cpu.recurrence`; the products over all steps, dx and the weight gradients, follow in
`fastrecur.kernels.cpu.products`.
"""

from typing import NamedTuple

from fastrecur.kernels.compile import inline, merged
from fastrecur.kernels.cpu.products import Gates, transposed_product
from fastrecur.kernels.cpu.recurrence import runs
from fastrecur.kernels.cpu.simd import load, offset, pointer, prefetch, store
from fastrecur.kernels.cpu.target import VECTOR_BYTES
from fastrecur.kernels.steps import AT, ROWS

#: Rows of the batch that walk through time together: between the gate gradients of a step and the products that read
#: them, those of more rows leave the level 2 cache.
ROWS_TOGETHER = 192

#: Bytes of the gates of a step, of which many have left the level 2 cache when the product with the weights comes to
#: them again: it asks for them a piece ahead. With AVX-512 (Zen 5) that gains nothing.
NEAR = 2**17 if VECTOR_BYTES < 64 else 2**62

#: `gradient_run` asks for what it reads so many rows ahead.
ROWS_AHEAD = 4


def cell_gradient(cell, net, z, now):
    """Gate gradients of one panel and one row, written over the gates at ``z``."""
    raise NotImplementedError


class Backward(NamedTuple):
    """Buffers of a backward call, as pointers and strides. ``dy_stride`` 0: nothing comes from above.

    ``far``: whether the gates lie so far away that they are asked for some rows ahead, and with them the ``states``:
    c of the LSTM, h of the others.

    With ``keep`` a cell leaves in ``kept`` what of dh reaches the step before past the recurrent product. It is dh
    itself, which the product adds to, unless h is ``dropped``: then the product alone takes the mask.
    """

    gates: object
    gates_row: int
    gates_panel: int
    n_panels: int
    units: int
    h: object
    h_stride: int
    c: object
    c_stride: int
    states: object
    states_stride: int
    dy: object
    dy_stride: int
    dh: object
    dc: object
    kept: object
    mask: object
    lanes: int
    far: bool
    dropped: bool
    w_hidden: object
    n_transposed: int
    pair: int
    first: int
    width: int
    keep: bool


@inline
def backward_buffers(w_hidden, h, direction, c, gates, dy, dh, dc, units, first, keep, kept, mask, far=False):
    """`Backward` of a call's arrays."""
    n_panels, n_packed, gates_width = gates.shape
    n_transposed, n_sum, pair = w_hidden.shape
    dy_stride = dy.shape[1] * dy.shape[2]
    if len(dy) == 0:
        dy_stride = 0
    h_here, h_stride = offset(pointer(h), direction * h.shape[2]), h.shape[1] * h.shape[2]
    states, states_stride = h_here, h_stride
    if len(c) > len(dh):  # the cells of all steps
        states, states_stride = pointer(c), dh.shape[1]
    return Backward(
        gates=pointer(gates),
        gates_row=gates_width,
        gates_panel=n_packed * gates_width,
        n_panels=n_panels,
        units=units,
        h=h_here,
        h_stride=h_stride,
        c=pointer(c),
        c_stride=dh.shape[1],
        states=states,
        states_stride=states_stride,
        dy=offset(pointer(dy), direction * dy.shape[2]),
        dy_stride=dy_stride,
        dh=pointer(dh),
        dc=pointer(dc),
        kept=pointer(kept),
        mask=pointer(mask),
        lanes=VECTOR_BYTES // h.itemsize,
        far=far,
        dropped=len(mask) > 0,
        w_hidden=pointer(w_hidden),
        n_transposed=n_transposed,
        pair=pair,
        first=first,
        width=n_sum // n_panels,
        keep=keep,
    )


class Now(NamedTuple):
    """Offsets of one panel of one row: in h, in c (now and before), in dy, and in dh and dc."""

    h: int
    h_prev: int
    c: int
    c_prev: int
    dy: int
    dh: int


@inline
def _ask_ahead(net, row, previous, first_panel, last_panel):
    """Prefetch gates, dy and previous states of a row: pieces too short for the processor to see a pattern in them.

    The RNN reads the states one step later. Where lengths differ, a few rows may be others.
    """
    for p in range(first_panel, last_panel):
        prefetch(net.gates, p * net.gates_panel + row * net.gates_row, net.gates_row)
        prefetch(net.states, previous * net.states_stride + p * net.units, net.units)
        if net.dy_stride > 0:
            prefetch(net.dy, row * net.dy_stride + p * net.units, net.units)


@merged
def gradient_run(cell, net, first, last, at, before, n_rows, first_panel, last_panel, next_step=0):
    """Gate gradients of some panels of the rows ``first..last``, whose previous states lie from row ``before`` on.

    ``next_step`` packed rows further lie the same rows of the step that comes next.
    """
    for r in range(first, last):
        row, previous = at + r, before + r - first
        if net.far and last - first >= ROWS_AHEAD:
            ahead = ROWS_AHEAD if r + ROWS_AHEAD < last else ROWS_AHEAD + next_step - (last - first)
            _ask_ahead(net, row + ahead, previous + ahead, first_panel, last_panel)
        for p in range(first_panel, last_panel):
            unit = p * net.units
            now = Now(
                h=(n_rows + row) * net.h_stride + unit,
                h_prev=previous * net.h_stride + unit,
                c=(n_rows + row) * net.c_stride + unit,
                c_prev=previous * net.c_stride + unit,
                dy=row * net.dy_stride + unit,
                dh=r * net.c_stride + unit,
            )
            cell_gradient(cell, net, offset(net.gates, p * net.gates_panel + row * net.gates_row), now)


@inline
def _mask_gradient(net, first, last):
    """dh of the step before from the recurrent product of the rows ``first..last``: masked, and what went past it."""
    for r in range(first, last):
        for u in range(0, net.n_panels * net.units, net.lanes):
            k = r * net.c_stride + u
            dh = load(net.mask, k) * load(net.dh, k)
            if net.keep:
                dh = dh + load(net.kept, k)
            store(net.dh, k, dh)


@merged
def backward_rows(cell, net, steps, n_rows, begin, end):
    """The rows ``begin..end`` of the batch back through all steps, about `ROWS_TOGETHER` at a time."""
    n_parts = -(-(end - begin) // ROWS_TOGETHER)
    for part in range(n_parts):
        first = begin + (end - begin) * part // n_parts
        last = begin + (end - begin) * (part + 1) // n_parts
        _rows_together(cell, net, steps, n_rows, first, last)


@merged
def _rows_together(cell, net, steps, n_rows, begin, end):
    """Gate gradients of each step, then dh of the step before."""
    for s in range(len(steps) - 1, -1, -1):
        at = steps[s, AT]
        next_step = steps[max(s - 1, 0), AT] - at
        for first, last, before in runs(steps[s], begin, end):
            gradient_run(cell, net, first, last, at, before, n_rows, 0, net.n_panels, next_step)
        rows = min(end, steps[s, ROWS]) - begin
        dz = offset(net.gates, (at + begin) * net.gates_row + net.first)
        far = rows * net.n_panels * net.gates_row * (VECTOR_BYTES // net.lanes) > NEAR
        ahead = net.gates_panel if far else 0
        gates = Gates(dz, net.gates_row, net.n_panels, net.gates_panel, net.width, ahead)
        dh = offset(net.dh, begin * net.c_stride)
        if net.dropped and net.keep:
            for k in range(rows * net.c_stride):
                dh[k] = 0.0
        transposed_product(rows, net.keep, dh, net.c_stride, gates, net.w_hidden, net.n_transposed, net.pair, s)
        if net.dropped:
            _mask_gradient(net, begin, begin + rows)
