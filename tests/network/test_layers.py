"""The layers against PyTorch, and their own contract: steps, gradients, parameters, layouts, errors."""

import pickle

import numpy as np
import pytest

from fastrecur.kernels import threads
from fastrecur.layers import GRU, LSTM, RNN

LAYERS = {"rnn_tanh": (RNN, {}), "rnn_relu": (RNN, {"nonlinearity": "relu"}), "lstm": (LSTM, {}), "gru": (GRU, {})}

#: Forward, absolute (for numbers up to 1); gradients, relative in the norm.
TOLERANCE = {"float32": (1e-6, 1e-5), "float64": (1e-10, 1e-10)}

each_cell = pytest.mark.parametrize("cell", LAYERS)
each_dtype = pytest.mark.parametrize("dtype", TOLERANCE)


def make(cell, *sizes, **options):
    """A layer with PyTorch's initial weights (uniform, biases too), so that no bias is zero."""
    kind, extra = LAYERS[cell]
    layer = kind(*sizes, **{"n_threads": 1, **extra, **options})
    rng, limit = np.random.default_rng(0), 1 / np.sqrt(layer.hidden_size)
    layer.load_parameters({name: rng.uniform(-limit, limit, w.shape) for name, w in layer.parameters.items()})
    return layer


def normal(seed, *shape, dtype="float32"):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def parts(state):
    """A state as a tuple: (h,) or (h, c)."""
    return state if isinstance(state, tuple) else (state,)


def random_state(layer, n_rows, seed=7):
    shape = layer.num_layers * layer.n_directions, n_rows, layer.hidden_size
    h, c = normal(seed, 2, *shape, dtype=layer.dtype)
    return (h, c) if isinstance(layer, LSTM) else h


def run(layer, x, state=None, lengths=None, dy=None, dstate=None):
    """Copies of everything that forward and backward give: y, states, dx, gradients of states and parameters."""
    y, final = layer.forward(x, state, lengths, training=True)
    results = {"y": y.copy(), **{f"final {i}": part.copy() for i, part in enumerate(parts(final))}}
    for gradient in layer.grads.values():
        gradient[:] = 0.0
    dx, dinitial = layer.backward(dy, dstate)
    results["dx"] = dx.copy()
    results |= {f"dinitial {i}": part.copy() for i, part in enumerate(parts(dinitial))}
    results |= {f"d{name}": gradient.copy() for name, gradient in layer.grads.items()}
    return results


def assert_same_bits(actual, expected):
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype
        np.testing.assert_array_equal(actual[name], array, err_msg=name)
        assert np.isfinite(array).all()


# --- PyTorch ---------------------------------------------------------------------------------------------------------


def import_torch():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)  # small layers: its threads only wait for each other
    return torch


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
    cell, n_rows, n_steps, n_features, n_hidden, num_layers, bidirectional, dtype
):
    torch = import_torch()
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
def test_torch_state_dict_is_loaded(cell, bidirectional):
    torch = import_torch()
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


# --- forward, step, backward -----------------------------------------------------------------------------------------


@each_dtype
@pytest.mark.parametrize("n_rows", [1, 2, 19])
@each_cell
def test_steps_have_the_bits_of_forward(cell, n_rows, dtype):
    layer = make(cell, 4, 17, 2, dtype=dtype)
    x, state = normal(0, n_rows, 11, 4, dtype=dtype), random_state(layer, n_rows)
    y, final = layer.forward(x, state)
    trained, _ = layer.forward(x, state, training=True)
    np.testing.assert_array_equal(trained, y)
    for t in range(11):
        y_t, state = layer.step(x[:, t], state)
        assert y_t.shape == (n_rows, 17)
        np.testing.assert_array_equal(y_t, y[:, t])
    for part, expected in zip(parts(state), parts(final), strict=True):
        np.testing.assert_array_equal(part, expected)


