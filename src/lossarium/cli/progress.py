"""Show progress: a live bar on a terminal, a plain line every few seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from lossarium.cli.console import PlainConsole
from lossarium.cli.pace import TimeLeft, pace_text
from lossarium.comparison.plan import Plan
from lossarium.comparison.protocol import TrialProgress
from lossarium.training.callbacks import Callbacks
from lossarium.training.callbacks import Progress as TrainingProgress
from lossarium.training.configuration import Trial
from lossarium.training.records import Row

_SECONDS_BETWEEN_LINES = 5.0

# The width of everything but the loss's spec: trial and seed, a short bar, step, loss, speed, time left.
_WIDTH_OF_THE_REST = 80


@contextmanager
def comparison_progress(
    plan: Plan, *, shown: bool = True
) -> Iterator[tuple[Callable[[TrialProgress], None], Callable[[str], None]]]:
    """Show trial, step, loss, steps/s and the time left for the whole comparison, and messages.

    Yields the functions to call with the progress and with messages.
    """
    if not shown:
        yield lambda _: None, lambda _: None
        return
    console = PlainConsole(stderr=True)
    left = TimeLeft(total_steps=len(plan.trials()) * plan.recipe.steps)
    if not console.is_terminal:
        yield _Lines(left), _note
        return
    text = "[bold]{task.fields[trial]}"
    rest = "{task.fields[loss]} [dim]{task.fields[speed]} {task.fields[left]}"
    with Progress(
        TextColumn(text),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn(rest),
        console=console,
        expand=True,
    ) as bar:
        task = bar.add_task("", total=plan.recipe.steps, trial="starting", loss="", speed="", left="")

        def update(now: TrialProgress) -> None:
            if (sentence := left.told_once(_done(now))) is not None:
                tell(sentence)
            bar.update(
                task,
                completed=now.progress.step,
                trial=escape(_trial(now, longest_spec=max(8, console.width - _WIDTH_OF_THE_REST))),
                loss=f"loss {now.progress.loss:.4f}",
                speed=pace_text(now.progress.steps_per_second),
                left=left.after(_done(now)),
            )

        def tell(sentence: str) -> None:
            bar.console.print(f"note: {escape(sentence)}", highlight=False)

        yield update, tell


@contextmanager
def training_progress(trial: Trial, *, shown: bool = True) -> Iterator[Callbacks]:
    """Show step, loss and its terms, learning rate, steps/s, the time left, and messages."""
    if not shown:
        yield Callbacks()
        return
    console = PlainConsole(stderr=True)
    left, skipped = TimeLeft(trial.recipe.steps), _SkippedSteps()
    if not console.is_terminal:
        yield Callbacks(_TrainingLines(left, skipped), _note, on_row=skipped)
        return
    bar = Progress(
        MofNCompleteColumn(),
        BarColumn(bar_width=None),
        TextColumn("[dim]{task.fields[pace]}"),
        console=console,
        expand=True,
    )
    task = bar.add_task("", total=trial.recipe.steps, pace="")
    # The learning rate is on its own line, so that it does not jump when a long loss takes two lines.
    losses, others = Text("starting"), Text()
    with Live(Group(bar, losses, others), console=console) as live:

        def progress(now: TrainingProgress) -> None:
            if (sentence := left.told_once(now.step)) is not None:
                tell(sentence)
            bar.update(task, completed=now.step, pace=_joined(_pace(now), left.after(now.step)))
            losses.plain = _loss(now)
            others.plain = "   ".join((_learning_rate(now), *skipped.said()))

        def tell(sentence: str) -> None:
            live.console.print(f"note: {escape(sentence)}", highlight=False)

        yield Callbacks(progress, tell, on_row=skipped)
        if not bar.tasks[task].completed:
            # The trial was finished before.
            live.update(Text())


def writing_report() -> AbstractContextManager[object]:
    """Say that the report is being written; on a terminal, until it is."""
    return PlainConsole(stderr=True).status("writing the report")


def _trial(now: TrialProgress, longest_spec: int = 1000) -> str:
    spec = now.trial.loss
    if len(spec) > longest_spec:
        spec = f"{spec[: longest_spec - 1]}…"
    return f"trial {now.number}/{now.trials} {spec} seed {now.trial.seed}"


def _note(sentence: str) -> None:
    print(f"note: {sentence}", file=sys.stderr, flush=True)


def _done(now: TrialProgress) -> int:
    return (now.number - 1) * now.progress.steps + now.progress.step


def _pace(now: TrainingProgress) -> str:
    return pace_text(now.steps_per_second)


def _joined(*parts: str) -> str:
    """Join the parts that are known; unknown ones are empty."""
    return "  ".join(part for part in parts if part)


def _loss(now: TrainingProgress) -> str:
    terms = ", ".join(f"{term} {value:.4f}" for term, value in now.terms.items())
    return f"loss {now.loss:.4f} ({terms})" if len(now.terms) > 1 else f"loss {now.loss:.4f}"


def _learning_rate(now: TrainingProgress) -> str:
    return f"learning rate {now.learning_rate:.3g}"


class _SkippedSteps:
    """Counts the steps of this run that were skipped, as their loss or gradient was not finite."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, row: Row) -> None:
        self._count += "passed_over" in row

    def said(self) -> tuple[str, ...]:
        """The count as text, if it is not 0."""
        return (f"{self._count} not finite, skipped",) if self._count else ()


class _Lines:
    """Prints a line when a trial begins and ends, and every few seconds between."""

    def __init__(self, left: TimeLeft) -> None:
        self._left = left
        self._written = -_SECONDS_BETWEEN_LINES
        self._trial = 0

    def __call__(self, now: TrialProgress) -> None:
        if (sentence := self._left.told_once(_done(now))) is not None:
            _note(sentence)
        left = self._left.after(_done(now))
        due = time.monotonic() - self._written >= _SECONDS_BETWEEN_LINES
        if due or now.number != self._trial or now.progress.step == now.progress.steps:
            self._written, self._trial = time.monotonic(), now.number
            step = f"step {now.progress.step}/{now.progress.steps}"
            loss, pace = f"loss {now.progress.loss:.4f}", _pace(now.progress)
            print(_joined(_trial(now), step, loss, pace, left), file=sys.stderr, flush=True)


class _TrainingLines:
    """Prints a line after the first and the last step, and every few seconds between."""

    def __init__(self, left: TimeLeft, skipped: _SkippedSteps) -> None:
        self._left, self._skipped = left, skipped
        self._written = -_SECONDS_BETWEEN_LINES

    def __call__(self, now: TrainingProgress) -> None:
        if (sentence := self._left.told_once(now.step)) is not None:
            _note(sentence)
        left = self._left.after(now.step)
        if time.monotonic() - self._written < _SECONDS_BETWEEN_LINES and now.step != now.steps:
            return
        self._written = time.monotonic()
        numbers = (_loss(now), _learning_rate(now), *self._skipped.said(), _pace(now), left)
        print(_joined(f"step {now.step}/{now.steps}", *numbers), file=sys.stderr, flush=True)
