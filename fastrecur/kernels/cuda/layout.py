"""Which layout serves which H: the one place where it is chosen.

**In one block** (H up to 128). A block takes a tile of ``rows`` sequences through all time steps: h, c and the gates
stay in shared memory, no block waits for another. The hidden axis is padded to one of `SIZES` with zero weights: a
padded unit stays exactly 0. A block has one thread a gate column, G * padded H, and each thread holds its column of
W_hh in registers: `PIECE` numbers an array, because the compiler unrolls loops of that length for certain, and an
array that is indexed by a loop which it does not unroll falls to local memory. What is beyond `pieces` of them (H of
96 and 128; in float64 already from 48 on) is read at each step, coalesced, through the L1 cache. Shared memory holds no
weights: the most that a block asks for, 32 KB by the LSTM's backward pass at H of 128 in float64, is within the 48 KB
that every device has.

**A launch a step** (larger H). W_hh does not fit on a multiprocessor; the launches of the steps are the barriers
between the blocks: see `fastrecur.kernels.cuda.stepwise`.
"""

from typing import NamedTuple

import numpy as np

#: Padded H of the kernels that keep a sequence in one block.
SIZES = (16, 32, 48, 64, 96, 128)

#: Padded H of the others is a multiple of this.
STEPWISE_MULTIPLE = 16

#: Numbers of W_hh in one array of registers.
PIECE = 16

#: Gates of the record.
RECORD = {"rnn": 1, "lstm": 4, "gru": 4}


class Layout(NamedTuple):
    """Constants of a compiled kernel: padded H, sequences of a block, dtype's name."""

    n_hidden: int
    rows: int
    dtype: str

    @property
    def real(self):
        """The dtype as NumPy's scalar type, which types constants in a kernel."""
        return np.dtype(self.dtype).type

    @property
    def pieces(self):
        """Arrays of registers for W_hh: 64 registers; 48 where many threads share the 65,536 of a multiprocessor."""
        registers = 48 if self.n_hidden > 64 else 64
        return min(registers * 4 // np.dtype(self.dtype).itemsize // PIECE, self.n_hidden // PIECE)


def padded(n_hidden):
    """H padded for the kernels."""
    for size in SIZES:
        if n_hidden <= size:
            return size
    return -(-n_hidden // STEPWISE_MULTIPLE) * STEPWISE_MULTIPLE


def in_one_block(padded_hidden):
    """Whether a block keeps its sequences through all steps."""
    return padded_hidden <= SIZES[-1]


def scratch(cell, padded_hidden, n_rows, n_packed, masked):
    """Numbers of scratch that a cell's forward and backward kernels take, for a batch of N time steps in B sequences.

    What the launches of a step pass on to each other (for the GRU its hidden part, too), and afterwards the previous
    states times the mask of the recurrent dropout.
    """
    of_steps = 0 if in_one_block(padded_hidden) else n_rows * padded_hidden * (4 if cell == "gru" else 1)
    return max(1, of_steps, n_packed * padded_hidden if masked else 0)


def block_layout(padded_hidden, n_rows, dtype, n_multiprocessors):
    """`Layout` for a batch of ``n_rows`` sequences.

    One sequence a block while there is a multiprocessor for each: a step of it takes the least time. From there on
    four, which share every read of h: one load of 16 bytes serves four multiplications.
    """
    return Layout(padded_hidden, 1 if n_rows <= n_multiprocessors else 4, np.dtype(dtype).name)