@each_cell
def test_step_takes_any_layout_and_writes_to_nothing_of_the_caller(cell):
    layer, x_t = make(cell, 4, 7, 2), normal(0, 3, 4)
    state = random_state(layer, 3)
    expected, expected_state = layer.step(x_t, state)
    np.testing.assert_array_equal(x_t, normal(0, 3, 4))
    for part, given in zip(parts(state), parts(random_state(layer, 3)), strict=True):
        np.testing.assert_array_equal(part, given)
    wide = np.full((3, 9), np.nan)
    wide[:, ::-2][:, :4] = x_t
    for change in (np.asfortranarray, lambda part: part.astype(np.float64), lambda part: part.tolist()):
        changed = tuple(map(change, parts(state)))
        y_t, new = layer.step(wide[:, ::-2][:, :4], changed if cell == "lstm" else changed[0])
        np.testing.assert_array_equal(y_t, expected)
        for part, wanted in zip(parts(new), parts(expected_state), strict=True):
            np.testing.assert_array_equal(part, wanted)
    kept = expected.copy()
    layer.step(2 * x_t, expected_state)
    np.testing.assert_array_equal(expected, kept)


@each_cell
def test_first_step_begins_with_zeros(cell):
    layer, x_t = make(cell, 4, 7), normal(0, 3, 4)
    zeros = np.zeros((1, 3, 7))
    y_t, _ = layer.step(x_t)
    np.testing.assert_array_equal(y_t, layer.step(x_t, (zeros, zeros) if cell == "lstm" else zeros)[0])


@each_dtype
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one direction", "bidirectional"])
@pytest.mark.parametrize("n_hidden", [7, 32])
@each_cell
def test_more_padding_changes_nothing(cell, n_hidden, bidirectional, dtype):
    layer = make(cell, 3, n_hidden, 2, bidirectional, dtype=dtype)
    lengths = np.array([4, 9, 1, 6, 9])
    x, dy = normal(0, 5, 9, 3, dtype=dtype), normal(1, 5, 9, n_hidden * layer.n_directions, dtype=dtype)
    dstate = random_state(layer, 5)
    expected = run(layer, x, None, lengths, dy, dstate)
    padding = np.full((5, 6, 3), np.nan, dtype), np.full((5, 6, dy.shape[2]), np.nan, dtype)
    for b, length in enumerate(lengths):
        assert np.all(expected["y"][b, length:] == 0.0)
        assert np.all(expected["dx"][b, length:] == 0.0)
        x[b, length:], dy[b, length:] = np.nan, np.nan
    actual = run(layer, np.concatenate([x, padding[0]], 1), None, lengths, np.concatenate([dy, padding[1]], 1), dstate)
    for name in ("y", "dx"):
        assert np.all(actual[name][:, 9:] == 0.0)
        actual[name] = actual[name][:, :9]
    assert_same_bits({name: array + 0.0 for name, array in actual.items()}, expected)
    y, _ = layer.forward(np.concatenate([x, padding[0]], 1), lengths=lengths)
    np.testing.assert_array_equal(y[:, :9], expected["y"])


@each_cell
def test_equal_lengths_below_the_last_step(cell):
    layer, x = make(cell, 3, 7), normal(0, 4, 9, 3)
    y, final = layer.forward(x, lengths=[6] * 4)
    expected, expected_final = layer.forward(x[:, :6])
    np.testing.assert_array_equal(y[:, :6], expected)
    assert np.all(y[:, 6:] == 0.0)
    for part, expected_part in zip(parts(final), parts(expected_final), strict=True):
        np.testing.assert_array_equal(part, expected_part)


