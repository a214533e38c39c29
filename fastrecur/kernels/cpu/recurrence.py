"""The walk through time that all cells share, forward: steps, rows of the batch, panels of hidden units.

A thread takes its rows of the batch through all time steps, so that nothing waits inside the time loop. What a cell
computes it says by overloading three functions for its own (named tuple) type, and a fourth for the way back
(`fastrecur.kernels.cpu.recurrence_backward`), which Numba compiles into the walk. (Jitted functions handed in as
arguments would do the same, but Numba cannot keep such code on disk.)
"""

from typing import NamedTuple

from numba import types
from numba.extending import overload

from fastrecur.kernels.compile import in_registers, inline, merged
from fastrecur.kernels.cpu.products import FAR, Inputs, in_turn, tile_features
from fastrecur.kernels.cpu.simd import load, offset, pointer, prefetch_to_write, store
from fastrecur.kernels.cpu.target import FAR_WEIGHTS, LARGE_WEIGHTS, TALL_4, VECTOR_BYTES
from fastrecur.kernels.cpu.tile import asks, tile_dot, tile_dot_asking, tile_load, tile_store
from fastrecur.kernels.steps import AT, BEFORE, CARRIED, ROWS


def panel_rows(cell, rows, panel):
    """Pre-activations and gates of one panel for ``rows`` rows."""
    raise NotImplementedError


def panel_ahead(cell, rows, panel):
    """What the features add to the pre-activations of one panel, for ``rows`` packed rows."""
    raise NotImplementedError


def panel_pair(cell, panel, w_panel, z_panel):
    """The same for one row of two panels at once, ``w_panel`` and ``z_panel`` numbers apart.

    A single panel of a single row has too few independent sums to hide the latency of a fused multiply-add.
    """
    raise NotImplementedError


def implement(function, cell, implementation):
    """Let ``function`` (one of the above or `cell_gradient`) be ``implementation`` for cells of the class ``cell``."""

    def choose(tag, *args):
        if isinstance(tag, types.BaseNamedTuple) and tag.instance_class is cell:
            return implementation

    overload(function, strict=False)(choose)


@inline
def runs(step, begin, end):
    """The rows ``begin..end`` of a step as two runs (first, last, row of their previous states).

    First those that carry on from the step before, then those that begin here, from the initial state.
    """
    carried, before = step[CARRIED], step[BEFORE]
    return (begin, min(end, carried), before + begin), (max(begin, carried), min(end, step[ROWS]), max(begin, carried))


#: A batch of so few rows would wait for the weights of its features at every step: they are multiplied for some steps
#: ahead, as many rows at once, and only the recurrent weights are read step by step.
FEW_ROWS, AHEAD_STEPS = 4, 12

#: Rows that read the weights of a step from the first panel to the last, and those of the next step back. More of them
#: read each panel several times, and gain nothing by it.
ROWS_IN_TURN = 2

#: Packed rows of the scratch block of a batch of `FEW_ROWS`.
AHEAD_ROWS = FEW_ROWS * AHEAD_STEPS

#: Packed rows, about, for which the features' part of `LARGE_WEIGHTS` is read at a time.
LARGE_ROWS = 192


class Forward(NamedTuple):
    """Buffers of a forward call, as pointers and strides.

    The recurrent product reads ``masked``: h times the mask where h is ``dropped``, else h itself. The first ``n_zero``
    rows of the states are zero. With ``alternate`` the array of h has 3 B rows.
    """

    x: Inputs
    w: object
    bias: object
    n_panels: int
    n_inputs: int
    units: int
    width: int
    gates_width: int
    h: object
    masked: object
    h_stride: int
    c: object
    c_stride: int
    n_rows: int
    n_zero: int
    gates: object
    gates_row: int
    gates_panel: int
    mask: object
    mask_stride: int
    lanes: int
    far: bool
    dropped: bool
    record: bool
    ahead: bool
    w_far: bool
    alternate: bool


class Panel(NamedTuple):
    """One panel of some rows of one step: weights, states before and after, pre-activations.

    ``asked``: the weights that are read next, of which each row asks for ``asked_k`` bytes with each hidden unit.
    """

    x: Inputs
    w: object
    w_hidden: object
    width: int
    n_hidden: int
    units: int
    bias: object
    h_prev: object
    h_prev_unit: object
    h: object
    h_stride: int
    c_prev: object
    c: object
    c_stride: int
    z: object
    z_stride: int
    far: bool
    ahead: bool
    asked: object
    asked_k: int


@inline
def lie_far(gates, h, n_shares):
    """Whether a thread's share of the gates that a layer keeps in both directions is too much to lie near it."""
    return h.shape[1] * gates.size * gates.itemsize > n_shares * FAR


@inline
def zero_rows(h, direction, n_rows):
    """``n_rows``, if so many first rows of the states are all zero, as by default: no product needs them. Else 0."""
    states, n_units, n_others = offset(pointer(h), direction * h.shape[2]), h.shape[2], 0
    for r in range(n_rows):
        for u in range(n_units):
            n_others += states[r * h.shape[1] * n_units + u] != 0.0
        if n_others > 0:
            return 0
    return n_rows


