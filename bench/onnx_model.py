"""The layers of a `Pair` as operators of ONNX, run by ONNX Runtime."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from bench.grid import GATES

#: Seconds for which ONNX Runtime's own threads spin after a call, and more: the rest before the next side's turn.
REST = 0.060

#: Which of PyTorch's gates stands where in ONNX: i, o, f, c of i, f, g, o; z, r, h of r, z, n.
ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}

OPSET, IR_VERSION = 17, 8


class OnnxPeer:
    """A session with the weights of PyTorch's layers; called, it returns outputs and final states."""

    def __init__(self, cell, pair):
        self._inputs = {"x": pair.padded_x.numpy()}
        if pair.lengths is not None:
            self._inputs["lengths"] = pair.lengths.astype(np.int32)
        model = _model(cell, pair.shape, {name: p.detach().numpy() for name, p in pair.theirs.named_parameters()})
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = pair.threads, 1
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)
        self._n_states = pair.shape.layers

    def __call__(self):
        return self._session.run(None, self._inputs)

    def results(self):
        """Outputs (T, B, D * H), then final states (L * D, B, H)."""
        y, *states = self()
        n = self._n_states
        states = [np.concatenate(states[k : k + n]) for k in range(0, len(states), n)]
        return y.transpose(0, 2, 1, 3).reshape(*y.shape[:1], y.shape[2], -1), *states


def _model(cell, shape, weights):
    """Layers one after another; the outputs are the last one's y, then h of each layer, then c of each."""
    nodes, constants, below = [], [], "x"
    states = ["h", "c"] if cell == "LSTM" else ["h"]
    for k in range(shape.layers):
        arrays = _layer_weights(cell, weights, k, shape.directions)
        constants += [numpy_helper.from_array(array, f"{name}{k}") for name, array in arrays.items()]
        options = {"linear_before_reset": 1} if cell == "GRU" else {}
        options |= {"hidden_size": shape.hidden, "direction": "bidirectional" if shape.bidirectional else "forward"}
        lengths = "lengths" if shape.ragged else ""
        inputs, outputs = [below, *(f"{name}{k}" for name in arrays), lengths], [f"y{k}", *(f"{s}{k}" for s in states)]
        nodes.append(helper.make_node(cell, inputs, outputs, **options))
        if k < shape.layers - 1:  # one direction: (T, 1, B, H) is (T, B, H)
            nodes.append(helper.make_node("Squeeze", [f"y{k}", "axis"], [f"x{k + 1}"]))
            below = f"x{k + 1}"
    if shape.layers > 1:
        constants.append(numpy_helper.from_array(np.array([1]), "axis"))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [shape.steps, shape.rows, shape.features])]
    if shape.ragged:
        inputs.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, [shape.rows]))
    names = [f"y{shape.layers - 1}", *(f"{s}{k}" for s in states for k in range(shape.layers))]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
    graph = helper.make_graph(nodes, cell, inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _layer_weights(cell, weights, layer, directions):
    """W, R and B of a layer's operator, a direction after the other."""
    ends = [f"_l{layer}", f"_l{layer}_reverse"][:directions]

    def reordered(name):
        gates = np.split(weights[name], GATES[cell])
        return np.concatenate([gates[k] for k in ORDER[cell]])

    return {
        "W": np.stack([reordered(f"weight_ih{end}") for end in ends]),
        "R": np.stack([reordered(f"weight_hh{end}") for end in ends]),
        "B": np.stack([np.concatenate([reordered(f"bias_{part}{end}") for part in ("ih", "hh")]) for end in ends]),
    }
