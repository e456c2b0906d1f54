"""Begin or continue a trial's folder: write its `trial.toml`, compare it with the settings, or add steps.

`trial.toml` records what the trial was begun with. Each later change is appended to `continued` as a table:
the steps done by then, and the trial's steps, environment and own code from there on.
"""

import os
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn

from lossarium.errors import LossariumError
from lossarium.models.registry import weights_digest
from lossarium.training import records
from lossarium.training.checkpoints import (
    Position,
    keep_as_good,
    newest_checkpoints,
    position_of,
    position_within,
    read_checkpoint,
    save_checkpoint,
)
from lossarium.training.configuration import Recipe, Trial
from lossarium.training.control import past_changes
from lossarium.training.options import optimizers, schedules
from lossarium.training.options.schedules import Plateau
from lossarium.training.run_state import make_model
from lossarium.trial.environment import check_environment
from lossarium.trial.folder import TRIAL, Change, read_toml, restore_toml, write_or_check, write_toml
from lossarium.trial.pinned_code import OwnCode, check_own_code, own_code
from lossarium.trial.timelapse import NAME as TIMELAPSE

_STEPS = "recipe.steps"
_DAMAGED = "metrics.damaged.jsonl"


@dataclass(frozen=True)
class Source:
    """Trained weights that a trial starts from instead of initial ones."""

    name: str
    """The folder that they come from, as the user gave it."""
    load: Callable[[nn.Module], None]
    """Loads them into a model of the trial's architecture and size."""


def begin_or_continue(
    folder: Path,
    trial: Trial,
    data: Mapping[str, str],
    environment: Mapping[str, str],
    *,
    tell: Callable[[str], None],
    source: Source | None = None,
    any_environment: bool = False,
) -> nn.Module | None:
    """Write `trial.toml`, or check the settings against the existing one; with more steps the trial goes on.

    Args:
        folder: The trial's, which has to exist.
        trial: What to train.
        data: Names and hashes of the facesets.
        environment: From `environment.environment`.
        tell: Called with a sentence about anything unusual in how the trial goes on.
        source: The source of its first weights; by default they are drawn from the seed.
        any_environment: Whether it may also go on in another environment or with changed own code.

    Returns:
        The model with its initial weights, if it had to be built.

    Raises:
        LossariumError: the folder belongs to another trial, that trial has already done more steps, was begun
            in another environment or with other own code, or is damaged.
    """
    path = folder / TRIAL
    restore_toml(path, tell)
    if not path.exists():
        return _begin_anew(folder, trial, data, environment, source)
    there = read_toml(path)
    _check_source(folder, there, source)
    # Values that follow from the settings are not recomputed: the check of the environment covers them.
    known: dict[str, Any] = {
        key: there[key] for key in ("initial_weights", "parameters", "begun_from") if key in there
    }
    table = {**trial.as_table(), **known, "data": dict(data)}
    change = write_or_check(path, table, may_change=(_STEPS,), tell=tell).get(_STEPS)
    damaged = change is None and records.is_finished(folder) and any(records.damage(folder))
    if change is None and records.is_finished(folder) and not damaged:
        return None
    if not newest_checkpoints(folder):
        if records.is_finished(folder):
            raise LossariumError(
                f"{folder / 'checkpoints'} holds no weights to continue from; put them back, or choose "
                "another folder with --out"
            )
        if "begun_from" in there and source is None:
            raise LossariumError(f"{folder} has no weights yet; repeat --from {there['begun_from']}")
        # Nothing was trained yet.
        path.unlink()
        return _begin_anew(folder, trial, data, environment, source)
    past: list[dict[str, Any]] = there.get("continued", [])
    began: dict[str, Any] = past[-1] if past else there
    last: dict[str, str] = began.get("environment", {})
    specs, code = _losses_and_code(folder, trial, there)
    if not any_environment:
        remedy = "add --any-environment to go on all the same, or choose another folder with --out"
        check_own_code(folder, code, trial.recipe, specs, remedy)
        check_environment(folder, last, environment, remedy)
    if damaged:
        _train_damaged_rows_again(folder, tell)
    if change is not None:
        _go_on(folder, trial, change, there, environment, tell)
    elif any_environment and (dict(environment), own_code(trial.recipe, specs)) != (last, code):
        _record(folder, there, trial, _last_checkpoint(folder)[1].step, environment)
    return None


