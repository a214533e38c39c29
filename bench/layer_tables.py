"""Forward pass and training step of `fastrecur.layers`: against other libraries, the tile's peak, and one thread."""

import dataclasses
import importlib.util
import statistics
import time

import numpy as np
import torch

from bench import grid, timing
from bench.pair import Pair
from bench.report import CheckFailedError, Figure, Table, guarded, ratio
from bench.tile import Tile
from fastrecur import layers
from fastrecur.kernels.cpu.target import TALL_4

OURS, TORCH, ONNX = "fastrecur", "PyTorch", "ONNX Runtime"

#: Hidden units from which on a shape is compared with the tile's peak, and one thread with two.
PEAK_HIDDEN, THREADS_HIDDEN = 128, 64

#: Where the bare tile gains less on a second thread, there was no whole second core to gain from: the rounds are taken
#: again, so many times, after so many seconds.
SECOND_CORE, TRIES, PAUSE = 1.85, 10, 3.0

LAYERS = "ragged batches: PyTorch gets a PackedSequence made beforehand, fastrecur packs inside its call"


def start_threads():
    """Start Numba's threading layer, so that it has a name."""
    layers.RNN(1, 1).forward(np.zeros((1, 1, 1)))


def has_onnx_runtime():
    return all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime"))


# --- against other libraries -----------------------------------------------------------------------------------------


def forward(options):
    """Inference, against the faster of PyTorch and ONNX Runtime."""
    peers = [TORCH, ONNX] if has_onnx_runtime() and not options.held else [TORCH]
    faster = f"the faster of {' and '.join(peers)}" if ONNX in peers else TORCH
    notes = [f"Seconds of {faster} over seconds of fastrecur; {LAYERS}."]
    if options.held:
        notes.append("ONNX Runtime cannot be held to AVX2 and is left out.")
    result = table("Forward", notes, {cell: grid.FORWARD[cell] for cell in options.cells}, peers)
    for shape, threads in options.lines():
        for cell in options.cells:
            result.add(line(shape, threads), cell, guarded(_forward, cell, shape, threads, ONNX in peers, options))
    return result


def training(options):
    """Forward with record, dx and all weight gradients, against PyTorch."""
    notes = [f"Seconds of PyTorch over seconds of fastrecur; {LAYERS}."]
    result = table("Training step", notes, {cell: grid.TRAINING[cell] for cell in options.cells}, [TORCH])
    for shape, threads in options.lines():
        for cell in options.cells:
            result.add(line(shape, threads), cell, guarded(_training, cell, shape, threads, options))
    return result


def table(title, notes, requirements, peers):
    """Empty table of ratios to ``peers``, by shape and number of threads, with a column a cell."""
    return Table(title, notes, ("shape", "B, T, F, H", "threads"), requirements, f"us, {' : '.join([OURS, *peers])}")


def line(shape, threads):
    return shape.name, shape.text, threads


def _forward(cell, shape, threads, with_onnx, options):
    pair = Pair(cell, shape, threads)
    error = pair.check_forward()
    sides, rest = {OURS: pair.forward, TORCH: pair.their_forward}, timing.REST
    if with_onnx:
        from bench.onnx_model import REST, OnnxPeer

        sides[ONNX] = peer = OnnxPeer(cell, pair)
        error = max(error, pair.check_outputs(peer.results(), "ONNX Runtime's"))
        rest = REST if threads > 1 else rest
    return _timed(sides, threads, options, error, rest)


def _training(cell, shape, threads, options):
    pair = Pair(cell, shape, threads)
    pair.check_forward()
    error = pair.check_training_step()
    return _timed({OURS: pair.training_step, TORCH: pair.their_training_step}, threads, options, error)


def _timed(sides, threads, options, error, rest=timing.REST):
    seconds = timing.in_turn(timing.blocks(sides, rest), options.rounds, threads)
    assert torch.get_num_threads() == threads
    return ratio(seconds, *sides, error=error)


# --- the tile's peak -------------------------------------------------------------------------------------------------


