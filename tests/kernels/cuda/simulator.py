"""The simulator with another order of threads: what a kernel must not depend on.

The simulator of numba-cuda runs the threads of a block as they come. Here one runs at a time, up to its next barrier,
in an order that is drawn anew for each stretch between two barriers, and the blocks run in a drawn order too. A number
that one thread writes and another reads without a barrier between them then comes out differently for some seed.
"""

import threading

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


def shuffle(monkeypatch, seed):
    """Let every kernel launched from now on run with shuffled threads."""
    from numba.cuda.simulator import kernel

    monkeypatch.setattr(ShuffledBlock, "rng", np.random.default_rng(seed))
    monkeypatch.setattr(kernel, "BlockManager", ShuffledBlock)
