"""Values of Python and NumPy as JSON with tensors beside it, and back: same types, dtypes and bits. No code is stored.

None, bool, int, finite float, str and list are JSON's own. Everything else is an object of one key, its kind:

- ``{"float": "inf"}``: infinity or NaN;
- ``{"tuple": [...]}`` and ``{"dict": [[key, value], ...]}``, whose keys may be of any of these kinds;
- ``{"tensor": [name, dtype]}``: an array of numbers or bools, which is a tensor beside the JSON;
- ``{"array": [dtype, shape, values]}``: an array of str, of times (as int64) or of objects;
- ``{"scalar": [dtype, value]}``: a scalar of NumPy's;
- ``{"random_state": state}``: a `numpy.random.RandomState`.

What is decoded may have been made by anybody: it becomes such a value or a ValueError, and takes no more memory than a
small multiple of what is given.
"""

import math
import re
from collections.abc import Mapping

import numpy as np

#: Containers one within another.
MAX_DEPTH = 32

#: The elements of an array of str all have room for the longest: bytes that are taken without asking, and bytes for
#: each character that is there.
_TEXT_BYTES, _BYTES_A_CHARACTER = 2**26, 256

_DTYPE = re.compile(r"[<>|=]([biu][1248]|f[248]|U\d{1,9}|[mM]8(\[\d*(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?|O)")


def encode(value, name, tensors, depth=0):
    """Value as JSON.

    Parameters
    ----------
    value : object
        Of the kinds in the module's docstring; a subclass of int, float, str, list, tuple or dict becomes that.
    name : str
        Where the value stands, such as "attributes.classes_": the name of its tensor, and what errors call it.
    tensors : dict of str to array
        Arrays of numbers are added to it.
    depth : int
        Containers around the value.

    Returns
    -------
    json : object
        For `json.dumps`.

    Raises
    ------
    TypeError
        If the value, or one in it, is of another kind.
    ValueError
        If containers are nested too deep, or an array of str is far wider than what it holds.

    Examples
    --------
    >>> tensors = {}
    >>> encode({1: (0.5, np.inf), "a": np.zeros(3)}, "x", tensors)
    {'dict': [[1, {'tuple': [0.5, {'float': 'inf'}]}], ['a', {'tensor': ['x.1.1', '<f8']}]]}
    >>> tensors
    {'x.1.1': array([0., 0., 0.])}
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"{name} nests more than {MAX_DEPTH} containers in one another.")

    def each(values):
        return [encode(element, f"{name}.{i}", tensors, depth + 1) for i, element in enumerate(values)]

    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, np.generic):  # before float and str, of which np.float64 and np.str_ are subclasses
        array = np.asarray(value)
        if _kind(array.dtype, name) == "O":
            raise TypeError(f"{name} is a {type(value).__name__}.")
        return {"scalar": [array.dtype.str, _plain(array)[0]]}
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _encode_float(float(value))
    if isinstance(value, str):
        return str.__str__(value)  # of an enumeration, the text and not the name
    if isinstance(value, list):
        return each(value)
    if isinstance(value, tuple):
        return {"tuple": each(value)}
    if isinstance(value, Mapping):
        return {"dict": each(list(pair) for pair in value.items())}
    if isinstance(value, np.random.RandomState):
        return {"random_state": encode(_state(value, name), name, tensors, depth + 1)}
    if type(value) in (np.ndarray, np.memmap):
        return _encode_array(np.asarray(value), name, tensors, each)
    raise TypeError(f"{name} is a {type(value).__name__}.")


def decode(value, tensors, depth=0):
    """Value of the JSON that `encode` made.

    Parameters
    ----------
    value : object
        From `json.loads`.
    tensors : dict of str to array
        Those that belong to the JSON. What is used is taken out, so that nothing is used twice.
    depth : int
        Containers around the value.

    Returns
    -------
    value : object

    Raises
    ------
    ValueError
        If the JSON is none of `encode`'s, or a tensor is missing.

    Examples
    --------
    >>> decode({"dict": [[1, {"tuple": [0.5, {"float": "inf"}]}]]}, {})
    {1: (0.5, inf)}
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} containers are nested in one another")
    if isinstance(value, list):
        return [decode(element, tensors, depth + 1) for element in value]
    if not isinstance(value, dict):
        return value
    kind, content = next(iter(value.items())) if len(value) == 1 else (None, None)
    if kind not in _DECODERS:
        raise ValueError(f"an object with the keys {sorted(value)[:3]} stands where a value should be")
    return _DECODERS[kind](content, tensors, depth + 1)


# --- floats, containers ----------------------------------------------------------------------------------------------


def _encode_float(value):
    return value if math.isfinite(value) else {"float": repr(value)}


def _decode_float(content, tensors, depth):
    if content not in ("inf", "-inf", "nan"):
        raise ValueError(f"{content!r} stands where inf, -inf or nan should")
    return float(content)


def _decode_tuple(content, tensors, depth):
    return tuple(decode(_list(content), tensors, depth))


def _decode_dict(content, tensors, depth):
    pairs = decode(_list(content), tensors, depth)
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise ValueError("a dict is not a list of pairs")
    try:
        return dict(pairs)
    except TypeError as error:
        raise ValueError(f"a dict has a key that cannot be one: {error}") from error


def _list(content, n=None):
    if not isinstance(content, list) or len(content) != (len(content) if n is None else n):
        raise ValueError("a list is missing or has the wrong number of elements")
    return content


