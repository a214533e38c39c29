"""A batch, taken by several threads together: each its own panels, and a meeting after each time step.

Rows of the batch are shared out without a barrier, but one sequence has one row, and where the weights do not lie near
the processor, each thread would read all of them at each step. Here each thread computes its units of h_t (or, on the
way back of one sequence, of dz_t), publishes the step, and waits until all have. No two threads write the same
numbers, and what a thread reads of the others was published before.

A thread that has not begun may never do so while another waits: a threading layer may run all shares on one thread. So
the team is those that are here when the first one has looked around for a moment. It is closed then, and who comes
later goes home: the others do his part, or the first one does everything alone. The bits are the same in any case.
"""

import os

import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.extending import intrinsic

from fastrecur.kernels.compile import inline, merged
from fastrecur.kernels.cpu.products import Gates, transposed_product
from fastrecur.kernels.cpu.recurrence import forward_step, run_ahead, runs, steps_ahead
from fastrecur.kernels.cpu.recurrence_backward import gradient_run, time_step
from fastrecur.kernels.cpu.simd import INT64, offset
from fastrecur.kernels.cpu.target import CACHE_LINE
from fastrecur.kernels.steps import AT, ROWS

#: Numbers of a meeting that share a cache line: each thread's count has its own.
APART = CACHE_LINE // 8

#: Looks of the first thread for others, a few tens of microseconds, and so many times as many where the work is that
#: of many sequences; looks of one that waits before it lets others have its core.
LOOKS, PATIENCE, LOOKS_BEFORE_YIELD = 20_000, 20, 2_000

#: Added to the count of arrivals when the team is closed.
CLOSED = 2**32


def new_meeting(n_threads, n_rows=1):
    """Where up to ``n_threads`` threads meet in one call: their arrivals, the size of the team, the step of each.

    Beside the size of the team lies how often the first thread looks for others.
    """
    meeting = np.zeros((2 + n_threads) * APART, np.int64)
    meeting[APART + 1] = LOOKS * (PATIENCE if n_rows > 1 else 1)
    return meeting


# --- numbers that threads share --------------------------------------------------------------------------------------


def _address(context, builder, signature, args):
    if signature.args[0] != types.Array(types.int64, 1, "C"):
        raise TypingError("a meeting is an int64 array")
    data = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0]).data
    return builder.gep(builder.bitcast(data, INT64.as_pointer()), [args[1]], source_etype=INT64)


@intrinsic
def fetch_add(typingctx, array, index, value):
    """Add to a number; returns what it was. One thread after the other."""

    def codegen(context, builder, signature, args):
        return builder.atomic_rmw("add", _address(context, builder, signature, args), args[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), codegen


@intrinsic
def look(typingctx, array, index):
    """Read a number; what was written before its `publish` can be read afterwards."""

    def codegen(context, builder, signature, args):
        return builder.load_atomic(_address(context, builder, signature, args), "acquire", 8, typ=INT64)

    return types.int64(array, types.intp), codegen


@intrinsic
def publish(typingctx, array, index, value):
    """Write a number behind all that was written before."""

    def codegen(context, builder, signature, args):
        builder.store_atomic(args[2], _address(context, builder, signature, args), "release", 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64), codegen


if os.name == "posix":
    _sched_yield = types.ExternalFunction("sched_yield", types.int32())
else:

    @inline
    def _sched_yield():
        return 0


@inline
def _await(meeting, index, least):
    looks = 0
    while look(meeting, index) < least:
        looks += 1
        if looks % LOOKS_BEFORE_YIELD == 0:
            _sched_yield()


# --- the team --------------------------------------------------------------------------------------------------------


@inline
def join(meeting):
    """Rank of this thread and size of the team; of a thread that came too late the rank is -1."""
    most, rank = len(meeting) // APART - 2, fetch_add(meeting, 0, 1)
    if rank >= CLOSED:
        return -1, 0
    if rank == 0:
        looks, enough = 0, meeting[APART + 1]
        while look(meeting, 0) < most and looks < enough:
            looks += 1
        publish(meeting, APART, fetch_add(meeting, 0, CLOSED))
    _await(meeting, APART, 1)
    return rank, look(meeting, APART)


@inline
def meet(meeting, rank, size, step):
    """Publish that this thread has done its part of a step, and wait for the others."""
    publish(meeting, (2 + rank) * APART, step)
    for other in range(size):
        _await(meeting, (2 + other) * APART, step)


@merged
def forward_team(cell, net, steps, meeting):
    """`fastrecur.kernels.cpu.recurrence.forward_rows` of all rows, each thread its panels; h has B + N rows."""
    rank, size = join(meeting)
    if rank < 0:
        return
    n_rows, n_ahead = net.n_rows, steps_ahead(net.n_rows)
    n_pairs, base = (net.n_panels + 1) // 2, 0
    first, last = 2 * (n_pairs * rank // size), min(net.n_panels, 2 * (n_pairs * (rank + 1) // size))
    for s in range(len(steps)):
        if s % n_ahead == 0:
            base = run_ahead(cell, net, steps, s, n_ahead, base, first, last)
        for begin, end, before in runs(steps[s], 0, steps[s, ROWS]):
            if begin < end:
                row = steps[s, AT] + begin
                after = n_rows + row
                c_before, c_after = (before, after) if net.record else (begin, begin)
                forward_step(cell, net, end - begin, base, row, before, after, c_before, c_after, first, last, s)
        meet(meeting, rank, size, s + 1)


@merged
def backward_team(cell, net, steps, n_rows, meeting):
    """`fastrecur.kernels.cpu.recurrence_backward.backward_rows` of one sequence, each thread its units of dh."""
    rank, size = join(meeting)
    if rank < 0:
        return
    begin, end = net.n_transposed * rank // size, net.n_transposed * (rank + 1) // size  # pairs of vectors of units
    first, last = begin * net.pair // net.units, min(net.n_panels, end * net.pair // net.units)
    w = offset(net.w_hidden, begin * net.n_panels * net.width * net.pair)
    for s in range(len(steps) - 1, -1, -1):
        row, t = steps[s, AT], time_step(net, steps, s)
        for one, other, before in runs(steps[s], 0, steps[s, ROWS]):
            gradient_run(cell, net, one, other, row, t, before, n_rows, first, last)
        meet(meeting, rank, size, len(steps) - s)
        dz = offset(net.gates, row * net.gates_row + net.first)
        gates = Gates(dz, net.gates_row, net.n_panels, net.gates_panel, net.width, 0)
        dh = offset(net.dh, begin * net.pair)
        transposed_product(1, net.keep, dh, net.c_stride, gates, w, end - begin, net.pair, s)
