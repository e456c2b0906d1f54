"""What the training loop calls: an evaluator, which scores the model, and callbacks, which show it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import nn

from lossarium.training.records import Row


@dataclass(frozen=True)
class Progress:
    """The argument of `on_progress`, after every step."""

    step: int
    steps: int
    loss: float
    terms: Mapping[str, float]
    learning_rate: float
    steps_per_second: float
    """Of this run of the trial, without its first step, which compiles kernels, once there is a second
    one."""


class Evaluator(Protocol):
    """Scores a model on held-out frames."""

    def __call__(self, model: nn.Module, step: int, *, everything: bool) -> Row:
        """Score the model, on all held-out frames or on a sample, and take the previews of this snapshot.

        Returns:
            The keys `held_out` and, if there is a smaller sample, `judged` and `sample` of the row.
        """

    def goodness(self, row: Row) -> float:
        """Sum up the sample's scores in one number, comparable between evaluations; higher is better."""


@dataclass(frozen=True)
class Callbacks:
    """What is called while a trial is trained."""

    on_progress: Callable[[Progress], None] = lambda _: None
    """Called after every step."""
    tell: Callable[[str], None] = lambda _: None
    """Called with a sentence when something out of the ordinary happens."""
    on_checkpoint: Callable[[], None] = lambda: None
    """Called before a checkpoint, to write the previews; if it raises OSError, the checkpoint is
    postponed."""
    on_rescue: Callable[[Path], None] = lambda _: None
    """Called instead, with another folder, if the trial's folder cannot be written at the trial's end."""
    on_row: Callable[[Row], None] = lambda _: None
    """Called with every row of `metrics.jsonl`."""
    on_step: Callable[[nn.Module, int], None] = lambda _model, _step: None
    """Called after every step with the model, which it must leave unchanged."""
