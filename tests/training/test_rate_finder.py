"""Range tests of several losses: the same weights and batches for all, and everything restored."""

import doctest
import random

import numpy as np
import pytest
import torch

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.models.registry import initial_model
from lossarium.training import rate_finder as module
from lossarium.training.configuration import Recipe, RegionWeights
from lossarium.training.range_test import RangeTest
from lossarium.training.rate_finder import Found, find_rates, shared_rate
from lossarium.training.span import Span
from lossarium.training.step import loss_terms
from lossarium.training.trial_batches import batches_of
from tests.bounds import rounding_error
from tests.facesets.examples import blobs

# The same operations on the same numbers give the same bits; only terms and parts are added up by hand.
SUMMED = rounding_error(4, torch.float32)
# Rates are powers and logarithms in float64. Of a logarithm's rounding the exponential makes a relative error
# as many times as large as the logarithm, here below 30.
POWER_ERROR = rounding_error(4 * 30, torch.float64)

RECIPE = Recipe(size=32, batch_size=2)
SPAN = Span(1e-5, 1e-1, 10)
FACESETS = (blobs(), blobs("ben", seed=5))


def model(seed=0):
    return initial_model("compact", size=32, identities=2, seed=seed)


def find(*specs, recipe=RECIPE, span=SPAN, **named):
    return find_rates(model(), specs, 0, recipe, FACESETS, span, **named)


def test_every_loss_begins_with_the_same_weights_and_sees_the_same_batches():
    alone, together = find("ssim"), find("mse", "ssim")
    assert alone[0] == together[1]
    assert [one.loss for one in together] == ["mse", "ssim"]
    assert len(together[0].test.losses) == 10