@each_cell
def test_a_permuted_batch_gives_permuted_results(cell):
    layer = make(cell, 3, 7, 2, bidirectional=True)
    lengths, order = np.array([4, 9, 1, 6, 9, 2]), np.array([3, 0, 5, 1, 4, 2])
    x, dy, state = normal(0, 6, 9, 3), normal(1, 6, 9, 14), random_state(layer, 6)
    expected = run(layer, x, state, lengths, dy, state)
    permuted = tuple(part[:, order] for part in parts(state))
    permuted = permuted if cell == "lstm" else permuted[0]
    actual = run(layer, x[order], permuted, lengths[order], dy[order], permuted)
    for name in ("y", "dx"):
        np.testing.assert_array_equal(actual[name], expected[name][order], err_msg=name)
    for name in expected:
        if name.startswith(("final", "dinitial")):
            np.testing.assert_array_equal(actual[name], expected[name][:, order], err_msg=name)
        elif name not in ("y", "dx"):
            np.testing.assert_allclose(actual[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


@each_dtype
@each_cell
def test_one_thread_equals_many(cell, dtype, monkeypatch):
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1)
    x, lengths = normal(0, 33, 9, 5, dtype=dtype), np.random.default_rng(0).integers(1, 10, 33)
    results = []
    for n_threads in (1, 2):
        layer = make(cell, 5, 17, 2, bidirectional=True, dtype=dtype, n_threads=n_threads)
        dy, state = normal(1, 33, 9, 34, dtype=dtype), random_state(layer, 33)
        results.append(run(layer, x, state, lengths, dy, state))
    assert_same_bits(*results)


@each_dtype
@each_cell
def test_gradients_accumulate_until_they_are_set_to_zero(cell, dtype):
    layer = make(cell, 3, 7, 2, dtype=dtype)
    x, dy = normal(0, 4, 5, 3, dtype=dtype), normal(1, 4, 5, 7, dtype=dtype)
    assert all(not gradient.any() for gradient in layer.grads.values())
    layer.forward(x, training=True)
    layer.backward(dy)
    once = {name: gradient.copy() for name, gradient in layer.grads.items()}
    assert all(gradient.any() for gradient in once.values())
    layer.forward(x, training=True)
    layer.backward(dy)
    for name, gradient in layer.grads.items():
        np.testing.assert_array_equal(gradient, 2 * once[name])
        gradient[:] = 0.0
    layer.forward(x, training=True)
    layer.backward(dy)
    assert_same_bits(layer.grads, once)


@each_cell
def test_gradients_of_absent_parts_are_zeros(cell):
    layer = make(cell, 3, 7, 2, bidirectional=True)
    x, dy, dstate = normal(0, 4, 5, 3), normal(1, 4, 5, 14), random_state(layer, 4)
    zeros = tuple(np.zeros_like(part) for part in parts(dstate))
    zeros = zeros if cell == "lstm" else zeros[0]
    assert_same_bits(run(layer, x, dy=dy), run(make(cell, 3, 7, 2, True), x, dy=dy, dstate=zeros))
    assert_same_bits(
        run(make(cell, 3, 7, 2, True), x, dstate=dstate),
        run(make(cell, 3, 7, 2, True), x, dy=np.zeros_like(dy), dstate=dstate),
    )
    if cell == "lstm":
        assert_same_bits(
            run(make(cell, 3, 7, 2, True), x, dy=dy, dstate=(dstate[0], None)),
            run(make(cell, 3, 7, 2, True), x, dy=dy, dstate=(dstate[0], zeros[1])),
        )


@each_cell
def test_backward_without_dx(cell):
    layer, other = make(cell, 3, 7, 2), make(cell, 3, 7, 2)
    x, dy = normal(0, 4, 5, 3), normal(1, 4, 5, 7)
    layer.forward(x, training=True)
    other.forward(x, training=True)
    dx, dstate = layer.backward(dy, need_dx=False)
    assert dx is None
    for part, expected in zip(parts(dstate), parts(other.backward(dy)[1]), strict=True):
        np.testing.assert_array_equal(part, expected)
    assert_same_bits(layer.grads, other.grads)


@each_cell
def test_a_prediction_leaves_the_trace_of_training_alone(cell):
    layer, other = make(cell, 3, 7, 2), make(cell, 3, 7, 2)
    x, dy = normal(0, 4, 5, 3), normal(1, 4, 5, 7)
    layer.forward(x, training=True)
    layer.forward(normal(2, 30, 9, 3))
    layer.step(normal(3, 2, 3))
    other.forward(x, training=True)
    np.testing.assert_array_equal(layer.backward(dy)[0], other.backward(dy)[0])
    assert_same_bits(layer.grads, other.grads)


@each_cell
def test_results_of_predictions_are_not_overwritten(cell):
    layer, x = make(cell, 3, 7), normal(0, 4, 5, 3)
    y, state = layer.forward(x)
    kept, kept_state = y.copy(), [part.copy() for part in parts(state)]
    layer.forward(2 * x)
    layer.forward(2 * x, training=True)
    np.testing.assert_array_equal(y, kept)
    for part, expected in zip(parts(state), kept_state, strict=True):
        np.testing.assert_array_equal(part, expected)


@each_cell
def test_results_of_training_are_read_only_and_not_overwritten(cell):
    for lengths in (None, [5, 2, 1, 4]):
        layer, x, dy = make(cell, 3, 32, 2), normal(0, 4, 5, 3), normal(1, 4, 5, 32)
        y, state = layer.forward(x, lengths=lengths, training=True)
        with pytest.raises(ValueError, match="read-only"):
            y[0, 0, 0] = 1.0
        kept, kept_state = y.copy(), [part.copy() for part in parts(state)]
        layer.backward(dy)
        layer.forward(2 * x, lengths=lengths, training=True)
        np.testing.assert_array_equal(y, kept)
        for part, expected in zip(parts(state), kept_state, strict=True):
            np.testing.assert_array_equal(part, expected)


@each_cell
def test_batches_of_changing_size_do_not_disturb_each_other(cell):
    layer = make(cell, 3, 7, 2, bidirectional=True)
    for n_rows, n_steps in ((9, 20), (2, 3), (4, 11), (1, 1), (9, 20)):
        x, dy = normal(n_rows, n_rows, n_steps, 3), normal(n_steps, n_rows, n_steps, 14)
        lengths = np.random.default_rng(n_rows).integers(1, n_steps + 1, n_rows)
        expected = run(make(cell, 3, 7, 2, True), x, None, lengths, dy)
        assert_same_bits(run(layer, x, None, lengths, dy), expected)


# --- layouts and dtypes of the arguments -----------------------------------------------------------------------------


@each_cell
def test_layout_of_x_does_not_matter(cell):
    layer, x, dy = make(cell, 3, 7), normal(0, 4, 6, 3), normal(1, 4, 6, 7)
    expected = run(layer, x, dy=dy)
    wide = np.full((4, 6, 9), np.nan, np.float32)
    wide[:, :, ::3] = x
    time_major = np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1)
    views = {
        "Fortran": np.asfortranarray(x),
        "strided": wide[:, :, ::3],
        "backwards": np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
        "time-major": time_major,
        "list": x.tolist(),
    }
    for name, view in views.items():
        for lengths in (None, [6, 6, 6, 6]):
            y, _ = layer.forward(view, lengths=lengths)
            np.testing.assert_array_equal(y, expected["y"], err_msg=name)
        assert_same_bits(run(layer, view, dy=np.asfortranarray(dy)), expected)
        ragged, _ = layer.forward(view, lengths=[2, 6, 1, 3])
        np.testing.assert_array_equal(ragged, layer.forward(x, lengths=[2, 6, 1, 3])[0], err_msg=name)
    np.testing.assert_array_equal(x, normal(0, 4, 6, 3))  # nothing was written


