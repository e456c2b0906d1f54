"""The plain data that a verdict is made from, and the verdict."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """What is measured on held-out frames: a judge applied to a task."""

    key: str
    """`task/judge`, such as `reconstruction/psnr` or `swap/lpips`."""
    task: str
    """`reconstruction` (A->A, B->B) or `swap` (A->B against B's frame in the same state)."""
    judge: str
    title: str
    """The name that is shown, such as `PSNR`."""
    unit: str
    """`dB` or empty."""
    higher_is_better: bool
    digits: int
    """Decimals worth showing."""
    description: str
    """One sentence."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its bootstrap interval, 95% unless stated otherwise."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Vote:
    """The vote of one score on one pair of losses."""

    score: str
    """The score's key."""
    first: str
    second: str
    difference: Estimate
    """first - second, paired over frames and seeds, signed so that positive means `first` is better. Its
    interval is widened so that those of all pairs of this score hold jointly with 95% confidence."""
    preferred: str | None
    """`first`, `second`, or None if the interval contains 0 or the score may not vote."""
    home_of: tuple[str, ...]
    """Those of the two losses that trained on this judge; if any, the score does not vote on this pair."""


@dataclass(frozen=True)
class Verdict:
    """The ranking with its confidence, or "undecided"."""

    winner: str | None
    """The loss that beats every other one, or None."""
    contenders: tuple[str, ...]
    """The losses that no other loss beats; more than one of them means "undecided" between these."""
    sentence: str
    """The verdict in words."""
    troubles: tuple[str, ...]
    """What went wrong in the trials, a sentence each: explosions, skipped steps."""
    caveats: tuple[str, ...]
    """What the verdict does not say, a sentence each."""
    table: dict[str, dict[str, Estimate]]
    """Score key -> loss -> estimate at the end of training."""
    home: dict[str, tuple[str, ...]]
    """Score key -> the losses whose home judge it is."""
    votes: tuple[Vote, ...]
    wins: dict[str, tuple[str, ...]]
    """Loss -> the losses it beats."""
