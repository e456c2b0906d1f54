"""How far luck reaches, as simulated."""

import numpy as np
import pytest
from scipy import stats

from lossarium.evidence.luck import Luck, correlations, largest_by_luck
from lossarium.evidence.trials import Design


def reach(scores=1, losses=2, seeds=5, *, together=0.0, relative=None, of_frames=0.0, blocks=20, missing=()):
    trained = np.ones((losses, seeds), bool)
    for trial in missing:
        trained[trial] = False
    design = Design.of(trained)
    matrix = np.full((scores, scores), together) + (1 - together) * np.eye(scores)
    luck = Luck(
        matrix,
        np.ones(losses) if relative is None else np.array(relative),
        np.full((scores, len(design.first)), of_frames),
        blocks,
    )
    return largest_by_luck(luck, design)


def at_95(largest):
    return float(np.quantile(largest, 0.95))


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_two_losses_and_one_score_have_students_t(seeds):
    # The share beyond the table's value is binomial.
    beyond = float((reach(seeds=seeds) > stats.t.ppf(0.975, seeds - 1)).mean())
    assert abs(beyond - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 4000)


def test_where_the_choice_of_frames_is_all_luck_the_table_of_the_normal_distribution_holds():
    beyond = float((reach(of_frames=1e6, blocks=10_000) > stats.norm.ppf(0.975)).mean())
    assert abs(beyond - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 4000)


def test_more_scores_reach_further_unless_they_say_the_same():
    one, eight = at_95(reach(1)), at_95(reach(8))
    nearly, the_same = at_95(reach(8, together=0.98)), at_95(reach(8, together=1 - 1e-9))
    assert the_same == pytest.approx(one, rel=0.05)  # two simulations of the same, each known to 2%
    assert one < nearly < one + 0.5 * (eight - one)


def test_more_losses_reach_further_and_more_seeds_less_far():
    assert at_95(reach(losses=2)) < at_95(reach(losses=5)) < at_95(reach(losses=10))
    assert (
        at_95(reach(losses=4, seeds=3)) > at_95(reach(losses=4, seeds=5)) > at_95(reach(losses=4, seeds=30))
    )


def test_the_same_luck_reaches_equally_far_and_the_order_of_seeds_does_not_matter():
    first, last = [(0, 0)], [(0, 4)]
    assert np.array_equal(reach(3, 3, missing=first), reach(3, 3, missing=first))
    assert np.array_equal(reach(3, 3, missing=first), reach(3, 3, missing=last))


def test_pairs_with_too_few_seeds_in_common_do_not_count():
    missing = [(2, 0), (2, 1), (2, 2)]
    assert np.isfinite(reach(losses=3, missing=missing)).all()


def test_correlations_are_drawn_towards_independence_by_few_trials():
    source = np.random.default_rng(0)
    residuals = source.normal(0, 1, (1, 12))
    both = np.concatenate([residuals, -3 * residuals])
    matrix = correlations(both, degrees=8)
    assert matrix == pytest.approx(np.array([[1, -0.8], [-0.8, 1]]), abs=1e-12)
    assert (np.linalg.eigvalsh(matrix) > 0).all()
