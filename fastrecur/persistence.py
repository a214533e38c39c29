"""Estimators in files: safetensors with the weights under PyTorch's names, and JSON with everything else. No pickle.

The metadata has one entry, "fastrecur", a JSON object with ``format_version``, ``fastrecur_version``, ``class``,
``parameters`` and ``attributes`` (values as in `fastrecur.encoding`), ``metadata_requests`` (those of scikit-learn's
routing) and ``sha256``, the digest of all the rest. The tensors are the arrays of ``weights_`` and, under the names
"parameters.NAME" and "attributes.NAME", the other arrays of numbers.
"""

import errno
import hashlib
import json
import os
import reprlib
import secrets
import shutil
import stat
from contextlib import suppress
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open
from sklearn.base import ClassifierMixin
from sklearn.utils.metadata_routing import MetadataRequest
from sklearn.utils.validation import check_is_fitted

import fastrecur
from fastrecur import encoding
from fastrecur.estimators import estimators
from fastrecur.network.parameters import network_shapes

FORMAT, FORMAT_VERSION = "fastrecur", 1

#: What may be in a file, by name: nothing is imported because a file says so.
CLASSES = {
    cls.__name__: cls
    for cls in (
        estimators.RNNClassifier,
        estimators.RNNRegressor,
        estimators.LSTMClassifier,
        estimators.LSTMRegressor,
        estimators.GRUClassifier,
        estimators.GRURegressor,
    )
}

#: Beginnings of the names of attributes that stay out: an unfinished fit, scikit-learn's callbacks.
LEFT_OUT = ("_resume", "_skl_callbacks", "_callback_fit_ctx", "_parent_callback_ctx")

#: Where scikit-learn keeps what `set_fit_request` and its kind have set.
_REQUESTS = "_metadata_request"

#: safetensors' names of the dtypes of `fastrecur.encoding`.
_DTYPES = {"F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"}

_ONLY_OURS = "Only files that the save() of an estimator of fastrecur wrote can be loaded."
_CHANGED = "The checksum is wrong: the file was damaged or changed since it was saved. Save the estimator again."


def save(estimator, path):
    """Write a fitted estimator into a file: its method of the same name says all."""
    cls, path = type(estimator), _as_path(path)
    if CLASSES.get(cls.__name__) is not cls:
        raise TypeError(f"save() writes {', '.join(CLASSES)}: load() could not rebuild a {cls.__name__}. Use skops.")
    check_is_fitted(estimator)
    estimator._validate_params()  # they may have been set since the fit
    parameters = estimator.get_params(deep=False)
    attributes = {
        name: value
        for name, value in vars(estimator).items()
        if name not in parameters and name != _REQUESTS and not name.startswith(LEFT_OUT)
    }
    try:
        _check_fitted(cls, attributes)
        tensors = {name: np.array(array, order="C") for name, array in attributes.pop("weights_").items()}
        document = {
            "format_version": FORMAT_VERSION,
            "fastrecur_version": fastrecur.__version__,
            "class": cls.__name__,
            "parameters": {k: encoding.encode(v, f"parameters.{k}", tensors) for k, v in parameters.items()},
            "attributes": {k: encoding.encode(v, f"attributes.{k}", tensors) for k, v in attributes.items()},
            "metadata_requests": _requests(estimator),
        }
    except TypeError as error:
        raise TypeError(f"Cannot save: {error} A file has no place for it: convert it, or delete it.") from error
    except ValueError as error:
        raise ValueError(f"Cannot save: {error}") from error
    document["sha256"] = _digest(document, tensors)
    _write(path, safetensors.numpy.save(tensors, {FORMAT: json.dumps(document, allow_nan=False)}))


def load(path):
    """Rebuild the estimator that its ``save`` wrote into a file.

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
    estimator : RNNClassifier, RNNRegressor, LSTMClassifier, LSTMRegressor, GRUClassifier or GRURegressor

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
    path = _as_path(path)
    try:
        document, tensors = _read(path)
        intact = document.get("sha256") == _digest(document, tensors)
        try:
            estimator = _rebuild(document, dict(tensors))
        except ValueError as error:
            raise ValueError(f"{error} {_ONLY_OURS if intact else _CHANGED}") from error
        if not intact:
            raise ValueError(_CHANGED)
        return estimator
    except ValueError as error:
        raise ValueError(f"Cannot load {str(path)!r}: {error}") from error


# --- files -----------------------------------------------------------------------------------------------------------


def _as_path(path):
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a str or path-like, found {path!r}, a {type(path).__name__}.")
    return Path(os.fsdecode(path))


def _write(path, data):
    """Put ``data`` in the place of ``path`` at one go: whatever happens, the old file or the new one is there."""
    path = Path(os.path.realpath(path))  # through links, not in their place
    temporary = path.with_name(f".fastrecur-{secrets.token_hex(8)}.tmp")
    try:
        _check_writable(path)
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except OSError as error:
        reason = f"cannot save, {error.strerror or error}"
        raise OSError(error.errno or errno.EIO, reason, str(path)) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _check_writable(path):
    """What replacing a file would not notice."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "this is a folder: add the name of a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"there is no folder {str(path.parent)!r}: make it first")
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "this is a device or pipe and no file")
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "the file that is there may not be written")


