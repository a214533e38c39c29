"""The presets of initial values: their statistics, exact values, seeds."""

import itertools

import numpy as np
import pytest

from fastrecur.network.parameters import BIASES, GATES, PRESETS, Parameters, initialise, recurrent_shapes

each_cell = pytest.mark.parametrize("cell", GATES)
with_gates = pytest.mark.parametrize("cell", ["lstm", "gru"])

F, H, K, V, E = 5, 9, 4, 300, 16


def make(cell, table=False, dtype="float64"):
    """Two layers of two directions and a head, all NaN; they read F features, or the rows of a table."""
    shapes = recurrent_shapes(cell, E if table else F, H, 2, 2)
    shapes |= {"head_weight": (K, 2 * H), "head_bias": (K,)}
    parameters = Parameters(shapes | ({"embedding": (V, E)} if table else {}), dtype)
    parameters.flat[:] = np.nan
    return parameters


def initialised(cell, seed=0, preset="default", longest=50, **options):
    parameters = make(cell, **options)
    initialise(parameters, cell, np.random.RandomState(seed), preset, longest=longest)
    return parameters


def recurrent(parameters, part):
    """Arrays of the recurrent layers whose names hold ``part``, by name; there must be some."""
    found = {name: array for name, array in parameters.arrays.items() if part in name and "head" not in name}
    assert found
    return found


def gates(cell, array):
    return np.split(array, GATES[cell])


def assert_biases_are_zero_but(parameters, cell, forget):
    expected = np.zeros(GATES[cell] * H)
    if cell == "lstm":
        expected[H : 2 * H] = forget  # PyTorch's order: i, f, g, o
    for name, array in recurrent(parameters, "bias").items():
        np.testing.assert_array_equal(array, expected, err_msg=name)
    np.testing.assert_array_equal(parameters.arrays["head_bias"], np.zeros(K))


# --- default ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-14)])
@each_cell
def test_recurrent_weights_are_orthogonal_gate_by_gate(cell, dtype, tolerance):
    arrays = recurrent(initialised(cell, dtype=dtype), "weight_hh").values()
    matrices = [gate for array in arrays for gate in gates(cell, array)]
    assert len(matrices) == 4 * GATES[cell]
    for q in matrices:
        np.testing.assert_allclose(q @ q.T, np.eye(H), atol=tolerance)
    for one, other in itertools.combinations(matrices, 2):
        assert not np.allclose(one, other, atol=0.1)


def test_orthogonal_matrices_come_with_either_sign():
    """The Q of a QR decomposition alone has a diagonal of mostly one sign."""
    arrays = [array for seed in range(20) for array in recurrent(initialised("rnn", seed), "weight_hh").values()]
    assert abs(np.mean([np.sign(np.diagonal(array)) for array in arrays])) < 0.1


@each_cell
def test_other_weights_fill_glorots_bounds_gate_by_gate(cell):
    """Uniform between them: the largest number is near the bound, the variance near a third of its square."""
    parameters = initialised(cell)
    arrays = recurrent(parameters, "weight_ih").values()
    matrices = [gate for array in arrays for gate in gates(cell, array)] + [parameters.arrays["head_weight"]]
    for gate in matrices:
        bound = np.sqrt(6.0 / sum(gate.shape))
        assert 0.8 * bound < np.abs(gate).max() <= bound
        assert gate.min() < -0.5 * bound < 0.5 * bound < gate.max()
    scaled = np.concatenate([gate.ravel() / np.sqrt(6.0 / sum(gate.shape)) for gate in matrices])
    assert np.mean(scaled**2) == pytest.approx(1 / 3, rel=0.1)
    assert abs(scaled.mean()) < 0.1


@pytest.mark.parametrize("preset", ["default", "irnn"])
@pytest.mark.parametrize("forget_bias", [1.0, -2.5])
@each_cell
def test_biases_are_zero_but_for_the_forget_gates(cell, forget_bias, preset):
    parameters = make(cell)
    initialise(parameters, cell, np.random.RandomState(0), preset, forget_bias)
    assert_biases_are_zero_but(parameters, cell, forget_bias)


def test_the_forget_bias_is_1_by_default():
    assert_biases_are_zero_but(initialised("lstm"), "lstm", 1.0)