@pytest.mark.parametrize("time_major", [False, True])
def test_read_only_arguments(time_major):
    layer, state = make("lstm", 3, 7), random_state(make("lstm", 3, 7), 4)
    x, dy = normal(0, 4, 6, 3), normal(1, 4, 6, 7)
    expected = run(layer, x, state, None, dy, state)
    x = np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1) if time_major else x
    for array in (x, dy, *state):
        array.flags.writeable = False
    assert_same_bits(run(layer, x, state, None, dy, state), expected)


@each_cell
def test_dtype_of_x_is_converted(cell):
    layer, wide = make(cell, 3, 7), make(cell, 3, 7, dtype="float64")
    x = normal(0, 4, 6, 3, dtype="float64") * 3
    y, _ = layer.forward(x)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, layer.forward(x.astype(np.float32))[0])
    y, _ = wide.forward(x.astype(np.float32))
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y, wide.forward(x.astype(np.float32).astype(np.float64))[0])
    for dtype in (np.int64, np.int8, np.uint8, bool, np.float16):
        numbers = np.abs(x).astype(dtype)
        np.testing.assert_array_equal(layer.forward(numbers)[0], layer.forward(numbers.astype(np.float32))[0])
    time_major = np.ascontiguousarray(x.swapaxes(0, 1)).swapaxes(0, 1)
    np.testing.assert_array_equal(layer.forward(time_major)[0], layer.forward(x)[0])


