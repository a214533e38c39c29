"""The grid on a GPU, beside torch.nn on cuDNN and the roofline of the card: ``python -m bench.cuda_layers``.

x, dy and the results lie on the device on both sides: PyTorch's tensors, which fastrecur reads where they are. Each
block of calls ends with a wait for the device. A training step is forward with record, dx and all weight gradients.
The roofline is the longer of bytes at the card's bandwidth and operations at its peak, both counted by hand.
Checked first: outputs and every gradient, and that a second step has the bits of the first. The exit status is 1 if a
check failed.

``--dry-run`` only asks whether all of this runs: two small shapes, one round, no figures; in the simulator (with
``NUMBA_ENABLE_CUDASIM=1``) PyTorch computes on the CPU.
"""

import argparse
import itertools
import statistics
import sys
import time

from bench.grid import CELLS, GATES, GRID, Shape
from fastrecur import layers
from fastrecur.kernels.cuda import runtime

#: Numbers that a step keeps of the gates for the way back, in H. The Elman network keeps none: h is enough.
RECORD = {"LSTM": 4, "GRU": 4, "RNN": 0}

#: Lanes of a multiprocessor for float32 where they are not 128 (CUDA C++ Programming Guide, "Arithmetic Instructions").
LANES = {(7, 5): 64, (8, 0): 64}

#: Calls of a block.
CALLS = 1 if runtime.SIMULATED else 5

#: Of a dry run.
DRY = (Shape("dry", 3, 3, 2, 4, layers=2, bidirectional=True), Shape("dry, ragged", 3, 3, 2, 4, shortest=1))


def moved(cell, shape, training):
    """Bytes that must cross the memory: what goes in, what comes out, what the way back needs.

    Forward, a step of each layer reads x and writes h; for the way back also the record and, of the LSTM, c. The way
    back reads these, x and dy, and writes dx. The weights are read once, in training twice, and their gradients
    written. What a design carries from one kernel to the next (x W + b, gradients of the gates) is not counted.
    """
    kept = RECORD[cell] + (2 if cell == "LSTM" else 1)
    total = 0
    for width in [shape.features] + [shape.directions * shape.hidden] * (shape.layers - 1):
        across = shape.directions * shape.hidden
        a_step = 3 * width + across * (2 * kept + 1) if training else width + across
        weights = across * GATES[cell] * (width + shape.hidden)
        total += shape.n_steps * a_step + (3 if training else 1) * weights
    return 4 * total


def roofline(cell, shape, training, card):
    """Seconds on a card, given as bytes and operations a second."""
    bandwidth, peak = card
    return max(moved(cell, shape, training) / bandwidth, (3 if training else 1) * shape.flops(cell) / peak)


def this_card():
    """Bytes and operations in float32 a second, by the attributes of the device: clocks, bus, lanes."""
    device = runtime.cuda.get_current_device()
    bandwidth = 2 * device.MEMORY_CLOCK_RATE * 1e3 * device.GLOBAL_MEMORY_BUS_WIDTH / 8
    lanes = LANES.get(tuple(device.compute_capability), 128)
    return bandwidth, 2 * lanes * runtime.n_multiprocessors() * device.CLOCK_RATE * 1e3