def _train_damaged_rows_again(folder: Path, tell: Callable[[str], None]) -> None:
    """Mark a finished trial whose rows are damaged as unfinished, if a checkpoint is from before the damage.

    Training from there writes the same rows again.

    Raises:
        LossariumError: there is no such checkpoint.
    """
    path = folder / records.NAME
    intact, wrong = records.intact_bytes(folder)
    position = position_within(folder, intact)
    if position is None:
        move = shlex.join(["mv", str(folder), str(folder.with_name(f"{folder.name}-damaged"))])
        raise LossariumError(
            f"{path} {wrong}, and no checkpoint is from before that; put back a copy of it, or train the "
            f"trial anew: {move}, and run the same command again; the weights are not damaged, and "
            "`lossarium swap` uses them there"
        )
    shutil.copyfile(path, folder / _DAMAGED)
    os.truncate(path, position.record_bytes)
    tell(f"{path} {wrong}; it is trained again from step {position.step:,}, and kept as {_DAMAGED}")


def is_done(folder: Path, trial: Trial) -> bool:
    """Whether the trial in this folder has finished all the steps now asked for."""
    return (
        records.is_finished(folder)
        and (folder / TRIAL).exists()
        and read_toml(folder / TRIAL).get("recipe", {}).get("steps") == trial.recipe.steps
    )


def what_depends_on_length(recipe: Recipe, done: int, old: int, schedule: str | None = None) -> list[str]:
    """How a trial that is given more steps differs from one that had them from the beginning.

    Args:
        recipe: With its new number of steps.
        done: Steps done so far.
        old: Its old number of steps.
        schedule: The current one, if it was changed by hand.

    Returns:
        Sentences; none if the weights and all rows except evaluations are bit-identical.
    """
    chosen = schedules.parse(schedule or recipe.schedule)
    if chosen.depends_on_length:
        return [
            f"the schedule {chosen} depends on the number of steps, and the first {done:,} had the rates of "
            f"a trial of {old:,} steps: the numbers are not those of {recipe.steps:,} steps in one go"
        ]
    if isinstance(chosen, Plateau) and _evaluations_moved(recipe, done, old):
        return [
            f"the schedule {chosen} counts evaluations, and those of the first {done:,} steps came where a "
            f"trial of {old:,} steps has them: the numbers are not those of {recipe.steps:,} steps in one go"
        ]
    return []


def _evaluations_moved(recipe: Recipe, done: int, old: int) -> bool:
    """Whether evaluations so far came after other steps than in a trial that has all its steps from the
    beginning."""

    def so_far(steps: int) -> list[int]:
        return [step for step in replace(recipe, steps=steps).snapshot_steps() if step <= done]

    return so_far(old) != so_far(recipe.steps)


def _begin_anew(
    folder: Path,
    trial: Trial,
    data: Mapping[str, str],
    environment: Mapping[str, str],
    source: Source | None,
) -> nn.Module:
    model = make_model(trial, identities=2)
    begun_from: dict[str, str] = {}
    if source is not None:
        source.load(model)
        begun_from = {"begun_from": source.name}
    table = {
        **trial.as_table(),
        **begun_from,
        "initial_weights": weights_digest(model),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "data": dict(data),
        "environment": dict(environment),
        **_own_code_table(trial, [trial.loss]),
    }
    write_toml(folder / TRIAL, table)
    if source is not None:
        # The trial no longer needs its source: it resumes from this, and is rolled back to it.
        recipe = trial.recipe
        optimizer = optimizers.make(
            optimizers.parse(recipe.optimizer), model.parameters(), recipe.learning_rate
        )
        save_checkpoint(folder, Position(), model, optimizer, good=True)
    return model


