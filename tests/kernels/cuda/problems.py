"""Problems of `tests.helpers` on the device: padded, poisoned, run, and cut to their sizes again."""

import numpy as np

from fastrecur.kernels.cuda import elman, gru, layout, lstm, runtime
from fastrecur.kernels.cuda.steps import upload
from tests.helpers import GATES, final_states


def pad_gates(array, n_hidden, width):
    """The first axis of an array, G * H, as G * width, with zeros between."""
    n_gates = len(array) // n_hidden
    out = np.zeros((n_gates, width, *array.shape[1:]))
    out[:, :n_hidden] = array.reshape(n_gates, n_hidden, *array.shape[1:])
    return out.reshape(n_gates * width, *array.shape[1:])


def cut_gates(array, n_hidden, width):
    """Undo `pad_gates`."""
    parts = array.reshape(-1, width, *array.shape[1:])[:, :n_hidden]
    return parts.reshape(-1, *array.shape[1:])


class OnDevice:
    """A problem's arrays on the device, as direction ``direction`` of two, whose other half must stay as it is."""

    def __init__(self, p, dtype, direction=1):
        self.p, self.dtype, self.direction = p, np.dtype(dtype), direction
        self.n_rows, self.n_packed, self.n_hidden = len(p.lengths), len(p.x), p.h.shape[1]
        self.width = layout.padded(self.n_hidden)
        self.cell = p.cell.split("_")[0]
        self.steps = upload(p.steps)
        self.weights = {name: self._pad_weight(name, w) for name, w in p.weights.items()}
        self.x = self.send(p.x)
        self.h = np.full((self.n_rows + self.n_packed, 2, self.width), np.nan)
        self.h[: self.n_rows, direction] = 0.0
        self.h[: self.n_rows, direction, : self.n_hidden] = p.h[: self.n_rows]
        self.h = self.send(self.h)
        self.mask = None if p.mask is None else self.send(self._pad_units(p.mask, 1.0))
        self.gates = self.send(np.full((self.n_packed, layout.RECORD[self.cell] * self.width), np.nan))
        self.parts = self.send(np.full(8 * 4 * self.width * max(self.width, p.x.shape[1]), np.nan)[: 2**15])
        self.scratch = self.send(np.full(4 * self.n_rows * self.width + self.n_packed * self.width, np.nan))
        self.c = None

    def send(self, array):
        return runtime.to_device(np.asarray(array, self.dtype))

    def _pad_units(self, array, fill=0.0):
        out = np.full((*array.shape[:-1], self.width), fill)
        out[..., : self.n_hidden] = array
        return out

    def _pad_weight(self, name, weight):
        padded = pad_gates(weight, self.n_hidden, self.width)
        if name.startswith("bias"):
            return self.send(padded[np.newaxis])
        return self.send(self._pad_units(padded) if name == "w_hh" else padded)

    def _cells(self, keep):
        n_states = self.n_rows + self.n_packed if keep else self.n_rows
        c = np.full((n_states, self.width), np.nan)
        c[: self.n_rows] = self._pad_units(self.p.c[: self.n_rows])
        return self.send(c)

    def forward(self, keep=True):
        """Run the forward kernel: y and the final states by name."""
        w_ih, w_hh, *biases = self.weights.values()
        w_hh_t = runtime.to_device(np.ascontiguousarray(runtime.to_host(w_hh).T))
        given = w_ih, w_hh_t, *biases, self.x, self.steps, self.h
        options = {"direction": self.direction, "mask": self.mask}
        if self.cell == "lstm":
            self.c = self._cells(keep)
            lstm.lstm_forward(*given, self.c, self.gates, self.scratch, keep=keep, **options)
        elif self.cell == "gru":
            gru.gru_forward(*given, self.gates, self.scratch, keep=keep, **options)
        else:
            elman.rnn_forward(*given, self.scratch, relu=self.p.cell == "rnn_relu", **options)
        h = runtime.to_host(self.h)
        assert np.isnan(h[self.n_rows :, 1 - self.direction]).all()  # the other direction
        h = h[:, self.direction]
        assert ((h[:, self.n_hidden :] == 0.0) | np.isnan(h[:, :1])).all()  # padded units, but of a row of NaN
        results = {"y": h[self.n_rows :, : self.n_hidden], "final h": final_states(self.p, h)[:, : self.n_hidden]}
        if self.cell == "lstm":
            c = runtime.to_host(self.c)
            results["final c"] = (final_states(self.p, c) if keep else c)[:, : self.n_hidden]
        return results

    def backward(self, dy=True, add_dx=None, need_dx=True):
        """Run the backward kernel after `forward`: gradients by the names of `reference_backward`."""
        p, width, n_hidden = self.p, self.width, self.n_hidden
        w_ih, w_hh, *_ = self.weights.values()
        given_dy = np.full((self.n_packed, 2, width), np.nan)
        given_dy[:, self.direction] = self._pad_units(p.dy)
        dy = self.send(given_dy) if dy else None
        dh = self.send(self._pad_units(p.dh))
        dweights = {name: self.send(np.zeros(w.shape)) for name, w in self.weights.items()}
        dx = self.send(np.full(p.x.shape, np.nan) if add_dx is None else add_dx) if need_dx else None
        options = {"direction": self.direction, "mask": self.mask, "add_dx": add_dx is not None}
        gradients, out = {"h": dh}, (dx, *dweights.values(), self.parts, self.scratch)
        given = w_ih, w_hh, self.x, self.steps, self.h
        if self.cell == "lstm":
            gradients["c"] = dc = self.send(self._pad_units(p.dc))
            lstm.lstm_backward(*given, self.c, self.gates, dy, dh, dc, *out, **options)
        elif self.cell == "gru":
            gru.gru_backward(*given, self.gates, dy, dh, *out, **options)
        else:
            elman.rnn_backward(*given, self.gates, dy, dh, *out, relu=p.cell == "rnn_relu", **options)
        results = {}
        for name, gradient in gradients.items():
            padded = runtime.to_host(gradient)
            assert (padded[:, n_hidden:] == 0.0).all()  # padded units
            results[name] = padded[:, :n_hidden]
        if need_dx:
            results["x"] = runtime.to_host(dx)
        for name, gradient in dweights.items():
            padded = runtime.to_host(gradient)
            if name.startswith("bias"):
                results[name] = cut_gates(padded[0], n_hidden, width)
            else:
                results[name] = cut_gates(padded, n_hidden, width)
                if name == "w_hh":
                    results[name] = results[name][:, :n_hidden]
            assert len(results[name]) == GATES[p.cell] * n_hidden
        return results