@pytest.mark.parametrize("preset", ["default", "irnn", "chrono"])
def test_rows_of_the_table_have_norms_of_about_1(preset):
    table = initialised("gru", preset=preset, table=True).arrays["embedding"]
    assert abs(table.mean()) < 0.01
    assert table.std() == pytest.approx(E**-0.5, rel=0.03)
    assert np.mean(table**4) / np.mean(table**2) ** 2 == pytest.approx(3.0, rel=0.1)  # normal
    assert np.linalg.norm(table, axis=1).mean() == pytest.approx(1.0, rel=0.05)


def test_seeds_give_the_values_that_they_gave():
    """Fits of a seed are repeated from version to version: these stand for the order of the draws."""
    parameters = initialised("lstm", seed=3)
    draws = np.random.RandomState(3)
    for name, array in parameters.arrays.items():
        for gate in gates("lstm", array) if name.startswith("weight") else [array]:
            if "bias" in name:
                continue
            if "_hh" in name:
                q, r = np.linalg.qr(draws.normal(size=(H, H)))
                np.testing.assert_array_equal(gate, q * np.sign(np.diag(r)))
            else:
                limit = np.sqrt(6.0 / sum(gate.shape))
                np.testing.assert_array_equal(gate, draws.uniform(-limit, limit, size=gate.shape))


# --- irnn ------------------------------------------------------------------------------------------------------------


@each_cell
def test_irnn_has_identities_and_small_input_weights(cell):
    parameters = initialised(cell, preset="irnn")
    for array in recurrent(parameters, "weight_hh").values():
        for gate in gates(cell, array):
            np.testing.assert_array_equal(gate, np.eye(H))
    inputs = np.concatenate([array.ravel() for array in recurrent(parameters, "weight_ih").values()])
    assert inputs.std() == pytest.approx(0.001, rel=0.1)
    assert abs(inputs.mean()) < 0.0002
    assert np.abs(inputs).max() > 0.0025  # normal, not uniform
    bound = np.sqrt(6.0 / (K + 2 * H))
    assert 0.8 * bound < np.abs(parameters.arrays["head_weight"]).max() <= bound


# --- chrono ----------------------------------------------------------------------------------------------------------


def memories(parameters, cell):
    """exp of the biases that keep the old state: log U(1, longest - 1) without the log."""
    part = "bias_l" if cell == "lstm" else "bias_ih"
    return np.exp(np.concatenate([gates(cell, array)[1] for array in recurrent(parameters, part).values()]))


@with_gates
def test_chrono_spreads_the_memories_up_to_the_longest_sequence(cell):
    longest = 401
    found = np.concatenate([memories(initialised(cell, seed, "chrono", longest), cell) for seed in range(20)])
    assert 1.0 <= found.min() < 10.0
    assert 391.0 < found.max() <= 400.0 * (1 + 1e-12)
    assert found.mean() == pytest.approx(200.5, rel=0.05)
    assert found.std() == pytest.approx(399 / np.sqrt(12), rel=0.05)
    assert len(np.unique(found)) == found.size


@with_gates
def test_chrono_leaves_all_else_as_default(cell):
    parameters, default = initialised(cell, preset="chrono"), initialised(cell)
    for name, array in parameters.arrays.items():
        expected = default.arrays[name]
        if "weight" in name or name.startswith(("bias_hh", "head")):
            np.testing.assert_array_equal(array, expected, err_msg=name)
            continue
        first, second, *rest = gates(cell, array)
        assert (second > 0).all()
        np.testing.assert_array_equal(first, -second if cell == "lstm" else np.zeros(H))
        np.testing.assert_array_equal(rest, np.zeros((len(rest), H)))


@pytest.mark.parametrize("longest", [1, 2])
@with_gates
def test_chrono_of_short_sequences_has_biases_of_zero(cell, longest):
    for name, array in recurrent(initialised(cell, preset="chrono", longest=longest), "bias").items():
        np.testing.assert_array_equal(array, np.zeros(GATES[cell] * H), err_msg=name)


def test_chrono_needs_gates_and_a_length():
    with pytest.raises(ValueError, match="gates for a longest sequence: cell='rnn', longest=50"):
        initialised("rnn", preset="chrono")
    with pytest.raises(ValueError, match="cell='gru', longest=None"):
        initialised("gru", preset="chrono", longest=None)


