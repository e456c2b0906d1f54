"""Luck as it is measured: variances of trials, of each loss, and of blocks of frames."""

import numpy as np
import pytest
import torch

from lossarium.evidence.trials import Design, block_means, block_variance, numbered_blocks, spread
from tests.bounds import rounding_error

EXACT = rounding_error(1000, torch.float64)
"""Sums of at most some hundred numbers, three times over."""


def design(losses, seeds, missing=()):
    trained = np.ones((losses, seeds), bool)
    for loss, seed in missing:
        trained[loss, seed] = False
    return Design.of(trained)


def of(values, plan):
    return spread(values, plan)


def test_the_pooled_variance_is_the_mean_square_of_the_two_way_table():
    values = np.random.default_rng(0).normal(30, 1, (2, 4, 5))
    seen = of(values, design(4, 5))
    rest = (
        values
        - values.mean(1, keepdims=True)
        - values.mean(2, keepdims=True)
        + values.mean((1, 2), keepdims=True)
    )
    assert seen.pooled == pytest.approx((rest**2).sum((1, 2)) / (3 * 4), rel=EXACT)


def test_two_losses_have_the_variance_of_the_paired_t_test():
    values = np.random.default_rng(0).normal(0, 1, (1, 2, 6))
    seen = of(values, design(2, 6))
    differences = values[0, 0] - values[0, 1]
    assert seen.difference[0, 0] == pytest.approx(differences.mean(), rel=EXACT)
    assert seen.variance[0, 0] == pytest.approx(differences.var(ddof=1), rel=EXACT)


def test_what_seeds_and_losses_have_in_common_is_no_luck():
    common = np.arange(3.0)[:, None] + 7 * np.arange(5.0)
    seen = of(common[None], design(3, 5))
    assert seen.pooled[0] < 1e-20
    assert of(common[None] + np.random.default_rng(0).normal(0, 1, (3, 5)), design(3, 5)).pooled[0] > 0.1


def test_each_loss_has_its_own_luck_whatever_the_others_have():
    true = np.array([0.7, 1.0, 2.0, 1.0])
    values = np.random.default_rng(0).normal(0, 1, (1, 4, 4000)) * true[:, None]
    seen = of(values, design(4, 4000))
    share = true**2 / (true**2).mean()
    # A variance of 4,000 normal numbers is known to 2%, and four of them are mixed.
    assert seen.relative == pytest.approx(share, rel=0.1)
    added = seen.variance[0] / seen.pooled[0]
    assert added[0] == pytest.approx(share[0] + share[1], rel=0.1)


def test_trials_that_agree_by_chance_do_not_make_a_loss_precise():
    values = np.random.default_rng(0).normal(0, 1, (1, 5, 6))
    values[0, 2] = values[0].mean(0)
    assert of(values, design(5, 6)).relative[2] == 0.25


def test_with_missing_trials_the_effects_are_those_of_least_squares():
    plan = design(3, 4, [(0, 1), (2, 3)])
    values = np.random.default_rng(0).normal(0, 1, (3, 4))
    loss, seed = np.nonzero(plan.trained)
    matrix = np.concatenate([np.eye(3)[loss], np.eye(4)[seed]], axis=1)
    fitted = matrix @ np.linalg.lstsq(matrix, values[plan.trained], rcond=None)[0]
    seen = of(values[None], plan)
    assert plan.degrees == 10 - (3 + 4 - 1)
    assert seen.residuals[0][plan.trained] == pytest.approx(values[plan.trained] - fitted, abs=1e-12)
    assert not seen.residuals[0][~plan.trained].any()
    assert seen.difference[0].tolist() == pytest.approx(
        [
            (values[0] - values[1])[[0, 2, 3]].mean(),
            (values[0] - values[2])[[0, 2]].mean(),
            (values[1] - values[2])[[0, 1, 2]].mean(),
        ],
        rel=EXACT,
    )
    assert plan.seeds.tolist() == [3, 2, 3]
    assert plan.comparable.tolist() == [True, False, True]


def test_blocks_are_means_over_their_frames_in_any_order():
    frames = np.random.default_rng(0).normal(0, 1, (2, 3, 7))
    blocks = numbered_blocks(["b", "a", "b", "c", "a", "b", "c"], 7)
    means = block_means(frames, blocks)
    assert means[..., 0] == pytest.approx(frames[..., [1, 4]].mean(-1), rel=EXACT)
    assert means[..., 1] == pytest.approx(frames[..., [0, 2, 5]].mean(-1), rel=EXACT)
    assert means[..., 2] == pytest.approx(frames[..., [3, 6]].mean(-1), rel=EXACT)


def test_what_a_loss_makes_of_some_frames_remains_with_more_seeds():
    """The mean over many comparisons is the variance that was put in."""
    source = np.random.default_rng(0)
    plan, blocks, taste = design(2, 4), 20, 0.5
    found = [
        block_variance(source.normal(0, taste, (2, 1, blocks)) + source.normal(0, 1, (2, 4, blocks)), plan)[0]
        for _ in range(400)
    ]
    expected = 2 * taste**2 / blocks
    # One such variance, of 19 degrees of freedom and with luck taken off, is known to about 70%.
    assert np.mean(found) == pytest.approx(expected, rel=4 * 0.7 / np.sqrt(400))


def test_without_several_blocks_nothing_is_known_of_other_frames():
    assert not block_variance(np.random.default_rng(0).normal(0, 1, (3, 4, 1)), design(3, 4)).any()
