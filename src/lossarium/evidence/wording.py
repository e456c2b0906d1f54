"""Verdicts in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lossarium.evidence.results import About, Difference, Pair, Verdict
from lossarium.evidence.trials import LEAST_SEEDS

_FEW_BLOCKS = 20
_MOST_PAIRS = 2
_USUAL_SEEDS = 5


@dataclass(frozen=True)
class Words:
    """How to speak of what is compared."""

    one: str
    """Of the things compared."""
    many: str
    repetition: str
    """What tells a difference from luck."""
    repetitions: str
    luck: str
    """What could have made a difference, as the subject of a sentence."""
    trials: str
    """What one thing that is compared has several of, at most."""
    title: str
    """Over the scores of a `{task}`."""


WORDS: dict[About, Words] = {
    "losses": Words("loss", "losses", "seed", "seeds", "luck", "trials", "{task} of held-out frames"),
    "methods": Words("method", "methods", "run", "runs", "luck", "runs", "{task} against their references"),
    "pictures": Words(
        "folder",
        "folders",
        "block of pictures",
        "blocks of pictures",
        "the choice of pictures",
        "runs",
        "{task} against their references",
    ),
}


def sentence(verdict: Verdict, losses: Sequence[str]) -> str:
    """The verdict in a sentence or two, without what it does not say."""
    words = WORDS[verdict.about]
    if len(losses) == 1:
        return f"{losses[0]} stands alone, so there is nothing to compare it with."
    if verdict.critical is None:
        return _too_few(verdict, losses)
    if verdict.winner is not None:
        return _won(verdict, losses, verdict.winner)
    contenders = verdict.contenders
    if not contenders:
        return f"Undecided: every {words.one} is beaten by another one, so that none is the best."
    open_pairs = [
        pair
        for pair in verdict.pairs
        if pair.relation in ("trade-off", "unresolved", "unjudged")
        and (pair.first in contenders or pair.second in contenders)
    ]
    if not open_pairs:
        beaten = [loss for loss in losses if loss not in contenders]
        also = f", and each of them beats {joined(beaten)}" if beaten else ""
        return f"{joined(contenders)} are alike: they differ by less than matters in every score{also}."
    if len(contenders) == 1:
        start = f"Undecided: no {words.one} beats {contenders[0]}, but it has not beaten all others"
    else:
        start = f"Undecided between {joined(contenders)}"
        among = [pair for pair in open_pairs if {pair.first, pair.second} <= set(contenders)]
        open_pairs = among or open_pairs
    return f"{start}: {'; '.join(_reasons(open_pairs, words))}.{_beaten_by_all(verdict, losses)}"


def _won(verdict: Verdict, losses: Sequence[str], winner: str) -> str:
    beaten = [loss for loss in losses if (winner, loss) in verdict.better]
    equal = [loss for loss in losses if loss != winner and loss not in beaten]
    also = f" and differs from {joined(equal)} by less than matters" if equal else ""
    best = "has the best pictures" if verdict.about == "pictures" else "makes the best pictures"
    return f"{winner} {best}: it beats {joined(beaten)}{also}."


def _too_few(verdict: Verdict, losses: Sequence[str]) -> str:
    if verdict.about == "pictures":
        return (
            "No verdict: there are too few pictures to tell a difference from luck; it takes "
            f"{LEAST_SEEDS} blocks of pictures at least."
        )
    ahead = _ahead(verdict, losses)
    if verdict.about == "methods":
        lead = (
            f" {ahead} scored higher than the others on these pictures; another run may not." if ahead else ""
        )
        return (
            f"No verdict yet: no two methods have {LEAST_SEEDS} runs each, and fewer cannot tell a better "
            f"method from a luckier run.{lead} {_USUAL_SEEDS} runs of each are usual."
        )
    lead = (
        f" {ahead} scored higher than the others on these frames; the same loss trained again may not."
        if ahead
        else ""
    )
    return (
        f"No verdict yet: each loss was trained {_times(verdict.seeds)}, which cannot tell a better loss "
        f"from a luckier trial.{lead} A verdict takes {LEAST_SEEDS} seeds at least; {_USUAL_SEEDS} are usual."
    )


def _ahead(verdict: Verdict, losses: Sequence[str]) -> str | None:
    """The loss that is ahead of every other one in more than half of the scores that may vote."""
    for loss in losses:
        leads = [_leads(loss, pair) for pair in verdict.pairs if pair.has(loss)]
        if all(2 * sum(pair) > len(pair) for pair in leads):
            return loss
    return None


def _leads(loss: str, pair: Pair) -> list[bool]:
    sign = 1 if pair.first == loss else -1
    return [sign * one.mean > 0 for one in pair.voting()]


def _reasons(pairs: Sequence[Pair], words: Words) -> list[str]:
    """Why these pairs are not decided."""
    traded = [pair for pair in pairs if pair.relation == "trade-off"]
    close = [pair for pair in pairs if pair.relation == "unresolved"]
    unjudged = [pair for pair in pairs if pair.relation == "unjudged"]
    reasons = [_trade_off(pair) for pair in traded[:_MOST_PAIRS]]
    if len(traded) > _MOST_PAIRS:
        reasons.append(f"{len(traded) - _MOST_PAIRS} more pairs trade one score for another")
    if close:
        first = min(close, key=lambda pair: pair.further_seeds or math.inf)
        names = f"{first.first} and {first.second}"
        seeds = first.further_seeds and f"about {first.further_seeds} more " + (
            words.repetition if first.further_seeds == 1 else words.repetitions
        )
        hardly = f"more {words.repetitions} will hardly help"
        if len(close) == 1:
            which = f"{words.luck} could have made the difference between {names}"
            rest = f"{seeds} would tell" if seeds else hardly
        else:
            which = f"{words.luck} could have made the differences of {len(close)} pairs"
            rest = f"{seeds} would tell {names} apart" if seeds else hardly
        reasons += [which, rest]
    if unjudged:
        pair = unjudged[0]
        also = f" (and {len(unjudged) - 1} more pairs)" if len(unjudged) > 1 else ""
        reasons.append(
            f"no score may vote on {pair.first} and {pair.second}{also}, for they trained on all of them"
        )
    return reasons


def _trade_off(pair: Pair) -> str:
    largest = {one.finding: one for one in sorted(pair.voting(), key=_against_luck)}
    first, second = largest["first"], largest["second"]
    return (
        f"{pair.first} is better than {pair.second} in {first.score} by {abs(first.mean):.3g}, and worse in "
        f"{second.score} by {abs(second.mean):.3g}"
    )


def _against_luck(one: Difference) -> float:
    """A difference over the half-width of its interval."""
    if one.interval is None or one.interval.high == one.interval.mean:
        return math.inf
    return abs(one.mean) / (one.interval.high - one.interval.mean)


def _beaten_by_all(verdict: Verdict, losses: Sequence[str]) -> str:
    others = [loss for loss in losses if loss not in verdict.contenders]
    beaten = [
        loss
        for loss in others
        if all((contender, loss) in verdict.better for contender in verdict.contenders)
    ]
    if not beaten:
        return ""
    who = "It beats" if len(verdict.contenders) == 1 else "Each of them beats"
    return f" {who} {joined(beaten)}."


def caveats(verdict: Verdict, losses: Sequence[str], blocks: int) -> tuple[str, ...]:
    """What the verdict does not say, a sentence each."""
    found = []
    frames = "frames" if verdict.about == "losses" else "pictures"
    if verdict.about == "pictures":
        found.append(
            "With one folder a name, this is about these pictures: the same method trained again may rank "
            "differently."
        )
    if verdict.critical is not None and blocks < _FEW_BLOCKS:
        found.append(
            f"Only {blocks} independent blocks of {frames}: what holds for other {frames} is known roughly."
        )
    found += [
        f"{pair.first} and {pair.second} were trained on what all scores measure, so that none may vote on "
        "them: choose other judges, or have people vote."
        for pair in verdict.pairs
        if pair.relation == "unjudged"
    ]
    for score, of_loss in verdict.values.items():
        bad = [loss for loss in losses if not math.isfinite(of_loss[loss].mean)]
        if bad:
            found.append(
                f"{score} has values that are NaN or infinity for {joined(bad)}, and no vote on them."
            )
    return tuple(found)


def joined(names: Sequence[str]) -> str:
    """Names in a sentence. Specs may contain " + ", which reads well beside "and": "l1 and ssim + mae"."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
