"""How often the verdict claims what is not so, on three kinds of luck; `make soak` has more."""

import pytest
from benchmarks.calibrate import World

from tests.evidence.calibration import check_false_claims, check_found, label


@pytest.mark.parametrize(
    "world",
    [
        World("equal luck", losses=2, seeds=3),
        World("unequal luck", losses=5, seeds=5, spread=(1.35, 1.35, 1.5, 0.25, 0.6)),
        World("missing trials", losses=4, seeds=5, missing=3),
    ],
    ids=label,
)
def test_at_most_a_twentieth_of_verdicts_claims_anything_where_nothing_differs(world):
    check_false_claims(world, comparisons=60)


def test_a_better_loss_is_found():
    check_found(comparisons=20)
