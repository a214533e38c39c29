"""Weights to PyTorch's modules and back: the same outputs, and dicts that belong to no layer refused."""

import sys

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from fastrecur import GRURegressor, LSTMClassifier, LSTMRegressor, RNNClassifier
from fastrecur.interop import from_torch, to_torch
from fastrecur.layers import LSTM
from tests.estimators.data import CLASSES, make_array, refused, tiny
from tests.interop.data import fitted
from tests.network.data import LAYERS, TOLERANCE, each_cell, each_dtype, make, normal

each_depth = pytest.mark.parametrize("bidirectional", [False, True], ids=["one direction", "bidirectional"])


def module_of(torch, layer, **options):
    """A module of ``torch.nn`` of the layer's shape."""
    kind = type(layer).__name__
    if kind == "RNN":
        options["nonlinearity"] = layer.nonlinearity
    return getattr(torch.nn, kind)(
        layer.input_size, layer.hidden_size, layer.num_layers, batch_first=True, bidirectional=layer.bidirectional,
        dtype=getattr(torch, layer.dtype.name), **options,
    )  # fmt: skip


@pytest.mark.torch
@each_cell
@each_dtype
@each_depth
@pytest.mark.parametrize("num_layers", [1, 2])
def test_a_module_takes_the_state_dict_and_gives_the_same_outputs(cell, dtype, bidirectional, num_layers, torch):
    layer = make(cell, 3, 9, num_layers, bidirectional, dtype=dtype)
    module = module_of(torch, layer)
    module.load_state_dict(to_torch(layer, as_tensors=True))
    x = normal(0, 4, 6, 3, dtype=dtype)
    with torch.no_grad():
        theirs = module(torch.from_numpy(x))[0].numpy()
    np.testing.assert_allclose(theirs, layer.forward(x)[0], rtol=0, atol=TOLERANCE[dtype][0])


@pytest.mark.torch
@each_cell
@each_depth
@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no biases"])
def test_a_layer_of_a_modules_state_dict_gives_the_same_outputs(cell, bidirectional, bias, torch):
    module = module_of(torch, make(cell, 3, 9, 2, bidirectional), bias=bias)
    layer = from_torch(module.state_dict(), nonlinearity="relu" if cell == "rnn_relu" else "tanh")
    x = normal(0, 4, 6, 3)
    with torch.no_grad():
        theirs = module(torch.from_numpy(x))[0].numpy()
    assert type(layer).__name__ == type(module).__name__
    np.testing.assert_allclose(layer.forward(x)[0], theirs, rtol=0, atol=1e-6)


@pytest.mark.torch
def test_tensors_that_numpy_does_not_read(torch):
    module = torch.nn.LSTM(3, 4, dtype=torch.bfloat16)
    layer = from_torch(dict(module.named_parameters()))  # with gradients, unlike a state dict
    assert layer.dtype == np.float32
    theirs = module.weight_ih_l0.detach().float().numpy()
    np.testing.assert_array_equal(layer.parameters["weight_ih_l0"], theirs)


@pytest.mark.torch
@pytest.mark.parametrize("cls", CLASSES)
def test_a_whole_estimator_in_modules(cls, torch):
    """Recurrent part, head and embedding loaded into three modules predict as the estimator does."""
    tokens = np.random.default_rng(0).integers(0, 9, size=(20, 6))
    y = np.stack([tokens[:, 0], 100.0 + tokens[:, 1]], axis=1) if cls.__name__.endswith("Regressor") else None
    estimator = fitted(cls, tokens, y, embedding_dim=5)
    recurrent = getattr(torch.nn, cls.__name__.removesuffix("Classifier").removesuffix("Regressor"))
    recurrent = recurrent(5, 4, batch_first=True)
    embedding, head = torch.nn.Embedding(9, 5), torch.nn.Linear(4, 3 if y is None else 2)
    for module, part in ((recurrent, "recurrent"), (head, "head"), (embedding, "embedding")):
        module.load_state_dict(to_torch(estimator, part, as_tensors=True))
    with torch.no_grad():
        outputs = head(recurrent(embedding(torch.from_numpy(tokens)))[0][:, -1])
        outputs = outputs.softmax(1) if y is None else outputs
    found = estimator.predict_proba(tokens) if y is None else estimator.predict(tokens)
    np.testing.assert_allclose(outputs.numpy(), found, rtol=1e-5, atol=1e-5)


@each_cell
@each_dtype
def test_there_and_back_keeps_every_bit(cell, dtype):
    layer = make(cell, 3, 5, 2, True, dtype=dtype)
    again = from_torch(to_torch(layer), nonlinearity="relu" if cell == "rnn_relu" else "tanh")
    assert type(again) is LAYERS[cell][0]
    assert again.dtype == layer.dtype
    assert again.parameters.keys() == layer.parameters.keys()
    for name, array in layer.parameters.items():
        np.testing.assert_array_equal(again.parameters[name], array, strict=True)


def test_the_dict_of_a_layer_is_what_load_parameters_takes():
    layer, other = make("lstm", 3, 5), LSTM(3, 5)
    other.load_parameters(to_torch(layer))
    np.testing.assert_array_equal(other.parameters["bias_l0"], layer.parameters["bias_l0"])


