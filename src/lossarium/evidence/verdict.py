"""Makes a verdict from scores by pairwise votes of the judges; ties are never broken.

For each pair of losses, every score votes unless its judge is the home judge of either loss. It votes for the
better loss if the difference exceeds chance: if its paired bootstrap interval does not contain 0. The
intervals of all pairs of a score hold jointly with 95% confidence (Bonferroni). A loss beats
another if more scores vote for it than against it. The winner is the loss that beats every other one; without
such a loss the verdict is "undecided".
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from lossarium.evidence.results import Estimate, Score, Scores, Verdict, Vote
from lossarium.evidence.statistics import Bootstrap, interval
from lossarium.judging.tasks import SWAP

_FEW_UNITS = 20
_DOUBT = 0.05

FinalScores = Mapping[str, Mapping[str, Scores]]
"""Score key -> loss -> (seeds, pictures), at the end of training."""


def decide(
    losses: Sequence[str],
    scores: Sequence[Score],
    finals: FinalScores,
    units: Mapping[str, npt.NDArray[np.intp]],
    home: Mapping[str, tuple[str, ...]],
    troubles: Mapping[str, Sequence[str]] | None = None,
) -> Verdict:
    """Decide which loss is best.

    Args:
        losses: Specs, in the user's order.
        scores: The scores that vote.
        finals: Their values.
        units: Task -> (pictures,), the unit of each picture, which is resampled as a whole; see `Bootstrap`.
        home: Score key -> the losses that trained on its judge; the score has no vote on them.
        troubles: Loss -> what went wrong in its trials, a sentence each; this adds scores that are NaN or
            infinity.
    """
    seeds = len(next(iter(finals[scores[0].key].values())))
    resampled = _resampled(losses, scores, finals, units, seeds)
    pairs = list(combinations(losses, 2))
    table: dict[str, dict[str, Estimate]] = {}
    by_pair: dict[tuple[str, str], list[Vote]] = {pair: [] for pair in pairs}
    for score in scores:
        sampled = {loss: resampled[score.key, loss] for loss in losses}
        means = {loss: float(finals[score.key][loss].mean()) for loss in losses}
        table[score.key] = {loss: interval(means[loss], sampled[loss], _DOUBT) for loss in losses}
        for pair in pairs:
            by_pair[pair].append(_vote(score, pair, means, sampled, home[score.key], _DOUBT / len(pairs)))
    votes = tuple(vote for pair in pairs for vote in by_pair[pair])
    all_troubles = _troubles(losses, scores, finals, troubles or {})
    wins = {loss: tuple(other for other in losses if _beats(loss, other, votes)) for loss in losses}
    winner = next((loss for loss in losses if wins[loss] and len(wins[loss]) == len(losses) - 1), None)
    contenders = _contenders(losses, wins)
    return Verdict(
        winner=winner,
        contenders=contenders,
        sentence=_sentence(losses, winner, contenders, wins, votes) + _but(all_troubles),
        troubles=tuple(sentence for sentences in all_troubles.values() for sentence in sentences),
        caveats=_caveats(scores, seeds, len(np.unique(next(iter(units.values()))))),
        table=table,
        home=dict(home),
        votes=votes,
        wins=wins,
    )


def _resampled(
    losses: Sequence[str],
    scores: Sequence[Score],
    finals: FinalScores,
    units: Mapping[str, npt.NDArray[np.intp]],
    seeds: int,
) -> dict[tuple[str, str], npt.NDArray[np.float64]]:
    """(score key, loss) -> its mean in every resampling; all scores of a task share the resamplings."""
    found: dict[tuple[str, str], npt.NDArray[np.float64]] = {}
    for task, numbers in units.items():
        keys = [(score.key, loss) for score in scores if score.task == task for loss in losses]
        means = Bootstrap(numbers, seeds).means([finals[key][loss] for key, loss in keys])
        found.update(zip(keys, means, strict=True))
    return found


def _vote(
    score: Score,
    pair: tuple[str, str],
    means: Mapping[str, float],
    resampled: Mapping[str, npt.NDArray[np.float64]],
    home: tuple[str, ...],
    alpha: float,
) -> Vote:
    """The vote of a score on a pair, from the means of its values and of their resamplings."""
    first, second = pair
    sign = 1.0 if score.higher_is_better else -1.0
    difference = interval(
        sign * (means[first] - means[second]), sign * (resampled[first] - resampled[second]), alpha
    )
    home_of = tuple(loss for loss in (first, second) if loss in home)
    preferred = None if home_of else _better(first, second, difference)
    return Vote(score.key, first, second, difference, preferred, home_of)


def _better(first: str, second: str, difference: Estimate) -> str | None:
    if difference.low > 0:
        return first
    return second if difference.high < 0 else None


def _beats(loss: str, other: str, votes: Sequence[Vote]) -> bool:
    between = [vote.preferred for vote in votes if {vote.first, vote.second} == {loss, other}]
    return loss != other and between.count(loss) > between.count(other)


def _contenders(losses: Sequence[str], wins: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The losses that no other beats; if each is beaten by another, those with the most wins."""
    unbeaten = tuple(loss for loss in losses if not any(loss in beaten for beaten in wins.values()))
    if unbeaten:
        return unbeaten
    most = max(len(beaten) for beaten in wins.values())
    return tuple(loss for loss in losses if len(wins[loss]) == most)


