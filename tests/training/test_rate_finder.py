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
from lossarium.training.configuration import Recipe
from lossarium.training.range_test import RangeTest
from lossarium.training.rate_finder import Found, find_rates, shared_rate
from lossarium.training.span import Span
from lossarium.training.step import loss_terms
from lossarium.training.trial_batches import batches_of
from tests.facesets.examples import blobs

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
        # The weights did move on the way.
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
    assert find("mse + mae", recipe=recipe)[0].test.losses[0] == pytest.approx(expected, rel=1e-6)


def test_the_gradient_of_a_step_is_the_mean_over_its_batches():
    # With plain SGD one step of two batches moves the weights as their mean gradient does.
    recipe = Recipe(size=32, batch_size=2, accumulation=2, optimizer="sgd")
    batches = batches_of(0, recipe, FACESETS, torch.device("cpu"))
    by_hand = model()
    total = sum(
        loss_terms(by_hand, losses.get("mse"), batches(step), identities=2, precision="float32").sum() / 2
        for step in (1, 2)
    )
    total.backward()
    with torch.no_grad():
        for weight in by_hand.parameters():
            weight -= SPAN.lowest * weight.grad
        expected = (
            sum(
                loss_terms(by_hand, losses.get("mse"), batches(step), identities=2, precision="float32").sum()
                for step in (3, 4)
            )
            / 2
        )
    assert find("mse", recipe=recipe)[0].test.losses[1] == pytest.approx(expected.item(), rel=1e-6)


def test_gradients_are_clipped_as_in_training():
    wild = Recipe(size=32, batch_size=2, optimizer="sgd")
    tame = Recipe(size=32, batch_size=2, optimizer="sgd", clipping="norm(0.0000001)")
    moved, still = (find("mse", recipe=recipe)[0].test.losses for recipe in (wild, tame))
    frozen = find("mse", recipe=wild, span=Span(1e-12, 1e-11, 10))[0].test.losses
    assert still == pytest.approx(frozen, rel=1e-5)
    assert moved != pytest.approx(frozen, rel=1e-3)


def test_regions_count_as_in_training():
    everywhere = find("mse")[0].test.losses[0]
    face = find("mse", recipe=Recipe(size=32, batch_size=2, mask="stored", mask_loss=True))[0].test.losses[0]
    assert face != pytest.approx(everywhere, rel=0.01)
    with pytest.raises(LossariumError, match="needs a mask"):
        find("mse", recipe=Recipe(size=32, batch_size=2, mask_loss=True))


def test_the_watcher_is_told_every_step():
    told = []
    found = find("mse", "mae", watch=lambda number, progress: told.append((number, progress)))
    assert [(number, progress.step) for number, progress in told] == [
        (number, step) for number in (1, 2) for step in range(1, 11)
    ]
    assert [progress.learning_rate for _, progress in told[:10]] == pytest.approx(
        found[0].test.learning_rates
    )
    assert [progress.loss for _, progress in told[10:]] == pytest.approx(found[1].test.losses)


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
    assert (found.suggested, found.lowest_at, found.exploded_at) == (pytest.approx(1e-4), 1e-3, 1e-2)
    assert lowest(1e-3).exploded_at is None
    assert lowest(None).suggested is None


def test_the_rate_for_all_is_the_geometric_mean():
    shared = shared_rate([lowest(1e-3), lowest(1e-1, exploded_at=0.5), lowest(None)])
    assert shared.rate == pytest.approx(1e-3)
    assert shared.spread == pytest.approx(100)
    assert shared.lowered_by is None


def test_the_rate_for_all_keeps_clear_of_explosions():
    found = [lowest(1e-3, exploded_at=1.5e-3, loss="mae"), lowest(1.0), lowest(None, exploded_at=5)]
    shared = shared_rate(found)
    assert shared.rate == pytest.approx(7.5e-4)
    assert shared.lowered_by == "mae"


def test_without_suggestions_there_is_no_rate():
    assert shared_rate([lowest(None), lowest(None, exploded_at=1e-2)]) is None


def test_examples_in_docstrings():
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
