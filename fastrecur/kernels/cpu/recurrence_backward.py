"""The walk back through time that all cells share: gate gradients, then dh of the step before.

The way there is `fastrecur.kernels.cpu.recurrence`; the products over all steps, dx and the weight gradients, follow in
`fastrecur.kernels.cpu.products`.
"""

from typing import NamedTuple

from fastrecur.kernels.compile import inline, merged
from fastrecur.kernels.cpu.products import Gates, transposed_product
from fastrecur.kernels.cpu.recurrence import runs
from fastrecur.kernels.cpu.simd import load, load_part, offset, pointer, prefetch, store
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
    """Buffers of a backward call, as pointers and strides.

    Rows of ``dy`` have ``dy_units`` numbers in each direction. ``dy_stride`` 0: nothing comes from above. ``apart`` 0:
    ``dy`` is packed; else those of a sequence lie ``apart`` rows from each other, the first one in row ``starts[r]``.

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
    dy_units: int
    starts: object
    apart: int
    reverse: bool
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
def backward_buffers(
    w_hidden, h, direction, c, gates, dy, starts, apart, dh, dc, units, first, keep, kept, mask, far=False
):
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
        dy_units=dy.shape[2],
        starts=pointer(starts),
        apart=apart,
        reverse=direction > 0,
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
    """Offsets of one panel of one row: in h, in c (now and before), and in dh and dc."""

    h: int
    h_prev: int
    c: int
    c_prev: int
    dh: int


@inline
def _row_above(net, at, r, t):
    """Row of dy of row ``r`` of the time step ``t``, whose packed rows begin ``at``."""
    if net.apart > 0:
        return net.starts[r] + t * net.apart
    return at + r


@inline
def _add_above(net, r, above, first_unit, last_unit):
    """Add dy, in row ``above``, to dh of the step after: some units of row ``r``."""
    dh, dy, end = offset(net.dh, r * net.c_stride), offset(net.dy, above * net.dy_stride), min(last_unit, net.dy_units)
    for u in range(first_unit, end - net.lanes + 1, net.lanes):
        store(dh, u, load(dh, u) + load(dy, u))
    n_left = end % net.lanes
    if first_unit < end and n_left > 0:
        u = end - n_left
        store(dh, u, load(dh, u) + load_part(dy, u, n_left))


@inline
def _ask_ahead(net, row, previous, above, first_panel, last_panel):
    """Prefetch gates, dy and previous states of a row: pieces too short for the processor to see a pattern in them.

    The RNN reads the states one step later. Where lengths differ, a few rows may be others.
    """
    for p in range(first_panel, last_panel):
        prefetch(net.gates, p * net.gates_panel + row * net.gates_row, net.gates_row)
        prefetch(net.states, previous * net.states_stride + p * net.units, net.units)
        if net.dy_stride > 0:
            prefetch(net.dy, above * net.dy_stride + p * net.units, net.units)


@merged
def gradient_run(cell, net, first, last, at, t, before, n_rows, first_panel, last_panel, next_step=0):
    """Gate gradients of some panels of the rows ``first..last``, whose previous states lie from row ``before`` on.

    ``t`` is the time step; ``next_step`` packed rows further lie the same rows of the step that comes next.
    """
    for r in range(first, last):
        row, previous, above = at + r, before + r - first, _row_above(net, at, r, t)
        if net.far and last - first >= ROWS_AHEAD:
            other, begin, then = r + ROWS_AHEAD, at, t
            if other >= last:
                other, begin, then = other - (last - first), at + next_step, t + (1 if net.reverse else -1)
            ahead = begin + other - row
            _ask_ahead(net, row + ahead, previous + ahead, _row_above(net, begin, other, then), first_panel, last_panel)
        if net.dy_stride > 0:
            _add_above(net, r, above, first_panel * net.units, last_panel * net.units)
        for p in range(first_panel, last_panel):
            unit = p * net.units
            now = Now(
                h=(n_rows + row) * net.h_stride + unit,
                h_prev=previous * net.h_stride + unit,
                c=(n_rows + row) * net.c_stride + unit,
                c_prev=previous * net.c_stride + unit,
                dh=r * net.c_stride + unit,
            )
            cell_gradient(cell, net, offset(net.gates, p * net.gates_panel + row * net.gates_row), now)


@inline
def time_step(net, steps, s):
    """Time step of line ``s`` of a table."""
    return len(steps) - 1 - s if net.reverse else s


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
        at, t = steps[s, AT], time_step(net, steps, s)
        next_step = steps[max(s - 1, 0), AT] - at
        for first, last, before in runs(steps[s], begin, end):
            gradient_run(cell, net, first, last, at, t, before, n_rows, 0, net.n_panels, next_step)
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
