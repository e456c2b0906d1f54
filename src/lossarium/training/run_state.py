"""The state of a run between two steps: restored from a checkpoint, saved, rolled back."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.facesets.batches.batch import Batches
from lossarium.facesets.faceset import Faceset
from lossarium.losses.module import Loss
from lossarium.models.registry import initial_model
from lossarium.text.wording import counted
from lossarium.training.callbacks import Callbacks
from lossarium.training.checkpoints import Position, load_checkpoint, load_good, save_checkpoint, set_aside
from lossarium.training.configuration import Trial
from lossarium.training.control import Settings
from lossarium.training.guards import Guards, LossHistory, after_rollback, remembered
from lossarium.training.keeping import Keeping
from lossarium.training.options import clipping, optimizers, schedules
from lossarium.training.options.clipping import NormHistory
from lossarium.training.options.schedules import PlateauState, Schedule
from lossarium.training.processes import Processes
from lossarium.training.records import NullRecords, Records, intact_bytes
from lossarium.training.trial_batches import batches_of

# A killed trial loses at most this much work. A checkpoint that failed on a full disk is retried after the
# same time.
_SECONDS_BETWEEN_CHECKPOINTS = 15.0
_STEPS_BETWEEN_GOOD_CHECKPOINTS = 500


@dataclass(frozen=True, kw_only=True)
class Run:
    """The part of a run that does not change from step to step."""

    trial: Trial
    facesets: Sequence[Faceset]
    folder: Path
    processes: Processes
    model: nn.Module
    wrapped: nn.Module
    """The model as training calls it: wrapped, if several processes share the work."""
    optimizer: torch.optim.Optimizer
    initial_optimizer: Mapping[str, Any]
    """Its state before the first step."""
    guards: Guards
    keeping: Keeping
    callbacks: Callbacks
    snapshot_steps: frozenset[int]


@dataclass
class RunState:
    """The state of a run between two steps."""

    position: Position
    settings: Settings
    loss: Loss
    schedule: Schedule
    batches: Batches
    loss_history: LossHistory
    history: "History"
    saved: int
    """Step of the last checkpoint."""
    tried_to_save_at: float = field(default_factory=time.monotonic)

    @property
    def step(self) -> int:
        return self.position.step


@dataclass
class History:
    """What later steps need from earlier steps and evaluations, besides weights and optimiser."""

    norms: NormHistory
    plateau: PlateauState
    evaluations: list[tuple[int, float]]
    """Step and goodness of every snapshot."""


def make_model(trial: Trial, identities: int) -> nn.Module:
    recipe = trial.recipe
    return initial_model(
        recipe.model,
        size=recipe.size,
        identities=identities,
        seed=trial.seed,
        options=recipe.model_options,
    )


def restored(run: Run) -> RunState:
    """Restore the last checkpoint."""
    rows = run.processes.broadcast_from_first(partial(intact_bytes, run.folder))
    loaded = load_checkpoint(run.folder, run.model, run.optimizer, rows)
    if loaded.set_aside is not None and run.processes.is_first:
        set_aside(run.folder, loaded.set_aside)
    for sentence in loaded.damaged:
        run.callbacks.tell(f"{sentence}; going on from step {loaded.position.step} instead")
    recipe, kept = run.trial.recipe, loaded.state
    begun = Settings(recipe.learning_rate, run.trial.loss, recipe.schedule, **asdict(recipe.region_weights))
    settings = Settings(**kept["settings"]) if "settings" in kept else begun
    return RunState(
        position=loaded.position,
        settings=settings,
        loss=losses.get(settings.loss),
        schedule=schedules.parse(settings.schedule),
        batches=batches_for(run, settings),
        loss_history=remembered(kept.get("guards", {})),
        history=_history(kept),
        saved=loaded.position.step,
    )


def _history(kept: Mapping[str, Any]) -> History:
    """The history of a checkpoint."""
    return History(
        norms=clipping.norm_history(kept.get("norms", ())),
        plateau=PlateauState(**kept.get("plateau", {})),
        evaluations=[(int(step), float(goodness)) for step, goodness in kept.get("evaluations", ())],
    )


def state_table(state: RunState) -> dict[str, Any]:
    """The content of a checkpoint besides weights, optimiser and position; `restored` reads it."""
    return {
        "settings": asdict(state.settings),
        "guards": state.loss_history.as_table(),
        "norms": list(state.history.norms),
        "plateau": asdict(state.history.plateau),
        "evaluations": state.history.evaluations,
    }


def batches_for(run: Run, settings: Settings) -> Batches:
    trial, processes = run.trial, run.processes
    return batches_of(
        trial.seed,
        trial.recipe,
        run.facesets,
        processes.device,
        settings.region_weights,
        part=(processes.rank, processes.count),
    )


def roll_back(run: Run, state: RunState, records: Records | NullRecords, loss: float) -> None:
    """Roll back to the last good checkpoint and go on with a lower learning rate, or give up.

    Raises:
        LossariumError: the trial has been rolled back as often as the guards allow.
    """
    history, step = state.loss_history, state.step
    what = f'the loss "{state.settings.loss}" became {loss:g} at step {step} of seed {run.trial.seed}'
    if history.rollbacks >= run.guards.rollbacks:
        raise LossariumError(
            f"{what}, after {counted(history.rollbacks, 'rollback')}; "
            f'its term "{history.first_term}" exploded first; '
            f"a learning rate below {run.trial.recipe.learning_rate:g} may help"
        )
    run.model.load_state_dict(make_model(run.trial, len(run.facesets)).state_dict())
    optimizers.restore_state(run.optimizer, {}, dict(run.initial_optimizer))
    good = load_good(run.folder, run.model, run.optimizer)
    position = good.position
    records.roll_back(position.record_bytes)
    state.position, state.loss_history = position, after_rollback(history)
    state.history = _history(good.state)
    factor = run.guards.slower**state.loss_history.rollbacks
    event = {"from": step, "term": history.first_term, "learning_rate_factor": factor}
    records.write({"step": position.step, "seconds": position.seconds, "went_back": event})
    run.callbacks.tell(
        f'{what}, its term "{history.first_term}" first; rolled back to step {position.step}, '
        f"going on with {factor:g} of the learning rate"
    )
    # Saved at once, so that a trial that is killed now does not resume at the old rate.
    save(run, state, records)


def is_due(run: Run, state: RunState) -> bool:
    return (
        time.monotonic() - state.tried_to_save_at > _SECONDS_BETWEEN_CHECKPOINTS
        or state.step % _STEPS_BETWEEN_GOOD_CHECKPOINTS == 0
        or _stays(run, state)
    )


def _stays(run: Run, state: RunState) -> bool:
    return run.keeping.every > 0 and state.step % run.keeping.every == 0


def save(
    run: Run, state: RunState, records: Records | NullRecords, *, best: bool = False, last: bool = False
) -> None:
    """Write a checkpoint. If that fails, tell why and go on; but raise OSError if it is the `last` one."""
    state.tried_to_save_at = time.monotonic()
    if not run.processes.is_first:
        state.saved = state.step
        return
    step = state.step
    at_good_step = step in run.snapshot_steps or step % _STEPS_BETWEEN_GOOD_CHECKPOINTS == 0
    try:
        run.callbacks.on_checkpoint()
        position = replace(state.position, record_bytes=records.flush())
        save_checkpoint(
            run.folder,
            position,
            run.model,
            run.optimizer,
            state_table(state),
            best=best and run.keeping.best,
            snapshot=_stays(run, state),
            last=run.keeping.last,
            # At steps that do not depend on the machine's speed: a rollback goes to the same step everywhere.
            good=at_good_step and state.loss_history.suspicious == 0,
        )
    except OSError as error:
        if last:
            raise
        run.callbacks.tell(
            f"no checkpoint could be written after step {step} ({error.strerror or error}); "
            f"training goes on, and the one of step {state.saved} is safe"
        )
        return
    state.position, state.saved = position, step
