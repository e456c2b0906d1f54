"""Learning-rate schedules as text: `"cosine(restarts=3, floor=1e-6)"`, `"step(every=1000, warmup=500)"`.

All but plateau are pure functions of the step, so that a resumed trial needs no state for them. Steps are
numbered from 1, as in `metrics.jsonl`: the update of step s uses `learning_rate(schedule, base, s, steps)`.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

from lossarium.errors import LossariumError
from lossarium.text.suggestions import nearest
from lossarium.training.options.syntax import call_text, read_call


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the learning rate changes from step to step. `str()` writes it, `parse()` reads it."""

    kind: ClassVar[str]
    depends_on_length: ClassVar[bool] = False
    """Whether the rate of a step depends on how many steps the trial has."""

    warmup: int = 0
    """Steps of linear warm-up before the schedule begins: step s has s / (warmup + 1) of its first rate."""

    def __post_init__(self) -> None:
        self._need(self.warmup >= 0, "warmup is a number of steps, 0 or more")

    def __str__(self) -> str:
        given = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }
        return call_text(self.kind, given)

    def share(self, done: int, steps: int) -> float:
        """The factor on the base rate after `done` of `steps` steps, not counting the warm-up."""
        raise NotImplementedError

    def _need(self, condition: bool, rule: str) -> None:
        if not condition:
            raise LossariumError(f'the learning-rate schedule "{self}" is invalid: {rule}')


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """The base rate throughout."""

    kind = "constant"

    def share(self, done: int, steps: int) -> float:  # noqa: ARG002 - the signature is shared
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Falling(Schedule):
    """A schedule that lowers the rate, down to a floor."""

    floor: float = 0.0
    """The rate never falls below this, unless the base rate itself is below it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need(0 <= self.floor < math.inf, "floor is a learning rate, 0 or more")


@dataclass(frozen=True, kw_only=True)
class Step(Falling):
    """Multiplied by `factor` after every `every` steps."""

    kind = "step"

    every: int = 1000
    factor: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need(self.every >= 1, "every is a number of steps, 1 or more")
        self._need(0 < self.factor <= 1, "factor is above 0 and at most 1")

    def share(self, done: int, steps: int) -> float:  # noqa: ARG002
        return self.factor ** (done // self.every)


@dataclass(frozen=True, kw_only=True)
class Exponential(Step):
    """As `step`, but smooth: multiplied by `factor ** (1 / every)` at every step."""

    kind = "exponential"

    def share(self, done: int, steps: int) -> float:  # noqa: ARG002
        return float(self.factor ** (done / self.every))


@dataclass(frozen=True, kw_only=True)
class MultiStep(Falling):
    """Multiplied by `factor` after each of the steps `at`, which count from the start of the warm-up."""

    kind = "multi_step"

    at: tuple[int, ...] = ()
    factor: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need(bool(self.at), "say after which steps it falls, as in multi_step(at=[1000, 2000])")
        self._need(
            all(isinstance(step, int) for step in self.at) and self.at == tuple(sorted(set(self.at))),
            "at lists whole numbers of steps, each above the one before",
        )
        self._need(self.at[0] >= 1, "at lists numbers of steps, 1 or more")
        self._need(0 < self.factor <= 1, "factor is above 0 and at most 1")

    def share(self, done: int, steps: int) -> float:  # noqa: ARG002
        return float(self.factor ** sum(done + self.warmup >= step for step in self.at))


@dataclass(frozen=True, kw_only=True)
class Cosine(Falling):
    """Half a cosine from the base rate down to the floor, restarted `restarts` times.

    Each period is `growth` times as long as the one before; together they fill the steps of the trial.
    Source: Loshchilov & Hutter 2017, "SGDR", equation 5.
    """

    kind = "cosine"
    depends_on_length = True

    restarts: int = 0
    growth: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need(0 <= self.restarts <= 1000, "restarts is a whole number from 0 to 1000")
        self._need(1 <= self.growth <= 10, "growth is from 1 to 10")

    def share(self, done: int, steps: int) -> float:
        if done >= steps:
            return 0.0
        lengths = [self.growth**period for period in range(self.restarts + 1)]
        # In units of the first period. The tolerance below is for rounding at a restart.
        place = done * math.fsum(lengths) / steps
        for length in lengths:
            if place < length * (1 - 1e-12):
                break
            place = max(0.0, place - length)
        return (1 + math.cos(math.pi * place / length)) / 2


@dataclass(frozen=True, kw_only=True)
class OneCycle(Schedule):
    """Up to the base rate and down again, each as half a cosine. The momentum is not changed.

    Source: Smith & Topin 2018, "Super-convergence"; shares and their defaults as in
    `torch.optim.lr_scheduler.OneCycleLR`.
    """

    kind = "one_cycle"
    depends_on_length = True

    rise: float = 0.3
    """Share of the steps that go up."""
    start: float = 0.04
    """Share of the base rate at the first step."""
    end: float = 4e-6
    """Share of the base rate at the last step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("rise", "start", "end"):
            self._need(0 <= getattr(self, name) <= 1, f"{name} is a share from 0 to 1")

    def share(self, done: int, steps: int) -> float:
        top, last = self.rise * steps - 1, steps - 1
        if done <= top and top > 0:
            return _half_cosine(self.start, 1.0, done / top)
        top = max(top, 0.0)
        return _half_cosine(1.0, self.end, min(1.0, (done - top) / (last - top)) if last > top else 1.0)


