"""How often the verdict claims what is not so, on three kinds of luck; `make soak` has more."""

import numpy as np
import pytest
from benchmarks.calibrate import World, claims
from scipy import stats

COMPARISONS = 60
MOST = stats.binom.ppf(0.999, COMPARISONS, 0.05)
"""So many false verdicts come about once in a thousand times where 5% are false."""


@pytest.mark.parametrize(
    "world",
    [
        World("equal luck", losses=2, seeds=3),
        World("unequal luck", losses=5, seeds=5, spread=(1.35, 1.35, 1.5, 0.25, 0.6)),
        World("missing trials", losses=4, seeds=5, missing=3),
    ],
    ids=lambda world: f"{world.name}, {world.losses} losses, {world.seeds} seeds",
)
def test_at_most_a_twentieth_of_verdicts_claims_anything_where_nothing_differs(world):
    false = sum(claims(world, repetition)[0] for repetition in range(COMPARISONS))
    assert false <= MOST


def test_a_better_loss_is_found():
    world = World("better", losses=4, seeds=5, better=6.0)
    found = np.array([claims(world, repetition) for repetition in range(20)])
    assert found[:, 1].mean() > 0.9
    assert found[:, 0].mean() < 0.2
