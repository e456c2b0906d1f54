"""How often the verdict claims what is not so, on many kinds of luck; `make calibrate` makes the table of the
docs."""

import pytest
from benchmarks.calibrate import World

from tests.evidence.calibration import check_false_claims, check_found, label


@pytest.mark.parametrize(
    "world",
    [
        World("equal luck", losses=2, seeds=3),
        World("equal luck", losses=4, seeds=5),
        World("unequal luck", losses=5, seeds=5, spread=(1.35, 1.35, 1.5, 0.25, 0.6)),
        World("the luck of a trial is large", losses=3, seeds=3, seed_luck=3.0),
        World("neighbouring frames are alike", losses=3, seeds=4, correlation=0.9),
        World("losses suit frames differently", losses=3, seeds=5, taste=1.0, blocks=6),
        World("heavy tails", losses=3, seeds=5, tails=3.0),
        World("missing trials", losses=4, seeds=5, missing=3),
    ],
    ids=label,
)
def test_at_most_a_twentieth_of_verdicts_claims_anything_where_nothing_differs(world):
    check_false_claims(world, comparisons=250)


def test_a_better_loss_is_found():
    check_found(comparisons=100)
