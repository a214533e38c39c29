"""The layers' own contract: forward, steps and gradients."""

import weakref

import numpy as np
import pytest

from fastrecur.kernels import threads
from fastrecur.kernels.cpu import products
from fastrecur.network import layer as module
from fastrecur.network import workspace
from tests.network.data import assert_same_bits, each_cell, each_dtype, make, normal, parts, random_state, run


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


@pytest.mark.parametrize("bidirectional", [False, True], ids=["one direction", "bidirectional"])
@pytest.mark.parametrize("n_rows", [1, 2, 19])
@each_cell
def test_no_weight_is_multiplied_with_states_of_zero(cell, n_rows, bidirectional):
    layer, x = make(cell, 4, 40, 2, bidirectional), normal(0, n_rows, 1, 4)
    y, _ = layer.forward(x)
    for name, array in layer.parameters.items():
        if name.startswith("weight_hh"):
            array[...] = np.nan
    np.testing.assert_array_equal(layer.forward(x)[0], y)
    zeros = np.zeros((layer.n_directions * 2, n_rows, 40), np.float32)
    np.testing.assert_array_equal(layer.forward(x, (zeros, zeros) if cell == "lstm" else zeros)[0], y)
    state = random_state(layer, n_rows)
    assert np.isnan(layer.forward(x, state)[0]).all()


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


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("shortest", [1, 300], ids=["ragged", "equal"])
@each_cell
def test_a_batch_too_large_for_the_caches_has_the_bits_of_its_rows(cell, shortest, bidirectional):
    """Gates and states are asked for before they are needed; those of a few rows are not."""
    layer = make(cell, 2, 40, dtype="float32", bidirectional=bidirectional)
    width = 40 * layer.n_directions
    x, dy = normal(0, 100, 300, 2, dtype="float32"), normal(1, 100, 300, width, dtype="float32")
    lengths = np.random.default_rng(0).integers(shortest, 301, 100)
    y, _ = layer.forward(x, lengths=lengths, training=True)
    assert lengths.sum() * width * x.itemsize > products.FAR
    dx, _ = layer.backward(dy)
    for rows in ([0, 1, 2, 3, 4], [99], list(range(30, 52))):
        some, _ = layer.forward(x[rows], lengths=lengths[rows], training=True)
        np.testing.assert_array_equal(some, y[rows])
        np.testing.assert_array_equal(layer.backward(dy[rows])[0], dx[rows])


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


@each_cell
def test_what_a_layer_hands_out_it_lets_go_of(cell):
    layer, x = make(cell, 16, 16, 1), normal(0, 4, 5, 16)
    y, _ = layer.forward(x, training=True)
    dx, _ = layer.backward(np.ones_like(y))
    handed_out = [weakref.ref(array if array.base is None else array.base) for array in (y, dx)]
    del y, dx
    assert [reference() for reference in handed_out] == [None, None]


def test_packings_of_long_batches_are_not_kept():
    """They are as long as the batch."""
    before = module._kept_packing.cache_info().currsize
    layer = make("lstm", 1, 2, 1)
    layer.forward(np.zeros((1, workspace.KEPT_STEPS + 1, 1)))
    assert module._kept_packing.cache_info().currsize == before
    layer.forward(np.zeros((3, 17, 1)))
    before = module._kept_packing.cache_info().hits
    layer.forward(np.zeros((3, 17, 1)))
    assert module._kept_packing.cache_info().hits == before + 1