@pytest.mark.parametrize("failure", [None, KeyboardInterrupt])
def test_leaves_no_trace(failure):
    tested = model()
    before = {name: weight.clone() for name, weight in tested.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002

    def watch(number, progress):
        if failure is not None and (number, progress.step) == (2, 5):
            raise failure

    def run():
        return find_rates(tested, ("mse", "mae"), 0, RECIPE, FACESETS, SPAN, watch=watch)

    if failure is None:
        # The weights did change during the test.
        assert run()[0].test.losses[0] != run()[0].test.losses[-1]
    else:
        with pytest.raises(failure):
            run()
    assert all(torch.equal(weight, before[name]) for name, weight in tested.state_dict().items())
    assert all(weight.grad is None for weight in tested.parameters())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_first_loss_is_that_of_a_trial(precision, accumulation):
    recipe = Recipe(size=32, batch_size=2, precision=precision, accumulation=accumulation)
    batches = batches_of(0, recipe, FACESETS, torch.device("cpu"))
    parts = [
        loss_terms(model(), losses.get("mse + mae"), batches(step + 1), identities=2, precision=precision)
        for step in range(accumulation)
    ]
    expected = torch.stack(parts).sum(dim=1).mean().item()
    assert find("mse + mae", recipe=recipe)[0].test.losses[0] == pytest.approx(expected, rel=SUMMED)


def test_the_gradient_of_a_step_is_the_mean_over_its_batches():
    # With plain SGD one step of two batches moves the weights as their mean gradient does; at this rate far
    # enough to see it.
    recipe, span = Recipe(size=32, batch_size=2, accumulation=2, optimizer="sgd"), Span(0.1, 1.0, 10)
    batches = batches_of(0, recipe, FACESETS, torch.device("cpu"))
    by_hand = model()

    def mean_loss(*steps):
        return sum(
            loss_terms(by_hand, losses.get("mse"), batches(step), identities=2, precision="float32").sum() / 2
            for step in steps
        )

    unmoved = mean_loss(3, 4).item()
    mean_loss(1, 2).backward()
    # Two gradients have the same sum in either order, so the weights are the same to the last bit.
    torch.optim.SGD(by_hand.parameters(), span.lowest).step()
    expected = mean_loss(3, 4).item()
    assert abs(expected - unmoved) > 1000 * SUMMED * expected
    assert find("mse", recipe=recipe, span=span)[0].test.losses[1] == pytest.approx(expected, rel=SUMMED)


def test_gradients_are_clipped_as_in_training():
    wild = Recipe(size=32, batch_size=2, optimizer="sgd")
    # A step of 1e-31 at most is lost in the rounding of whatever it is added to.
    tame = Recipe(size=32, batch_size=2, optimizer="sgd", clipping=f"norm({1e-30:.30f})")
    moved, still = (find("mse", recipe=recipe)[0].test.losses for recipe in (wild, tame))
    batches = batches_of(0, wild, FACESETS, torch.device("cpu"))
    frozen = [
        loss_terms(model(), losses.get("mse"), batches(step), identities=2, precision="float32").sum().item()
        for step in range(1, 11)
    ]
    assert still == pytest.approx(frozen, rel=SUMMED)
    assert abs(moved[-1] - frozen[-1]) > 1000 * SUMMED * frozen[-1]


def test_regions_count_as_in_training():
    recipe = Recipe(size=32, batch_size=2, mask="stored", mask_loss=True)
    batch = batches_of(0, recipe, FACESETS, torch.device("cpu"))(1)
    face, everywhere = (
        loss_terms(
            model(), losses.get("mse"), batch, identities=2, precision="float32", weights=RegionWeights(only)
        ).item()
        for only in (True, False)
    )
    # The background, which is black, is learned already or not at all: it has another mean.
    assert abs(face - everywhere) > 0.01 * everywhere
    assert find("mse", recipe=recipe)[0].test.losses[0] == pytest.approx(face, rel=SUMMED)
    with pytest.raises(LossariumError, match="needs a mask"):
        find("mse", recipe=Recipe(size=32, batch_size=2, mask_loss=True))


def test_the_callback_is_called_after_every_step():
    told = []
    found = find("mse", "mae", watch=lambda number, progress: told.append((number, progress)))
    assert [(number, progress.step) for number, progress in told] == [
        (number, step) for number in (1, 2) for step in range(1, 11)
    ]
    assert [progress.learning_rate for _, progress in told[:10]] == pytest.approx(
        found[0].test.learning_rates, rel=POWER_ERROR, abs=0
    )
    assert [progress.loss for _, progress in told[10:]] == list(found[1].test.losses)


def test_a_loss_that_does_not_fit_fails_before_the_first_test():
    told = []
    with pytest.raises(LossariumError, match="does not fit"):
        find("mse", "ssim(window=33)", watch=lambda *_: told.append(1))
    assert not told


def lowest(at, exploded_at=None, loss="mse"):
    """A loss that was lowest at a rate, or never fell."""
    rates, values = ([1e-7, at], [1.0, 0.5]) if at else ([1e-7], [1.0])
    if exploded_at is not None:
        rates, values = [*rates, exploded_at], [*values, 4.0]
    steepest = at and at / 3
    return Found(
        loss, RangeTest(tuple(rates), tuple(values), tuple(values), steepest, exploded_at is not None)
    )


def test_a_tenth_of_where_it_was_lowest_is_suggested():
    found = lowest(1e-3, exploded_at=1e-2)
    assert (found.suggested, found.lowest_at, found.exploded_at) == (0.1 * 1e-3, 1e-3, 1e-2)
    assert lowest(1e-3).exploded_at is None
    assert lowest(None).suggested is None


def test_the_rate_for_all_is_the_geometric_mean():
    shared = shared_rate([lowest(1e-3), lowest(1e-1, exploded_at=0.5), lowest(None)])
    assert shared.rate == pytest.approx(1e-3, rel=POWER_ERROR, abs=0)
    assert shared.spread == pytest.approx(100, rel=POWER_ERROR, abs=0)
    assert shared.lowered_by is None


def test_the_rate_for_all_keeps_clear_of_explosions():
    found = [lowest(1e-3, exploded_at=1.5e-3, loss="mae"), lowest(1.0), lowest(None, exploded_at=5)]
    shared = shared_rate(found)
    assert shared.rate == pytest.approx(7.5e-4, rel=POWER_ERROR, abs=0)
    assert shared.lowered_by == "mae"


def test_without_suggestions_there_is_no_rate():
    assert shared_rate([lowest(None), lowest(None, exploded_at=1e-2)]) is None


def test_examples_in_docstrings():
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
