"""The plan of a comparison."""

from lossarium.comparison.plan import Plan
from lossarium.training.configuration import Recipe, Trial


def test_trials_come_seed_by_seed_so_that_an_early_stop_leaves_whole_seeds():
    recipe = Recipe(steps=3)
    assert Plan(("mse", "mae"), 2, recipe).trials() == (
        Trial("mse", 0, recipe),
        Trial("mae", 0, recipe),
        Trial("mse", 1, recipe),
        Trial("mae", 1, recipe),
    )