@each_cell
def test_layout_and_dtype_of_states_do_not_matter(cell):
    layer, x = make(cell, 3, 7, 2), normal(0, 4, 6, 3)
    state = random_state(layer, 4)
    expected, _ = layer.forward(x, state)
    for change in (np.asfortranarray, lambda part: part.astype(np.float64), lambda part: part.tolist()):
        changed = tuple(map(change, parts(state)))
        y, _ = layer.forward(x, changed if cell == "lstm" else changed[0])
        np.testing.assert_array_equal(y, expected)
    if cell == "lstm":
        np.testing.assert_array_equal(layer.forward(x, list(state))[0], expected)
    given = [part.copy() for part in parts(state)]
    layer.forward(x, state, training=True)
    for part, before in zip(parts(state), given, strict=True):
        np.testing.assert_array_equal(part, before)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int64])
def test_lengths_of_any_integer_type(dtype):
    layer, x = make("gru", 3, 7), normal(0, 3, 6, 3)
    lengths = [2, 6, 4]
    np.testing.assert_array_equal(
        layer.forward(x, lengths=np.array(lengths, dtype))[0], layer.forward(x, lengths=lengths)[0]
    )


# --- parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "gates", "biases"), [("rnn_tanh", 1, ["bias"]), ("lstm", 4, ["bias"]), ("gru", 3, ["bias_ih", "bias_hh"])]
)
def test_names_and_shapes_of_the_parameters(cell, gates, biases):
    layer = make(cell, 5, 7, 2, bidirectional=True)
    expected = {}
    for k, n_inputs in enumerate((5, 14)):
        for end in (f"_l{k}", f"_l{k}_reverse"):
            expected |= {f"weight_ih{end}": (gates * 7, n_inputs), f"weight_hh{end}": (gates * 7, 7)}
            expected |= {bias + end: (gates * 7,) for bias in biases}
    assert {name: array.shape for name, array in layer.parameters.items()} == expected
    assert {name: array.shape for name, array in layer.grads.items()} == expected
    assert {array.dtype for array in layer.parameters.values()} == {np.dtype(np.float32)}


@each_dtype
@each_cell
def test_load_parameters_takes_what_parameters_gives(cell, dtype):
    layer, x = make(cell, 3, 7, 2, True, dtype=dtype), normal(0, 4, 6, 3, dtype=dtype)
    kind, extra = LAYERS[cell]
    other = kind(3, 7, 2, True, dtype=dtype, random_state=1, **extra)
    assert not np.array_equal(other.forward(x)[0], layer.forward(x)[0])
    given = dict(reversed(layer.parameters.items()))
    other.load_parameters(given)
    np.testing.assert_array_equal(other.forward(x)[0], layer.forward(x)[0])
    assert given.keys() == layer.parameters.keys()
    for name, array in given.items():
        assert not np.shares_memory(array, other.parameters[name])


@each_cell
def test_parameters_are_views_that_count_after_load_parameters(cell):
    layer, x = make(cell, 3, 7), normal(0, 4, 6, 3)
    before = layer.forward(x)[0].copy()
    for array in layer.parameters.values():
        array *= 0.5
    layer.load_parameters(layer.parameters)
    halved = layer.forward(x)[0]
    assert not np.allclose(halved, before)
    other = make(cell, 3, 7)
    other.load_parameters({name: array * np.float32(0.5) for name, array in other.parameters.items()})
    np.testing.assert_array_equal(halved, other.forward(x)[0])


