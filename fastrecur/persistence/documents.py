"""Models as JSON objects with tensors beside them, and back.

A JSON object has ``class``, ``parameters``, ``attributes`` (values as in `fastrecur.persistence.encoding`) and
``metadata_requests`` (those of scikit-learn's routing). The tensors are the arrays of ``weights_`` and, under the names
"parameters.NAME" and "attributes.NAME", the other arrays of numbers. The object of a forecaster has one more,
``network``: the object of its network, whose weights have no prefix, its other arrays "network.".
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.metadata_routing import MetadataRequest
from sklearn.utils.validation import check_is_fitted

from fastrecur.estimators.estimators import ESTIMATORS
from fastrecur.forecasting import state
from fastrecur.forecasting.forecasters import FORECASTERS
from fastrecur.persistence import encoding
from fastrecur.persistence.checks import LEFT_OUT, REQUESTS, check_fitted, check_names, shapes
from fastrecur.persistence.files import CHANGED, ONLY_OURS, as_path, read_file, short, write_file

#: What may be in a file, by name: nothing is imported because a file says so.
CLASSES: dict[str, Any] = {cls.__name__: cls for cls in ESTIMATORS + FORECASTERS}


def save(model: Any, path: Any) -> None:
    """Write a fitted model into a file: its method of the same name says all."""
    cls, path = type(model), as_path(path)
    if CLASSES.get(cls.__name__) is not cls:
        raise TypeError(f"save() writes {', '.join(CLASSES)}: load() could not rebuild a {cls.__name__}. Use skops.")
    check_is_fitted(model)
    model._validate_params()  # they may have been set since the fit
    tensors: dict[str, NDArray] = {}
    try:
        document = _described(model, tensors)
    except TypeError as error:
        raise TypeError(f"Cannot save: {error} A file has no place for it: convert it, or delete it.") from error
    except ValueError as error:
        raise ValueError(f"Cannot save: {error}") from error
    write_file(path, document, tensors)


def load(path: Any) -> Any:
    """Rebuild the estimator or forecaster that its ``save`` wrote into a file.

    Its predictions have the same bits, its parameters and attributes the same values and types. The state of an
    unfinished fit is not in the file: with ``warm_start``, or in ``partial_fit``, a loaded estimator begins a new fit
    from the saved weights, with fresh moments of the solver and ``n_iter_``, ``t_`` and ``loss_curve_`` from their
    beginning. Pickles keep that state. Callbacks have to be set again.

    Nothing in the file is executed, and a file that lies about its sizes takes no memory.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    model : RNNClassifier, RNNRegressor, RNNForecaster, or one of an LSTM or GRU
        A forecaster continues the series that it was fitted on; all else of the series is not in the file.

    Raises
    ------
    ValueError
        If the file is no safetensors file, not one of fastrecur's, from a newer fastrecur, damaged or changed.
    FileNotFoundError
        If there is no such file.
    TypeError
        If ``path`` is neither str nor path-like.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import fastrecur
    >>> X = np.random.default_rng(0).normal(size=(40, 5, 2))
    >>> model = fastrecur.GRURegressor(8, early_stopping=True, tol=0.01, random_state=0).fit(X, X[:, -1, 0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(f"{folder}/model.safetensors")
    ...     loaded = fastrecur.load(f"{folder}/model.safetensors")
    >>> loaded
    GRURegressor(early_stopping=True, hidden_size=8, random_state=0, tol=0.01)
    >>> bool((loaded.predict(X) == model.predict(X)).all())
    True
    """
    path = as_path(path)
    try:
        document, tensors, intact = read_file(path)
        try:
            model = _rebuilt(document, dict(tensors))
        except ValueError as error:
            raise ValueError(f"{error} {ONLY_OURS if intact else CHANGED}") from error
        if not intact:
            raise ValueError(CHANGED)
        return model
    except ValueError as error:
        raise ValueError(f"Cannot load {str(path)!r}: {error}") from error


# --- to JSON ---------------------------------------------------------------------------------------------------------


def _described(model: Any, tensors: dict[str, NDArray], prefix: str = "") -> dict[str, Any]:
    """JSON object of a fitted model; its arrays go to ``tensors``, names but for the weights with the prefix."""
    parameters = model.get_params(deep=False)
    attributes = {
        name: value
        for name, value in vars(model).items()
        if name not in parameters and name != REQUESTS and not name.startswith(LEFT_OUT)
    }
    document = {"class": type(model).__name__, "metadata_requests": _requests(model)}
    if hasattr(model, "network_"):
        network = attributes.pop("network_")
        document["network"] = _described(network, tensors, "network.")
        attributes = state.to_plain(attributes)
        check_names(type(model), attributes)
        state.from_plain(attributes)  # what could not be loaded is not saved
        state.check_network(network, attributes)
    else:
        check_fitted(type(model), attributes, _n_quantiles(parameters))
        weights = attributes.pop("weights_")
        tensors |= {name: np.array(array, order="C") for name, array in weights.items()}
    for part, values in (("parameters", parameters), ("attributes", attributes)):
        document[part] = {k: encoding.encode(v, f"{prefix}{part}.{k}", tensors) for k, v in values.items()}
    return document


def _n_quantiles(parameters: dict[str, Any]) -> int:
    """Outputs of a network for each target: the networks of the forecasters have a parameter ``quantiles``."""
    quantiles = parameters.get("quantiles")
    return 1 if quantiles is None else max(1, np.size(quantiles))


# --- and back --------------------------------------------------------------------------------------------------------


def _rebuilt(document: dict, tensors: dict[str, NDArray]) -> Any:
    """Model of a file; ``tensors`` is used up."""
    cls = CLASSES.get(name) if isinstance(name := document.get("class"), str) else None
    if cls is None:
        raise ValueError(f"it holds {short(name)}, which is none of {', '.join(CLASSES)}.")
    parameters, attributes = _decoded(cls, document, tensors)
    if hasattr(cls, "_network_class"):
        model = _rebuilt_forecaster(cls, parameters, attributes, _object(document, "network"), tensors)
    else:
        model = _with_weights(cls, parameters, attributes, tensors)
    _request(model, _object(document, "metadata_requests"))
    return model


def _rebuilt_forecaster(cls, parameters, attributes, network_document, tensors):
    model = cls(**parameters)
    model._validate_params()
    check_names(cls, attributes)
    decoded = _decoded(cls._network_class, network_document, tensors)
    fitted = state.from_plain(attributes)
    try:
        network = _with_weights(cls._network_class, *decoded, tensors)
    except ValueError as error:
        raise ValueError(f"the attribute network_: {error}") from error
    state.check_network(network, attributes)
    model.__dict__.update(fitted, network_=network)
    return model


def _decoded(cls: Any, document: dict, tensors: dict[str, NDArray]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters and attributes in the JSON object of a model; the arrays are taken out of ``tensors``."""
    parts = [_object(document, key) for key in ("parameters", "attributes")]
    try:
        parameters, attributes = (
            {key: encoding.decode(value, tensors) for key, value in part.items()} for part in parts
        )
    except ValueError as error:
        raise ValueError(f"its metadata cannot be read: {error}.") from error
    unknown = sorted(parameters.keys() - set(cls._get_param_names()))
    if unknown:
        raise ValueError(f"it has the parameter(s) {short(unknown)}, which {cls.__name__} has not.")
    return parameters, attributes


def _with_weights(cls, parameters, attributes, tensors):
    """Fitted network: what is left of ``tensors`` are its weights, and no more."""
    estimator = cls(**parameters)
    estimator._validate_params()
    check_fitted(cls, {**attributes, "weights_": tensors}, _n_quantiles(parameters))
    names = shapes(cls._cell, attributes["_architecture"])
    estimator.__dict__.update(attributes, weights_={name: np.array(tensors[name]) for name in names})
    return estimator


def _object(document, key):
    if not isinstance(document.get(key), dict):
        raise ValueError(f"its metadata has {short(document.get(key))} for {key!r}, where a JSON object belongs.")
    return document[key]


def _requests(model):
    """What the model asks of scikit-learn's metadata routing, by method."""
    request = vars(model).get(REQUESTS)
    return {} if request is None else request._serialize()


def _request(model, requests):
    """Ask again for what was asked."""
    if not requests:
        return
    result = MetadataRequest(owner=model)
    for method, asked in requests.items():
        of_method = vars(result).get(method)
        if method == "owner" or of_method is None or not isinstance(asked, dict):
            raise ValueError(f"it asks metadata for {short(method)}, which is no method.")
        for name, alias in asked.items():
            of_method.add_request(param=name, alias=alias)
    setattr(model, REQUESTS, result)