def _check_source(folder: Path, there: Mapping[str, Any], source: Source | None) -> None:
    """Refuse a source other than the one that the trial began with; without a source, nothing is checked."""
    if source is None or there.get("begun_from") == source.name:
        return
    begun = f"the weights of {there['begun_from']}" if "begun_from" in there else "initial weights"
    raise LossariumError(
        f"{folder} was begun with {begun}, not with those of {source.name}; leave out --from to go on with "
        "it, or choose another folder with --out"
    )


def _go_on(
    folder: Path,
    trial: Trial,
    change: Change,
    there: Mapping[str, Any],
    environment: Mapping[str, str],
    tell: Callable[[str], None],
) -> None:
    """Change a trial's number of steps."""
    recipe = trial.recipe
    checkpoint, position, schedule = _last_checkpoint(folder)
    done, old = position.step, int(change.old)
    if recipe.steps < done:
        raise LossariumError(
            f"{folder} has done {done:,} steps, more than the {recipe.steps:,} asked for; give "
            f"--steps {done} or more, or choose another folder with --out"
        )
    # It is marked unfinished before its number of steps changes: if killed in between, it finishes as before.
    keep_as_good(folder, checkpoint)
    if records.is_finished(folder):
        # Damaged rows are reported now, since an earlier checkpoint cannot be used from here on.
        for _ in records.read(folder):
            pass
        records.Records(folder, position.record_bytes).close()
        (folder / TIMELAPSE).unlink(missing_ok=True)
    _record(folder, there, trial, done, environment)
    tell(f"going on from step {done:,}, to {recipe.steps:,} instead of {old:,} steps")
    for sentence in what_depends_on_length(recipe, done, old, schedule):
        tell(sentence)


def _record(
    folder: Path, there: Mapping[str, Any], trial: Trial, done: int, environment: Mapping[str, str]
) -> None:
    event = {
        "step": done,
        "steps": trial.recipe.steps,
        "environment": dict(environment),
        **_own_code_table(trial, _losses_and_code(folder, trial, there)[0]),
    }
    table = {**there["recipe"], "steps": trial.recipe.steps}
    write_toml(folder / TRIAL, {**there, "recipe": table, "continued": [*there.get("continued", []), event]})


def _losses_and_code(folder: Path, trial: Trial, there: Mapping[str, Any]) -> tuple[list[str], OwnCode]:
    """The losses that a trial has been trained with, and the own code that it last used.

    A loss that `control.toml` set is recorded in `control.jsonl`.
    """
    changes = past_changes(folder)
    specs = [trial.loss, *(change.changes["loss"] for change in changes if "loss" in change.changes)]
    past: list[dict[str, Any]] = there.get("continued", [])
    recorded: list[tuple[int, OwnCode]] = [(0, there.get("own_code", {}))]
    recorded += [(int(event["step"]), event.get("own_code", {})) for event in past]
    # A change takes effect before its step, so after the step before it.
    recorded += [(change.step - 1, change.own_code) for change in changes]
    code: dict[str, Mapping[str, str]] = {}
    for _, used in sorted(recorded, key=lambda entry: entry[0]):
        code |= used
    return list(dict.fromkeys(specs)), code


def _own_code_table(trial: Trial, specs: list[str]) -> dict[str, OwnCode]:
    """For `trial.toml`; empty where there is no own code."""
    code = own_code(trial.recipe, specs)
    return {"own_code": code} if code else {}


def _last_checkpoint(folder: Path) -> tuple[Path, Position, str | None]:
    """The newest undamaged checkpoint, its position, and the schedule at that time.

    Raises:
        LossariumError: there is none.
    """
    damaged = []
    for path in newest_checkpoints(folder):
        try:
            table, _ = read_checkpoint(path)
            return path, position_of(table), table["state"].get("settings", {}).get("schedule")
        except (SafetensorError, KeyError, TypeError, ValueError, OSError, RuntimeError) as error:
            damaged.append(f"the checkpoint {path} is damaged ({error})")
    raise LossariumError(
        f"{damaged[0]}, and there is none before it; put back a copy of it, or choose another folder with "
        "--out"
    )
