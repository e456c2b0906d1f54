"""The plain data of a verdict: what it is made from, and what it says."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]

About = Literal["losses", "methods", "pictures"]
"""What is claimed: that losses, or methods of any kind, are better whatever the seed; or that these pictures
are better, whatever another run of the same method would make."""

Finding = Literal["first", "second", "equivalent", "unresolved", "unmeasured"]
"""What one score says of a pair: which loss is better, that they differ by less than matters, that luck could
have made the difference, or that there are too few trials, or no figures, to tell."""

Relation = Literal["first", "second", "equivalent", "trade-off", "unresolved", "unjudged"]
"""What all scores that may vote say of a pair together; "unjudged" if none of them may."""


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
    margin: float = 0.0
    """A difference that is too small to matter, in its unit."""


@dataclass(frozen=True)
class Estimate:
    """A difference with its interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class TrialValues:
    """What a loss's trials have on a score."""

    mean: float
    """NaN if any of them has no figure."""
    lowest: float
    """Of the worst trial, where a higher score is better."""
    highest: float


@dataclass(frozen=True)
class Difference:
    """One score's evidence on one pair of losses."""

    score: str
    mean: float
    """first - second, with the sign chosen so that positive means `first` is better; NaN without figures."""
    interval: Estimate | None
    """The same with its interval; None with too few trials. All intervals of a verdict hold together with its
    confidence."""
    margin: float
    """What is too small to matter."""
    finding: Finding
    home_of: tuple[str, ...]
    """Which of the two losses trained on this judge; with any, the score has no vote on this pair."""
    further_seeds: int | None
    """About how many more seeds would resolve it, if it is unresolved and seeds can."""


@dataclass(frozen=True)
class Pair:
    """Everything that is known of a pair of losses."""

    first: str
    second: str
    relation: Relation
    differences: tuple[Difference, ...]
    """One a score."""
    further_seeds: int | None
    """About how many more seeds would resolve it, if it is unresolved and seeds can."""

    @property
    def ahead(self) -> str | None:
        """The loss that beats the other, if one does."""
        return {"first": self.first, "second": self.second}.get(self.relation)

    def other(self, loss: str) -> str:
        """The one that `loss` is compared with."""
        return self.second if loss == self.first else self.first

    def has(self, loss: str) -> bool:
        """Whether it is one of the two."""
        return loss in (self.first, self.second)

    def voting(self) -> tuple[Difference, ...]:
        """The scores that may vote on this pair."""
        return tuple(difference for difference in self.differences if not difference.home_of)


@dataclass(frozen=True)
class Verdict:
    """What may be claimed about losses, and what may not."""

    sentence: str
    """The verdict in words."""
    winner: str | None
    """The one loss that beats or equals every other one, and beats one at least; or None."""
    contenders: tuple[str, ...]
    """The losses that no other loss beats."""
    better: frozenset[tuple[str, str]]
    """(better, worse) for each pair where one beats the other: better in one score that may vote, worse in
    none."""
    equivalent: frozenset[tuple[str, str]]
    """Pairs, in alphabetical order, that differ by less than matters in every score that may vote."""
    trade_offs: frozenset[tuple[str, str]]
    """Pairs, in alphabetical order, where each is better than the other in some score that may vote."""
    unresolved: frozenset[tuple[str, str]]
    """All other pairs, in alphabetical order: luck could have made the difference, or no score may vote on
    them."""
    pairs: tuple[Pair, ...]
    """Every pair with every interval, in the order of the losses."""
    values: dict[str, dict[str, TrialValues]]
    """Score -> loss -> what its trials have."""
    home: dict[str, tuple[str, ...]]
    """Score -> the losses that trained on its judge."""
    seeds: int
    """The most seeds that any loss was trained with."""
    level: float
    """The probability that any claim at all is made where losses do not differ."""
    critical: float | None
    """How many standard errors a difference must exceed to be more than luck; None with too few trials."""
    luck: dict[str, float]
    """Loss -> the standard deviation of its luck relative to the average loss."""
    caveats: tuple[str, ...]
    """What the verdict does not say, a sentence each."""
    about: About = "losses"
    """What it is about. For methods, read "method" for "loss" and "run" for "seed" above; for pictures,
    "folder" for "loss" and "block of pictures" for "seed"."""


class Judged(Protocol):
    """Scores with their verdict, as terminal and report show them, wherever the scores come from."""

    @property
    def losses(self) -> tuple[str, ...]:
        """The names of what was compared, in the order in which the user gave them."""

    @property
    def scores(self) -> tuple[Score, ...]:
        """The scores that were compared."""

    @property
    def verdict(self) -> Verdict:
        """What may be claimed."""

    @property
    def troubles(self) -> tuple[str, ...]:
        """What went wrong, a sentence each."""
