"""The simulator with another order of threads: what a kernel must not depend on.

The simulator of numba-cuda runs the threads of a block as they come. Here one runs at a time, up to its next barrier,
in an order that is drawn anew for each stretch between two barriers. A number that one thread writes and another reads
without a barrier between them then comes out differently for some seed.

Every launch is checked against the types for which the kernel is compiled, too.
"""

import threading
import types

import numpy as np


class _Thread(threading.Thread):
    """A thread of a block. `syncthreads` is what kernels find on the current thread."""

    def __init__(self, block, index, place):
        super().__init__(daemon=True)
        self._block, self.go = block, threading.Semaphore(0)
        self.blockIdx, self.threadIdx = place, index
        self.error, self.done = None, False

    def run(self):
        self.go.acquire()
        try:
            self._block.function(*self._block.arguments)
        except BaseException as error:
            self.error = error
        self.done = True
        self._block.back.release()

    def syncthreads(self):
        self._block.back.release()
        self.go.acquire()


class ShuffledBlock:
    """In the place of the simulator's BlockManager: runs the threads of one block in turns."""

    rng = np.random.default_rng(0)

    def __init__(self, function, grid_dim, block_dim, debug):
        from numba.cuda.simulator.kernelapi import Dim3

        self.function, self._block_dim, self._dim = function, block_dim, Dim3
        self.back = threading.Semaphore(0)

    def run(self, grid_point, *arguments):
        self.arguments = arguments
        place = self._dim(*grid_point)
        if not waits(self.function):
            self._run_one_by_one(place)
            return
        alive = [_Thread(self, self._dim(*index), place) for index in np.ndindex(*self._block_dim)]
        for thread in alive:
            thread.start()
        while alive:
            for i in self.rng.permutation(len(alive)):
                alive[i].go.release()
                self.back.acquire()
                if alive[i].error is not None:
                    raise alive[i].error
            n_done = sum(thread.done for thread in alive)
            assert n_done in (0, len(alive)), "some threads of a block have ended while others wait at a barrier"
            if n_done:
                return

    def _run_one_by_one(self, place):
        """Threads that wait for none: one thread of the system in the place of each, in a drawn order."""
        indices = list(np.ndindex(*self._block_dim))
        runner = _Thread(self, None, place)
        functions = [self.rng.permutation(len(indices)), self.function]

        def run_all(*arguments):
            order, function = functions
            for i in order:
                runner.threadIdx = self._dim(*indices[i])
                function(*arguments)

        self.function = run_all
        runner.start()
        runner.go.release()
        runner.join()
        if runner.error is not None:
            raise runner.error


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
    """Let every kernel launched from now on run with shuffled threads."""
    from numba.cuda.simulator import kernel

    monkeypatch.setattr(ShuffledBlock, "rng", np.random.default_rng(seed))
    monkeypatch.setattr(kernel, "BlockManager", ShuffledBlock)
