"""From scores to a verdict, whoever made the scores: trials of losses, folders of pictures, people."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from lossarium.errors import LossariumError
from lossarium.evidence.measuring import Measured, further_seeds, measure, threshold
from lossarium.evidence.results import (
    About,
    Difference,
    Estimate,
    Finding,
    Pair,
    Relation,
    TrialValues,
    Verdict,
)
from lossarium.evidence.trials import Floats, block_means, numbered_blocks
from lossarium.evidence.wording import caveats, joined, sentence


def decide(
    scores: Mapping[str, npt.NDArray[np.floating]],
    losses: Sequence[str],
    *,
    higher_is_better: Mapping[str, bool],
    blocks: npt.ArrayLike | Mapping[str, npt.ArrayLike] | None = None,
    home: Mapping[str, Collection[str]] | None = None,
    margins: Mapping[str, float] | None = None,
    level: float = 0.05,
    about: About = "losses",
) -> Verdict:
    """Decide which losses are better than which, with the luck of training and of frames taken into account.

    The unit of evidence is a trial (a loss trained once); frames only measure it. A difference counts if it
    is larger than luck makes any difference of the whole comparison, in any score, with probability `level`;
    see `luck.py` for how that is found. A loss beats another if it is better in at least one score that may
    vote and worse in none.

    Args:
        scores: Name -> (losses, seeds, frames). A seed is a block of the design: all losses start from the
            same weights and see the same batches. A trial that is missing is NaN throughout; a loss with NaN
            or infinity elsewhere cannot be judged by that score.
        losses: The losses' names, in the order of the arrays.
        higher_is_better: Of each score.
        blocks: (frames,), labels: frames with the same label are not independent (neighbours in a video, the
            same pose) and count as one, blocks weighted alike. By score, where scores are of different
            frames.
        home: Score -> the losses that were trained on its judge; the score has no vote on their pairs.
        margins: Score -> what is too small to matter, in its unit; 0 where none is given.
        level: The probability that anything at all is claimed where losses do not differ.
        about: What is claimed: that losses are better, whatever the seed ("methods" is the same for methods
            of any kind, in their words); or that these pictures are better, whatever a loss would do with
            another seed. Blocks of frames are then the units, and one seed is enough.

    Raises:
        LossariumError: arrays do not fit each other, or names are unknown.

    >>> luck = np.random.default_rng(1).normal(size=(2, 5, 40))
    >>> psnr = 30 + luck + [[[0.0]], [[5.0]]]
    >>> verdict = decide({"psnr": psnr}, ["mse", "ssim"], higher_is_better={"psnr": True})
    >>> verdict.winner, verdict.better
    ('ssim', frozenset({('ssim', 'mse')}))
    """
    arrays = _checked(scores, losses, higher_is_better, home or {}, margins or {}, level)
    margins = {score: (margins or {}).get(score, 0.0) for score in scores}
    homes = {score: tuple(loss for loss in losses if loss in (home or {}).get(score, ())) for score in scores}
    evidence = _Evidence.of(arrays, losses, higher_is_better, blocks, level, about)
    pairs = tuple(
        _pair(first, second, evidence, homes, margins)
        for place, first in enumerate(losses)
        for second in losses[place + 1 :]
    )
    better = frozenset((pair.ahead, pair.other(pair.ahead)) for pair in pairs if pair.ahead is not None)
    worse = {beaten for _, beaten in better}
    verdict = Verdict(
        sentence="",
        winner=_winner(losses, pairs),
        contenders=tuple(loss for loss in losses if loss not in worse),
        better=better,
        equivalent=_alphabetical(pairs, "equivalent"),
        trade_offs=_alphabetical(pairs, "trade-off"),
        unresolved=_alphabetical(pairs, "unresolved", "unjudged"),
        pairs=pairs,
        values={
            score: _values(block_means(values, evidence.blocks_of[score]), losses)
            for score, values in arrays.items()
        },
        home=homes,
        seeds=max(int(np.isfinite(values).any(-1).sum(1).max()) for values in arrays.values()),
        level=level,
        critical=evidence.critical,
        luck=evidence.luck_of_losses(),
        caveats=(),
        about=about,
    )
    return replace(
        verdict, sentence=sentence(verdict, losses), caveats=caveats(verdict, losses, evidence.blocks)
    )


def _checked(
    scores: Mapping[str, npt.NDArray[np.floating]],
    losses: Sequence[str],
    higher_is_better: Mapping[str, bool],
    home: Collection[str],
    margins: Mapping[str, float],
    level: float,
) -> dict[str, Floats]:
    """The scores as float64."""
    if not scores or not losses:
        raise LossariumError("there is nothing to decide on: give at least one score and one loss")
    if len(set(losses)) < len(losses):
        raise LossariumError("a loss is named twice; give each a name of its own")
    arrays = {score: np.asarray(values, dtype=np.float64) for score, values in scores.items()}
    seeds = next(iter(arrays.values())).shape[1:2]
    for score, values in arrays.items():
        if values.ndim != 3 or len(values) != len(losses) or values.shape[1:2] != seeds or not values.size:
            raise LossariumError(
                f"the score {score} has the shape {values.shape}; give (losses, seeds, frames), here for "
                f"{len(losses)} losses and as many seeds as the other scores"
            )
        if score not in higher_is_better:
            raise LossariumError(f"say in higher_is_better whether a higher {score} is better")
        if not 0 <= margins.get(score, 0.0) < np.inf:
            raise LossariumError(f"the margin of {score} must be 0 or more, not {margins[score]}")
    unknown = [name for name in (*margins, *home) if name not in scores]
    if unknown:
        raise LossariumError(f"there is no score {unknown[0]}; the scores are {joined(list(scores))}")
    if not 0 < level < 1:
        raise LossariumError(f"the level must lie between 0 and 1, not be {level}")
    return arrays


@dataclass(frozen=True)
class _Evidence:
    """Everything measured, by score and by pair of names."""

    names: tuple[str, ...]
    """The losses in alphabetical order, so that nothing depends on the order in which they were given."""
    measured: list[Measured]
    place: dict[str, tuple[int, int]]
    """Score -> the number in `measured`, and in its scores."""
    sign: dict[str, float]
    critical: float | None
    level: float
    about: About
    blocks_of: dict[str, npt.NDArray[np.intp]]
    """Score -> (frames,), the number of each frame's block."""
    blocks: int
    """The fewest blocks of frames that a score has."""

    @classmethod
    def of(
        cls,
        arrays: Mapping[str, Floats],
        losses: Sequence[str],
        higher_is_better: Mapping[str, bool],
        blocks: npt.ArrayLike | Mapping[str, npt.ArrayLike] | None,
        level: float,
        about: About,
    ) -> "_Evidence":
        order = sorted(range(len(losses)), key=lambda place: losses[place])
        sign = {score: 1.0 if higher_is_better[score] else -1.0 for score in arrays}
        upward = {score: sign[score] * _without_gaps(values[order]) for score, values in arrays.items()}
        labels = {
            score: numbered_blocks(
                blocks.get(score) if isinstance(blocks, Mapping) else blocks, values.shape[-1]
            )
            for score, values in upward.items()
        }
        # An exact copy of a score is no further evidence.
        first: dict[tuple[bytes, bytes], str] = {}
        original = {
            score: first.setdefault((values.tobytes(), labels[score].tobytes()), score)
            for score, values in upward.items()
        }
        measured = measure({score: upward[score] for score in first.values()}, labels, about)
        place = {
            score: (number, one.scores.index(score))
            for number, one in enumerate(measured)
            for score in one.scores
        }
        return cls(
            names=tuple(losses[index] for index in order),
            measured=measured,
            place={score: place[original[score]] for score in upward},
            sign=sign,
            critical=threshold(measured, level),
            level=level,
            about=about,
            blocks_of=labels,
            blocks=min(int(numbers.max()) + 1 for numbers in labels.values()),
        )

    @cached_property
    def later(self) -> dict[int, float]:
        """More seeds -> the critical value with them; simulated only where something is unresolved."""
        return further_seeds(self.measured, self.level, self.about)

    def luck_of_losses(self) -> dict[str, float]:
        """Loss -> the standard deviation of its luck relative to the average loss."""
        largest = max(self.measured, key=lambda one: len(one.scores))
        return dict(zip(self.names, np.sqrt(largest.seen.relative).tolist(), strict=True))

    def difference(
        self, first: str, second: str, score: str, margin: float, home_of: tuple[str, ...]
    ) -> Difference:
        """What a score says of a pair."""
        group, number = self.place[score]
        one = self.measured[group]
        low, high = sorted((self.names.index(first), self.names.index(second)))
        pair = int(np.flatnonzero((one.design.first == low) & (one.design.second == high))[0])
        sign = 1.0 if self.names[low] == first else -1.0
        if not one.design.seeds[pair]:
            return Difference(score, float("nan"), None, margin, "unmeasured", home_of, None)
        mean = sign * float(one.seen.difference[number, pair])
        if self.critical is None or not one.design.comparable[pair]:
            return Difference(score, mean, None, margin, "unmeasured", home_of, None)
        reach = self.critical * float(one.errors(number)[pair])
        interval = Estimate(mean, mean - reach, mean + reach)
        finding = _finding(interval, margin)
        further = None
        if finding == "unresolved":
            reaches = {more: c * float(one.errors(number, more)[pair]) for more, c in self.later.items()}
            further = next((more for more, reach in reaches.items() if _resolved(mean, reach, margin)), None)
        return Difference(score, mean, interval, margin, finding, home_of, further)


