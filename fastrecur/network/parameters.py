"""Parameters of a network: one flat vector, seen as named arrays in PyTorch's layout."""

import math

import numpy as np

#: Gates of each cell, and its biases a layer.
GATES = {"rnn": 1, "lstm": 4, "gru": 3}
BIASES = {"rnn": ("bias",), "lstm": ("bias",), "gru": ("bias_ih", "bias_hh")}


#: Name of the table of embeddings, (V, E): one row a token.
TABLE = "embedding"


class Parameters:
    """Named views of one flat vector: weights first, biases after them, a table of embeddings at the end.

    Parameters
    ----------
    shapes : dict of str to tuple of int
        Names beginning with "bias" or ending in "bias" are biases, "embedding" is the table.
    dtype : dtype

    Attributes
    ----------
    flat : array of shape (n_parameters,)
    n_weights : int
        Numbers of ``flat`` that belong to weights (which a penalty shrinks), not to biases.
    n_dense : int
        Numbers of ``flat`` in front of the table, of which a batch uses some rows only.
    arrays : dict of str to array
        Views of ``flat``.
    """

    def __init__(self, shapes, dtype):
        self.shapes: dict[str, tuple[int, ...]] = dict(shapes)
        order = sorted(self.shapes, key=_place)
        sizes = [math.prod(self.shapes[name]) for name in order]
        self.flat = np.zeros(sum(sizes), dtype=dtype)
        self.n_weights = sum(size for name, size in zip(order, sizes, strict=True) if _place(name) == 0)
        self.n_dense = self.flat.size - math.prod(self.shapes.get(TABLE, (0,)))
        pieces = dict(zip(order, np.split(self.flat, np.cumsum(sizes)[:-1]), strict=True))
        self.arrays: dict[str, np.ndarray] = {name: pieces[name].reshape(shape) for name, shape in self.shapes.items()}

    def __reduce__(self):
        return _with_values, (self.shapes, self.flat)

    def zeros_like(self):
        """Parameters of the same shapes, all zero: gradients, moments."""
        return Parameters(self.shapes, self.flat.dtype)


def _with_values(shapes, flat):
    """`Parameters` out of a pickle: the arrays are views of the vector again."""
    parameters = Parameters(shapes, flat.dtype)
    parameters.flat[:] = flat
    return parameters


def is_bias(name):
    """Whether a parameter is a bias, by its name."""
    return name.startswith("bias") or name.endswith("bias")


def _place(name):
    return 2 if name == TABLE else int(is_bias(name))


def suffix(layer, direction):
    """PyTorch's ending of the names of a layer's parameters."""
    return f"_l{layer}" + ("_reverse" if direction else "")


def recurrent_shapes(cell, input_size, hidden_size, num_layers, n_directions):
    """Names and shapes of the parameters of stacked recurrent layers, in PyTorch's order."""
    rows = GATES[cell] * hidden_size
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(num_layers):
        n_inputs = input_size if layer == 0 else n_directions * hidden_size
        for direction in range(n_directions):
            end = suffix(layer, direction)
            shapes[f"weight_ih{end}"] = (rows, n_inputs)
            shapes[f"weight_hh{end}"] = (rows, hidden_size)
            shapes |= {f"{bias}{end}": (rows,) for bias in BIASES[cell]}
    return shapes


def network_shapes(cell, n_features, hidden_size, n_outputs, num_layers, n_directions, n_tokens=0):
    """Names and shapes of the parameters of recurrent layers with a head and, for tokens, a table of embeddings."""
    shapes = recurrent_shapes(cell, n_features, hidden_size, num_layers, n_directions)
    shapes |= {"head_weight": (n_outputs, n_directions * hidden_size), "head_bias": (n_outputs,)}
    return shapes | ({TABLE: (n_tokens, n_features)} if n_tokens else {})


#: Values of the estimators' ``init``.
PRESETS = ("default", "irnn", "chrono", "pytorch")


