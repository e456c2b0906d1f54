"""Trials as the unit of evidence: each one's value on each score, and how values differ between losses.

A comparison is a randomised block design: every loss is trained once per seed, from the same initial weights
on the same batches, so that only differences within a seed count. Frames measure a trial; they are no trials.
"""

import math
from dataclasses import dataclass
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
        if self.complete:
            losses, seeds = self._present
            return (losses - 1) * (seeds - 1)
        matrix = self._effects()
        return len(matrix) - int(np.linalg.matrix_rank(matrix)) if matrix.size else 0

    @property
    def complete(self) -> bool:
        """Whether every loss that has any trial has them for the same seeds."""
        return int(self.trained.sum()) == math.prod(self._present)

    @property
    def _present(self) -> tuple[int, int]:
        """How many losses, and how many seeds, have any trial."""
        return int(self.trained.any(1).sum()), int(self.trained.any(0).sum())

    def _effects(self) -> Floats:
        """(trials, losses + seeds): the additive model of a loss's mean and a seed's mean."""
        loss, seed = np.nonzero(self.trained)
        return np.concatenate([np.eye(len(self.trained))[loss], np.eye(self.trained.shape[1])[seed]], axis=1)

    def residual_projection(self) -> "Projection":
        """What takes the means of losses and seeds out of the trials' values."""
        if self.complete:
            losses, seeds = self._present
            diagonal = (1 - 1 / max(1, losses)) * (1 - 1 / max(1, seeds))
            return Projection(self._present, None, np.full(losses * seeds, diagonal))
        effects = self._effects()
        matrix = np.asarray(np.eye(len(effects)) - effects @ np.linalg.pinv(effects))
        return Projection(self._present, matrix, np.diag(matrix))


@dataclass(frozen=True)
class Projection:
    """Takes the means of losses and seeds out of the trials' values."""

    present: tuple[int, int]
    """How many losses and seeds there are."""
    matrix: Floats | None
    """(trials, trials); None for a complete design, where means do (a thousand pictures of eight methods
    would take a matrix of 64 million numbers)."""
    diagonal: Floats
    """(trials,), that of the matrix."""

    def of(self, values: Floats) -> Floats:
        """(..., trials), what is left of values of that shape."""
        if self.matrix is not None:
            return np.asarray(values @ self.matrix)
        table = values.reshape(*values.shape[:-1], *self.present)
        left = table - table.mean(-1, keepdims=True)
        left -= left.mean(-2, keepdims=True)
        return np.asarray(left.reshape(values.shape))


@dataclass(frozen=True)
class Spread:
    """How much luck there is in trials; leading axes are free (repetitions of a simulation)."""

    pooled: Floats
    """(..., scores), the variance between trials of one loss, over all losses."""
    relative: Floats
    """(..., losses), each loss's variance relative to `pooled`, the same for every score."""
    residuals: Floats
    """(..., scores, trials), what is left after the means of losses and seeds."""
    difference: Floats
    """(..., scores, pairs), first - second, the mean over the seeds that both have."""
    variance: Floats
    """(..., scores, pairs), the variance of one seed's difference."""


def spread(values: Floats, design: Design, projection: Projection, rounding: Floats | float = 0.0) -> Spread:
    """Measure luck in trials.

    A pair's variance is what its two losses' own luck adds up to - measured over all scores together, for one
    trial that goes astray shows in most of them - or the variance of the pair's own differences where that is
    larger.

    Args:
        values: (..., scores, losses, seeds); anything where no trial is.
        design: The trials.
        projection: The design's `residual_projection()`.
        rounding: (scores,), a variance that is no luck but rounding, and counts as 0.
    """
    residuals = projection.of(values[..., design.trained])
    pooled = (residuals**2).sum(-1) / max(1, design.degrees)
    pooled = np.where(pooled > rounding, pooled, 0.0)
    relative = _relative(residuals, pooled, design, projection)
    there = np.where(design.trained, values, 0.0)
    differences = (there[..., design.first, :] - there[..., design.second, :]) * design.together
    seeds = np.maximum(1, design.seeds)
    mean = differences.sum(-1) / seeds
    own = ((differences - mean[..., None]) ** 2 * design.together).sum(-1) / np.maximum(1, seeds - 1)
    added = relative[..., design.first] + relative[..., design.second]
    return Spread(pooled, relative, residuals, mean, np.maximum(own, pooled[..., None] * added[..., None, :]))


def _relative(residuals: Floats, pooled: Floats, design: Design, projection: Projection) -> Floats:
    """(..., losses): each loss's variance relative to the average, from all scores together.

    A residual's variance is that of its own loss but for the share 1/losses of the mean over losses that was
    taken out of it, which is solved for here. Of two losses only the sum of variances can be known.
    """
    present = np.asarray(design.trained.any(1))
    losses = int(present.sum())
    lucky = pooled > 0
    if losses < 3 or not lucky.any():
        return np.ones((*pooled.shape[:-1], len(present)))
    of_loss = np.eye(len(present))[np.nonzero(design.trained)[0]]
    kept = np.maximum(projection.diagonal @ of_loss, 1e-9) * losses / (losses - 1)
    squares = (residuals**2 @ of_loss) / kept / np.where(lucky, pooled, 1.0)[..., None]
    mean = (squares * lucky[..., None]).sum(-2) / lucky.sum(-1)[..., None]
    relative = np.maximum((mean - 1 / losses) / (1 - 2 / losses), _SMALLEST_SPREAD)
    return np.where(present, relative, 1.0)


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