@inline
def goes_ahead(shards, w):
    """Whether the features of a batch, shared out like this, are multiplied ahead."""
    return len(shards) == 2 and (shards[1] <= FEW_ROWS or w.size * w.itemsize >= LARGE_WEIGHTS)


@inline
def rows_alone(rows, net):
    """How many of ``rows`` rows no tile takes together with others: 1 of an odd number, or 0, where tiles are even."""
    tall = TALL_4 if net.width == 4 * net.units else 2
    return rows % 2 if tall % 2 == 0 or rows == 1 else 0


@inline
def steps_ahead(n_rows):
    """Time steps whose features are multiplied ahead of the recurrence."""
    return AHEAD_STEPS if n_rows <= FEW_ROWS else max(1, LARGE_ROWS // n_rows)


@inline
def forward_buffers(
    w, bias, x, features, h, direction, c, gates, units, record, masked, mask, n_rows, n_zero, ahead, shard, far=False
):
    """`Forward` of a call's arrays for a batch of ``n_rows``, of whose initial states the first ``n_zero`` are zero.

    Without ``record`` the gates are scratch: a tile for each ``shard`` or, with ``ahead``, packed rows of each panel.
    """
    n_panels, n_inputs, width = w.shape
    gates_width = bias.shape[1]
    gates_row, gates_panel, scratch = gates_width, gates.shape[1] * gates_width, 0
    if not record and not ahead:
        gates_row, gates_panel, scratch = 0, 0, shard * gates.shape[2]
    return Forward(
        x=Inputs(pointer(x), x.shape[1] * x.shape[2], x.shape[1], x.shape[2], features),
        w=pointer(w),
        bias=pointer(bias),
        n_panels=n_panels,
        n_inputs=n_inputs,
        units=units,
        width=width,
        gates_width=gates_width,
        h=offset(pointer(h), direction * h.shape[2]),
        masked=offset(pointer(masked), direction * h.shape[2]),
        h_stride=h.shape[1] * h.shape[2],
        c=pointer(c),
        c_stride=c.shape[1],
        n_rows=n_rows,
        n_zero=n_zero,
        gates=offset(pointer(gates), scratch),
        gates_row=gates_row,
        gates_panel=gates_panel,
        mask=pointer(mask),
        mask_stride=mask.shape[1],
        lanes=VECTOR_BYTES // h.itemsize,
        far=far,
        dropped=len(mask) > 0,
        record=record,
        ahead=ahead,
        w_far=w.size * w.itemsize >= FAR_WEIGHTS,
        alternate=h.shape[0] < n_rows + x.shape[0],
    )


@inline
def _panel(net, rows, p, base, row, before, after, c_before, c_after):
    """Panel ``p`` for ``rows`` rows from packed row ``row`` on, with their states at the given rows of the buffers.

    ``base`` is the packed row at which the gates begin.
    """
    n_features = net.x.segments * net.x.features
    unit = p * net.units
    x = offset(net.x.data, row * net.x.row_stride)
    w = offset(net.w, p * net.n_inputs * net.width)
    n_hidden, n_done = net.n_inputs - n_features, n_features if net.ahead else 0
    following, asked_k = p + 1 if p + 1 < net.n_panels else 0, 0
    if before < net.n_zero:
        n_hidden = 0
    elif net.w_far:
        of_input = net.width * (VECTOR_BYTES // net.lanes)
        asked_k = (net.n_inputs - n_done) * of_input // (rows * n_hidden) + 1
    return Panel(
        x=Inputs(x, net.x.row_stride, net.x.segments, net.x.segment_stride, net.x.features),
        w=w,
        w_hidden=offset(w, n_features * net.width),
        width=net.width,
        n_hidden=n_hidden,
        units=net.units,
        bias=offset(net.bias, p * net.gates_width),
        h_prev=offset(net.masked, before * net.h_stride),
        h_prev_unit=offset(net.h, before * net.h_stride + unit),
        h=offset(net.h, after * net.h_stride + unit),
        h_stride=net.h_stride,
        c_prev=offset(net.c, c_before * net.c_stride + unit),
        c=offset(net.c, c_after * net.c_stride + unit),
        c_stride=net.c_stride,
        z=offset(net.gates, p * net.gates_panel + (row - base) * net.gates_row),
        z_stride=net.gates_row,
        far=net.far,
        ahead=net.ahead,
        asked=offset(net.w, (following * net.n_inputs + n_done) * net.width),
        asked_k=asked_k,
    )


@inline
def ask_to_write(p, first, last):
    """Prefetch where gates and states of a panel's rows ``first..last`` go: they are written after the products."""
    prefetch_to_write(p.z, first * p.z_stride, (last - first) * p.z_stride)
    for r in range(first, last):
        prefetch_to_write(p.h, r * p.h_stride, p.units)


@in_registers
def tile_hidden(shape, acc, r, p):
    """Add W_hh h for the rows of a panel from ``r`` on; those that ask, ask for their part of the next panel."""
    h = offset(p.h_prev, r * p.h_stride)
    if asks(shape):
        first, asked_k = r * p.asked_k * p.n_hidden, len(shape) * p.asked_k
        return tile_dot_asking(acc, h, p.h_stride, 1, p.w_hidden, p.width, p.n_hidden, p.asked, first, asked_k)
    return tile_dot(acc, h, p.h_stride, 1, p.w_hidden, p.width, p.n_hidden)


@merged
def forward_step(cell, net, rows, base, row, before, after, c_before, c_after, first, last, turn):
    """The panels ``first..last`` of ``rows`` rows of a step; up to `ROWS_IN_TURN` take them `in_turn`.

    A row that no tile takes together with others goes through two panels at once.
    """
    turn, n_pairs, alone = turn if rows <= ROWS_IN_TURN else 0, (last - first) // 2, rows_alone(rows, net)
    z_panel = net.gates_panel if net.gates_panel > 0 else net.gates_width
    w_panel, others = net.n_inputs * net.width, rows - alone
    if others > 0:
        for k in range(last - first):
            p = first + in_turn(k, last - first, turn)
            n = others if k < 2 * n_pairs else rows
            panel_rows(cell, n, _panel(net, n, p, base, row, before, after, c_before, c_after))
            if alone == 1 and k % 2 == 1:
                r = others
                panel = _panel(net, 1, p - 1, base, row + r, before + r, after + r, c_before + r, c_after + r)
                panel_pair(cell, panel, w_panel, z_panel)
    else:
        for k in range(n_pairs):
            p = first + 2 * in_turn(k, n_pairs, turn)
            panel_pair(cell, _panel(net, 1, p, base, row, before, after, c_before, c_after), w_panel, z_panel)
        for p in range(first + 2 * n_pairs, last):
            panel_rows(cell, 1, _panel(net, 1, p, base, row, before, after, c_before, c_after))


@inline
def ahead_tiles(shape, r, rows, p):
    """Bias and features of the rows ``r..rows`` of a panel, as many whole tiles as fit: returns the first row left."""
    while r + len(shape) <= rows:
        acc = tile_features(tile_load(shape, p.bias, 0), p.x, r, p.w, p.width)
        tile_store(acc, offset(p.z, r * p.z_stride), p.z_stride)
        r += len(shape)
    return r


@merged
def run_ahead(cell, net, steps, s, count, base, first, last):
    """What the features add to the panels ``first..last`` in the steps ``s..s + count``.

    Returns the packed row at which their gates begin.
    """
    one, other = s, min(s + count, len(steps)) - 1
    if steps[one, AT] > steps[other, AT]:  # reversed
        one, other = other, one
    row = steps[one, AT]
    if not net.record:
        base = row
    rows = steps[other, AT] + steps[other, ROWS] - row
    for p in range(first, last):
        panel_ahead(cell, rows, _panel(net, rows, p, base, row, 0, 0, 0, 0))
    return base


@inline
def _mask_rows(net, first, last, row):
    """Mask the states of the rows ``first..last`` of the batch, which lie from row ``row`` on."""
    for r in range(last - first):
        h, mask = (row + r) * net.h_stride, (first + r) * net.mask_stride
        for u in range(0, net.n_panels * net.units, net.lanes):
            store(net.masked, h + u, load(net.h, h + u) * load(net.mask, mask + u))


@merged
def forward_rows(cell, net, steps, begin, end):
    """The rows ``begin..end`` of the batch through all steps."""
    n_rows, base, n_ahead = net.n_rows, 0, steps_ahead(net.n_rows)
    if net.dropped:
        _mask_rows(net, begin, end, begin)
    for s in range(len(steps)):
        if net.ahead and s % n_ahead == 0:
            base = run_ahead(cell, net, steps, s, n_ahead, base, 0, net.n_panels)
        at = steps[s, AT]
        for first, last, before in runs(steps[s], begin, end):
            if first < last:
                after = n_rows + at + first
                if net.alternate:
                    after = n_rows * (1 + s % 2) + first
                    if before >= n_rows:  # not an initial state
                        before = n_rows * (2 - s % 2) + first
                c_before, c_after = (before, after) if net.record else (first, first)
                row, rows = at + first, last - first
                forward_step(cell, net, rows, base, row, before, after, c_before, c_after, 0, net.n_panels, s)
                if net.dropped:
                    _mask_rows(net, first, last, after)


@inline
def step_rows(cell, net, n_rows):
    """All rows through one step: the states in rows 0..B of ``h`` are replaced, rows B..2 B are scratch."""
    forward_step(cell, net, n_rows, 0, 0, 0, n_rows, 0, 0, 0, net.n_panels, 0)
    for k in range(n_rows * net.h_stride):
        net.h[k] = net.h[n_rows * net.h_stride + k]
