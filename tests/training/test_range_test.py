"""The range test: its results, and that it restores everything."""

import copy
import doctest
import math
import random

import numpy as np
import pytest
import torch
from torch import nn

from lossarium.errors import LossariumError
from lossarium.training import range_test as module
from lossarium.training.options.optimizers import Optimizer, make
from lossarium.training.range_test import range_test
from tests.bounds import rounding_error


class Noisy(nn.Module):
    """Has all that a test could leave traces in: layouts, buffers, dropout, random numbers of each kind."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)
        self.normalisation = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.2)
        self.last = nn.Conv2d(4, 3, 1)
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, x):
        self.calls = self.calls + 1
        x = x + 1e-3 * (random.random() + np.random.rand())  # noqa: NPY002
        return self.last(self.dropout(self.normalisation(self.convolution(x)).relu()))


def noisy():
    torch.manual_seed(0)
    return Noisy().to(memory_format=torch.channels_last)


def batch(step):
    return torch.sin(torch.arange(2 * 3 * 8 * 6.0) + step).reshape(2, 3, 8, 6)


def squared(model, pictures):
    return (model(pictures) - pictures).square().mean()


def randomness():
    return torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002


def same_randomness(before, after):
    return (
        torch.equal(before[0], after[0])
        and before[1][0] == after[1][0]
        and np.array_equal(before[1][1], after[1][1])
        and before[1][2:] == after[1][2:]
        and before[2] == after[2]
    )


@pytest.mark.parametrize("failure", [None, RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("name", ["adam", "sgd", "rmsprop"])
def test_leaves_no_trace(name, failure):
    model = noisy()
    optimizer = make(Optimizer("adam"), model.parameters(), 1e-3)
    squared(model, batch(0)).backward()
    optimizer.step()
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    gradients = [(p.grad, p.grad.clone()) for p in model.parameters()]
    identities = [(id(p), p.data_ptr(), p.stride()) for p in model.parameters()]
    buffers = [(id(b), b.data_ptr(), b.clone()) for b in model.buffers()]
    state, random_state = copy.deepcopy(optimizer.state_dict()), randomness()
    seen = []

    def loss(model, pictures):
        seen.append(1)
        if failure is not None and len(seen) == 7:
            raise failure
        return squared(model, pictures)

    if failure is None:
        range_test(model, Optimizer(name), loss, batch, steps=12)
        assert len(seen) > 3
    else:
        with pytest.raises(failure):
            range_test(model, Optimizer(name), loss, batch, steps=12)

    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert [(id(p), p.data_ptr(), p.stride()) for p in model.parameters()] == identities
    for parameter, (gradient, values) in zip(model.parameters(), gradients, strict=True):
        assert parameter.grad is gradient
        assert torch.equal(gradient, values)
    for buffer, (identity, place, values) in zip(model.buffers(), buffers, strict=True):
        assert (id(buffer), buffer.data_ptr()) == (identity, place)
        assert torch.equal(buffer, values)
    after = optimizer.state_dict()
    assert after["param_groups"] == state["param_groups"]
    for index, values in state["state"].items():
        assert all(torch.equal(value, after["state"][index][key]) for key, value in values.items())
    assert same_randomness(random_state, randomness())


def test_the_next_steps_are_the_same_with_and_without_it():
    def final(with_test):
        model = noisy()
        optimizer = make(Optimizer("adam"), model.parameters(), 1e-2)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        for step in range(6):
            if with_test and step == 3:
                range_test(model, Optimizer("adam"), squared, batch, steps=10)
            optimizer.zero_grad()
            squared(model, batch(step)).backward()
            optimizer.step()
        return model.state_dict()

    plain, tested = final(False), final(True)
    assert all(torch.equal(value, tested[key]) for key, value in plain.items())


def bowl(curvature):
    """(w - 1)^2 * curvature / 2: gradient descent on it explodes from a rate of 2 / curvature on."""
    weight = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(weight.weight)
    # Each batch has a slightly different optimum, so that the weight never stops moving.
    return weight, lambda model, x: (model(torch.ones_like(x)) - x).square().mean() * curvature / 2


@pytest.mark.parametrize("curvature", [0.1, 1.0, 10.0])
def test_suggests_a_rate_that_works_and_scales_with_the_curvature(curvature):
    model, loss = bowl(curvature)
    found = range_test(
        model,
        Optimizer("sgd"),
        loss,
        lambda step: 1 + 0.1 * torch.sin(torch.full((1, 1), 2.0 * step)),
        lowest=1e-4 / curvature,
        highest=100 / curvature,
    )
    assert found.exploded
    assert 2 / curvature < found.learning_rates[-1] < 50 / curvature
    assert 0.005 / curvature < found.suggested < 1 / curvature
    assert len(found.learning_rates) == len(found.losses) == len(found.smoothed) < 100
    assert found.learning_rates[0] == 1e-4 / curvature
    ratios = np.diff(np.log(found.learning_rates))
    # Rates are powers, of which logarithms are taken again: both below 12, rounded, and subtracted.
    allowed = 2 * 12 * rounding_error(8, torch.float64)
    assert ratios == pytest.approx(np.full(len(ratios), math.log(1e6) / 99), rel=0, abs=allowed)


def test_the_suggestion_is_where_the_loss_falls_steepest_even_in_noise():
    # A loss that is a function of the rate: it falls from 2 to 1 around 1e-3.
    model = nn.Linear(1, 1)
    errors = np.random.default_rng(0).normal(0, 0.03, 101)

    def loss(model, step):
        logarithm = -6 + 5 * (step - 1) / 99
        return model.weight.sum() * 0 + 1.5 - 0.5 * math.tanh((logarithm + 3) / 0.5) + errors[step]

    found = range_test(model, Optimizer("adam"), loss, lambda step: step, lowest=1e-6, highest=0.1)
    assert not found.exploded
    assert len(found.losses) == 100
    assert 10**-3.3 < found.suggested < 10**-2.7
    assert np.abs(np.diff(found.smoothed)).max() < np.abs(np.diff(found.losses)).max()


def test_a_loss_that_never_falls_suggests_nothing():
    model = nn.Linear(1, 1)
    found = range_test(
        model,
        Optimizer(),
        lambda model, step: model.weight.sum() * 0 + 1 + 0.01 * step,
        lambda step: step,
        steps=20,
    )
    assert found.suggested is None


def test_a_loss_that_becomes_nan_ends_it_and_one_that_begins_so_is_an_error():
    model = nn.Linear(1, 1)

    def loss_until(last):
        return lambda model, step: model.weight.sum() * (1.0 if step <= last else math.nan)

    found = range_test(model, Optimizer(), loss_until(30), lambda step: step, lowest=1e-9, highest=1e-6)
    assert found.exploded
    assert len(found.losses) == 30
    with pytest.raises(LossariumError, match="before any training"):
        range_test(model, Optimizer(), loss_until(0), lambda step: step)


@pytest.mark.parametrize(
    "limits", [{"lowest": 0.0}, {"lowest": 2.0}, {"highest": math.inf}, {"steps": 9}, {"lowest": math.nan}]
)
def test_refuses_an_invalid_range(limits):
    with pytest.raises(LossariumError, match="a range test goes from"):
        range_test(nn.Linear(1, 1), Optimizer(), squared, batch, **limits)


def test_examples_in_docstrings():
    assert doctest.testmod(module).attempted > 0
    assert doctest.testmod(module).failed == 0


def course(losses):
    """A range test of losses that depend on the step alone."""
    model = nn.Linear(1, 1)
    return range_test(
        model,
        Optimizer(),
        lambda model, step: model.weight.sum() * 0 + losses[step - 1],
        lambda step: step,
        steps=len(losses),
    )


def test_an_explosion_is_a_mean_of_three_losses_above_four_times_the_lowest():
    # With two losses of 1 a spike of 10 makes a mean of 4.
    assert not course([1.0] * 10 + [9.9] + [1.0] * 10).exploded
    found = course([1.0] * 10 + [10.1] + [1.0] * 10)
    assert found.exploded
    assert len(found.losses) == 11


def test_a_rise_by_less_than_three_tenths_of_the_first_loss_is_no_explosion():
    fallen = [1.0] + [0.001] * 9
    assert not course(fallen + [0.29] * 10).exploded
    assert course(fallen + [0.31] * 10).exploded


def test_the_loss_is_smoothed_over_the_steps_nearby():
    # A Gaussian weight of 1.5 steps, since there are few: the neighbours of a spike get 0.8, 0.4 and 0.14 of
    # it, and a line through symmetric weights is their mean.
    spike = [1.0] * 12 + [2.0] + [1.0] * 12
    steps = len(spike)
    assert 1.5 / steps > 0.03
    width = 1.5 * (steps - 1) / steps
    weights = np.exp(-0.5 * (np.arange(-12, 13) / width) ** 2)
    # Sums of 25 numbers, each an exponential, in float64.
    allowed = rounding_error(2 * 25 + 32, torch.float64)
    assert course(spike).smoothed[12] == pytest.approx(1 + 1 / weights.sum(), rel=0, abs=2 * allowed)
