"""How large differences get by luck alone: the comparison again, simulated many times, with no loss better.

Tables of critical values (Student's t, Tukey's range) hold for one score and for losses with equal luck. Here
scores go together (PSNR and MAE say nearly the same) and losses do not have equal luck (some explode now and
then). So the largest of all differences, relative to their standard errors, is simulated with the luck that
was measured: trials by trials, scores together as their luck goes together, each loss with its own luck. The
critical value is what only one simulated comparison in 20 exceeds anywhere, in any score and any pair. It is
the single-step max-T procedure of Westfall and Young (1993), "Resampling-based multiple testing", by a
parametric bootstrap.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lossarium.evidence.trials import Design, Floats, spread

REPETITIONS = 4000
"""Enough to know the critical value to about 1%."""
_MOST_NUMBERS = 4_000_000
_MOST_SEEDS = 40
"""The critical value hardly changes beyond so many; simulating fewer errs on the safe side."""
_INDEPENDENCE = 2.0
"""Degrees of freedom with which scores are taken to be independent before any trial is seen."""


@dataclass(frozen=True)
class Luck:
    """The luck of a comparison, as measured."""

    together: Floats
    """(scores, scores), correlations of the scores' luck."""
    relative: Floats
    """(losses,), variances relative to the average."""
    of_frames: Floats
    """(scores, pairs), variances of differences by the choice of frames, relative to the variance of a
    trial."""
    blocks: int
    """How many blocks of frames `of_frames` was measured on."""


def correlations(residuals: Floats, degrees: int) -> Floats:
    """(scores, scores) correlations of luck, drawn towards independence where few trials measure them."""
    products = residuals @ residuals.T
    size = np.sqrt(np.diag(products))
    measured = products / (size[:, None] * size)
    return np.asarray((degrees * measured + _INDEPENDENCE * np.eye(len(size))) / (degrees + _INDEPENDENCE))


def largest_by_luck(luck: Luck, design: Design, repetitions: int = REPETITIONS) -> Floats:
    """(repetitions,), the largest absolute difference over its standard error, over all scores and pairs.

    Pairs that have too few seeds in common do not count. Equal arguments give equal results.
    """
    losses, seeds = design.trained.shape
    if seeds > _MOST_SEEDS:
        return largest_by_luck(luck, Design.of(design.trained[:, :_MOST_SEEDS]), repetitions)
    # Seeds have no order; neither has what is drawn for them.
    design = Design.of(design.trained[:, np.lexsort(design.trained)])
    pairs = design.comparable
    weights = np.maximum(1, design.seeds)
    mixing = np.linalg.cholesky(luck.together)
    scale = np.sqrt(luck.relative)[:, None]
    by_frames = np.sqrt(luck.of_frames.mean(1) / 2)[:, None]
    freedom = max(1, (losses - 1) * (luck.blocks - 1))
    source = np.random.default_rng(20)
    found = []
    for count in _chunks(repetitions, len(mixing) * len(design.first) * seeds):
        values = (mixing @ source.standard_normal((count, len(mixing), losses * seeds))).reshape(
            count, len(mixing), losses, seeds
        ) * scale
        frames = by_frames * (mixing @ source.standard_normal((count, len(mixing), losses)))
        measured = source.chisquare(freedom, (count, len(mixing), 1)) / freedom
        seen = spread(values, design)
        difference = seen.difference + frames[..., design.first] - frames[..., design.second]
        variance = seen.variance / weights + luck.of_frames * measured
        found.append((np.abs(difference) / np.sqrt(variance))[..., pairs].max((-2, -1)))
    return np.concatenate(found)


def _chunks(repetitions: int, numbers: int) -> Iterator[int]:
    """Numbers of repetitions whose arrays fit in memory at once."""
    at_once = max(1, _MOST_NUMBERS // numbers)
    for start in range(0, repetitions, at_once):
        yield min(at_once, repetitions - start)
