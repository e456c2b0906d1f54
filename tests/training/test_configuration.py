"""When a recipe has a trial judged."""

from itertools import pairwise

import pytest

from lossarium.training.configuration import FULL_EVALUATIONS, Recipe


@pytest.mark.parametrize("steps", [300, 20_000, 1_000_000])
def test_the_evaluations_of_the_verdict_lie_in_the_last_seventh(steps):
    recipe = Recipe(steps=steps)
    assert len(recipe.snapshot_steps()) == recipe.snapshots
    full = recipe.full_evaluation_steps()
    assert len(full) == FULL_EVALUATIONS
    assert full[-1] == steps
    assert full[0] >= steps - steps / 7
    assert recipe.snapshot_steps()[-FULL_EVALUATIONS:] == full


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_short_trial_is_judged_at_most_once_a_step_and_at_its_end(steps):
    snapshots = Recipe(steps=steps).snapshot_steps()
    assert snapshots == tuple(sorted({*snapshots}))
    assert snapshots[-1] == steps


def test_pictures_are_taken_more_often_while_they_change_fast():
    early = [step for step in Recipe(steps=1000).snapshot_steps() if step <= 700]
    assert len(early) == 5
    gaps = [late - soon for soon, late in pairwise(early)]
    assert gaps == sorted(gaps)


def test_evaluations_at_equal_distances_end_with_the_last_step():
    assert Recipe(steps=10, judge_every=4).snapshot_steps() == (4, 8, 10)
    assert Recipe(steps=100, judge_every=10).full_evaluation_steps() == (80, 90, 100)
