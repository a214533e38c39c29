"""Estimators as ONNX models."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier

import fastrecur
from fastrecur.estimators.base import RecurrentEstimator
from fastrecur.interop import onnx_network
from fastrecur.interop.onnx_network import LEAST_OPSET, Graph, Lengths, element_type
from fastrecur.interop.weights import NetworkWeights, missing_package, network_weights
from fastrecur.network import validation
from fastrecur.network.layers import GRU, LSTM, RNN


def to_onnx(estimator: Any, *, sequence_lens: bool = True, dtype: str = "float32", target_opset: int = 18) -> Any:
    """ONNX model that predicts as a fitted estimator does.

    Embedding, recurrent layers (the operators ``RNN``, ``LSTM`` and ``GRU``), pooling and head are all in it, and a
    regressor's targets come in their own units. For a pipeline see `register_skl2onnx`.

    Parameters
    ----------
    estimator : fitted estimator
        Any of the six, with any parameters.
    sequence_lens : bool, default=True
        Whether the model has the input ``sequence_lens``. Without, every sequence fills its T steps.
    dtype : {"float32", "float64"}, default="float32"
        Of the model's numbers, whatever the estimator's own. ONNX Runtime has its recurrent operators for float32
        only; a model of float64 is for other runtimes, such as ``onnx.reference``.
    target_opset : int, default=18
        Version of ONNX's operators, from 13 on.

    Returns
    -------
    onnx.ModelProto
        Inputs:

        - ``X`` (N, T, F), of ``dtype``; (N, T) where fit saw a 2-D X; int64 tokens (N, T) with ``embedding_dim``.
          Sequences of different lengths are padded at their ends to the longest, with any numbers (or tokens of the
          vocabulary): see `fastrecur.preprocessing`.
        - ``sequence_lens`` (N,), int32: the number of valid time steps of each, from 1 to T.

        Outputs, named as skl2onnx names them:

        - of a classifier ``label`` (N,), int64, string or of the kind of its labels, and ``probabilities`` (N, K);
        - of a regressor ``variable`` (N,), or (N, K) where y was (n, K).

        With ``return_sequences`` they are (N, T) and (N, T, K); beyond a sequence's length stand 0 and the first label.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is no estimator of fastrecur, or its labels are neither numbers nor strings.
    ValueError
        If an option is not one of the above, or a weight is beyond float32.
    ImportError
        If onnx is not installed.

    Notes
    -----
    The results of ONNX Runtime are those of `predict` and `predict_proba` to about 1e-6: its exponential functions
    differ from fastrecur's in the last bits. Of a regressor on float64 data the float32 model has the digits of
    float32.

    References
    ----------
    Open Neural Network Exchange, operator schemas, https://onnx.ai/onnx/operators.

    Examples
    --------
    >>> import numpy as np
    >>> import onnxruntime
    >>> from fastrecur import LSTMRegressor
    >>> from fastrecur.interop import to_onnx
    >>> X = np.random.default_rng(0).normal(size=(20, 5, 3))
    >>> model = LSTMRegressor(hidden_size=4, early_stopping=True, random_state=0).fit(X, X[:, 4, 0])
    >>> session = onnxruntime.InferenceSession(to_onnx(model).SerializeToString())
    >>> inputs = {"X": X.astype(np.float32), "sequence_lens": np.full(20, 5, np.int32)}
    >>> bool(np.allclose(session.run(["variable"], inputs)[0], model.predict(X), atol=1e-5))
    True
    """
    onnx = _onnx()
    validation.check_flag("sequence_lens", sequence_lens)
    number = validation.check_dtype(dtype)
    validation.check_count("target_opset", target_opset, LEAST_OPSET)
    if target_opset > onnx.defs.onnx_opset_version():
        raise ValueError(
            f"target_opset must be at most {onnx.defs.onnx_opset_version()}, the latest of onnx {onnx.__version__}, "
            f"found {target_opset}."
        )
    weights = network_weights(_checked(estimator))
    graph = ModelGraph(onnx, target_opset)
    inputs = [_x_input(onnx, estimator, number)]
    if sequence_lens:
        inputs.append(onnx.helper.make_tensor_value_info("sequence_lens", element_type("int32"), ["N"]))
    x, rank = "X", len(inputs[0].type.tensor_type.shape.dim)
    found, lengths = network_outputs(
        graph, estimator, weights, x, rank, "sequence_lens" if sequence_lens else "", number
    )
    if is_classifier(estimator):
        results = _classifier_outputs(graph, estimator, found, lengths, number)
    else:
        results = [_regressor_output(graph, estimator, found, lengths, number)]
    return graph.model(type(estimator).__name__, inputs, results)


def network_outputs(
    graph: Graph, estimator: Any, weights: NetworkWeights, x: str, rank: int, counts: str, number: np.dtype,
    pooled: bool = False,
) -> tuple[str, Lengths]:  # fmt: skip
    """Add the network: outputs of the head (N, K), or (T, N, K) with ``return_sequences``, and the lengths.

    Parameters
    ----------
    graph : Graph
    estimator : fitted estimator
    weights : NetworkWeights
        Its weights.
    x : str
        Name of X of ``number``, (N, T, F) or of rank 2 (N, T), or of its tokens, int64.
    rank : int
    counts : str
        Name of the lengths (N,), int32, or "".
    number : dtype
        float32 or float64.
    pooled : bool, default=False
        Leave the head out: what `transform` gives, (N, D * H).
    """
    check_range(weights, number)
    if weights.embedding is None:
        x = onnx_network.features(graph, x, rank)
    else:
        x = onnx_network.embeddings(graph, x, rank, weights.embedding.astype(number))
    pooling = estimator._architecture["pooling"] or ("last" if pooled else None)
    lengths = Lengths(counts) if pooling == "last" or not counts else onnx_network.read_lengths(graph, counts, x)
    read = onnx_network.states(graph, weights, pooling, x, lengths, number)
    return read if pooled else onnx_network.head(graph, weights, read, number), lengths


def check_range(weights: NetworkWeights, number: np.dtype) -> None:
    """Every number must be one of ``number``."""
    largest = float(np.finfo(number).max)
    arrays = {**weights.arrays, **dict(zip(("head_weight", "head_bias"), weights.head(), strict=True))}
    for name, array in arrays.items():
        if not np.abs(array).max() <= largest:
            raise ValueError(
                f"{name} holds {array.flat[np.abs(array).argmax()]:g}, beyond {largest:.3g}, the largest that "
                f"{number.name} can hold. Fit to targets of another unit, or pass dtype='float64'."
            )


def labels(classes: NDArray) -> NDArray:
    """Labels as ONNX has them: int64, bool, float64, or strings in an array of objects."""
    kinds = {"b": np.bool_, "i": np.int64, "u": np.int64, "f": np.float64, "U": object, "O": object}
    kind = kinds.get(classes.dtype.kind)
    if kind is None or (kind is object and not all(isinstance(label, str) for label in classes)):
        raise TypeError(
            f"The labels {classes.tolist()} (dtype {classes.dtype}) cannot be ONNX's: they must be all numbers or all "
            "strings. Encode them, for instance with sklearn.preprocessing.LabelEncoder."
        )
    return classes.astype(kind)


def _checked(estimator: Any) -> Any:
    if isinstance(estimator, RNN | LSTM | GRU):
        raise TypeError(
            f"to_onnx exports estimators, found the layer {type(estimator).__name__}. Pass a fitted estimator, or "
            "export torch.nn's layer with the weights of to_torch()."
        )
    if hasattr(estimator, "steps") and not isinstance(estimator, RecurrentEstimator):
        raise TypeError(
            "to_onnx exports an estimator, found a pipeline. Call skl2onnx.convert_sklearn(pipeline, ...), to which "
            "fastrecur.interop.register_skl2onnx() has added the estimators."
        )
    return estimator


def _onnx() -> ModuleType:
    try:
        import onnx
        import onnx.defs
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise missing_package("onnx", "to_onnx()", "onnx") from error
    return onnx


def _x_input(onnx: ModuleType, estimator: Any, number: np.dtype) -> Any:
    """The input X."""
    architecture = estimator._architecture
    if architecture["n_tokens"]:
        return onnx.helper.make_tensor_value_info("X", element_type("int64"), ["N", "T"])
    shape: list = ["N", "T"] if estimator._fit_layout == "table" else ["N", "T", architecture["n_features"]]
    return onnx.helper.make_tensor_value_info("X", element_type(number), shape)


def _classifier_outputs(
    graph: ModelGraph, estimator: Any, logits: str, lengths: Lengths, number: np.dtype
) -> list[tuple[str, str, Any, list]]:
    classes, steps = labels(estimator.classes_), estimator._has_step_targets
    label, probabilities = onnx_network.label_and_probabilities(
        graph, logits, classes, lengths if steps else None, number
    )
    shape: list = ["N", "T"] if steps else ["N"]
    return [(label, "label", classes.dtype, shape), (probabilities, "probabilities", number, [*shape, len(classes)])]


def _regressor_output(
    graph: ModelGraph, estimator: Any, outputs: str, lengths: Lengths, number: np.dtype
) -> tuple[str, str, Any, list]:
    shape: list = ["N"]
    if estimator._has_step_targets:
        outputs, shape = onnx_network.by_step(graph, outputs, lengths, number), ["N", "T"]
    if estimator._y_ndim == 1:
        return graph.node("Squeeze", [outputs, graph.constant("axis", [-1])]), "variable", number, shape
    return outputs, "variable", number, [*shape, len(estimator._y_mean)]


class ModelGraph:
    """The `Graph` of a model of its own."""

    def __init__(self, onnx: ModuleType, opset: int) -> None:
        self._onnx, self.opset = onnx, opset
        self._nodes: list = []
        self._constants: dict[str, Any] = {}
        self._small: dict[bytes, str] = {}  # the axes and shapes, which come again and again

    def constant(self, name: str, value: Any) -> str:
        """Add a constant array, or find the same one."""
        array = np.asarray(value)
        tensor = self._onnx.numpy_helper.from_array(array)
        key = tensor.SerializeToString() if array.size < 4 else b""
        if key in self._small:
            return self._small[key]
        unique = f"{name}_{len(self._constants)}" if name in self._constants else name
        if key:
            self._small[key] = unique
        tensor.name = unique
        self._constants[unique] = tensor
        return unique

    def node(self, op_type: str, inputs: list[str], output: int = 0, **attributes: Any) -> str:
        """Add a node."""
        name = f"{op_type}_{len(self._nodes)}"
        outputs = [""] * output + [f"{name}_out"]
        self._nodes.append(self._onnx.helper.make_node(op_type, inputs, outputs, name, **attributes))
        return outputs[-1]

    def model(self, name: str, inputs: list, results: list[tuple[str, str, Any, list]]) -> Any:
        """The model with these inputs and, of each result, the name inside, the name outside, dtype and shape."""
        helper, outputs = self._onnx.helper, []
        for inside, outside, dtype, shape in results:
            self._nodes.append(helper.make_node("Identity", [inside], [outside], outside))
            outputs.append(helper.make_tensor_value_info(outside, element_type(dtype), shape))
        graph = helper.make_graph(self._nodes, name, inputs, outputs, list(self._constants.values()))
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=helper.find_min_ir_version_for(opsets),
            producer_name="fastrecur",
            producer_version=fastrecur.__version__,
        )
