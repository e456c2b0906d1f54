"""Trials as the unit of evidence: each one's value on each score, and how values differ between losses.

A comparison is a randomised block design: every loss is trained once per seed, from the same initial weights
on the same batches, so that only differences within a seed count. Frames measure a trial; they are no trials.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import numpy.typing as npt

from lossarium.errors import LossariumError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

LEAST_SEEDS = 3
"""With fewer seeds than this, luck cannot be told from a difference."""
_SMALLEST_SPREAD = 0.25
"""A loss's luck counts as at least this part of the variance of the average loss: a few trials that happen to
agree do not make a loss precise."""


@dataclass(frozen=True)
class Design:
    """Which losses were trained with which seeds, and the pairs of losses."""

    trained: Bools
    """(losses, seeds)."""
    first: npt.NDArray[np.intp]
    """(pairs,), the number of each pair's first loss."""
    second: npt.NDArray[np.intp]
    together: Bools
    """(pairs, seeds), where both were trained."""

    @classmethod
    def of(cls, trained: Bools) -> "Design":
        """The design of these trials."""
        pairs = np.array(list(combinations(range(len(trained)), 2)), dtype=np.intp).reshape(-1, 2)
        first, second = pairs.T
        return cls(trained, first, second, trained[first] & trained[second])

    @property
    def seeds(self) -> npt.NDArray[np.intp]:
        """(pairs,), how many seeds both losses of a pair have."""
        return np.asarray(self.together.sum(1))

    @property
    def comparable(self) -> Bools:
        """(pairs,), where both losses have enough seeds together."""
        return self.seeds >= LEAST_SEEDS

    @property
    def degrees(self) -> int:
        """Degrees of freedom of what is left of trials after the means of losses and seeds."""
        return round(float((1 - self.leverages)[self.trained].sum()))

    @cached_property
    def leverages(self) -> Floats:
        """(losses, seeds), how much of a trial's own luck goes into the means of its loss and its seed."""
        if self._whole:
            losses, seeds = self.present.sum(), self.trained.shape[1]
            return np.full(self.trained.shape, 1 / losses + 1 / seeds - 1 / (losses * seeds))
        losses = len(self.trained)
        inverse = self._inverse
        of_loss, of_seed = np.diag(inverse)[:losses], np.diag(inverse)[losses:]
        return np.asarray(of_loss[:, None] + of_seed + 2 * inverse[:losses, losses:])

    @property
    def present(self) -> Bools:
        """(losses,), which have a trial at all."""
        return np.asarray(self.trained.any(1))

    @cached_property
    def _whole(self) -> bool:
        """Whether every loss that is present has all seeds."""
        return bool(self.trained[self.present].all())

    @cached_property
    def _inverse(self) -> Floats:
        """(losses + seeds, losses + seeds), the inverse of the normal equations of the additive model."""
        trained = self.trained.astype(np.float64)
        losses = np.diag(trained.sum(1))
        seeds = np.diag(trained.sum(0))
        return np.asarray(np.linalg.pinv(np.block([[losses, trained], [trained.T, seeds]]), hermitian=True))

    def residuals(self, values: Floats) -> Floats:
        """What is left of trials after the means of losses and seeds, by least squares; 0 where no trial is.

        Args:
            values: (..., losses, seeds), 0 where no trial is.
        """
        if self._whole:
            centred = values - values.mean(-1, keepdims=True)
            of_seeds = centred.sum(-2, keepdims=True) / max(1, int(self.present.sum()))
            return np.asarray((centred - of_seeds) * self.trained)
        sums = np.concatenate([values.sum(-1), values.sum(-2)], axis=-1)
        effects = sums @ self._inverse
        losses = len(self.trained)
        fitted = effects[..., :losses, None] + effects[..., None, losses:]
        return np.asarray((values - fitted) * self.trained)


@dataclass(frozen=True)
class Spread:
    """How much luck there is in trials; leading axes are free (repetitions of a simulation)."""

    pooled: Floats
    """(..., scores), the variance between trials of one loss, over all losses."""
    relative: Floats
    """(..., losses), each loss's variance relative to `pooled`, the same for every score."""
    residuals: Floats
    """(..., scores, losses, seeds), what is left after the means of losses and seeds; 0 where no trial is."""
    difference: Floats
    """(..., scores, pairs), first - second, the mean over the seeds that both have."""
    variance: Floats
    """(..., scores, pairs), the variance of one seed's difference."""


