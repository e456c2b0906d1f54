"""Progress for people: a live bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from lossarium.comparison.plan import Plan
from lossarium.comparison.protocol import TrialProgress
from lossarium.training.configuration import Trial
from lossarium.training.loop import Progress as TrainingProgress
from lossarium.training.loop import Watcher

_SECONDS_BETWEEN_LINES = 5.0

# Columns for all but the spec: trial and seed, a short bar, step, loss, speed, time left.
_WIDTH_OF_THE_REST = 80


@contextmanager
def comparison_progress(
    plan: Plan, *, shown: bool = True
) -> Iterator[tuple[Callable[[TrialProgress], None], Callable[[str], None]]]:
    """Show trial, step, loss, steps/s and the time left for the whole comparison; and what is told."""
    if not shown:
        yield lambda _: None, lambda _: None
        return
    console = Console(stderr=True)
    left = _TimeLeft(total_steps=len(plan.trials()) * plan.recipe.steps)
    if not console.is_terminal:
        yield _Lines(left), lambda sentence: print(f"note: {sentence}", file=sys.stderr, flush=True)
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
            bar.update(
                task,
                completed=now.progress.step,
                trial=escape(_trial(now, longest_spec=max(8, console.width - _WIDTH_OF_THE_REST))),
                loss=f"loss {now.progress.loss:.4f}",
                speed=f"{now.progress.steps_per_second:.1f} steps/s",
                left=f"{left.after(now)} left",
            )

        yield update, lambda sentence: bar.console.print(f"note: {escape(sentence)}", highlight=False)


@contextmanager
def training_progress(trial: Trial) -> Iterator[Watcher]:
    """Show step, loss and its terms, learning rate, steps/s, the time left, and what is told."""
    plan = Plan((trial.loss,), 1, trial.recipe)
    with comparison_progress(plan) as (watch, tell):

        def progress(now: TrainingProgress) -> None:
            watch(TrialProgress(trial, 1, 1, now))

        yield Watcher(progress, tell)


def writing_report() -> AbstractContextManager[object]:
    """Say that the last seconds go into the report; on a terminal until they have passed."""
    return Console(stderr=True).status("writing the report")


def _trial(now: TrialProgress, longest_spec: int = 1000) -> str:
    spec = now.trial.loss
    if len(spec) > longest_spec:
        spec = f"{spec[: longest_spec - 1]}…"
    return f"trial {now.number}/{now.trials} {spec} seed {now.trial.seed}"


class _TimeLeft:
    """Time left for all trials, from the pace of this run, its judging included."""

    def __init__(self, total_steps: int) -> None:
        self._total = total_steps
        self._began = time.monotonic()
        self._first: int | None = None

    def after(self, now: TrialProgress) -> str:
        done = (now.number - 1) * now.progress.steps + now.progress.step
        if self._first is None:
            self._first = done - 1
        pace = (time.monotonic() - self._began) / (done - self._first)
        minutes, seconds = divmod(round(pace * (self._total - done)), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class _Lines:
    """A line when a trial begins and ends, and every few seconds between."""

    def __init__(self, left: _TimeLeft) -> None:
        self._left = left
        self._written = -_SECONDS_BETWEEN_LINES
        self._trial = 0

    def __call__(self, now: TrialProgress) -> None:
        left = self._left.after(now)
        due = time.monotonic() - self._written >= _SECONDS_BETWEEN_LINES
        if due or now.number != self._trial or now.progress.step == now.progress.steps:
            self._written, self._trial = time.monotonic(), now.number
            step = f"step {now.progress.step}/{now.progress.steps}"
            pace = f"{now.progress.steps_per_second:.1f} steps/s"
            print(
                f"{_trial(now)}  {step}  loss {now.progress.loss:.4f}  {pace}  {left} left",
                file=sys.stderr,
                flush=True,
            )
