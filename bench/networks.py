"""The estimators' network, data and training loop in PyTorch and in skorch, written as one would for speed.

Tensors are prepared before anything is timed: time-major (T, n, F), PyTorch's default layout, of which a batch is one
``index_select``. Ragged sequences are padded there, those of a batch sorted by falling length. They are packed for the
layer, or run with their padding and read at their last steps, whichever is faster: PyTorch's packed LSTM does not run
on oneDNN, and going back through many packed steps takes it long.
"""

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from bench import timing
from bench.grid import CELLS
from fastrecur import GRUClassifier, LSTMClassifier, RNNClassifier

ESTIMATORS = dict(zip(CELLS, (LSTMClassifier, GRUClassifier, RNNClassifier), strict=True))

CLASSES, LEARNING_RATE, MAX_NORM = 10, 0.005, 1.0


class Data:
    """Random sequences of a shape of the grid, and labels, as each side wants them.

    ``X`` is an array (n, T, F) or a list of ragged arrays, ``padded`` an array (n, T, F).
    """

    def __init__(self, shape, n_rows):
        rng = np.random.default_rng(0)
        self.shape, self.lengths = shape, shape.lengths(n_rows)
        self.padded = rng.normal(size=(n_rows, shape.steps, shape.features)).astype(np.float32)
        self.y = np.arange(n_rows) % CLASSES
        self.X = self.padded
        if self.lengths is not None:
            self.padded[np.arange(shape.steps) >= self.lengths[:, None]] = 0.0
            self.X = [x[:length].copy() for x, length in zip(self.padded, self.lengths, strict=True)]

    def __len__(self):
        return len(self.y)


class Network(torch.nn.Module):
    """Recurrent layers, the last state of each sequence, a dense layer: (T, B, F) -> (B, K)."""

    def __init__(self, cell, shape, pack=True):
        super().__init__()
        self.pack = pack
        self.recurrent = getattr(torch.nn, cell)(
            shape.features, shape.hidden, num_layers=shape.layers, bidirectional=shape.bidirectional
        )
        self.head = torch.nn.Linear(shape.directions * shape.hidden, CLASSES)

    def forward(self, x, lengths=None, enforce_sorted=True):
        if lengths is not None and not self.pack:
            y, _ = self.recurrent(x)
            return self.head(y[lengths - 1, torch.arange(len(lengths))])
        if lengths is not None:
            x = pack_padded_sequence(x, lengths, enforce_sorted=enforce_sorted)
        _, state = self.recurrent(x)
        h = state[0] if isinstance(state, tuple) else state
        directions = 2 if self.recurrent.bidirectional else 1
        return self.head(h[-1] if directions == 1 else torch.cat((h[-2], h[-1]), dim=1))

    def choose_packing(self, call):
        """Pack ragged sequences if ``call`` is then faster."""
        seconds = {}
        for self.pack in (False, True):
            call()
            seconds[self.pack] = timing.seconds_of(call)
        self.pack = seconds[True] < seconds[False]

    def load(self, weights):
        """Take over an estimator's ``weights_``: a single bias beside a second one of zero."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                part, _, key = name.partition(".")
                key = f"head_{key}" if part == "head" else key
                if key in weights:
                    parameter.copy_(torch.from_numpy(weights[key]))
                elif "bias_ih" in key:
                    parameter.copy_(torch.from_numpy(weights[key.replace("bias_ih", "bias")]))
                else:
                    parameter.zero_()


class TorchLoop:
    """Epochs of minibatches: shuffle, gradient, clipping, Adam."""

    def __init__(self, network, data, batch_size, shuffle=True):
        self.network, self.batch_size, self.shuffle = network, batch_size, shuffle
        self.x = torch.from_numpy(data.padded).transpose(0, 1).contiguous()
        self.y = torch.from_numpy(data.y)
        self.lengths = None if data.lengths is None else torch.from_numpy(data.lengths)
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.optimiser = _adam(self.parameters)

    def choose_packing(self):
        """The faster way to run ragged sequences; trains for a few steps."""
        if self.lengths is not None:
            self.network.choose_packing(lambda: self._step(torch.arange(self.batch_size)))

    def epoch(self):
        """One pass over the data; its mean loss."""
        rows = torch.randperm(len(self.y)) if self.shuffle else torch.arange(len(self.y))
        losses = [self._step(batch) * len(batch) for batch in rows.split(self.batch_size)]
        return float(torch.stack(losses).sum()) / len(self.y)

    def _step(self, batch):
        lengths, x = None, self.x
        if self.lengths is not None:
            lengths, order = self.lengths[batch].sort(descending=True)
            batch, x = batch[order], x[: lengths[0]]
        self.optimiser.zero_grad()
        outputs = self.network(x.index_select(1, batch), lengths)
        loss = torch.nn.functional.cross_entropy(outputs, self.y[batch])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, MAX_NORM)
        self.optimiser.step()
        return loss.detach()


def _adam(parameters):
    """Adam in one kernel (fused) where that is faster here."""

    def seconds(fused):
        copies = [p.detach().clone() for p in parameters]
        for copy in copies:
            copy.grad = torch.randn_like(copy)
        step = torch.optim.Adam(copies, lr=LEARNING_RATE, fused=fused).step
        return min(timing.seconds_of(step) for _ in range(20))

    return torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=seconds(True) < seconds(False))


class TorchPrediction:
    """Labels of all sequences under no_grad, in batches; ragged ones were sorted by length beforehand."""

    def __init__(self, network, data, batch_size=256):
        self.network = network
        self.order, self.lengths = torch.arange(len(data)), None
        if data.lengths is not None:
            lengths, self.order = torch.from_numpy(data.lengths).sort(descending=True, stable=True)
            self.lengths = lengths.split(batch_size)
        x = torch.from_numpy(data.padded)[self.order].transpose(0, 1)
        self.x = [batch.contiguous() for batch in x.split(batch_size, dim=1)]
        if self.lengths is not None:
            network.choose_packing(self)

    def __call__(self):
        labels = torch.empty_like(self.order)
        labels[self.order] = self.outputs().argmax(dim=1)
        return labels.numpy()

    def outputs(self):
        """Outputs of the head in the order of the batches."""
        with torch.no_grad():
            if self.lengths is None:
                return torch.cat([self.network(x) for x in self.x])
            pairs = zip(self.x, self.lengths, strict=True)
            return torch.cat([self.network(x[: lengths[0]], lengths) for x, lengths in pairs])


class _BatchFirst(Network):
    """What skorch hands over: batches (B, T, F), unsorted."""

    def forward(self, x, lengths=None):
        lengths = None if lengths is None else lengths.cpu()
        return super().forward(x.transpose(0, 1), lengths, enforce_sorted=False)


def skorch_epoch(cell, shape, data, batch_size, pack):
    """Function that trains skorch's classifier for one epoch more."""
    import skorch
    from skorch.callbacks import GradientNormClipping

    net = skorch.NeuralNetClassifier(
        _BatchFirst, module__cell=cell, module__shape=shape, module__pack=pack, criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam, lr=LEARNING_RATE, batch_size=batch_size, max_epochs=1, train_split=None,
        iterator_train__shuffle=True, callbacks=[GradientNormClipping(MAX_NORM)], classes=range(CLASSES), verbose=0,
    ).initialize()  # fmt: skip
    X = data.padded if data.lengths is None else {"x": data.padded, "lengths": data.lengths}
    return lambda: net.partial_fit(X, data.y)