def spread(values: Floats, design: Design, rounding: Floats | float = 0.0) -> Spread:
    """Measure luck in trials.

    A pair's variance is what its two losses' own luck adds up to - measured over all scores together, for one
    trial that goes astray shows in most of them - or the variance of the pair's own differences where that is
    larger.

    Args:
        values: (..., scores, losses, seeds); anything where no trial is.
        design: The trials.
        rounding: (scores,), a variance that is no luck but rounding, and counts as 0.
    """
    there = np.where(design.trained, values, 0.0)
    residuals = design.residuals(there)
    pooled = (residuals**2).sum((-2, -1)) / max(1, design.degrees)
    pooled = np.where(pooled > rounding, pooled, 0.0)
    relative = _relative(residuals, pooled, design)
    differences = (there[..., design.first, :] - there[..., design.second, :]) * design.together
    seeds = np.maximum(1, design.seeds)
    mean = differences.sum(-1) / seeds
    own = ((differences - mean[..., None]) ** 2 * design.together).sum(-1) / np.maximum(1, seeds - 1)
    added = relative[..., design.first] + relative[..., design.second]
    variance = np.maximum(own, pooled[..., None] * added[..., None, :])
    return Spread(pooled, relative, residuals, mean, variance)


def _relative(residuals: Floats, pooled: Floats, design: Design) -> Floats:
    """(..., losses): each loss's variance relative to the average, from all scores together.

    A residual's variance is that of its own loss but for the share 1/losses of the mean over losses that was
    taken out of it, which is solved for here. Of two losses only the sum of variances can be known.
    """
    losses = int(design.present.sum())
    lucky = pooled > 0
    if losses < 3 or not lucky.any():
        return np.ones((*pooled.shape[:-1], len(design.trained)))
    kept = ((1 - design.leverages) * design.trained).sum(1)
    kept = np.maximum(kept, 1e-9) * losses / (losses - 1)
    squares = (residuals**2).sum(-1) / kept / np.where(lucky, pooled, 1.0)[..., None]
    mean = (squares * lucky[..., None]).sum(-2) / lucky.sum(-1)[..., None]
    relative = np.maximum((mean - 1 / losses) / (1 - 2 / losses), _SMALLEST_SPREAD)
    return np.where(design.present, relative, 1.0)


def block_means(frames: Floats, blocks: npt.NDArray[np.intp]) -> Floats:
    """(losses, seeds, blocks): means over the frames of each block, from (losses, seeds, frames)."""
    order = np.argsort(blocks, kind="stable")
    starts = np.flatnonzero(np.diff(blocks[order], prepend=-1))
    sums = np.add.reduceat(frames[..., order], starts, axis=-1)
    return np.asarray(sums / np.bincount(blocks))


def block_variance(means: Floats, design: Design) -> Floats:
    """(pairs,), the variance of a pair's difference that more seeds do not reduce: that of other frames.

    One loss may suit some frames and another loss others, with every seed. The mean square of a pair's
    differences between blocks, less what luck leaves there, is measured for every pair and for all of them;
    the larger counts.

    Args:
        means: (losses, seeds, blocks).
        design: The trials.
    """
    blocks = means.shape[-1]
    own = np.zeros(len(design.first))
    if blocks < 2 or not design.comparable.any():
        return own
    for pair in np.flatnonzero(design.comparable):
        at = design.together[pair]
        difference = means[design.first[pair], at] - means[design.second[pair], at]
        seeds = len(difference)
        by_block = difference.mean(0)
        rest = difference - by_block - difference.mean(1, keepdims=True) + difference.mean()
        luck = (rest**2).sum() / ((seeds - 1) * (blocks - 1))
        own[pair] = (by_block.var(ddof=1) - luck / seeds) / blocks
    pooled = max(0.0, float(own[design.comparable].mean()))
    return np.where(design.comparable, np.maximum(own, pooled), 0.0)


def numbered_blocks(labels: npt.ArrayLike | None, frames: int) -> npt.NDArray[np.intp]:
    """(frames,), blocks numbered from 0; every frame is a block of its own without labels.

    Raises:
        LossariumError: there is not one label a frame.
    """
    if labels is None:
        return np.arange(frames)
    given = np.asarray(labels)
    if given.shape != (frames,):
        raise LossariumError(f"there are {given.size} labels for {frames} frames; give one block a frame")
    return np.asarray(np.unique(given, return_inverse=True)[1].reshape(-1))