def test_arrays_are_copies():
    estimator = fitted(LSTMClassifier, make_array(20))
    before = {name: array.copy() for name, array in estimator.weights_.items()}
    for part in ("recurrent", "head"):
        for array in to_torch(estimator, part).values():
            assert type(array) is np.ndarray
            array[...] = 99.0
    for name, array in estimator.weights_.items():
        np.testing.assert_array_equal(array, before[name])


def test_names_are_in_pytorchs_order():
    names = list(to_torch(make("gru", 2, 3, 2, True)))
    first = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    assert names[:8] == first + [f"{name}_reverse" for name in first]
    assert len(names) == 16


def test_one_module_of_a_larger_one():
    layer = make("gru", 3, 5)
    whole = {f"encoder.rnn.{name}": array for name, array in to_torch(layer).items()}
    whole["encoder.norm.weight"], whole["decoder.weight"] = np.ones(5), np.ones((2, 5))
    again = from_torch(whole, prefix="encoder.rnn.")
    np.testing.assert_array_equal(again.parameters["weight_ih_l0"], layer.parameters["weight_ih_l0"])
    refused(lambda: from_torch(whole), ValueError, r"prefix='encoder\.rnn\.'", r"decoder\.weight")


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [LSTMClassifier, GRURegressor])
def test_unfitted(cls):
    with pytest.raises(NotFittedError):
        to_torch(cls())


def test_neither_estimator_nor_layer():
    refused(lambda: to_torch(LSTM), TypeError, "fitted estimator", "the class LSTM")
    refused(lambda: to_torch({"a": 1}), TypeError, "instance of dict")
    pipeline = make_pipeline(tiny(RNNClassifier))
    refused(lambda: to_torch(pipeline), TypeError, r"pipeline\[-1\]")


def test_parts_that_are_not_there():
    estimator = fitted(LSTMRegressor, make_array(20))
    refused(lambda: to_torch(LSTM(2, 3), "head"), ValueError, "part='head'", "layer has no head")
    refused(lambda: to_torch(estimator, "embedding"), ValueError, "embedding_dim")
    refused(lambda: to_torch(estimator, "body"), ValueError, "part", "'body'", "'recurrent'")
    refused(lambda: to_torch(estimator, as_tensors=1), TypeError, "as_tensors")


def test_without_pytorch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r'pip install "fastrecur\[torch\]"'):
        to_torch(LSTM(2, 3), as_tensors=True)
    assert len(to_torch(LSTM(2, 3))) == 4


class Module:
    def state_dict(self):
        return {}


def state(cell="lstm", **changed):
    """A sound state dict with entries changed, or left out where None."""
    whole = {**to_torch(make(cell, 3, 5, 2)), **changed}
    return {name: array for name, array in whole.items() if array is not None}


@pytest.mark.parametrize(
    ("given", "options", "error", "parts"),
    [
        (Module(), {}, TypeError, ["state_dict", "Module", r"module\.state_dict\(\)"]),
        ([1, 2], {}, TypeError, ["state_dict", "list"]),
        ({}, {}, ValueError, ["weight_ih_l0"]),
        ({"fc.weight": np.ones((2, 2))}, {}, ValueError, [r"fc\.weight", "RNN, LSTM or GRU"]),
        (state(), {"prefix": "lstm."}, ValueError, [r"prefix='lstm\.'"]),
        (state(extra=np.ones(2)), {}, ValueError, ["extra"]),
        (state(weight_hr_l0=np.ones((2, 5))), {}, ValueError, ["proj_size"]),
        (state(weight_hh_l0=None), {}, ValueError, ["lacks weight_hh_l0"]),
        (state(weight_ih_l1=None), {}, ValueError, [r"missing \['weight_ih_l1'\]"]),
        (state(bias_hh_l1=None), {}, ValueError, [r"missing \['bias_hh_l1'\]"]),
        (state(weight_hh_l0=np.ones(20)), {}, ValueError, ["weight_hh_l0", "matrix", r"\(20,\)"]),
        (state(weight_hh_l0=np.ones((10, 5))), {}, ValueError, ["10 gate values for 5", "LSTM 4"]),
        (state(weight_ih_l0=np.ones((15, 3))), {}, ValueError, ["weight_ih_l0", r"\(20, 3\)", r"\(15, 3\)"]),
        (state(bias_ih_l0=np.full(20, "a")), {}, TypeError, ["bias_ih_l0", "real numbers"]),
        (state(), {"cell": "gru"}, ValueError, ["cell='gru'", "cell='lstm'"]),
        (state(), {"cell": "mlp"}, ValueError, ["cell", "'mlp'"]),
        (state(), {"nonlinearity": "relu"}, ValueError, ["nonlinearity='relu'", "RNN"]),
        (state("rnn_tanh"), {"nonlinearity": "selu"}, ValueError, ["nonlinearity", "'selu'"]),
    ],
)
def test_foreign_dicts_are_refused(given, options, error, parts):
    refused(lambda: from_torch(given, **options), error, *parts)
