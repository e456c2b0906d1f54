"""Measures every score's differences and their luck, and how large a difference luck alone makes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lossarium.evidence.luck import REPETITIONS, Luck, correlations, largest_by_luck
from lossarium.evidence.results import About
from lossarium.evidence.trials import Design, Floats, Spread, block_means, block_variance, spread

_MORE_SEEDS = (1, 2, 3, 5, 8, 12, 20, 30)
_MORE_BLOCKS = (0.25, 0.5, 1, 2, 4, 9)
"""As parts of the blocks of pictures that there are."""
_FEW_REPETITIONS = 250
_ROUNDING = 1e-10
"""Luck below this part of a score's values is rounding."""


@dataclass(frozen=True)
class Measured:
    """Scores over the same trials, without copies: their differences between losses."""

    scores: tuple[str, ...]
    design: Design
    seen: Spread
    of_frames: Floats
    """(scores, pairs), the variance of a difference that more seeds do not reduce."""
    blocks: int

    def errors(self, score: int, more: int = 0) -> Floats:
        """(pairs,), the standard errors of a score's differences, or what they would be with more seeds."""
        seeds = np.maximum(1, self.design.seeds + more)
        return np.asarray(np.sqrt(self.seen.variance[score] / seeds + self.of_frames[score]))

    def luck(self) -> Luck | None:
        """What `largest_by_luck` simulates; None without luck, or without enough trials to know it."""
        lucky = self.seen.pooled > 0
        if not lucky.any() or not self.design.comparable.any():
            return None
        pooled = self.seen.pooled[lucky]
        scale = np.sqrt(pooled[:, None, None] * self.seen.relative[:, None])
        residuals = (self.seen.residuals[lucky] / scale).reshape(len(pooled), -1)
        return Luck(
            correlations(residuals, self.design.degrees),
            self.seen.relative,
            self.of_frames[lucky] / pooled[:, None],
            self.blocks,
        )


def measure(
    scores: Mapping[str, Floats], blocks: Mapping[str, npt.NDArray[np.intp]], about: About
) -> list[Measured]:
    """Measure all scores, those over the same trials together.

    Args:
        scores: Score -> (losses, seeds, frames); NaN throughout where a trial is missing. Without copies, for
            they would count twice.
        blocks: Score -> (frames,), the number of each frame's block.
        about: See `decide`.
    """
    together: dict[tuple[bytes, int, int], list[tuple[str, Floats]]] = {}
    for score, values in scores.items():
        means = block_means(values, blocks[score])
        if about == "pictures":
            # A block of pictures tells pictures apart as a seed tells losses apart.
            means = means.reshape(len(means), -1, 1)
        usable = np.isfinite(means).all(-1)
        together.setdefault((usable.tobytes(), *means.shape[1:]), []).append((score, means))
    return [_measure_together(group) for group in together.values()]


def _measure_together(group: list[tuple[str, Floats]]) -> Measured:
    # What is drawn for a score must depend neither on its name nor on its place.
    group = sorted(group, key=lambda one: float(np.nansum(one[1])))
    means = np.stack([means for _, means in group])
    design = Design.of(np.isfinite(means[0]).all(-1))
    means = np.where(design.trained[..., None], means, 0.0)
    trials = means.mean(-1)
    rounding = (_ROUNDING * np.abs(trials).max((1, 2))) ** 2
    return Measured(
        tuple(score for score, _ in group),
        design,
        spread(trials, design, rounding),
        np.stack([block_variance(one, design) for one in means]),
        means.shape[-1],
    )


def threshold(measured: Sequence[Measured], level: float, more: int = 0) -> float | None:
    """How many standard errors luck reaches in the whole comparison, in one of 1 / `level` comparisons.

    Args:
        measured: All scores.
        level: The probability that luck reaches further.
        more: With so many more seeds of every loss than there are.

    Returns:
        None if no pair has enough trials.
    """
    if not any(one.design.comparable.any() for one in measured):
        return None
    largest = np.zeros(1)
    for one in measured:
        luck = one.luck()
        if luck is not None:
            design = one.design if not more else _longer(one.design, more)
            repetitions = _FEW_REPETITIONS if more else REPETITIONS
            largest = np.maximum(largest, largest_by_luck(luck, design, repetitions))
    return float(np.quantile(largest, 1 - level))


def further_seeds(measured: Sequence[Measured], level: float, about: About) -> dict[int, float]:
    """More seeds (or blocks of pictures) -> how many standard errors luck then reaches; numbers that are
    worth trying."""
    numbers: Sequence[int] = _MORE_SEEDS
    if about == "pictures":
        blocks = max(one.design.trained.shape[1] for one in measured)
        numbers = [max(1, round(part * blocks)) for part in _MORE_BLOCKS]
    found = {more: threshold(measured, level, more) for more in numbers}
    return {more: reached for more, reached in found.items() if reached is not None}


def _longer(design: Design, more: int) -> Design:
    """The design with more seeds of all losses."""
    added = np.ones((len(design.trained), more), dtype=np.bool_)
    return Design.of(np.concatenate([design.trained, added], axis=1))
