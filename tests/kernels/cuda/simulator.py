"""The simulator with another order of threads, and memory that is poisoned: what a kernel must not depend on.

The simulator of numba-cuda runs the threads of a block as they come. Here one runs at a time, up to its next barrier,
in an order that is drawn anew for each stretch between two barriers. A number that one thread writes and another reads
without a barrier between them then comes out differently for some seed. Shared memory and registers hold NaN when a
block begins.

Every launch is checked against the types for which the kernel is compiled, too.
"""

import sys
import threading
import types

import numpy as np

#: Shared memory of the block that runs, by the line of the kernel that asks for it.
_shared = {}


class ShuffledBlock:
    """In the place of the simulator's BlockManager: runs the threads of one block in turns.

    They are greenlets (threads of the system take ten times as long to take turns). What kernels find as the current
    thread has the indices of the one that runs.
    """

    rng = np.random.default_rng(0)

    def __init__(self, function, grid_dim, block_dim, debug):
        from numba.cuda.simulator.kernelapi import Dim3

        self._function, self._block_dim, self._dim = function, block_dim, Dim3

    def run(self, grid_point, *arguments):
        _shared.clear()
        current = threading.current_thread()
        current.blockIdx = self._dim(*grid_point)
        threads = [self._dim(*index) for index in np.ndindex(*self._block_dim)]
        if waits(self._function):
            self._run_in_turns(current, threads, arguments)
            return
        for i in self.rng.permutation(len(threads)):
            current.threadIdx = threads[i]
            self._function(*arguments)

    def _run_in_turns(self, current, threads, arguments):
        from greenlet import getcurrent, greenlet

        current.syncthreads = getcurrent().switch
        running = [greenlet(self._function) for _ in threads]
        while not running[0].dead:
            for i in self.rng.permutation(len(threads)):
                current.threadIdx = threads[i]
                running[i].switch(*arguments)
            arguments = ()  # from its first barrier on, a thread is given nothing
            self.barrier()
            ended = {thread.dead for thread in running}
            assert len(ended) == 1, "some threads of a block have ended while others wait at a barrier"

    def barrier(self):
        """All threads have come to one."""


def poisoned(shape, dtype):
    """NaN, or a number of which no index is made."""
    dtype = np.dtype(dtype)
    return np.full(shape, np.nan if dtype.kind == "f" else np.iinfo(dtype).min, dtype)


def shared_array(_, shape, dtype, depth=1):
    """``cuda.shared.array``: one for each line of a kernel in which it is called, so many calls above."""
    caller = sys._getframe(depth)
    key = caller.f_code, caller.f_lineno
    if key not in _shared:
        _shared[key] = poisoned(shape, dtype)
    return _shared[key]


def waits(function):
    """Whether a kernel, or a piece of it that its closure holds, has a barrier."""
    if "syncthreads" in function.__code__.co_names:
        return True
    inside = [cell.cell_contents for cell in function.__closure__ or ()]
    return any(isinstance(piece, types.FunctionType) and waits(piece) for piece in inside)


def check_arguments(kernel, layout, arguments):
    """That the arguments of a launch are of the types that `Kernel.ptx` compiles for."""
    dtypes = {"i": np.int32, "d": np.float64, "r": np.dtype(layout.dtype)}
    assert len(arguments) == len(kernel.arguments), kernel.__name__
    for place, (kind, value) in enumerate(zip(kernel.arguments, arguments, strict=True)):
        where = f"{kernel.__name__}, argument {place}: {kind} is given {type(value).__name__}"
        if len(kind) > 1:
            assert (value.ndim, value.dtype) == (int(kind[1:]), dtypes[kind[0]]), where
            assert value.flags["C_CONTIGUOUS"], where
        elif kind == "r":
            assert isinstance(value, dtypes["r"].type), where
        else:
            known = {"b": bool, "i": int | np.int64, "u": np.uint64, "d": float | np.float64}
            assert isinstance(value, known[kind]), where
            assert kind == "b" or not isinstance(value, bool), where


def check_launches(monkeypatch):
    """Let `check_arguments` see every launch from now on."""
    from fastrecur.kernels.cuda import runtime

    launch = runtime.Kernel.launch

    def checked(kernel, layout, blocks, *arguments, stream=0):
        check_arguments(kernel, layout, arguments)
        return launch(kernel, layout, blocks, *arguments, stream=stream)

    monkeypatch.setattr(runtime.Kernel, "launch", checked)


def shuffle(monkeypatch, seed):
    """Let every kernel launched from now on run with shuffled threads and poisoned memory."""
    from numba.cuda.simulator import kernel, kernelapi

    monkeypatch.setattr(ShuffledBlock, "rng", np.random.default_rng(seed))
    monkeypatch.setattr(kernel, "BlockManager", ShuffledBlock)
    monkeypatch.setattr(kernelapi.FakeCUDAShared, "array", shared_array)
    monkeypatch.setattr(kernelapi.FakeCUDALocal, "array", lambda _, shape, dtype: poisoned(shape, dtype))