@each_cell
def test_random_state_decides_the_parameters(cell):
    kind, extra = LAYERS[cell]

    def flat(seed):
        return np.concatenate([w.ravel() for w in kind(3, 7, random_state=seed, **extra).parameters.values()])

    np.testing.assert_array_equal(flat(3), flat(3))
    np.testing.assert_array_equal(flat(3), flat(np.random.RandomState(3)))
    assert not np.array_equal(flat(3), flat(4))


def test_initial_weights_are_orthogonal_with_forget_bias_1():
    for kind, gates in ((RNN, 1), (LSTM, 4), (GRU, 3)):
        layer = kind(5, 9, 2, dtype="float64", random_state=0)
        for name, array in layer.parameters.items():
            if "_hh" in name and name.startswith("weight"):
                for gate in np.split(array, gates):
                    np.testing.assert_allclose(gate @ gate.T, np.eye(9), atol=1e-12)
            elif name.startswith("weight"):
                limit = np.sqrt(6 / (9 + array.shape[1]))
                assert 0.8 * limit < np.abs(array).max() <= limit
            else:
                expected = np.zeros(len(array))
                if kind is LSTM:
                    expected[9:18] = 1.0
                np.testing.assert_array_equal(array, expected)


def changed(parameters, change):
    given = dict(parameters)
    change(given)
    return given


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda given: given.pop("weight_hh_l0"), r"missing \['weight_hh_l0'\]"),
        (lambda given: given.update(weight_l9=np.zeros(3)), r"unknown \['weight_l9'\]"),
        (lambda given: given.pop("bias_l1"), r"missing \['bias_l1'\]"),
        (lambda given: given.update(weight_ih_l1=np.zeros((28, 8))), r"weight_ih_l1.*\(28, 7\), found \(28, 8\)"),
        (lambda given: given.update(bias_l0=np.zeros((28, 1))), r"bias_l0.*\(28,\), found \(28, 1\)"),
        (lambda given: given.update(bias_ih_l0=np.zeros(28)), r"unknown \['bias_ih_l0'\]"),
    ],
    ids=["missing", "unknown", "missing bias", "shape", "shape of a bias", "a second bias"],
)
def test_wrong_parameters_are_refused_and_nothing_changes(change, message):
    layer, x = make("lstm", 3, 7, 2), normal(0, 4, 6, 3)
    before = {name: array.copy() for name, array in layer.parameters.items()}
    y = layer.forward(x)[0].copy()
    given = changed({name: np.zeros_like(array) for name, array in before.items()}, change)
    with pytest.raises(ValueError, match=message):
        layer.load_parameters(given)
    assert_same_bits(layer.parameters, before)
    np.testing.assert_array_equal(layer.forward(x)[0], y)


def test_values_that_are_no_numbers_are_refused_and_nothing_changes():
    layer = make("lstm", 3, 7)
    before = {name: array.copy() for name, array in layer.parameters.items()}
    given = {name: np.zeros_like(array) for name, array in before.items()}
    given["bias_l0"] = np.full(28, "one")
    with pytest.raises((ValueError, TypeError)):
        layer.load_parameters(given)
    assert_same_bits(layer.parameters, before)


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [RNN, LSTM, GRU])
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"input_size": 0}, ValueError, "input_size must be at least 1, found 0"),
        ({"hidden_size": 0}, ValueError, "hidden_size must be at least 1, found 0"),
        ({"hidden_size": -4}, ValueError, "hidden_size must be at least 1, found -4"),
        ({"num_layers": 0}, ValueError, "num_layers must be at least 1, found 0"),
        ({"hidden_size": 8.0}, TypeError, r"hidden_size must be an int of at least 1, found 8\.0"),
        ({"input_size": "3"}, TypeError, "input_size must be an int of at least 1, found '3'"),
        ({"num_layers": True}, TypeError, "num_layers must be an int of at least 1, found True"),
        ({"n_threads": 0}, ValueError, "n_threads must be at least 1, found 0"),
        ({"n_threads": 1.5}, TypeError, r"n_threads must be an int of at least 1, found 1\.5"),
        ({"dtype": "float16"}, ValueError, "dtype must be one of 'float32', 'float64', found 'float16'"),
        ({"dtype": "int64"}, ValueError, "dtype must be one of 'float32', 'float64', found 'int64'"),
        ({"device": "tpu"}, ValueError, "device must be one of 'cpu'.*, found 'tpu'"),
    ],
    ids=str,
)
def test_bad_options(kind, options, error, message):
    with pytest.raises(error, match=message):
        kind(**{"input_size": 3, "hidden_size": 7, **options})


