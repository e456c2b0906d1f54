"""The plain data of a verdict: its scores, votes and outcome."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """A measurement on held-out frames: a judge applied to a task."""

    key: str
    """`task/judge`, such as `reconstruction/psnr` or `swap/lpips`."""
    task: str
    """`reconstruction` (A->A, B->B) or `swap` (A->B against B's frame in the same state)."""
    judge: str
    title: str
    """The name shown, such as `PSNR`."""
    unit: str
    """A unit such as `dB`; may be empty."""
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
    """first - second, paired over frames and seeds, with the sign chosen so that positive means `first` is
    better. The intervals of all pairs of this score hold jointly with 95% confidence."""
    preferred: str | None
    """`first`, `second`, or None if the interval contains 0 or the score may not vote."""
    home_of: tuple[str, ...]
    """Which of the two losses trained on this judge; with any, the score does not vote on this pair."""


@dataclass(frozen=True)
class Verdict:
    """The ranking with its confidence, or "undecided"."""

    winner: str | None
    """The loss that beats every other one, or None."""
    contenders: tuple[str, ...]
    """The losses that no other loss beats; more than one means "undecided" between them."""
    sentence: str
    """The verdict in words."""
    troubles: tuple[str, ...]
    """What went wrong in the trials, one sentence each: explosions, skipped steps."""
    caveats: tuple[str, ...]
    """Limits of the verdict, one sentence each."""
    table: dict[str, dict[str, Estimate]]
    """Score key -> loss -> estimate at the end of training."""
    home: dict[str, tuple[str, ...]]
    """Score key -> the losses that trained on its judge (their home judge)."""
    votes: tuple[Vote, ...]
    wins: dict[str, tuple[str, ...]]
    """Loss -> the losses that it beats."""