@dataclass(frozen=True, kw_only=True)
class Plateau(Falling):
    """Multiplied by `factor` whenever a held-out judge has not improved for more than `patience` evaluations.

    As `torch.optim.lr_scheduler.ReduceLROnPlateau` with a relative threshold.
    """

    kind = "plateau"

    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    """An improvement is more than this share of the best score."""
    cooldown: int = 0
    """Evaluations after a fall that do not count towards `patience`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._need(0 < self.factor < 1, "factor is above 0 and below 1")
        self._need(self.patience >= 0, "patience is a number of evaluations, 0 or more")
        self._need(self.cooldown >= 0, "cooldown is a number of evaluations, 0 or more")
        self._need(0 <= self.threshold < math.inf, "threshold is 0 or more")

    def share(self, done: int, steps: int) -> float:  # noqa: ARG002
        return 1.0


@dataclass(frozen=True)
class PlateauState:
    """The state of a plateau schedule; `dataclasses.asdict` makes it a JSON object."""

    best: float | None = None
    waited: int = 0
    """Evaluations since the last improvement."""
    cooling: int = 0
    """Evaluations of the cooldown that remain."""
    falls: int = 0
    """How often the rate has fallen."""


_KINDS: dict[str, type[Schedule]] = {
    schedule.kind: schedule
    for schedule in (Constant, Step, MultiStep, Exponential, Cosine, OneCycle, Plateau)
}
KINDS = tuple(_KINDS)


def parse(text: str) -> Schedule:
    """Read a schedule.

    Raises:
        LossariumError: the text is malformed, a name is unknown, or a value is out of its range.

    >>> str(parse("cosine( restarts=3,floor=1e-6 )"))
    'cosine(floor=1e-06, restarts=3)'
    >>> parse("step").every
    1000
    """
    call = read_call(text, "learning-rate schedule")
    if call.name not in _KINDS:
        raise LossariumError(f'there is no learning-rate schedule "{call.name}"; {nearest(call.name, KINDS)}')
    kind = _KINDS[call.name]
    defaults: dict[str, Any] = {field.name: field.default for field in fields(kind)}
    return kind(**call.values(defaults))


def learning_rate(
    schedule: Schedule, base: float, step: int, steps: int, state: PlateauState | None = None
) -> float:
    """The learning rate of a step.

    Args:
        schedule: Any.
        base: The rate that the schedule starts from (for one_cycle: its highest).
        step: From 1. Beyond `steps` the rate stays as at the end.
        steps: The steps of the whole trial, warm-up included.
        state: The state of a plateau schedule; None if it has not fallen yet.

    >>> [learning_rate(parse("constant(warmup=3)"), 1.0, step, 10) for step in (1, 2, 3, 4)]
    [0.25, 0.5, 0.75, 1.0]
    """
    after = max(1, steps - schedule.warmup)
    done = min(max(step - 1 - schedule.warmup, 0), after)
    share = schedule.share(done, after)
    if isinstance(schedule, Plateau) and state is not None:
        share = schedule.factor**state.falls
    rate = base * share
    if isinstance(schedule, Falling):
        floor = min(schedule.floor, base)
        # A cosine is scaled to end at its floor; the others are cut off there.
        rate = floor + (base - floor) * share if isinstance(schedule, Cosine) else max(rate, floor)
    return rate * min(1.0, step / (schedule.warmup + 1))


def advance(schedule: Plateau, state: PlateauState, score: float, *, higher_is_better: bool) -> PlateauState:
    """The state after one more evaluation of the held-out judge.

    NaN counts as no improvement.

    >>> state = PlateauState()
    >>> for score in (20.0, 20.0, 20.0):
    ...     state = advance(Plateau(patience=1), state, score, higher_is_better=True)
    >>> state.falls
    1
    """
    better = _is_better(score, state.best, schedule.threshold, higher_is_better)
    best = score if better else state.best
    waited = 0 if better else state.waited + 1
    if state.cooling > 0:
        return replace(state, best=best, waited=0, cooling=state.cooling - 1)
    if waited > schedule.patience:
        return PlateauState(best, 0, schedule.cooldown, state.falls + 1)
    return replace(state, best=best, waited=waited)


def _is_better(score: float, best: float | None, threshold: float, higher_is_better: bool) -> bool:
    if best is None:
        return math.isfinite(score)
    # Relative to the magnitude of the best score, so that it is right for negative scores, too.
    margin = threshold * abs(best)
    return score > best + margin if higher_is_better else score < best - margin


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
