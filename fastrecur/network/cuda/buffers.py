"""Device memory that is kept from call to call, and where the rows of a packed batch lie on the device."""

import itertools
import math
import weakref

import numpy as np

from fastrecur.kernels.cuda import runtime
from fastrecur.kernels.cuda.steps import upload
from fastrecur.kernels.steps import AT, ROWS

#: Packings whose places lie on the device at a time.
KEPT = 20


class Buffers:
    """Device arrays by name, kept from call to call: to allocate one waits for the device."""

    def __init__(self, dtype):
        self._dtype = dtype
        self._buffers = {}
        self._places = {}
        self._sender = runtime.Sender(8)

    def __reduce__(self):
        return Buffers, (self._dtype,)

    def take(self, name, *shape, dtype=None):
        """Array of the given shape with undefined contents; the same memory for the same name."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.shape[0] < size:
            buffer = self._buffers[name] = runtime.empty((size,), dtype or self._dtype)
        return buffer[:size].reshape(*shape)

    def upload(self, name, array):
        """Copy of a NumPy array in the dtype of the buffers, there when it returns."""
        out = self.take(name, *array.shape)
        out.copy_to_device(np.ascontiguousarray(array))
        return out

    def send(self, name, numbers):
        """Copy of an array of integers, as int32.

        It goes on the default stream, behind the kernels that read what was there before: the host does not wait.
        """
        numbers = np.asarray(numbers)
        out = self.take(name, *numbers.shape, dtype=np.int32)
        self._sender.send(numbers, out)
        return out

    def count(self, n, value=None):
        """0, 1, 2, ..., or ``n`` times ``value``: int32, the beginning of the longest that was asked for."""
        buffer = self._buffers.get(("count", value))
        if buffer is None or buffer.shape[0] < n:
            size = max(2 * n, 1024)
            numbers = np.arange(size) if value is None else np.full(size, value)
            buffer = self._buffers["count", value] = send_rows(numbers)
        return buffer[:n]

    def places(self, packing):
        """`Places` of a packing, the same again for the same one; valid until `KEPT` others have been asked for."""
        places = self._places.get(packing)
        if places is None:
            if len(self._places) == KEPT:
                self._places.clear()
            places = self._places[packing] = Places(packing, self, len(self._places))
        return places


def send_rows(rows):
    """Rows as an int32 array on the device."""
    return runtime.to_device(np.ascontiguousarray(rows, np.int32))


class Places:
    """Rows of a packed batch on the device, as `fastrecur.kernels.cuda.batches.move` takes them.

    Parameters
    ----------
    packing : Packing
    buffers : Buffers
    slot : int
        Under which they lie in the buffers.

    Attributes
    ----------
    rows, packed : int32 device arrays of shape (B,), (N,)
        0, 1, 2, ...
    no_rows : int32 device array of shape (B,)
        All -1.
    """

    def __init__(self, packing, buffers, slot):
        self.packing, self._slot = packing, slot
        self._buffers = weakref.proxy(buffers)  # which keep places: their memory is free when the last user has gone
        self.rows = buffers.count(packing.n_rows)
        self.packed = buffers.count(packing.n_packed)
        self.no_rows = buffers.count(packing.n_rows, -1)
        self._steps = {}
        self._of_states = {}
        self._final = {}
        self._padded = {}

    def _send(self, *name):
        """Function that sends one array after the other under a name."""
        count = itertools.count()
        return lambda numbers: self._buffers.send((self._slot, *name, next(count)), numbers)

    def steps(self, direction):
        """The table of steps of a direction."""
        if direction not in self._steps:
            self._steps[direction] = upload(self.packing.steps(direction), self._send("steps", direction))
        return self._steps[direction]

    def of_state(self, key, n_rows=None):
        """Rows of state ``key`` in states (L * D * B, H) of the caller's order: int32 device array (B,).

        With ``n_rows`` those states are of so many rows, of which the first are this batch's.
        """
        first = key * (n_rows or self.packing.n_rows)
        if first not in self._of_states:
            self._of_states[first] = self._send("of states", len(self._of_states))(self.packing.order + first)
        return self._of_states[first]

    def final(self, direction):
        """Row of the state buffer that holds the final state of each row, (B,)."""
        if direction not in self._final:
            self._final[direction] = self._send("final", direction)(self.packing.final_rows(direction))
        return self._final[direction]

    def padded(self, n_steps):
        """Between packed rows and a padded batch of ``n_steps``.

        Returns
        -------
        to_padded : int32 device array of shape (N,)
            Row b * T + t of the padded batch that each packed row is.
        to_packed, to_states : int32 device arrays of shape (B * T,)
            The packed row of each row of the padded batch, and its row in a buffer of states; -1 where none is.
        lines : int32 device array of shape (B * T,)
            0, 1, 2, ...
        """
        if n_steps not in self._padded:
            packing = self.packing
            to_padded = np.empty(packing.n_packed, np.int32)
            for t, step in enumerate(packing.steps(0)):
                to_padded[step[AT] : step[AT] + step[ROWS]] = packing.order[: step[ROWS]] * n_steps + t
            to_packed = np.full(packing.n_rows * n_steps, -1, np.int32)
            to_packed[to_padded] = np.arange(packing.n_packed)
            to_states = np.where(to_packed >= 0, to_packed + packing.n_rows, -1)
            send = self._send("padded", len(self._padded))
            lines = self._buffers.count(len(to_packed))
            self._padded[n_steps] = *map(send, (to_padded, to_packed, to_states)), lines
        return self._padded[n_steps]
