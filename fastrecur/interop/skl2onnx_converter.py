"""Converters with which skl2onnx exports pipelines that hold estimators of fastrecur.

skl2onnx converts in three passes: a parser declares the variables, a shape calculator gives them types, a converter
adds the nodes. A list of variables goes from step to step of a pipeline: here X and, where it is an input, the lengths.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from fastrecur.estimators.estimators import ESTIMATORS
from fastrecur.interop import onnx_network
from fastrecur.interop.onnx_model import labels, network_outputs
from fastrecur.interop.onnx_network import LEAST_OPSET, element_type
from fastrecur.interop.weights import missing_package, network_weights
from fastrecur.preprocessing import PerTimestep

#: ONNX Runtime has the recurrent operators for this dtype only.
_NUMBER = np.dtype("float32")


def register_skl2onnx() -> None:
    """Tell skl2onnx how to convert the six estimators and `PerTimestep`.

    The import of `fastrecur.interop` has done so where skl2onnx is installed. After it
    ``skl2onnx.convert_sklearn(pipeline, initial_types=...)`` exports pipelines of `PerTimestep` transformers and an
    estimator, searches over them included.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.

    Notes
    -----
    Initial types: ``FloatTensorType([None, None, F])`` for X of shape (n, T, F), ``FloatTensorType([None, T])`` where
    the pipeline was fitted on a 2-D X, ``Int64TensorType([None, None])`` for tokens. A second one,
    ``("sequence_lens", Int32TensorType([None]))``, is the number of valid time steps of each sequence, for sequences
    padded to the longest; without it all fill their T steps. Only `PerTimestep` hands the lengths on.

    Outputs are skl2onnx's: ``label`` and ``probabilities`` of a classifier (with its default option ``zipmap``
    ``output_label`` and ``output_probability``, but plain arrays with ``return_sequences``), ``variable`` of a
    regressor, (N, 1) or (N, K), with ``return_sequences`` (N, T[, K]). Labels are int64 or strings. The network
    computes in float32 whatever the type of X: ONNX Runtime has its operators in no other.

    The option ``{"transform": True}`` makes an estimator that stands inside a pipeline, before other steps, give
    what its `transform` does, (N, D * H), as it does there. Without, skl2onnx would hand its predictions on: that is
    refused.

    `PerTimestep` is exported as far as skl2onnx knows the transformer inside it, a pipeline of several included.

    Examples
    --------
    >>> import numpy as np
    >>> from skl2onnx import convert_sklearn
    >>> from skl2onnx.common.data_types import FloatTensorType, Int32TensorType
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from fastrecur import LSTMClassifier
    >>> from fastrecur.interop import register_skl2onnx
    >>> from fastrecur.preprocessing import PerTimestep
    >>> X = np.random.default_rng(0).normal(size=(40, 6, 3))
    >>> pipeline = make_pipeline(PerTimestep(StandardScaler()), LSTMClassifier(8, early_stopping=True, random_state=0))
    >>> pipeline = pipeline.fit(X, X[:, 5, 0] > 0)
    >>> register_skl2onnx()
    >>> types = [("X", FloatTensorType([None, None, 3])), ("sequence_lens", Int32TensorType([None]))]
    >>> model = convert_sklearn(pipeline, initial_types=types, options={"zipmap": False})
    >>> [output.name for output in model.graph.output]
    ['label', 'probabilities']
    """
    try:
        from skl2onnx import update_registered_converter
    except ImportError as error:
        raise missing_package("skl2onnx", "register_skl2onnx()", "onnx") from error
    classes = {"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [False, True]}
    for cls in ESTIMATORS:
        options: dict = {"transform": [False, True], **(classes if is_classifier(cls()) else {})}
        update_registered_converter(
            cls, f"Fastrecur{cls.__name__}", _estimator_shapes, _convert_estimator, parser=_parse_estimator,
            options=options,
        )  # fmt: skip
    for step, alias, shapes, convert in (
        (_StepsToRows, "FastrecurStepsToRows", _shapes_to_rows, _convert_to_rows),
        (_RowsToSteps, "FastrecurRowsToSteps", _shapes_to_steps, _convert_to_steps),
    ):
        update_registered_converter(step, alias, shapes, convert)
    update_registered_converter(PerTimestep, "FastrecurPerTimestep", _no_shapes, _no_nodes, parser=_parse_rows)


#: skl2onnx's operators that only dress the results of a last step.
_FINISHING = {"SklearnZipMap", "SklearnZipMapColumns", "SklearnIdentity", "SklearnCast", "SklearnClassLabels"}


class _ContainerGraph:
    """The `onnx_network.Graph` of skl2onnx's container."""

    def __init__(self, scope: Any, container: Any) -> None:
        self._scope, self._container, self.opset = scope, container, container.target_opset_onnx
        if self.opset < LEAST_OPSET:
            raise ValueError(f"target_opset must be at least {LEAST_OPSET} for networks, found {self.opset}.")

    def constant(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        array, unique = np.asarray(value), self._scope.get_unique_variable_name(name)
        content = array.ravel().tolist() if array.dtype == object else numpy_helper.from_array(array)
        self._container.add_initializer(unique, element_type(array.dtype), list(array.shape), content)
        return unique

    def node(self, op_type: str, inputs: list[str], output: int = 0, **attributes: Any) -> str:
        name = self._scope.get_unique_operator_name(op_type)
        out = self._scope.get_unique_variable_name(f"{name}_out")
        outputs = [self._scope.get_unique_variable_name("unused") for _ in range(output)] + [out]
        self._container.add_node(op_type, inputs, outputs, op_version=self.opset, name=name, **attributes)
        return out

    def result(self, value: str, variable: Any) -> None:
        """Hand a value out as a declared variable, in the type that was declared for it."""
        wanted = variable.type._get_element_onnx_type()
        self._container.add_node(
            "Cast", [value], [variable.full_name], op_version=self.opset,
            name=self._scope.get_unique_operator_name("Cast"), to=wanted,
        )  # fmt: skip


# --- estimators ------------------------------------------------------------------------------------------------------


def _parse_estimator(scope: Any, model: Any, inputs: list, custom_parsers: Any = None) -> list:
    check_is_fitted(model)
    outputs = _declared_outputs(scope, model, inputs, custom_parsers)
    operator = next(operator for operator in scope.operators.values() if operator.raw_operator is model)
    operator.parsed = True  # the converters of ensembles declare their members' operators themselves
    return outputs


def _declared_outputs(scope: Any, model: Any, inputs: list, custom_parsers: Any) -> list:
    from skl2onnx._parse import _get_sklearn_operator_name, _parse_sklearn_classifier, guess_tensor_type
    from skl2onnx.common.data_types import Int64TensorType

    labelled = is_classifier(model) and not _option(scope, model, "transform", False)
    if labelled and not model._has_step_targets:
        return _parse_sklearn_classifier(scope, model, inputs, custom_parsers=custom_parsers)
    operator = scope.declare_local_operator(_get_sklearn_operator_name(type(model)), model)
    operator.inputs = inputs
    if labelled:  # without zipmap: a map of classes is one of a row
        operator.outputs.append(scope.declare_local_variable("label", Int64TensorType()))
    name = "probabilities" if labelled else "variable"
    operator.outputs.append(scope.declare_local_variable(name, guess_tensor_type(inputs[0].type)))
    return operator.outputs


def _check_inputs(operator: Any) -> None:
    """X must be of the form that fit saw, and the second input the lengths."""
    from skl2onnx.common.data_types import Int32TensorType, Int64TensorType

    model, inputs = operator.raw_operator, operator.inputs
    name = type(model).__name__
    shape, n_features = inputs[0].type.shape, model._n_step_features
    if len(inputs) > 2:
        raise ValueError(f"{name} takes X and the lengths, found {len(inputs)} inputs.")
    if len(shape) not in (2, 3) or (len(shape) == 2 and n_features != 1) or (len(shape) == 3 and shape[2] is None):
        raise ValueError(f"The initial type of X must have the shape [None, None, {n_features}], found {shape}.")
    if len(shape) == 3 and shape[2] != n_features:
        raise ValueError(
            f"The initial type of X has {shape[2]} features a step, but {name} was fitted on {n_features}."
        )
    if model._architecture["n_tokens"] and not isinstance(inputs[0].type, Int32TensorType | Int64TensorType):
        raise ValueError(f"{name} was fitted on tokens: the initial type of X must be Int64TensorType([None, None]).")
    if len(inputs) == 2 and not isinstance(inputs[1].type, Int32TensorType | Int64TensorType):
        raise ValueError(f"The lengths must be Int32TensorType([None]), found {inputs[1].type}.")


def _check_use(operator: Any) -> None:
    """Predictions may go to the user or an ensemble; to a later step `transform` gives the states instead."""
    step = _step_of(operator)
    if step is None or _is_transformer(operator):
        return
    for other in operator.scope_inst.operators.values():
        read = any(variable is output for variable in other.inputs for output in step.outputs)
        if read and other.type not in _FINISHING:
            name = type(operator.raw_operator).__name__
            raise ValueError(
                f"{name} stands before another step, which reads what its transform gives. Pass "
                f"options={{{name}: {{'transform': True}}}}, or id(estimator) for the class."
            )


def _step_of(operator: Any) -> Any:
    """The operator that stands for this estimator, or for the search that found it, in a pipeline; or None."""
    for other in operator.scope_inst.operators.values():
        model = getattr(other.raw_operator, "best_estimator_", other.raw_operator)
        if model is operator.raw_operator and getattr(other, "parsed", False):
            return other
    return None


def _estimator_shapes(operator: Any) -> None:
    from skl2onnx.common.data_types import Int64TensorType, StringTensorType

    _check_inputs(operator)
    _check_use(operator)
    model, (n, n_steps, *_) = operator.raw_operator, operator.inputs[0].type.shape
    outputs, architecture = operator.outputs, model._architecture
    leading = [n, n_steps] if model._has_step_targets else [n]
    if _is_transformer(operator):
        outputs[0].type.shape = [n, architecture["n_directions"] * architecture["hidden_size"]]
    elif is_classifier(model):
        strings = labels(model.classes_).dtype == object
        outputs[0].set_type(
            StringTensorType(leading) if strings and not _numbered(operator) else Int64TensorType(leading)
        )
        outputs[1].type.shape = [*leading, architecture["n_outputs"]]
    else:
        one = model._has_step_targets and model._y_ndim == 1
        outputs[0].type.shape = leading if one else [*leading, architecture["n_outputs"]]


def _option(scope: Any, model: Any, name: str, default: Any) -> Any:
    """What the caller of skl2onnx has set for this estimator."""
    return scope.get_options(model, {name: default})[name]


def _is_transformer(operator: Any) -> bool:
    return _option(operator.scope_inst, operator.raw_operator, "transform", False)


def _numbered(operator: Any) -> bool:
    """Whether numbers 0 to K-1 stand for the labels: skl2onnx's option "nocl"."""
    return _option(operator.scope_inst, operator.raw_operator, "nocl", False)


def _convert_estimator(scope: Any, operator: Any, container: Any) -> None:
    model, graph = operator.raw_operator, _ContainerGraph(scope, container)
    x, *counts = (variable.full_name for variable in operator.inputs)
    tokens = model._architecture["n_tokens"] > 0
    x = graph.node("Cast", [x], to=element_type("int64" if tokens else _NUMBER))
    lens = graph.node("Cast", counts, to=element_type("int32")) if counts else ""
    transform = _is_transformer(operator)
    weights, rank = network_weights(model), len(operator.inputs[0].type.shape)
    found, lengths = network_outputs(graph, model, weights, x, rank, lens, _NUMBER, pooled=transform)
    steps = lengths if model._has_step_targets else None
    if transform:
        graph.result(found, operator.outputs[0])
    elif is_classifier(model):
        label, probabilities = onnx_network.label_and_probabilities(graph, found, _classes(operator), steps, _NUMBER)
        graph.result(label, operator.outputs[0])
        graph.result(probabilities, operator.outputs[1])
    else:
        found = found if steps is None else onnx_network.by_step(graph, found, steps, _NUMBER)
        if steps is not None and model._y_ndim == 1:
            found = graph.node("Squeeze", [found, graph.constant("axis", [2])])
        graph.result(found, operator.outputs[0])


def _classes(operator: Any) -> np.ndarray:
    """Labels as skl2onnx has them: int64 or strings."""
    classes = labels(operator.raw_operator.classes_)
    if _numbered(operator):
        return np.arange(len(classes))
    return classes if classes.dtype == object else classes.astype(np.int64)


# --- PerTimestep -----------------------------------------------------------------------------------------------------


class _StepsToRows:
    """Stands for the nodes that make rows (N * T, F) of sequences with F features."""

    def __init__(self, n_features: int) -> None:
        self.n_features = n_features


class _RowsToSteps:
    """Stands for the nodes that make sequences of rows again."""


def _parse_rows(scope: Any, model: PerTimestep, inputs: list, custom_parsers: Any = None) -> list:
    """Rows of X, through the transformer, to sequences again; the lengths are handed on."""
    from skl2onnx._parse import _parse_sklearn, guess_tensor_type

    check_is_fitted(model)
    x, *lengths = inputs
    rows = scope.declare_local_operator("FastrecurStepsToRows", _StepsToRows(model._n_step_features))
    rows.inputs = [x]
    rows.outputs.append(scope.declare_local_variable("rows", type(x.type)([None, model._n_step_features])))
    transformed = _parse_sklearn(scope, model.transformer_, rows.outputs, custom_parsers=custom_parsers)
    if len(transformed) != 1:
        raise ValueError(
            f"PerTimestep({type(model.transformer_).__name__}()) cannot be exported: to skl2onnx its transformer has "
            f"{len(transformed)} outputs."
        )
    steps = scope.declare_local_operator("FastrecurRowsToSteps", _RowsToSteps())
    steps.inputs = [transformed[0], x]
    steps.outputs.append(scope.declare_local_variable("steps", guess_tensor_type(transformed[0].type)))
    return [steps.outputs[0], *lengths]


def _no_shapes(operator: Any) -> None:
    """PerTimestep is parsed into its transformer between two others: no operator of its own is declared."""


def _no_nodes(scope: Any, operator: Any, container: Any) -> None:
    """No nodes, for the same reason."""


def _shapes_to_rows(operator: Any) -> None:
    shape, n_features = operator.inputs[0].type.shape, operator.raw_operator.n_features
    if len(shape) not in (2, 3) or (shape[2] if len(shape) == 3 else 1) != n_features:
        raise ValueError(
            f"PerTimestep was fitted on {n_features} feature(s) a step: the initial type of X must have the shape "
            f"[None, None, {n_features}]{' or [None, None]' if n_features == 1 else ''}, found {shape}."
        )
    operator.outputs[0].type.shape = [None, n_features]


def _shapes_to_steps(operator: Any) -> None:
    rows, x = (variable.type.shape for variable in operator.inputs)
    operator.outputs[0].set_type(type(operator.inputs[0].type)([*x[:2]] if _is_scalar(operator) else [*x[:2], rows[1]]))


def _is_scalar(operator: Any) -> bool:
    """Whether steps of one feature come as (N, T), as they do of `PerTimestep.transform`."""
    rows, x = (variable.type.shape for variable in operator.inputs)
    return len(x) == 2 and rows[1] == 1


def _convert_to_rows(scope: Any, operator: Any, container: Any) -> None:
    graph = _ContainerGraph(scope, container)
    shape = graph.constant("shape", [-1, operator.raw_operator.n_features])
    rows = graph.node("Reshape", [operator.inputs[0].full_name, shape])
    graph.result(rows, operator.outputs[0])


def _convert_to_steps(scope: Any, operator: Any, container: Any) -> None:
    graph = _ContainerGraph(scope, container)
    rows, x = (variable.full_name for variable in operator.inputs)
    leading = graph.node("Slice", [graph.node("Shape", [x]), graph.constant("from", [0]), graph.constant("to", [2])])
    width = [] if _is_scalar(operator) else [operator.outputs[0].type.shape[2]]
    shape = graph.node("Concat", [leading, graph.constant("width", np.array(width, np.int64))], axis=0)
    graph.result(graph.node("Reshape", [rows, shape]), operator.outputs[0])
