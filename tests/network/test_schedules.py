"""Learning rates: what scikit-learn and PyTorch do, and that a fit can be taken up again."""

import math

import numpy as np
import pytest

from fastrecur.network.schedules import SCHEDULES, make_schedule

each_schedule = pytest.mark.parametrize("name", SCHEDULES)


def rates(schedule, n_epochs, n_batches):
    return [schedule.rate(epoch, batch / n_batches) for epoch in range(n_epochs) for batch in range(n_batches)]


def test_the_names_are_those_of_the_estimators():
    assert set(SCHEDULES) == {"constant", "adaptive", "cosine"}


@each_schedule
@pytest.mark.parametrize("init", [0.01, 1, np.float32(0.5)])
def test_the_first_rate_is_the_initial_one(name, init):
    rate = make_schedule(name, init, max_iter=7).rate(0)
    assert (rate, type(rate)) == (float(init), float)


def test_constant():
    schedule = make_schedule("constant", 0.01, max_iter=5)
    assert rates(schedule, 6, 3) == [0.01] * 18
    assert not schedule.slow_down()
    assert rates(schedule, 6, 3) == [0.01] * 18


def test_cosine_falls_with_every_minibatch_from_the_initial_rate_to_zero():
    schedule = make_schedule("cosine", 0.02, max_iter=5)
    found = rates(schedule, 5, 4)
    np.testing.assert_allclose(found, [0.01 * (1 + math.cos(math.pi * k / 20)) for k in range(20)], rtol=1e-14)
    assert (np.diff(found) < 0).all()
    assert schedule.rate(2, 0.5) == pytest.approx(0.01, rel=1e-14)
    assert schedule.rate(5) == schedule.rate(6, 0.5) == 0.0
    assert not schedule.slow_down()


def test_adaptive_divides_by_five():
    schedule = make_schedule("adaptive", 1e-3, max_iter=5)
    for power in range(1, 6):
        assert schedule.slow_down()
        assert rates(schedule, 2, 2) == pytest.approx([1e-3 / 5**power] * 4, rel=1e-14)
    assert schedule.rate(9) < 1e-6
    assert not schedule.slow_down()
    assert schedule.rate(9) == pytest.approx(1e-3 / 5**5, rel=1e-14)


@pytest.mark.parametrize("init", [0.5, 0.005, 1e-3, 5e-6, 1e-6, 1e-9])
def test_adaptive_ends_where_scikit_learn_ends(init):
    """MLPClassifier asks at the same point, after n_iter_no_change epochs without progress."""
    stochastic = pytest.importorskip("sklearn.neural_network._stochastic_optimizers")
    optimiser = stochastic.SGDOptimizer([np.zeros(1)], init, "adaptive")
    schedule = make_schedule("adaptive", init, max_iter=200)
    for _ in range(20):
        goes_on = not optimiser.trigger_stopping("", verbose=False)
        assert schedule.slow_down() == goes_on
        assert schedule.rate(0) == optimiser.learning_rate
    assert not goes_on


@each_schedule
def test_a_fresh_schedule_goes_on_from_a_state(name):
    schedule = make_schedule(name, 0.01, max_iter=6)
    schedule.slow_down()
    schedule.slow_down()
    state = schedule.state()
    assert all(type(value) is float for value in state.values())
    fresh = make_schedule(name, 0.01, max_iter=6)
    fresh.load_state(state)
    schedule_goes_on, fresh_goes_on = schedule.slow_down(), fresh.slow_down()
    assert schedule_goes_on == fresh_goes_on
    assert rates(fresh, 6, 3) == rates(schedule, 6, 3)


@pytest.mark.torch
def test_cosine_is_that_of_pytorch(torch):
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.02)
    peer = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=15)
    schedule = make_schedule("cosine", 0.02, max_iter=5)
    for rate in rates(schedule, 5, 3):
        assert rate == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-12)
        optimiser.step()
        peer.step()