def _sentence(
    losses: Sequence[str],
    winner: str | None,
    contenders: Sequence[str],
    wins: Mapping[str, tuple[str, ...]],
    votes: Sequence[Vote],
) -> str:
    if len(losses) == 1:
        return f"{losses[0]} was trained alone, so there is nothing to judge it against."
    if winner is not None:
        return f"{winner} makes the best pictures: it beats {_joined(wins[winner])}{_support(winner, votes)}."
    if len(contenders) == 1:
        unbeaten = contenders[0]
        equals = [loss for loss in losses if loss != unbeaten and loss not in wins[unbeaten]]
        return f"Undecided: no loss beats {unbeaten}, but it does not beat {_joined(equals)} either."
    others = [loss for loss in losses if loss not in contenders]
    beaten = [loss for loss in others if all(loss in wins[contender] for contender in contenders)]
    also = f"; each of them beats {_joined(beaten)}" if beaten else ""
    return f"Undecided between {_joined(contenders)}{also}."


def _support(winner: str, votes: Sequence[Vote]) -> str:
    """Says how many of the votes on the winner's pairs went to it."""
    cast = [vote.preferred for vote in votes if winner in (vote.first, vote.second) and vote.preferred]
    return f", with {cast.count(winner)} of the {len(cast)} votes on those pairs"


def _troubles(
    losses: Sequence[str],
    scores: Sequence[Score],
    finals: FinalScores,
    known: Mapping[str, Sequence[str]],
) -> dict[str, tuple[str, ...]]:
    """Loss -> what went wrong in its trials; losses without trouble are left out."""
    found = {}
    for loss in losses:
        sentences = list(known.get(loss, ()))
        for score in scores:
            values = finals[score.key][loss]
            if missing := int((~np.isfinite(values)).sum()):
                sentences.append(
                    f"{score.title} of {score.task} is NaN or infinity for {missing} of {values.size} "
                    f"pictures of {loss}, so it has no vote on {loss}."
                )
        if sentences:
            found[loss] = tuple(sentences)
    return found


def _but(troubles: Mapping[str, Sequence[str]]) -> str:
    if not troubles:
        return ""
    return f" But there was trouble with {_joined(list(troubles))}: this verdict rests on unequal trials."


def _joined(losses: Sequence[str]) -> str:
    # Specs may contain " + ", which reads well beside "and": "l1 and ssim + mae".
    return losses[0] if len(losses) == 1 else ", ".join(losses[:-1]) + " and " + losses[-1]


def _caveats(scores: Sequence[Score], seeds: int, units: int) -> tuple[str, ...]:
    caveats = []
    if seeds == 1:
        caveats.append(
            "One seed: luck in initial weights and batches is not in these intervals; --seeds 3 measures it."
        )
    elif seeds == 2:
        caveats.append("Two seeds say little about luck in the initial weights and batches.")
    if all(score.task != SWAP for score in scores):
        caveats.append(
            "Swaps are shown but not scored: the exact swap is known only for synthetic identities, so the "
            "verdict is on reconstruction."
        )
    if units < _FEW_UNITS:
        caveats.append(f"Only {units} held-out frames: intervals over so few are rough.")
    return tuple(caveats)
