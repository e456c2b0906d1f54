"""Comparisons in which nothing differs, and what may be false of them."""

from benchmarks.calibrate import World, claims
from scipy import stats


def check_false_claims(world: World, comparisons: int) -> None:
    """At most a twentieth of verdicts claims anything: more come about once in a thousand times."""
    false = sum(claims(world, repetition)[0] for repetition in range(comparisons))
    assert false <= stats.binom.ppf(0.999, comparisons, 0.05)


def check_found(comparisons: int) -> None:
    """A loss that is better by six times a trial's luck wins, and hardly anything else is claimed."""
    world = World("better", losses=4, seeds=5, better=6.0)
    found = [claims(world, repetition) for repetition in range(comparisons)]
    assert sum(wins for _, wins in found) > 0.9 * comparisons
    assert sum(false for false, _ in found) < 0.2 * comparisons


def label(world: World) -> str:
    """For the names of tests."""
    return f"{world.name}, {world.losses} losses, {world.seeds} seeds"
