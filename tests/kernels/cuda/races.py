"""A simulated grid whose memory knows who used it: two uses of a number that nothing orders are an error.

Within a block a barrier orders what threads do before it and after it; nothing orders blocks. So a race are two uses of
the same number, one of them a write, by threads of different blocks, or by different threads of a block between the
same two barriers. Every number is watched where it lies, in shared memory and in the arrays of a launch, whatever name
it is used under. Indices must lie within their axes: on a GPU nothing looks.
"""

import threading

import numpy as np

from tests.kernels.cuda import simulator


class Race(AssertionError):
    """Two uses that nothing orders."""


class Log:
    """Who wrote and who read each number of a launch, and between which barriers of its block."""

    def __init__(self):
        self.block, self.interval = None, 0
        self._written, self._read = {}, {}

    def _who(self):
        index = threading.current_thread().threadIdx
        return self.block, (index.x, index.y, index.z), self.interval

    def _check(self, what, one, other):
        (block, thread, interval), (block_before, thread_before, interval_before) = one, other
        if block != block_before or (thread != thread_before and interval == interval_before):
            raise Race(f"{what} by block, thread, interval {other} and {one}")

    def read(self, address):
        who = self._who()
        if address in self._written:
            self._check("written and read", who, self._written[address])
        self._read.setdefault(address, {})[who[:2]] = who[2]

    def write(self, address):
        who = self._who()
        if address in self._written:
            self._check("written twice", who, self._written[address])
        for reader, interval in self._read.get(address, {}).items():
            self._check("read and written", who, (*reader, interval))
        self._written[address] = who


class Watched:
    """An array as kernels use it: numbers by index, and its shape. ``owner`` is the block whose shared memory it is."""

    def __init__(self, array, log, owner=None):
        self._array, self._log, self._owner = array, log, owner
        self.shape, self.dtype = array.shape, array.dtype
        self._begin, self._strides = array.__array_interface__["data"][0], array.strides

    def _address(self, index):
        index = index if isinstance(index, tuple) else (index,)
        assert len(index) == len(self.shape)
        assert all(0 <= i < n for i, n in zip(index, self.shape, strict=True)), (index, self.shape)
        place = sum(int(i) * stride for i, stride in zip(index, self._strides, strict=True))
        return self._owner, self._begin + place

    def __getitem__(self, index):
        self._log.read(self._address(index))
        return self._array[index]

    def __setitem__(self, index, value):
        self._log.write(self._address(index))
        self._array[index] = value


class WatchedBlock(simulator.ShuffledBlock):
    """Runs a block with its arguments watched; the first block of a launch begins a new log."""

    log = Log()

    def run(self, grid_point, *arguments):
        if not any(grid_point):
            WatchedBlock.log = Log()
        self.log.block, self.log.interval = tuple(grid_point), 0
        super().run(grid_point, *(self._watched(argument) for argument in arguments))

    def _watched(self, argument):
        array = getattr(argument, "_item", None)
        return argument if array is None else Watched(np.asarray(array._ary), self.log)

    def barrier(self):
        self.log.interval += 1


def shared_array(_, shape, dtype):
    """``cuda.shared.array``, watched."""
    log = WatchedBlock.log
    return Watched(simulator.shared_array(None, shape, dtype, depth=2), log, owner=log.block)


def watch(monkeypatch, seed=0):
    """Let every kernel launched from now on be watched; returns the list of those that are."""
    from numba.cuda.simulator import kernel, kernelapi

    from fastrecur.kernels.cuda import runtime

    simulator.shuffle(monkeypatch, seed)
    monkeypatch.setattr(kernel, "BlockManager", WatchedBlock)
    monkeypatch.setattr(kernelapi.FakeCUDAShared, "array", shared_array)
    launched, launch = [], runtime.Kernel.launch

    def noted(kernel, *given, **options):
        launched.append(kernel)
        return launch(kernel, *given, **options)

    monkeypatch.setattr(runtime.Kernel, "launch", noted)
    return launched