def _without_gaps(values: Floats) -> Floats:
    """The same, without any trial of a loss that has NaN or infinity in one: to drop that trial would flatter
    it."""
    missing = np.asarray(np.isnan(values).all(-1))
    finite = np.asarray(np.isfinite(values).all(-1))
    broken = np.asarray((~finite & ~missing).any(-1))
    return np.where(broken[:, None, None], np.nan, values)


def _finding(interval: Estimate, margin: float) -> Finding:
    if -margin <= interval.low and interval.high <= margin:
        return "equivalent"
    if interval.low > 0:
        return "first"
    return "second" if interval.high < 0 else "unresolved"


def _resolved(mean: float, reach: float, margin: float) -> bool:
    return _finding(Estimate(mean, mean - reach, mean + reach), margin) != "unresolved"


def _pair(
    first: str,
    second: str,
    evidence: _Evidence,
    home: Mapping[str, Collection[str]],
    margins: Mapping[str, float],
) -> Pair:
    differences = tuple(
        evidence.difference(
            first,
            second,
            score,
            margins[score],
            tuple(loss for loss in (first, second) if loss in home[score]),
        )
        for score in evidence.place
    )
    pair = Pair(first, second, "unresolved", differences, None)
    voting = pair.voting()
    further = [one.further_seeds for one in voting if one.finding == "unresolved"]
    return replace(
        pair,
        relation=_relation([one.finding for one in voting]),
        further_seeds=max((more for more in further if more is not None), default=None)
        if None not in further
        else None,
    )


