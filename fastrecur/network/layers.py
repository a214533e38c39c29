"""The public layers: a cell and its documentation each; what they do is in `fastrecur.network.layer`."""

from fastrecur.network import validation
from fastrecur.network.layer import Layer

_PARAMETERS = """

    Parameters
    ----------
    input_size : int
        F, features a time step.
    hidden_size : int
        H.
    num_layers : int
        L, layers one above the other.
    bidirectional : bool
        Add to each layer a second direction that reads the sequences from their ends (D = 2).
    dtype : {"float32", "float64"}
    device : {"cpu", "cuda", "auto"}
        "cuda" computes on an NVIDIA GPU (``pip install "fastrecur[cuda]"``), "auto" does so where there is one. Arrays
        that lie on the GPU (CuPy, PyTorch: ``__cuda_array_interface__`` or DLPack, C-contiguous, of the layer's dtype),
        made on its default stream, are used where they are, and the results are on the GPU then; for NumPy arrays they
        are NumPy arrays. A pickle of "auto" looks for a GPU anew where it is loaded; one of "cuda" loads without one,
        but does not compute there.
    n_threads : int or None
        None: all cores, but 1 inside a joblib worker. The result does not depend on it, bit for bit.
    random_state : int, RandomState or None
        For the initial weights.
"""

_NONLINEARITY = """    nonlinearity : {"tanh", "relu"}
        What stands around the sum.
"""

_NOTES = """
    Notes
    -----
    Copies (`copy.copy` as `copy.deepcopy`) and pickles share nothing with the layer; on the CPU they can go on with a
    pass that is between `forward` and `backward`.
"""


def _documented(cls):
    """Complete the docstring of a layer: parameters and notes stand behind its first paragraph."""
    summary, rest = cls.__doc__.split("\n", 1)
    cls.__doc__ = summary + _PARAMETERS + (_NONLINEARITY if cls._cell == "rnn" else "") + _NOTES + rest
    return cls


@_documented
class RNN(Layer):
    """Elman RNN: h_t = tanh(W_ih x_t + W_hh h_{t-1} + b), or max(0, .) with ``nonlinearity="relu"``.

    References
    ----------
    Elman, "Finding structure in time", Cognitive Science 14 (1990).

    Examples
    --------
    >>> import numpy as np
    >>> from fastrecur.layers import RNN
    >>> y, h = RNN(input_size=3, hidden_size=8).forward(np.zeros((2, 5, 3)))
    >>> y.shape, h.shape
    ((2, 5, 8), (1, 2, 8))
    """

    _cell = "rnn"

    def __init__(
        self,
        input_size,
        hidden_size,
        num_layers=1,
        bidirectional=False,
        dtype="float32",
        device="cpu",
        n_threads=None,
        random_state=None,
        nonlinearity="tanh",
    ):
        validation.check_choice("nonlinearity", nonlinearity, ("tanh", "relu"))
        self.nonlinearity, self._relu = nonlinearity, nonlinearity == "relu"
        super().__init__(input_size, hidden_size, num_layers, bidirectional, dtype, device, n_threads, random_state)


@_documented
class LSTM(Layer):
    """LSTM with a forget gate: c_t = f c_{t-1} + i g; h_t = o tanh(c_t).

    References
    ----------
    Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9 (1997); Gers et al. (2000).

    Examples
    --------
    >>> import numpy as np
    >>> from fastrecur.layers import LSTM
    >>> y, (h, c) = LSTM(input_size=3, hidden_size=8, bidirectional=True).forward(np.zeros((2, 5, 3)))
    >>> y.shape, h.shape
    ((2, 5, 16), (2, 2, 8))
    """

    _cell = "lstm"


@_documented
class GRU(Layer):
    """GRU in the reset-after form: n = tanh(W_in x + b_in + r (W_hn h + b_hn)); h_t = (1 - z) n + z h_{t-1}.

    References
    ----------
    Cho et al., "Learning phrase representations using RNN encoder-decoder" (2014).

    Examples
    --------
    >>> import numpy as np
    >>> from fastrecur.layers import GRU
    >>> y, h = GRU(input_size=3, hidden_size=8, num_layers=2).forward(np.zeros((2, 5, 3)), lengths=[5, 3])
    >>> y.shape, h.shape
    ((2, 5, 8), (2, 2, 8))
    """

    _cell = "gru"
