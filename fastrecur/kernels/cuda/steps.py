"""Tables of steps on the device (see `fastrecur.kernels.steps`)."""

from typing import Any, NamedTuple

import numpy as np

from fastrecur.kernels.cuda import runtime
from fastrecur.kernels.steps import state_segments


class Steps(NamedTuple):
    """The steps of a packed batch in one direction.

    ``host`` is the table of `fastrecur.kernels.steps.step_table`, ``device`` its int32 copy on the device, ``previous``
    the row of the state buffer that holds the previous state of each packed row (int32, on the device).
    """

    host: Any
    device: Any
    previous: Any


def upload(table, send=runtime.to_device):
    """`Steps` of a table; its numbers must fit int32. ``send`` copies an array to the device."""
    segments = state_segments(table)
    previous = np.empty(int(segments[:, 1].sum()), np.int32)
    for n, count, before in segments:
        previous[n : n + count] = np.arange(before, before + count)
    return Steps(table, send(table.astype(np.int32)), send(previous))


@runtime.inline
def line_of(steps, n):
    """Within kernels: the line of a table, of either direction, to which packed row ``n`` belongs."""
    low = 0
    last = steps.shape[0] - 1
    high = last
    rising = steps[0, 0] == 0
    while low < high:  # the last step, in the order of the packed rows, that begins at n or before
        middle = (low + high + 1) // 2
        if steps[middle if rising else last - middle, 0] <= n:
            low = middle
        else:
            high = middle - 1
    return low if rising else last - low
