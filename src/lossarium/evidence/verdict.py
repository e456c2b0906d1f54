"""From scores to a verdict: pairwise votes of the judges, never a tie broken silently.

For each pair of losses every score votes whose judge trained neither of them. Its vote goes to the loss that
is better by more than chance: the paired bootstrap interval of their difference leaves out 0, when it is
widened so that all pairs of a score hold together with 95% (Bonferroni). A loss beats another if more scores
vote for it than against it. The winner is the loss that beats every other one; without such a loss the
verdict is "undecided".
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from lossarium.evidence.results import Estimate, Score, Scores, Verdict, Vote
from lossarium.evidence.statistics import Bootstrap
from lossarium.judging.held_out import SWAP
from lossarium.judging.judges import judge

_FEW_UNITS = 20

FinalScores = Mapping[str, Mapping[str, Scores]]
"""Score key -> loss -> (seeds, pictures), at the end of training."""


def decide(
    losses: Sequence[str],
    scores: Sequence[Score],
    finals: FinalScores,
    units: Mapping[str, npt.NDArray[np.intp]],
) -> Verdict:
    """The verdict over losses.

    Args:
        losses: Specs, in the user's order.
        scores: What was measured.
        finals: The values.
        units: Task -> (pictures,), which pictures stand or fall together; see `Bootstrap`.
    """
    seeds = len(next(iter(finals[scores[0].key].values())))
    bootstraps = {task: Bootstrap(numbers, seeds) for task, numbers in units.items()}
    home = {
        score.key: tuple(loss for loss in losses if judge(score.judge).is_home_of(loss)) for score in scores
    }
    table = {
        score.key: {loss: bootstraps[score.task].estimate(finals[score.key][loss]) for loss in losses}
        for score in scores
    }
    pairs = list(combinations(losses, 2))
    votes = tuple(
        _vote(score, first, second, finals[score.key], bootstraps[score.task], home[score.key], len(pairs))
        for first, second in pairs
        for score in scores
    )
    wins = {loss: tuple(other for other in losses if _beats(loss, other, votes)) for loss in losses}
    winner = next((loss for loss in losses if wins[loss] and len(wins[loss]) == len(losses) - 1), None)
    contenders = _contenders(losses, wins)
    return Verdict(
        winner=winner,
        contenders=contenders,
        sentence=_sentence(losses, winner, contenders, wins, votes),
        caveats=_caveats(scores, seeds, len(np.unique(next(iter(units.values()))))),
        table=table,
        home=home,
        votes=votes,
        wins=wins,
    )


def _vote(
    score: Score,
    first: str,
    second: str,
    finals: Mapping[str, Scores],
    bootstrap: Bootstrap,
    home: tuple[str, ...],
    pairs: int,
) -> Vote:
    sign = 1.0 if score.higher_is_better else -1.0
    difference = bootstrap.estimate(sign * (finals[first] - finals[second]), doubt=0.05 / pairs)
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
    """The losses that none beats; where they beat each other in a circle, those with the most wins."""
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
    """How many of the votes on the winner's pairs went to it."""
    cast = [vote.preferred for vote in votes if winner in (vote.first, vote.second) and vote.preferred]
    return f", with {cast.count(winner)} of the {len(cast)} votes on those pairs"


def _joined(losses: Sequence[str]) -> str:
    # A spec may hold a plus, so that "a and ssim + mae" needs no commas of its own to be read.
    return losses[0] if len(losses) == 1 else ", ".join(losses[:-1]) + " and " + losses[-1]


def _caveats(scores: Sequence[Score], seeds: int, units: int) -> tuple[str, ...]:
    caveats = []
    if seeds == 1:
        caveats.append(
            "One seed: luck in initial weights and batches is not in these intervals; --seeds 3 measures it."
        )
    elif seeds == 2:
        caveats.append("Two seeds tell little about luck in the initial weights and batches.")
    if all(score.task != SWAP for score in scores):
        caveats.append(
            "Swaps are shown but not scored: the exact swap is known for synthetic identities alone, so the "
            "verdict is on reconstruction."
        )
    if units < _FEW_UNITS:
        caveats.append(f"Only {units} held-out frames: intervals over so few are rough.")
    return tuple(caveats)