def _read(path):
    """JSON object and tensors of a file of ours, of a version that is known."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        found = "a folder" if stat.S_ISDIR(mode) else "a device or pipe"
        raise ValueError(f"it is {found}, not a file. Give the name of a file that save() wrote.")
    with open(path, "rb") as file:
        beginning = file.read(64)
    try:
        with safe_open(str(path), framework="numpy") as contents:
            document = _document(contents.metadata() or {})
            return document, {name: _tensor(contents, name) for name in list(contents.keys())}
    except SafetensorError as error:
        raise ValueError(f"{_appearance(beginning)} {_ONLY_OURS} (safetensors: {error})") from error


def _appearance(beginning):
    """What a file that safetensors does not take seems to be, by its first bytes."""
    if not beginning:
        return "it is empty."
    if beginning[8:9] == b"{":
        return "it is a safetensors file that was cut short or damaged."
    if beginning[:1] == b"\x80":
        return "it looks like a pickle, which joblib.load reads, if you trust whoever made it."
    if beginning[:2] == b"PK":
        return "it looks like a zip archive, which skops.io.load or numpy.load may read."
    if all(byte >= 32 or byte in b"\t\n\r" for byte in beginning):
        return "it looks like text."
    return "it is no safetensors file."


def _document(metadata):
    """The JSON object in the metadata of a safetensors file."""
    if FORMAT not in metadata:
        raise ValueError(f"it is a safetensors file, but none of fastrecur's. {_ONLY_OURS}")
    try:
        document = json.loads(metadata[FORMAT])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its metadata is not JSON ({error}). {_CHANGED}") from error
    if not isinstance(document, dict):
        raise ValueError(f"its metadata is {_short(document)} and no JSON object. {_ONLY_OURS}")
    version = document.get("format_version")
    if type(version) is not int or version < 1:
        raise ValueError(f"its format version is {_short(version)}, which there never was. {_ONLY_OURS}")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"fastrecur {document.get('fastrecur_version')} wrote it in format version {version}, but fastrecur "
            f"{fastrecur.__version__} reads no later one than {FORMAT_VERSION}. Upgrade fastrecur."
        )
    return document


def _tensor(contents, name):
    dtype = contents.get_slice(name).get_dtype()
    if dtype not in _DTYPES:
        raise ValueError(f"its tensor {name!r} is of dtype {dtype}, which no estimator has. {_ONLY_OURS}")
    return contents.get_tensor(name)


def _digest(document, tensors):
    """SHA-256 of all that is in a file, but for the digest itself."""
    rest = {key: value for key, value in document.items() if key != "sha256"}
    outlines = [[name, tensors[name].dtype.str, tensors[name].shape] for name in sorted(tensors)]
    digest = hashlib.sha256(json.dumps([rest, outlines], sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(tensors[name].reshape(-1).view(np.uint8))
    return digest.hexdigest()


# --- estimators ------------------------------------------------------------------------------------------------------


def _rebuild(document, tensors):
    """The estimator of a file; ``tensors`` is used up."""
    cls = CLASSES.get(name) if isinstance(name := document.get("class"), str) else None
    if cls is None:
        raise ValueError(f"it holds {_short(name)}, which is none of {', '.join(CLASSES)}.")
    parameters, attributes, requests = (
        _object(document, key) for key in ("parameters", "attributes", "metadata_requests")
    )
    try:
        parameters, attributes = (
            {key: encoding.decode(value, tensors) for key, value in part.items()} for part in (parameters, attributes)
        )
    except ValueError as error:
        raise ValueError(f"its metadata cannot be read: {error}.") from error
    unknown = sorted(parameters.keys() - set(cls._get_param_names()))
    if unknown:
        raise ValueError(f"it has the parameter(s) {_short(unknown)}, which {cls.__name__} has not.")
    estimator = cls(**parameters)
    estimator._validate_params()
    _check_fitted(cls, {**attributes, "weights_": tensors})
    names = _shapes(cls._cell, attributes["_architecture"])
    estimator.__dict__.update(attributes, weights_={name: np.array(tensors[name]) for name in names})
    if requests:
        setattr(estimator, _REQUESTS, _request(estimator, requests))
    return estimator


def _object(document, key):
    if not isinstance(document.get(key), dict):
        raise ValueError(f"its metadata has {_short(document.get(key))} for {key!r}, where a JSON object belongs.")
    return document[key]


def _requests(estimator):
    """What the estimator asks of scikit-learn's metadata routing, by method."""
    request = vars(estimator).get(_REQUESTS)
    return {} if request is None else request._serialize()