def _relation(findings: Sequence[Finding]) -> Relation:
    """What the scores that may vote say together."""
    known = [finding for finding in findings if finding != "unmeasured"]
    if not findings:
        return "unjudged"
    if "first" in known and "second" in known:
        return "trade-off"
    if "first" in known:
        return "first"
    if "second" in known:
        return "second"
    return "equivalent" if len(known) == len(findings) and set(known) == {"equivalent"} else "unresolved"


def _winner(losses: Sequence[str], pairs: Sequence[Pair]) -> str | None:
    """The one loss that beats or equals every other one and beats one at least."""
    best = []
    for loss in losses:
        of_loss = [pair for pair in pairs if pair.has(loss)]
        ahead = [pair for pair in of_loss if pair.ahead == loss]
        if ahead and all(pair in ahead or pair.relation == "equivalent" for pair in of_loss):
            best.append(loss)
    return best[0] if len(best) == 1 else None


def _alphabetical(pairs: Sequence[Pair], *relations: Relation) -> frozenset[tuple[str, str]]:
    return frozenset(
        (min(pair.first, pair.second), max(pair.first, pair.second))
        for pair in pairs
        if pair.relation in relations
    )


def _values(values: Floats, losses: Sequence[str]) -> dict[str, TrialValues]:
    """Loss -> what its trials have on a score, from (losses, seeds, blocks)."""
    found = {}
    for loss, of_loss in zip(losses, values, strict=True):
        trials = of_loss[~np.isnan(of_loss).all(-1)].mean(-1)
        found[loss] = (
            TrialValues(float(trials.mean()), float(trials.min()), float(trials.max()))
            if len(trials)
            else TrialValues(float("nan"), float("nan"), float("nan"))
        )
    return found