# --- arrays and scalars of NumPy -------------------------------------------------------------------------------------


def _encode_array(array, name, tensors, each):
    kind = _kind(array.dtype, name)
    if kind in "biuf":
        tensors[name] = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
        return {"tensor": [name, array.dtype.str]}
    if kind == "O":
        return {"array": ["|O", list(array.shape), each(array.ravel().tolist())]}
    values = _plain(array)
    if kind == "U" and _too_wide(array.nbytes, values):
        raise ValueError(
            f"{name} is an array of str of dtype {array.dtype}, far wider than the strings in it. Convert it with "
            "astype(str)."
        )
    return {"array": [array.dtype.str, list(array.shape), values]}


def _kind(dtype, name):
    """The dtype's kind, if `decode` takes the dtype."""
    if not _DTYPE.fullmatch(dtype.str):
        raise TypeError(f"{name} is of dtype {dtype}.")
    return dtype.kind


def _plain(array):
    """Elements of an array as a flat list for JSON: times as int64."""
    kind = array.dtype.kind
    values = (array.astype(np.int64) if kind in "mM" else array).ravel().tolist()
    return [_encode_float(value) for value in values] if kind == "f" else values


def _too_wide(n_bytes, texts):
    return n_bytes > max(_TEXT_BYTES, _BYTES_A_CHARACTER * sum(map(len, texts)))


def _decode_tensor(content, tensors, depth):
    name, text = _list(content, 2)
    array = tensors.pop(name, None) if isinstance(name, str) else None
    if array is None:
        raise ValueError(f"the tensor {name!r} is missing")
    dtype = _dtype(text)
    if dtype.newbyteorder("=") != array.dtype:
        raise ValueError(f"the tensor {name!r} is of dtype {array.dtype}, not {dtype}")
    return np.array(array, dtype=dtype)


def _decode_array(content, tensors, depth):
    text, shape, values = _list(content, 3)
    if not all(type(size) is int and size >= 0 for size in _list(shape)):
        raise ValueError(f"{shape} is not the shape of an array")
    array = _from_plain(_dtype(text), _list(values), tensors, depth)
    try:
        return array.reshape(shape)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"an array of shape {tuple(shape)} has {len(values)} elements") from error


def _decode_scalar(content, tensors, depth):
    text, value = _list(content, 2)
    dtype = _dtype(text)
    if dtype.kind == "O":
        raise ValueError("a scalar has the dtype object")
    return _from_plain(dtype, [value], tensors, depth)[0]


#: What stands in the list of `_plain`, by the dtype's kind.
_ELEMENTS = {"b": bool, "i": int, "u": int, "f": float, "U": str, "m": int, "M": int}


def _from_plain(dtype, values, tensors, depth):
    """Array (n,) of a flat list of JSON."""
    kind = dtype.kind
    if kind in "Of":
        values = decode(values, tensors, depth)
    if kind == "O":
        array = np.empty(len(values), dtype=object)
        for i, value in enumerate(values):  # an assignment of them all would look into lists
            array[i] = value
        return array
    wrong = [value for value in values if type(value) is not _ELEMENTS[kind]]
    if wrong:
        raise ValueError(f"an array of dtype {dtype} holds {wrong[0]!r}")
    if kind == "U":
        longest = max(map(len, values), default=0)
        if 4 * longest > dtype.itemsize or _too_wide(dtype.itemsize * len(values), values):
            raise ValueError(f"strings of up to {longest} characters are said to have the dtype {dtype}")
    try:
        with np.errstate(over="raise"):
            return np.array(values, dtype=np.int64).astype(dtype) if kind in "mM" else np.array(values, dtype=dtype)
    except (OverflowError, FloatingPointError) as error:
        raise ValueError(f"a number does not fit the dtype {dtype}") from error


def _dtype(text):
    if not (isinstance(text, str) and _DTYPE.fullmatch(text)):
        raise ValueError(f"{text!r} is no dtype of a model")
    try:
        return np.dtype(text)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is no dtype of a model") from error


# --- RandomState -----------------------------------------------------------------------------------------------------


def _state(random_state, name):
    generator = random_state.get_state(legacy=False)["bit_generator"]
    if generator != "MT19937":
        raise TypeError(f"{name} is a RandomState of the generator {generator}; only MT19937's can be written.")
    return random_state.get_state()


def _decode_random_state(content, tensors, depth):
    state = decode(content, tensors, depth)
    if not _is_state(state):
        raise ValueError("the state of a RandomState is not whole")
    random_state = np.random.RandomState(0)
    random_state.set_state(state)
    return random_state


def _is_state(state):
    """Whether this is a state of MT19937: NumPy would read beyond the key for a wrong position."""
    if not (isinstance(state, tuple) and len(state) == 5):
        return False
    generator, key, position, has_gauss, gauss = state
    return (
        generator == "MT19937"
        and isinstance(key, np.ndarray)
        and key.dtype == np.uint32
        and key.shape == (624,)
        and type(position) is int
        and 0 <= position <= 624
        and has_gauss in (0, 1)
        and type(gauss) is float
    )


_DECODERS = {
    "float": _decode_float,
    "tuple": _decode_tuple,
    "dict": _decode_dict,
    "tensor": _decode_tensor,
    "array": _decode_array,
    "scalar": _decode_scalar,
    "random_state": _decode_random_state,
}