def _request(estimator, requests):
    result = MetadataRequest(owner=estimator)
    for method, asked in requests.items():
        of_method = vars(result).get(method)
        if method == "owner" or of_method is None or not isinstance(asked, dict):
            raise ValueError(f"it asks metadata for {_short(method)}, which is no method.")
        for name, alias in asked.items():
            of_method.add_request(param=name, alias=alias)
    return result


def _check_fitted(cls, attributes):
    """Attributes, ``weights_`` among them, must be those of a fitted ``cls`` that can predict."""
    needed: dict[str, Any] = {
        "weights_": dict,
        "_architecture": dict,
        "n_features_in_": Integral,
        "n_outputs_": Integral,
    }
    if issubclass(cls, ClassifierMixin):
        needed["classes_"] = np.ndarray
    else:
        needed |= {"_y_ndim": Integral, "_y_mean": np.ndarray, "_y_scale": np.ndarray}
    for name, kind in needed.items():
        if not isinstance(attributes.get(name), kind):
            found = f"is a {type(attributes[name]).__name__}" if name in attributes else "is missing"
            raise ValueError(f"the attribute {name} {found}; it must be a {kind.__name__}.")
    taken = {_REQUESTS, *cls._get_param_names()}
    for name in attributes:
        if name in taken or hasattr(cls, name) or name.startswith(LEFT_OUT) or not name.isidentifier():
            raise ValueError(f"{_short(name)} is no name of an attribute that fit leaves on a {cls.__name__}.")
    architecture = attributes["_architecture"]
    _check_architecture(architecture)
    _check_weights(cls._cell, architecture, attributes["weights_"])
    n_outputs = architecture["n_outputs"]
    for name in needed.keys() & {"classes_", "_y_mean", "_y_scale"}:
        if attributes[name].shape != (n_outputs,):
            raise ValueError(f"{name} has the shape {attributes[name].shape}, but the network {n_outputs} output(s).")


def _is_count(value, least=1):
    return not isinstance(value, bool) and isinstance(value, Integral) and value >= least


#: What each argument of `Model` but the cell and the device may be.
_ARCHITECTURE = {
    "n_features": _is_count,
    "hidden_size": _is_count,
    "n_outputs": _is_count,
    "num_layers": _is_count,
    "n_directions": lambda value: value in (1, 2),
    "relu": lambda value: isinstance(value, bool | np.bool_),
    "dtype": lambda value: isinstance(value, str) and value in ("float32", "float64"),
    "pooling": lambda value: value in (None, "last", "mean", "max"),
    "n_tokens": lambda value: _is_count(value, 0),
}


def _check_architecture(architecture):
    if architecture.keys() != _ARCHITECTURE.keys():
        keys, arguments = _short(list(architecture)), list(_ARCHITECTURE)
        raise ValueError(f"_architecture has the keys {keys}, but the network takes {arguments}.")
    for name, fits in _ARCHITECTURE.items():
        if not fits(architecture[name]):
            raise ValueError(f"_architecture has {name}={_short(architecture[name])}, which no network has.")


def _check_weights(cell, architecture, weights):
    """Weights must be exactly those of the network, and finite."""
    if architecture["num_layers"] > len(weights):
        raise ValueError(f"the network's tensors: {architecture['num_layers']} layers have more than {len(weights)}.")
    shapes = _shapes(cell, architecture)
    for problem, names in (("missing", shapes.keys() - weights), ("unexpected", weights.keys() - shapes)):
        if names:
            raise ValueError(f"the network's tensors: {problem} {_short(sorted(map(str, names)))}.")
    for name, shape in shapes.items():
        array = weights[name]
        if not isinstance(array, np.ndarray) or array.dtype != architecture["dtype"] or array.shape != shape:
            raise ValueError(
                f"the tensor {name!r} is {_outline(array)}, but the network needs {architecture['dtype']} of shape "
                f"{shape}."
            )
        if not np.isfinite(array).all():
            raise ValueError(f"the tensor {name!r} holds NaN or infinity.")


def _shapes(cell, architecture):
    """Shapes of the network's parameters, without a network: a file may claim any size."""
    left_out = {"relu", "dtype", "pooling"}
    return network_shapes(cell, **{name: value for name, value in architecture.items() if name not in left_out})


def _outline(array):
    if isinstance(array, np.ndarray):
        return f"{array.dtype} of shape {array.shape}"
    return f"a {type(array).__name__}"


def _short(value):
    """A value that a file holds, for a message: a file may hold anything."""
    return reprlib.repr(value)