def peak(options):
    """Share of the speed of the bare tile, out of the L1 cache and timed in turn, that forward and training reach."""
    tiles = {threads: Tile.fastest(threads) for threads in options.threads}
    notes = [f"bare tile, {threads} thread(s): {tile.text}" for threads, tile in tiles.items()]
    notes.append("Operations by hand: forward 2 B T G H (F + H), a training step with dx three times as many.")
    groups = {f"{cell} forward": grid.PEAK_FORWARD for cell in options.cells}
    groups |= {f"{cell} training": grid.PEAK_TRAINING for cell in options.cells}
    title = f"Share of the tile's own peak, H of {PEAK_HIDDEN} and more"
    table = Table(title, notes, ("shape", "B, T, F, H", "threads"), groups, "GFLOP/s, fastrecur : tile", "{:.0%}")
    for shape, threads in options.lines(PEAK_HIDDEN):
        for cell in options.cells:
            for what in ("forward", "training"):
                figure = guarded(_share, cell, shape, threads, what, tiles[threads], options)
                table.add(line(shape, threads), f"{cell} {what}", figure)
    return table


def _share(cell, shape, threads, what, tile, options):
    pair = Pair(cell, shape, threads)
    error = pair.check_forward()
    function, flops = pair.forward, shape.flops(cell)
    if what == "training":
        error = pair.check_training_step()
        function, flops = pair.training_step, 3 * flops
    seconds = timing.in_turn(timing.blocks({"tile": tile, OURS: function}), options.rounds, threads)
    ours, best = flops / statistics.median(seconds[OURS]), tile.flops / statistics.median(seconds["tile"])
    detail = f"{ours / 1e9:.0f} : {best / 1e9:.0f}"
    return Figure(ours / best, detail, timing.is_noisy(*seconds.values()), error)


# --- the second thread -----------------------------------------------------------------------------------------------


def second_thread(options):
    """Seconds of one thread over seconds of two."""
    groups = {f"{cell} {what}": grid.SECOND_THREAD for cell in options.cells for what in ("forward", "training")}
    notes = ["Seconds of fastrecur on one thread over its seconds on two, which give the same bits."]
    notes += [f"Taken while the bare tile, timed in turn, is {SECOND_CORE:g}x as fast on two threads; else marked ~."]
    title = f"Second thread, H of {THREADS_HIDDEN} and more"
    table = Table(title, notes, ("shape", "B, T, F, H"), groups, "us, 2 threads : 1")
    for shape in (shape for shape in options.shapes if shape.hidden >= THREADS_HIDDEN):
        for cell in options.cells:
            for what in ("forward", "training"):
                figure = guarded(_gain, cell, shape, what, options)
                table.add((shape.name, shape.text), f"{cell} {what}", figure)
    return table


def _gain(cell, shape, what, options):
    one, two = Pair(cell, shape, 1), Pair(cell, shape, 2)
    error = one.check_forward()
    functions = [one.forward, two.forward]
    results = [function()[0] for function in functions]
    if what == "training":
        error = one.check_training_step()
        functions = [one.training_step, two.training_step]
        results = [np.concatenate([f().ravel(), *(g.ravel() for g in p.ours.grads.values())])
                   for f, p in zip(functions, (one, two), strict=True)]  # fmt: skip
    if not np.array_equal(*results):
        raise CheckFailedError("one thread and two give other bits")
    has_core, seconds = _with_second_core(dict(zip("12", functions, strict=True)), options.rounds)
    figure = ratio(seconds, "2", "1", error=error)
    return dataclasses.replace(figure, noisy=figure.noisy or not has_core)


def _with_second_core(sides, rounds):
    """Whether the machine gave the tile a second core, in the last of some tries, and the seconds of the sides then."""
    tiles = {threads: Tile(TALL_4, 4, threads) for threads in (1, 2)}
    measures = timing.blocks(sides) | timing.blocks(tiles)
    for tries in range(TRIES):
        time.sleep(PAUSE if tries else 0)
        seconds = timing.in_turn(measures, rounds, threads=2)
        one, two = (statistics.median(seconds.pop(threads)) / tile.flops for threads, tile in tiles.items())
        if one / two >= SECOND_CORE:
            return True, seconds
    return False, seconds
