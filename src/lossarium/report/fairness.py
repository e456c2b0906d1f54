"""Check that trials ran on an even keel: same initial weights, same batches, same number of steps."""

from collections.abc import Iterable
from dataclasses import dataclass

from lossarium.comparison.results import ComparisonResult, TrialResult
from lossarium.report.formatting import count

SHORT_HASH = 12
LONGEST_LIST = 3
"""A sentence names up to this many losses one by one."""


@dataclass(frozen=True)
class SeedFairness:
    """Whether the trials of one seed ran on an even keel, according to their hashes."""

    seed: int
    trials: int
    initial_weights: str | None
    """The hash that all trials share, or None if they differ."""
    batches: str | None
    """As `initial_weights`."""
    problems: tuple[str, ...]
    """One sentence for each difference between the trials besides their loss."""

    @property
    def even(self) -> bool:
        return not self.problems


def fairness_of(result: ComparisonResult) -> tuple[SeedFairness, ...]:
    """One `SeedFairness` per seed, in the order of the seeds."""
    return tuple(_seed_fairness(seed, result) for seed in sorted({trial.seed for trial in result.trials}))


def _seed_fairness(seed: int, result: ComparisonResult) -> SeedFairness:
    trials = [trial for trial in result.trials if trial.seed == seed]
    missing = [loss for loss in result.losses if all(trial.loss != loss for trial in trials)]
    all_initial_weights = [trial.initial_weights for trial in trials]
    all_batches = [trial.batches for trial in trials]
    all_steps = [str(trial.steps) for trial in trials]
    initial_weights, batches = _shared(all_initial_weights), _shared(all_batches)
    problems = []
    if missing:
        problems.append(f"No trial was made with {', '.join(missing)}.")
    if initial_weights is None:
        hashes = _groups(map(_short_or_none, all_initial_weights), trials)
        problems.append(f"The trials did not start from the same weights: {hashes}.")
    if batches is None:
        hashes = _groups(map(_short_or_none, all_batches), trials)
        problems.append(f"The trials did not see the same batches: {hashes}.")
    if len(set(all_steps)) > 1:
        problems.append(f"The trials did not make equally many steps: {_groups(all_steps, trials)}.")
    problems += [sentence for trial in trials for sentence in trial.troubles()]
    return SeedFairness(seed, len(trials), initial_weights, batches, tuple(problems))


def _shared(hashes: Iterable[str]) -> str | None:
    """The hash that all trials share; None if they differ, or if it is empty, which proves nothing."""
    different = set(hashes)
    return different.pop() or None if len(different) == 1 else None


def _groups(values: Iterable[str], trials: list[TrialResult]) -> str:
    """The values and the losses that share each, as text."""
    groups: dict[str, list[str]] = {}
    for value, trial in zip(values, trials, strict=True):
        groups.setdefault(value, []).append(trial.loss)
    return "; ".join(f"{value} for {_few(losses)}" for value, losses in groups.items())


def _few(losses: list[str]) -> str:
    return ", ".join(losses) if len(losses) <= LONGEST_LIST else f"{len(losses)} of the losses"


def short_hash(value: str) -> str:
    """The part of a hash that is shown."""
    return value[:SHORT_HASH]


def _short_or_none(value: str) -> str:
    return short_hash(value) or "no hash recorded"


def fairness_words(by_seed: tuple[SeedFairness, ...]) -> str:
    """One sentence: whether all trials ran on an even keel."""
    uneven = [one.seed for one in by_seed if not one.even]
    if not uneven:
        return "All trials ran on an even keel."
    seeds = ", ".join(str(seed) for seed in uneven)
    return (
        f"Not on an even keel: the trials of {count(len(uneven), 'seed')} ({seeds}) differ in more than "
        "their loss, so their scores must not be compared."
    )