def test_bad_nonlinearity():
    with pytest.raises(ValueError, match="nonlinearity must be one of 'tanh', 'relu', found 'sigmoid'"):
        RNN(3, 7, nonlinearity="sigmoid")


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 2), (4, 6, 3, 1), (0, 6, 3), (4, 0, 3), (3,)], ids=str)
@each_cell
def test_bad_shape_of_x(cell, shape):
    with pytest.raises(ValueError, match=r"x must have shape \(B, T, 3\) without empty axes, found"):
        make(cell, 3, 7).forward(np.zeros(shape))


@pytest.mark.parametrize("x", [np.zeros((2, 4, 3), complex), np.full((2, 4, 3), "one")], ids=["complex", "strings"])
def test_x_that_holds_no_real_numbers(x):
    with pytest.raises((ValueError, TypeError)):
        make("gru", 3, 7).forward(x)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([6, 0, 6, 6], "lie between 1 and T = 6, found 0 in row 1"),
        ([6, 6, 6, 7], "lie between 1 and T = 6, found 7 in row 3"),
        ([6, -1, 6, 6], "lie between 1 and T = 6, found -1 in row 1"),
        ([6, 6, 6], r"be 4 whole numbers, found shape \(3,\)"),
        ([[6, 6, 6, 6]], r"be 4 whole numbers, found shape \(1, 4\)"),
        ([6.0, 6.0, 6.0, 6.0], "be 4 whole numbers, found shape .* of float64"),
        (6, r"be 4 whole numbers, found shape \(\)"),
    ],
    ids=str,
)
@each_cell
def test_bad_lengths(cell, lengths, message):
    with pytest.raises(ValueError, match=f"lengths must {message}"):
        make(cell, 3, 7).forward(np.zeros((4, 6, 3)), lengths=lengths)


@each_cell
def test_bad_state(cell):
    layer, x = make(cell, 3, 7, 2), np.zeros((4, 6, 3))
    right, wrong = (
        np.zeros((2, 4, 7)),
        [np.zeros((4, 7)), np.zeros((1, 4, 7)), np.zeros((2, 3, 7)), np.zeros((2, 4, 8))],
    )
    for bad in wrong:
        states = [(bad, right), (right, bad)] if cell == "lstm" else [bad]
        for state in states:
            with pytest.raises(ValueError, match=r"state [hc] must have shape \(2, 4, 7\), found"):
                layer.forward(x, state)
    with pytest.raises(ValueError, match="state h"):
        layer.step(np.zeros((5, 3)), (right, right) if cell == "lstm" else right)


def test_a_state_of_the_lstm_has_two_parts():
    layer, x, h = make("lstm", 3, 7), np.zeros((4, 6, 3)), np.zeros((1, 4, 7))
    for state in ((h,), (h, h, h)):
        with pytest.raises(ValueError, match=r"state must be a tuple \(h, c\), found"):
            layer.forward(x, state)
    layer.forward(x, training=True)
    with pytest.raises(ValueError, match=r"dstate must be a tuple \(h, c\), found 1 elements"):
        layer.backward(np.zeros((4, 6, 7)), (h,))