def initialise(parameters, cell, random_state, preset="default", forget_bias=1.0, longest=None):
    """Draw all parameters anew.

    Parameters
    ----------
    parameters : Parameters
        Filled in place.
    cell : {"rnn", "lstm", "gru"}
    random_state : numpy.random.RandomState
    preset : {"default", "irnn", "chrono", "pytorch"}
        "default": input weights and head Glorot-uniform, recurrent weights orthogonal, gate by gate; biases 0, the
        LSTM's forget bias ``forget_bias``; embeddings normal with deviation 1 / sqrt(E), so that a row's norm is
        about 1. The others differ from it:

        "irnn": recurrent weights the identity, gate by gate; input weights normal with deviation 0.001.

        "chrono": biases spread the gates' memories over all lengths up to the longest. LSTM: forget bias
        log U(1, ``longest`` - 1), input bias its negative. GRU, whose z keeps the old state: ``bias_ih`` of z alike.
        ``forget_bias`` is not used.

        "pytorch": all as `torch.nn` draws it, uniform within 1 / sqrt(H) (head: D * H inputs), embeddings standard
        normal. A single bias is the sum of the two that PyTorch has. ``forget_bias`` is not used.
    forget_bias : float
    longest : int, optional
        Time steps of the longest sequence, for "chrono". Below 3 there is nothing to spread: these biases are 0.

    Raises
    ------
    ValueError
        If the preset is unknown, or is "chrono" for a cell without gates or without ``longest``.

    References
    ----------
    Glorot and Bengio (2010); Saxe, McClelland and Ganguli (2014); Jozefowicz, Zaremba and Sutskever (2015);
    "irnn": Le, Jaitly and Hinton (2015); "chrono": Tallec and Ollivier (2018).
    """
    if preset not in PRESETS:
        raise ValueError(f"preset={preset!r} is none of {PRESETS}.")
    if preset == "chrono" and (cell == "rnn" or longest is None):
        raise ValueError(f"'chrono' sets the biases of gates for a longest sequence: cell={cell!r}, longest={longest}.")
    for name, array in parameters.arrays.items():
        if preset == "pytorch":
            array[:] = _uniform(name, parameters.shapes, cell, random_state)
        elif is_bias(name):
            array[:] = 0.0
            if cell == "lstm" and name.startswith("bias_l"):
                np.split(array, 4)[1][:] = forget_bias
        elif name == TABLE:
            array[:] = random_state.normal(scale=array.shape[1] ** -0.5, size=array.shape)
        else:
            for gate in np.split(array, GATES[cell] if name.startswith("weight") else 1):
                gate[:] = _weights(name, gate.shape, preset, random_state)
    if preset == "chrono":
        _spread_memories(parameters, cell, random_state, longest)


def _weights(name, shape, preset, random_state):
    """Weights of one gate, or of the head."""
    if "_hh" in name:
        return np.eye(shape[0]) if preset == "irnn" else _orthogonal(shape[0], random_state)
    if preset == "irnn" and "_ih" in name:
        return random_state.normal(scale=0.001, size=shape)
    return _glorot(shape, random_state)


def _spread_memories(parameters, cell, random_state, longest):
    """The biases of "chrono", after all weights: those are the default's."""
    for name, array in parameters.arrays.items():
        if name.startswith(("bias_l", "bias_ih")):
            gates = np.split(array, GATES[cell])
            gates[1][:] = np.log(random_state.uniform(1.0, max(longest - 1.0, 1.0), size=len(gates[1])))
            if cell == "lstm":
                gates[0][:] = -gates[1]


def _uniform(name, shapes, cell, random_state):
    """A parameter as PyTorch draws it."""
    shape = shapes[name]
    if name == TABLE:
        return random_state.normal(size=shape)
    n_inputs = shapes["head_weight"][1] if name.startswith("head") else shape[0] // GATES[cell]
    limit, draws = n_inputs**-0.5, 2 if name.startswith("bias_l") else 1
    return sum(random_state.uniform(-limit, limit, size=shape) for _ in range(draws))


def _glorot(shape, random_state):
    limit = np.sqrt(6.0 / sum(shape))
    return random_state.uniform(-limit, limit, size=shape)


def _orthogonal(n, random_state):
    q, r = np.linalg.qr(random_state.normal(size=(n, n)))
    return q * np.sign(np.diag(r))
