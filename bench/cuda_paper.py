"""Microseconds of a step on the GPU, on paper: ``python -m bench.cuda_paper``. Nothing here is measured.

Of the forward recurrence (x W is computed before it, for all steps). The floor is what no design of a step can be
under: the bytes of a step through the card's memory, its operations at the card's peak, and two barriers of a block.
What this design should reach adds up, for one block: the longest of multiplications, loads from shared memory and loads
of the weights that registers do not hold, and then barriers, activations and the wait for shared memory. Beyond 128
units it is two launches, of a product and of the cell's equations, and the longer of the floor and of the product's
rounds of 16 numbers of the sum, which are loaded (W_hh from the L2 cache), then multiplied: each takes a block's way
through it, or what all blocks of a multiprocessor issue in it. The instructions are counted in the machine code.
"""

import math
from typing import NamedTuple

from fastrecur.kernels.cuda.layout import SIZES, Layout, block_layout, in_one_block, padded
from fastrecur.kernels.cuda.products import DEPTH
from fastrecur.network.parameters import GATES

#: Cycles.
BARRIER, ACTIVATIONS, SHARED_LATENCY, L2_LATENCY, FMA_LATENCY = 40, 160, 30, 300, 4

#: Side of a product's tiles, warps of its block, and the instructions that each issues in a round: 320 where it
#: multiplies, 296 where it loads (numba-cuda 0.30.4 and ptxas 13.5 for 9.0, by nvdisasm).
TILE, WARPS, ROUND = 32, 2, 616

#: Warps of which a multiprocessor issues an instruction at a time.
ISSUED = 4

#: Microseconds from one launch of a queue to the next, and launches of a step beyond 128 units.
LAUNCH, LAUNCHES = 2.0, 2


class Card(NamedTuple):
    """Data sheet: multiprocessors, GHz (boost), bytes a second, float32 lanes of a multiprocessor."""

    name: str
    multiprocessors: int
    gigahertz: float
    bytes_a_second: float
    lanes: int = 128


H100 = Card("NVIDIA H100 SXM", 132, 1.98, 3.35e12)


def _moved(cell, n_rows, n_hidden):
    """Bytes of a step: x W + b in; record and states out."""
    states = 2 if cell == "lstm" else 1
    record = 0 if cell == "rnn" else 4  # the Elman network's record is h itself
    return 4 * n_rows * n_hidden * (GATES[cell] + record + states)


def _operations(cell, n_rows, n_hidden):
    """Of a step: a multiply-add counts for two."""
    return 2 * n_rows * GATES[cell] * n_hidden**2


def _barriers(cell):
    """Of a step, within a block."""
    return 1 if cell == "rnn" else 2


def floor(cell, n_rows, n_hidden, card):
    """Microseconds: the longer of bytes and operations of a step, and the barriers."""
    peak = 2 * card.lanes * card.multiprocessors * card.gigahertz * 1e9
    seconds = max(_moved(cell, n_rows, n_hidden) / card.bytes_a_second, _operations(cell, n_rows, n_hidden) / peak)
    return 1e6 * (seconds + _barriers(cell) * BARRIER / (card.gigahertz * 1e9))


def reach(cell, n_rows, n_hidden, card):
    """Microseconds that a step of the design should take."""
    if not in_one_block(padded(n_hidden)):
        blocks = math.ceil(n_rows / TILE) * math.ceil(GATES[cell] * padded(n_hidden) / TILE)
        issue = math.ceil(blocks / card.multiprocessors) * WARPS * ROUND / ISSUED
        a_round = max(ROUND + 2 * BARRIER + SHARED_LATENCY + L2_LATENCY, issue)
        way = padded(n_hidden) // DEPTH * a_round / (card.gigahertz * 1e3)
        return LAUNCHES * LAUNCH + max(way, floor(cell, n_rows, padded(n_hidden), card))
    layout: Layout = block_layout(padded(n_hidden), n_rows, "float32", card.multiprocessors)
    gates, width, rows = GATES[cell], layout.n_hidden, layout.rows
    multiplications = rows * gates * width**2
    waves = math.ceil(math.ceil(n_rows / rows) / card.multiprocessors)
    issue = multiplications / card.lanes
    chain = width * max(FMA_LATENCY, rows)  # each thread's sums, of which ``rows`` go on at a time
    shared = multiplications / 32 / 4  # a warp reads four numbers at once, the same for all lanes, a cycle
    cached = 4 * gates * width * max(0, width - 16 * layout.pieces) / 128  # bytes of W_hh through L1, 128 a cycle
    cycles = max(issue, chain, shared, cached) + _barriers(cell) * BARRIER + ACTIVATIONS + SHARED_LATENCY
    return max(waves * cycles / (card.gigahertz * 1e3), floor(cell, n_rows, width, card))


def main():
    card = H100
    print(f"{card.name}, {card.multiprocessors} multiprocessors, {card.gigahertz} GHz; microseconds a step, on paper")
    print()
    heads = "cell", "H", "bytes a row", "operations a row", "barriers"
    print(f"| {' | '.join(heads)} | floor, B = 16 | design | floor, B = 128 | design | floor, B = 512 | design |")
    print("|" + " --- |" * 11)
    for cell in ("lstm", "gru", "rnn"):
        for n_hidden in (*SIZES, 256, 512):
            counted = f"{_moved(cell, 1, n_hidden):,}", f"{_operations(cell, 1, n_hidden):,}", _barriers(cell)
            figures = [f"{f(cell, b, n_hidden, card):.2f}" for b in (16, 128, 512) for f in (floor, reach)]
            print("| " + " | ".join(map(str, (cell, n_hidden, *counted, *figures))) + " |")


if __name__ == "__main__":
    main()
