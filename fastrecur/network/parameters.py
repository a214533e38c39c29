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


def initialise(parameters, cell, random_state, forget_bias=1.0):
    """Glorot-uniform input weights and orthogonal recurrent weights, gate by gate; biases 0, the LSTM's forget bias 1.

    Parameters
    ----------
    parameters : Parameters
        Filled in place.
    cell : {"rnn", "lstm", "gru"}
    random_state : numpy.random.RandomState
    forget_bias : float

    References
    ----------
    Glorot and Bengio (2010); Saxe, McClelland and Ganguli (2014); Jozefowicz, Zaremba and Sutskever (2015).
    """
    for name, array in parameters.arrays.items():
        if is_bias(name):
            array[:] = 0.0
            if cell == "lstm" and name.startswith("bias_l"):
                n_hidden = len(array) // 4
                array[n_hidden : 2 * n_hidden] = forget_bias
            continue
        n_gates = GATES[cell] if name.startswith("weight") else 1
        for gate in np.split(array, n_gates):
            gate[:] = _orthogonal(gate.shape[0], random_state) if "_hh" in name else _glorot(gate.shape, random_state)


def _glorot(shape, random_state):
    limit = np.sqrt(6.0 / sum(shape))
    return random_state.uniform(-limit, limit, size=shape)


def _orthogonal(n, random_state):
    q, r = np.linalg.qr(random_state.normal(size=(n, n)))
    return q * np.sign(np.diag(r))
