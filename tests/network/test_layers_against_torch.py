"""The layers against PyTorch: outputs, states and every gradient."""

import numpy as np
import pytest

from tests.network.data import LAYERS, TOLERANCE, each_cell, each_dtype, make, normal, parts, random_state, run


def torch_module(torch, layer):
    """The same layer of ``torch.nn`` with our weights; where it has two biases and ours one, each has a part of it."""
    kind = type(layer).__name__
    options = {"nonlinearity": layer.nonlinearity} if kind == "RNN" else {}
    module = getattr(torch.nn, kind)(
        layer.input_size, layer.hidden_size, layer.num_layers, batch_first=True, bidirectional=layer.bidirectional,
        dtype=getattr(torch, layer.dtype.name), **options,
    )  # fmt: skip
    parameters = layer.parameters
    with torch.no_grad():
        for name, target in module.named_parameters():
            if name in parameters:
                target.copy_(torch.from_numpy(parameters[name]))
            else:
                half = parameters[name.replace("bias_ih", "bias").replace("bias_hh", "bias")]
                target.copy_(torch.from_numpy(half * (0.25 if "_ih" in name else 0.75)))
    return module


def torch_run(torch, layer, x, state, lengths, dy, dstate):
    """What `run` gives, by PyTorch."""
    module = torch_module(torch, layer)
    leaves = [torch.from_numpy(array.copy()).requires_grad_() for array in (x, *parts(state))]
    initial = tuple(leaves[1:]) if isinstance(state, tuple) else leaves[1]
    pack, unpack = torch.nn.utils.rnn.pack_padded_sequence, torch.nn.utils.rnn.pad_packed_sequence
    packed = pack(leaves[0], torch.from_numpy(lengths), batch_first=True, enforce_sorted=False)
    y, final = module(packed, initial)
    y, _ = unpack(y, batch_first=True, total_length=x.shape[1])
    loss = (y * torch.from_numpy(dy)).sum()
    for part, gradient in zip(parts(final), parts(dstate), strict=True):
        loss = loss + (part * torch.from_numpy(gradient)).sum()
    loss.backward()
    results = {"y": y, **{f"final {i}": part for i, part in enumerate(parts(final))}}
    results |= {"dx": leaves[0].grad, **{f"dinitial {i}": leaf.grad for i, leaf in enumerate(leaves[1:])}}
    for name, parameter in module.named_parameters():
        ours = name if name in layer.parameters else name.replace("bias_ih", "bias").replace("bias_hh", "bias")
        results[f"d{ours}"] = parameter.grad
    return {name: tensor.detach().numpy() for name, tensor in results.items()}


@pytest.mark.torch
@each_dtype
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one direction", "bidirectional"])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize(
    ("n_rows", "n_steps", "n_features", "n_hidden"), [(1, 9, 3, 33), (7, 12, 17, 16), (33, 6, 1, 7), (6, 1, 5, 63)]
)
@each_cell
def test_forward_and_gradients_equal_pytorch(
    cell, n_rows, n_steps, n_features, n_hidden, num_layers, bidirectional, dtype, torch
):
    layer = make(cell, n_features, n_hidden, num_layers, bidirectional, dtype=dtype)
    lengths = np.random.default_rng(n_rows).integers(1, n_steps + 1, n_rows)
    lengths[n_rows // 2] = n_steps
    x, dy = normal(1, n_rows, n_steps, n_features, dtype=dtype), normal(2, *(n_rows, n_steps, 1), dtype=dtype)
    dy = dy * normal(3, n_hidden * layer.n_directions, dtype=dtype)
    state, dstate = random_state(layer, n_rows), random_state(layer, n_rows, seed=8)
    expected = torch_run(torch, layer, x, state, lengths, dy, dstate)
    actual = run(layer, x, state, lengths, dy, dstate)
    absolute, relative = TOLERANCE[dtype]
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype == dtype
        error = actual[name] - array
        if name == "y" or name.startswith("final"):
            assert np.abs(error).max() <= absolute * max(1.0, np.abs(array).max()), name
        else:
            assert np.linalg.norm(error) <= relative * np.linalg.norm(array), name


@pytest.mark.torch
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one direction", "bidirectional"])
@each_cell
def test_torch_state_dict_is_loaded(cell, bidirectional, torch):
    layer, x = make(cell, 5, 17, 2, bidirectional), normal(0, 3, 8, 5)
    torch.manual_seed(0)
    kind, extra = LAYERS[cell]
    module = getattr(torch.nn, kind.__name__)(5, 17, 2, batch_first=True, bidirectional=bidirectional, **extra)
    layer.load_parameters(module.state_dict())
    y, final = layer.forward(x)
    expected, expected_final = module(torch.from_numpy(x))
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=0, atol=1e-6)
    for part, expected_part in zip(parts(final), parts(expected_final), strict=True):
        np.testing.assert_allclose(part, expected_part.detach().numpy(), rtol=0, atol=1e-6)


SIZES = (1, 2, 7, 17, 33, 63, 100)

#: One chain of sums rounds as often as it has terms, PyTorch's blocks less often.
FACTOR = 4


@pytest.mark.torch
@pytest.mark.parametrize("initial", ["ours", "PyTorch's"])
@pytest.mark.parametrize("n_hidden", SIZES)
@each_cell
def test_float32_across_tile_edges(cell, n_hidden, initial, torch):
    """1e-6 absolute forward and 1e-5 of the norm backward, or as near to the float64 result as PyTorch itself.

    Sums of many features into one or two units are large (with PyTorch's initial weights about
    sqrt((F + H) / 3 H)), saturate and cancel: float32 is then further from the truth than that, on both sides. So
    these units get few features here, and four times the tolerance.
    """
    torch.manual_seed(n_hidden)
    few = n_hidden < 7
    for n_rows in SIZES:
        for n_features in SIZES[: 3 if few else None]:
            layer = make(cell, n_features, n_hidden, random_state=0)
            if initial != "ours":
                module = torch_module(torch, layer)
                module.reset_parameters()
                layer.load_parameters({name: p.detach().numpy() for name, p in module.named_parameters()})
            exact_layer = make(cell, n_features, n_hidden, dtype="float64")
            exact_layer.load_parameters(layer.parameters)
            given = (
                normal(1, n_rows, 5, n_features), random_state(layer, n_rows), np.full(n_rows, 5),
                normal(2, n_rows, 5, n_hidden), random_state(layer, n_rows, seed=8),
            )  # fmt: skip
            exact = torch_run(torch, exact_layer, *map(as_float64, given))
            theirs, ours = torch_run(torch, layer, *given), run(layer, *given)
            for name, truth in exact.items():
                kind = np.inf if name == "y" or name.startswith("final") else 2
                tolerance = (4 if few else 1) * (1e-6 if kind == np.inf else 1e-5 * np.linalg.norm(truth))
                near = np.linalg.norm((theirs[name] - truth).ravel(), kind)
                difference = np.linalg.norm((ours[name] - truth).ravel(), kind)
                assert difference <= max(tolerance, FACTOR * near), (n_rows, n_features, name, difference / near)


def as_float64(given):
    if isinstance(given, tuple):
        return tuple(map(as_float64, given))
    return given.astype(np.float64) if given.dtype == np.float32 else given
