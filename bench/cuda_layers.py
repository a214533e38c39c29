"""The grid on a GPU, beside torch.nn on cuDNN and the roofline of the card: ``python -m bench.cuda_layers``.

x, dy and the results lie on the device on both sides: PyTorch's tensors, which fastrecur reads where they are. Each
block of calls ends with a wait for the device. A training step is forward with record, dx and all weight gradients.
The roofline is the longer of bytes at the card's bandwidth and operations at its peak, both counted by hand.
"""

import argparse
import statistics
import sys
import time

from bench.grid import CELLS, GATES, GRID
from fastrecur import layers
from fastrecur.kernels.cuda import runtime

RECORD = {"LSTM": 4, "GRU": 4, "RNN": 0}


def moved(cell, shape):
    """Bytes of a forward pass that must cross the memory: x, x W + b (out and in), record, states, weights once."""
    widths = [shape.features] + [shape.directions * shape.hidden] * (shape.layers - 1)
    states = 2 if cell == "LSTM" else 1
    total = 0
    for width in widths:
        a_step = width + shape.directions * shape.hidden * (2 * GATES[cell] + RECORD[cell] + states)
        weights = shape.directions * GATES[cell] * shape.hidden * (width + shape.hidden)
        total += shape.n_steps * a_step + weights
    return 4 * total


def roofline(cell, shape, training):
    """Seconds, by the attributes of the device: both clocks, the bus and 128 lanes a multiprocessor."""
    device = runtime.cuda.get_current_device()
    bandwidth = 2 * device.MEMORY_CLOCK_RATE * 1e3 * device.GLOBAL_MEMORY_BUS_WIDTH / 8
    peak = 2 * 128 * runtime.n_multiprocessors() * device.CLOCK_RATE * 1e3
    passes = 3 if training else 1
    return max(passes * moved(cell, shape) / bandwidth, passes * shape.flops(cell) / peak)


class Sides:
    """The same layers on both sides, with the same weights and the same memory."""

    def __init__(self, cell, shape, torch):
        self.torch, self.shape, self.lengths = torch, shape, shape.lengths()
        torch.manual_seed(0)
        options = {"num_layers": shape.layers, "bidirectional": shape.bidirectional}
        theirs = getattr(torch.nn, cell)(shape.features, shape.hidden, batch_first=True, **options)
        self.ours = getattr(layers, cell)(shape.features, shape.hidden, device="cuda", **options)
        self.ours.load_parameters({name: p.detach().numpy() for name, p in theirs.named_parameters()})
        self.theirs = theirs.cuda()
        self.x = torch.randn(shape.rows, shape.steps, shape.features, device="cuda")
        self.dy = torch.randn(shape.rows, shape.steps, shape.directions * shape.hidden, device="cuda")
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
        return self.torch.autograd.grad(self._run(self._leaf), leaves, self.dy)[0]

    def check(self):
        """Largest difference of outputs and of dx, of its norm."""
        as_tensor = self.torch.as_tensor
        y = (as_tensor(self.our_forward(), device="cuda") - self.their_forward()).abs().max().item()
        expected = self.their_step()
        dx = (as_tensor(self.our_step(), device="cuda") - expected).norm().item() / expected.norm().item()
        return y, dx


def seconds(calls, torch, rounds):
    """Medians of each call, in turn."""
    times = {call: [] for call in calls}
    for _ in range(rounds):
        for call, found in times.items():
            call()
            torch.cuda.synchronize()
            began = time.perf_counter()
            for _ in range(5):
                call()
            torch.cuda.synchronize()
            found.append((time.perf_counter() - began) / 5)
    return [statistics.median(times[call]) for call in calls]


def _line(cell, shape, torch, rounds):
    sides = Sides(cell, shape, torch)
    y, dx = sides.check()
    cells = [cell, shape.name, shape.text]
    if y > 1e-4 or dx > 1e-3:  # cuDNN may round its products to TF32, unless that is switched off
        return "| " + " | ".join([*cells, f"check failed: y {y:.1e}, dx {dx:.1e}", *[""] * 8]) + " |"
    for training, calls in ((False, ("our_forward", "their_forward")), (True, ("our_step", "their_step"))):
        ours, theirs = seconds([getattr(sides, name) for name in calls], torch, rounds)
        least = roofline(cell, shape, training)
        per_step = 1e6 * ours / (shape.steps * shape.layers)
        cells += [f"{1e6 * ours:.0f}", f"{per_step:.2f}", f"{theirs / ours:.2f}x", f"{least / ours:.0%}"]
    return "| " + " | ".join([*cells, f"{y:.0e}"]) + " |"


def main():
    parser = argparse.ArgumentParser(prog="python -m bench.cuda_layers", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--cells", nargs="*", choices=CELLS, default=CELLS, metavar="CELL")
    parser.add_argument("--shapes", nargs="*", choices=GRID, default=list(GRID), metavar="SHAPE")
    arguments = parser.parse_args()
    if runtime.SIMULATED or not runtime.available():
        print(f"no GPU to measure: {runtime.why_unavailable() or 'the simulator is none'}", file=sys.stderr)
        return 1
    import torch

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    peer = f"PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}"
    print(f"{runtime.device_name()}; {runtime.PACKAGE}; {peer}; medians of {arguments.rounds} rounds")
    print()
    names = "us", "us a step and layer", "cuDNN over it", "of the roofline"
    heads = [
        "cell",
        "shape",
        "B, T, F, H",
        *(f"{kind}: {n}" for kind in ("forward", "training") for n in names),
        "error",
    ]
    print("| " + " | ".join(heads) + " |")
    print("|" + " --- |" * len(heads))
    for name in arguments.shapes:
        for cell in arguments.cells:
            print(_line(cell, GRID[name], torch, arguments.rounds), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