@each_cell
def test_bad_gradients_leave_the_trace_for_a_right_call(cell):
    layer, x = make(cell, 3, 7), normal(0, 4, 6, 3)
    layer.forward(x, training=True)
    for shape in ((4, 6, 8), (6, 4, 7), (24, 7)):
        with pytest.raises(ValueError, match=r"dy must have shape \(4, 6, 7\), found"):
            layer.backward(np.zeros(shape))
    bad = np.zeros((1, 3, 7))
    with pytest.raises(ValueError, match=r"dstate h must have shape \(1, 4, 7\), found \(1, 3, 7\)"):
        layer.backward(None, (bad, bad) if cell == "lstm" else bad)
    assert all(not gradient.any() for gradient in layer.grads.values())
    layer.backward(normal(1, 4, 6, 7))


@each_cell
def test_backward_needs_a_forward_of_its_own(cell):
    layer, dy = make(cell, 3, 7), np.zeros((4, 6, 7))
    message = r"backward\(\) needs forward\(training=True\)"
    with pytest.raises(RuntimeError, match=message):
        layer.backward(dy)
    layer.forward(np.zeros((4, 6, 3)))
    with pytest.raises(RuntimeError, match=message):
        layer.backward(dy)
    layer.forward(np.zeros((4, 6, 3)), training=True)
    layer.backward(dy)
    with pytest.raises(RuntimeError, match=message):
        layer.backward(dy)


@each_cell
def test_step_needs_one_direction_and_two_axes(cell):
    with pytest.raises(ValueError, match=r"step\(\) needs a layer of one direction"):
        make(cell, 3, 7, bidirectional=True).step(np.zeros((4, 3)))
    layer = make(cell, 3, 7)
    for shape in ((3,), (4, 1, 3), (4, 5), (0, 3)):
        with pytest.raises(ValueError, match=r"x_t must have shape \(B, 3\).*, found"):
            layer.step(np.zeros(shape))


# --- pickle ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True], ids=["fresh", "between forward and backward"])
@each_cell
def test_pickle(cell, training):
    layer, x, dy = make(cell, 3, 7, 2, bidirectional=True), normal(0, 4, 6, 3), normal(1, 4, 6, 14)
    if training:
        layer.forward(x, training=True)
    copy = pickle.loads(pickle.dumps(layer))
    if training:
        np.testing.assert_array_equal(copy.backward(dy)[0], layer.backward(dy)[0])
        assert_same_bits(copy.grads, layer.grads)
    assert_same_bits(run(copy, x, dy=dy), run(layer, x, dy=dy))
    for name in layer.parameters:
        copy.parameters[name][:] = 0.0  # still views of what the copy computes with
    assert not copy.forward(x)[0].any()
    assert layer.forward(x)[0].any()


@each_cell
def test_parameters_written_in_place_count(cell):
    layer, x = make(cell, 3, 5, 2, random_state=0), normal(0, 4, 6, 3)
    held = layer.parameters["weight_hh_l1"]
    for _ in range(2):  # again, from an array that was handed out before the call in between
        held *= 0.5
        other = make(cell, 3, 5, 2, random_state=1)
        other.load_parameters({name: array.copy() for name, array in layer.parameters.items()})
        np.testing.assert_array_equal(layer.forward(x)[0], other.forward(x)[0])
    layer.parameters["weight_ih_l0"][:] = 0.0  # nobody holds it when forward is called
    held[:] = 0.0
    other.load_parameters(layer.parameters)
    np.testing.assert_array_equal(layer.step(x[:, 0])[0], other.step(x[:, 0])[0])


@each_cell
def test_a_loop_of_gradient_descent(cell):
    """Written as with PyTorch: parameters changed in place, gradients set to zero."""
    layer, x = make(cell, 2, 8, 1), normal(0, 16, 5, 2)
    losses = []
    for _ in range(40):
        error = layer.forward(x, training=True)[0]  # the target is 0
        losses.append(float((error**2).mean()))
        layer.backward(2 * error / error.size)
        for name, parameter in layer.parameters.items():
            parameter -= 3.0 * layer.grads[name]
            layer.grads[name][:] = 0.0
    assert losses[-1] < 0.3 * losses[0]
    assert (np.diff(losses) < 0).all()