class Sides:
    """The same layers on both sides, with the same weights and the same memory."""

    def __init__(self, cell, shape, torch):
        self.torch, self.shape, self.lengths = torch, shape, shape.lengths()
        self.place = "cpu" if runtime.SIMULATED else "cuda"
        torch.manual_seed(0)
        options = {"num_layers": shape.layers, "bidirectional": shape.bidirectional}
        theirs = getattr(torch.nn, cell)(shape.features, shape.hidden, batch_first=True, **options)
        self.ours = getattr(layers, cell)(shape.features, shape.hidden, device="cuda", **options)
        self.ours.load_parameters({name: p.detach().numpy() for name, p in theirs.named_parameters()})
        self.theirs = theirs.to(self.place)
        self.x = torch.randn(shape.rows, shape.steps, shape.features, device=self.place)
        self.dy = torch.randn(shape.rows, shape.steps, shape.directions * shape.hidden, device=self.place)
        self._leaf = self.x.clone().requires_grad_()

    def our_forward(self):
        return self.ours.forward(self.x, lengths=self.lengths)[0]

    def our_step(self):
        self.ours.forward(self.x, lengths=self.lengths, training=True)
        return self.ours.backward(self.dy)[0]

    def _run(self, x):
        pack = self.torch.nn.utils.rnn
        if self.lengths is None:
            return self.theirs(x)[0]
        lengths = self.torch.from_numpy(self.lengths)
        packed = self.theirs(pack.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))[0]
        return pack.pad_packed_sequence(packed, batch_first=True, total_length=self.shape.steps)[0]

    def their_forward(self):
        with self.torch.inference_mode():
            return self._run(self.x)

    def their_step(self):
        leaves = self._leaf, *self.theirs.parameters()
        return self.torch.autograd.grad(self._run(self._leaf), leaves, self.dy)

    def check(self):
        """What is wrong with outputs and gradients, or an empty text; and the largest difference of outputs."""
        y, found, expected = self._tensor(self.our_forward()), self._our_gradients(), self._their_gradients()
        error = (y - self.their_forward()).abs().max().item()
        wrong = {} if error <= 1e-4 else {"y": error}  # cuDNN may round its products to TF32, unless that is off
        for name, gradient in expected.items():
            relative = (found[name] - gradient).norm().item() / gradient.norm().item()
            if not relative <= 1e-3:  # NaN is wrong too
                wrong[name] = relative
        if wrong:
            return ", ".join(f"{name} {size:.1e}" for name, size in wrong.items()), error
        again = self._our_gradients()
        if not all(self.torch.equal(found[name], again[name]) for name in found):
            return "a second step has other bits", error
        return "", error

    def _our_gradients(self):
        """By our names."""
        for gradient in self.ours.grads.values():
            gradient[...] = 0.0  # to which a step adds
        dx = self._tensor(self.our_step())
        return {"dx": dx} | {name: self._tensor(gradient.copy()) for name, gradient in self.ours.grads.items()}

    def _their_gradients(self):
        """By our names: where PyTorch has two biases and we one, theirs have the same gradient."""
        names = [name for name, _ in self.theirs.named_parameters()]
        dx, *gradients = self.their_step()
        named = dict(zip(names, gradients, strict=True))
        named |= {name.replace("bias_ih", "bias"): gradient for name, gradient in named.items()}
        return {"dx": dx} | {name: named[name] for name in self.ours.grads}

    def _tensor(self, array):
        return self.torch.as_tensor(array, device=self.place)

    def wait(self):
        if not runtime.SIMULATED:
            self.torch.cuda.synchronize()

    def seconds(self, names, rounds):
        """Medians of methods, in turn."""
        times = {name: [] for name in names}
        for _ in range(rounds):
            for name, found in times.items():
                call = getattr(self, name)
                call()
                self.wait()
                began = time.perf_counter()
                for _ in range(CALLS):
                    call()
                self.wait()
                found.append((time.perf_counter() - began) / CALLS)
        return [statistics.median(times[name]) for name in names]


def _line(cell, shape, torch, rounds, card):
    """A row of the table, and whether the check passed."""
    sides = Sides(cell, shape, torch)
    wrong, error = sides.check()
    cells = [cell, shape.name, shape.text]
    if wrong:
        return _row([*cells, f"check failed: {wrong}", *[""] * 8]), False
    for training, names in ((False, ("our_forward", "their_forward")), (True, ("our_step", "their_step"))):
        ours, theirs = sides.seconds(names, rounds)
        if card is None:
            cells += ["runs", "", "", ""]
            continue
        least = roofline(cell, shape, training, card)
        per_step = 1e6 * ours / (shape.steps * shape.layers)
        cells += [f"{1e6 * ours:.0f}", f"{per_step:.2f}", f"{theirs / ours:.2f}x", f"{least / ours:.0%}"]
    return _row([*cells, f"{error:.0e}"]), True


def _row(cells):
    return "| " + " | ".join(cells) + " |"


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m bench.cuda_layers", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--cells", nargs="*", choices=CELLS, default=CELLS, metavar="CELL")
    parser.add_argument("--shapes", nargs="*", choices=GRID, default=list(GRID), metavar="SHAPE")
    parser.add_argument("--dry-run", action="store_true", help="only see whether it runs")
    arguments = parser.parse_args(argv)
    if not runtime.available() or (runtime.SIMULATED and not arguments.dry_run):
        print(f"no GPU to measure: {runtime.why_unavailable() or 'the simulator is none'}", file=sys.stderr)
        return 1
    import torch

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    rounds, shapes, card = arguments.rounds, [GRID[name] for name in arguments.shapes], None
    if arguments.dry_run:
        rounds, shapes = 1, DRY
    else:
        card = this_card()
        print(f"peak {card[1] / 1e12:.1f} TFLOP/s in float32, {card[0] / 1e12:.2f} TB/s; ", end="")
    peer = f"PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}"
    print(f"{runtime.device_name()}; {runtime.PACKAGE}; {peer}; medians of {rounds} rounds")
    print()
    names = "us", "us a step and layer", "cuDNN over it", "of the roofline"
    heads = [f"{kind}: {name}" for kind in ("forward", "training") for name in names]
    print(_row(["cell", "shape", "B, T, F, H", *heads, "error"]))
    print("|" + " --- |" * 12)
    failed = False
    for shape, cell in itertools.product(shapes, arguments.cells):
        row, passed = _line(cell, shape, torch, rounds, card)
        print(row, flush=True)
        failed |= not passed
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