# --- pytorch ---------------------------------------------------------------------------------------------------------


def assert_uniform(values, bound, rel=0.1):
    assert 0.9 * bound < np.abs(values).max() <= bound
    assert abs(values.mean()) < 0.15 * bound
    assert values.std() == pytest.approx(bound / np.sqrt(3), rel=rel)


@each_cell
def test_pytorch_is_uniform_throughout(cell):
    parameters = initialised(cell, preset="pytorch", table=True)
    for array in recurrent(parameters, "weight").values():
        assert_uniform(array, H**-0.5)
    many = [initialised(cell, seed, "pytorch") for seed in range(20)]
    biases = np.concatenate([array for each in many for array in recurrent(each, "bias").values()])
    if BIASES[cell] == ("bias",):  # the sum of two: a triangle's deviation
        assert H**-0.5 < np.abs(biases).max() <= 2 * H**-0.5
        assert biases.std() == pytest.approx(np.sqrt(2 / 3) * H**-0.5, rel=0.1)
    else:
        assert_uniform(biases, H**-0.5)
    assert_uniform(np.concatenate([each.arrays["head_weight"].ravel() for each in many]), (2 * H) ** -0.5)
    assert_uniform(np.concatenate([each.arrays["head_bias"] for each in many]), (2 * H) ** -0.5, rel=0.2)
    table = parameters.arrays["embedding"]
    assert table.std() == pytest.approx(1.0, rel=0.05)
    assert np.abs(table).max() > 3.0


@pytest.mark.torch
@each_cell
def test_pytorch_has_the_bounds_of_pytorch(cell, torch):
    """The largest number of many draws, array by array."""
    torch.manual_seed(0)
    largest = {}
    for _ in range(30):
        module = getattr(torch.nn, cell.upper())(F, H, 2, bidirectional=True)
        head = torch.nn.Linear(2 * H, K)
        found = dict(module.named_parameters()) | {f"head_{name}": value for name, value in head.named_parameters()}
        if BIASES[cell] == ("bias",):
            for name in [name for name in found if name.startswith("bias_hh")]:
                found[name.replace("_hh", "")] = found.pop(name) + found.pop(name.replace("_hh", "_ih"))
        for name, value in found.items():
            largest[name] = max(largest.get(name, 0.0), value.abs().max().item())
    ours = [initialised(cell, seed, "pytorch") for seed in range(30)]
    for name in ours[0].arrays:
        assert largest.pop(name) == pytest.approx(max(np.abs(p.arrays[name]).max() for p in ours), rel=0.1), name
    assert not largest


# --- all -------------------------------------------------------------------------------------------------------------


def presets_of(cell):
    return [preset for preset in PRESETS if (cell, preset) != ("rnn", "chrono")]


@pytest.mark.parametrize("table", [False, True])
@each_cell
def test_every_number_is_set_and_the_random_state_decides(cell, table):
    for preset in presets_of(cell):
        first, again, other = (initialised(cell, seed, preset, table=table) for seed in (0, 0, 1))
        assert np.isfinite(first.flat).all()
        np.testing.assert_array_equal(first.flat, again.flat)
        single = initialised(cell, 0, preset, table=table, dtype="float32")
        np.testing.assert_array_equal(single.flat, first.flat.astype(np.float32))
        drawn = {name for name in first.arrays if "weight" in name and not (preset == "irnn" and "_hh" in name)}
        for name in drawn | ({"embedding"} if table else set()):
            assert (first.arrays[name] != other.arrays[name]).all(), (preset, name)


@each_cell
def test_layers_without_a_head(cell):
    """As `fastrecur.layers` has them."""
    for preset in presets_of(cell):
        parameters = Parameters(recurrent_shapes(cell, F, H, 1, 1), "float32")
        parameters.flat[:] = np.nan
        initialise(parameters, cell, np.random.RandomState(0), preset, longest=9)
        assert np.isfinite(parameters.flat).all()


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match=r"preset='glorot' is none of \('default', 'irnn', 'chrono', 'pytorch'\)"):
        initialised("lstm", preset="glorot")
