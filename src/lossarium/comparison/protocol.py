"""Runs a comparison: trains every loss for every seed on an even keel, scores held-out frames, decides."""

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lossarium import losses
from lossarium.comparison.outcome import outcome
from lossarium.comparison.plan import Plan
from lossarium.comparison.results import ComparisonResult, verdict_table
from lossarium.errors import LossariumError
from lossarium.facesets.faceset import Faceset
from lossarium.files import write_whole
from lossarium.judging.held_out import Direction, directions
from lossarium.judging.home import as_table, from_table, homes_of
from lossarium.judging.judges import judges_of
from lossarium.judging.try_judges import try_judges
from lossarium.training.callbacks import Callbacks, Progress
from lossarium.training.configuration import Trial
from lossarium.training.folder_lock import locked_trial
from lossarium.training.keeping import Keeping
from lossarium.training.loop import train
from lossarium.training.processes import Processes, single_process
from lossarium.training.step import try_losses
from lossarium.training.trial_batches import batches_of
from lossarium.trial.begin_or_continue import begin_or_continue, is_done, what_depends_on_length
from lossarium.trial.environment import check_environment, environment
from lossarium.trial.folder import (
    SETTINGS,
    TRIAL,
    Change,
    locked_output,
    read_toml,
    refuse_folder_with,
    restore_toml,
    trial_folder,
    write_or_check,
    write_toml,
)
from lossarium.trial.forecast import announce_forecast, disk_needed, out_of_memory
from lossarium.trial.pinned_code import OwnCode, check_own_code, own_code
from lossarium.trial.precision import warn_of_slow_bf16
from lossarium.trial.run import data_table, make_evaluator

_FORMAT = "lossarium comparison 1"
_REPORT_BYTES = 16_000_000


@dataclass(frozen=True)
class TrialProgress:
    """A trial's progress within the comparison."""

    trial: Trial
    number: int
    """From 1."""
    trials: int
    progress: Progress


def compare(
    plan: Plan,
    facesets: tuple[Faceset, Faceset],
    out: Path,
    *,
    watch: Callable[[TrialProgress], None],
    tell: Callable[[str], None] = lambda _: None,
    notes: tuple[str, ...] = (),
    processes: Processes | None = None,
    rescue: Path | None = None,
) -> ComparisonResult:
    """Train and judge every trial of the plan that is not finished yet, then decide.

    Trials run on an even keel: those of a seed have the same initial weights, batches, steps and settings.

    Args:
        plan: What to compare.
        facesets: The two identities.
        out: The comparison's folder; created if it does not exist.
        watch: Called after every step.
        tell: Called with a sentence about anything unusual.
        notes: Remarks on the pictures, for the report.
        processes: The processes that train together, all of which call this; by default a single one, on the
            CPU.
        rescue: The folder for a trial's last checkpoint if the trial's own cannot be written.

    Raises:
        LossariumError: a loss cannot be computed at this size, the folder cannot be written, belongs to other
            settings or is in use, or a loss became infinite.
    """
    refuse_folder_with(out, TRIAL)
    processes = processes or single_process()
    pair = directions(*facesets)
    _try_losses_and_judges(plan, facesets, pair)
    trials = plan.trials()
    data = data_table(facesets)
    remaining, recipe = _remaining(out, trials), plan.recipe
    held_out = sum(int(faceset.held_out.sum()) for faceset in facesets)
    needed = disk_needed(recipe, held_out=held_out, trials=len(remaining)) + _REPORT_BYTES
    here = environment(processes)
    with locked_output(out, needed) if processes.is_first else nullcontext():
        if processes.is_first:
            _write_or_check(out, plan, data, here, tell)
            if remaining:
                announce_forecast(recipe, tell, disk=needed, device=processes.device)
                warn_of_slow_bf16(recipe, processes.device, tell)
        for number, trial in enumerate(trials, start=1):
            report = partial(_report, watch, trial, number, len(trials))
            folder, model = trial_folder(out, trial), None
            if processes.is_first:
                with locked_trial(folder):
                    model = begin_or_continue(folder, trial, data, here, tell=tell)
            if not processes.broadcast_from_first(partial(is_done, folder, trial)):
                evaluator = make_evaluator(trial, pair, folder)
                callbacks = Callbacks(report, tell, evaluator.previews.write, evaluator.previews.write_to)
                keeping = Keeping(rescue=rescue)
                with out_of_memory(recipe, folder):
                    train(
                        trial,
                        facesets,
                        folder,
                        evaluator,
                        callbacks,
                        keeping=keeping,
                        processes=processes,
                        model=model,
                    )
        result = processes.broadcast_from_first(partial(outcome, plan, facesets, pair, out, notes))
        for damage in result.notes[len(notes) :]:
            tell(damage)
        if processes.is_first:
            write_whole(out / "verdict.json", json.dumps(verdict_table(result), indent=1).encode())
    return result


def _try_losses_and_judges(
    plan: Plan, facesets: tuple[Faceset, Faceset], pair: tuple[Direction, ...]
) -> None:
    """Try every loss and every judge once, so that one that cannot work fails before the first trial."""
    batch = batches_of(0, plan.recipe, facesets, torch.device("cpu"))(1)
    try_losses(map(losses.get, plan.losses), batch, plan.recipe.region_weights)
    try_judges(judges_of(plan.recipe.judges), pair)


def _report(
    watch: Callable[[TrialProgress], None], trial: Trial, number: int, trials: int, progress: Progress
) -> None:
    watch(TrialProgress(trial, number, trials, progress))


def _write_or_check(
    out: Path, plan: Plan, data: dict[str, str], here: dict[str, str], tell: Callable[[str], None]
) -> None:
    """Write `comparison.toml`, or check the plan against the one there; it may add losses, seeds and steps.

    Raises:
        LossariumError: the folder was made with other settings, in another environment or with other own
            code, the plan takes something away, or its trials would not be comparable with those already
            trained.
    """
    path = out / SETTINGS
    table = {
        "format": _FORMAT,
        "losses": list(plan.losses),
        "seeds": plan.seeds,
        "recipe": asdict(plan.recipe),
        "data": data,
    }
    restore_toml(path, tell)
    if not path.exists():
        homes = _homes_table(plan, {})
        write_toml(path, {**table, "environment": here, **_own_code_table(plan, {}), "homes": homes})
        return
    there = read_toml(path)
    changes = write_or_check(path, table, may_change=("losses", "seeds", "recipe.steps"), tell=tell)
    for change in changes.values():
        _check_addition(out, plan, change)
    if _remaining(out, plan.trials()):
        remedy = "choose another folder with --out"
        check_own_code(out, there.get("own_code", {}), plan.recipe, plan.losses, remedy)
        check_environment(out, there.get("environment", {}), here, remedy)
    homes = _homes_table(plan, there.get("homes", {}))
    if changes or homes != there.get("homes"):
        code = _own_code_table(plan, there.get("own_code", {}))
        write_toml(path, {**there, **table, **code, "homes": homes})


def _homes_table(plan: Plan, begun: Mapping[str, Any]) -> dict[str, Any]:
    """Which judges are home to which losses, for `comparison.toml`: what is recorded there holds, so that the
    verdict is the same on every machine; what is not there yet is measured."""
    known, judges = from_table(begun), judges_of(plan.recipe.judges)
    missing = [loss for loss in plan.losses if any(judge.name not in known.get(loss, {}) for judge in judges)]
    return as_table({**known, **homes_of(missing, judges)})


def _own_code_table(plan: Plan, begun: OwnCode) -> dict[str, OwnCode]:
    """The digests of own code for `comparison.toml`: recorded ones, and those of code added since; empty if
    there is none."""
    code = {**own_code(plan.recipe, plan.losses), **begun}
    return {"own_code": code} if code else {}


def _check_addition(out: Path, plan: Plan, change: Change) -> None:
    if change.key == "losses":
        less = [loss for loss in change.old if loss not in plan.losses]
        if less:
            raise LossariumError(
                f"{out} compares {', '.join(change.old)}, and --losses leaves out {', '.join(less)}; "
                "name all of them and those to be added, or choose another folder with --out"
            )
    elif change.new < change.old:
        name = change.key.rpartition(".")[2]
        raise LossariumError(
            f"{out} has {change.old:,} {name}, more than the {change.new:,} asked for; give --{name} "
            f"{change.old} or more, or choose another folder with --out"
        )
    elif change.key == "recipe.steps":
        why = what_depends_on_length(plan.recipe, change.old, change.old)
        if why:
            raise LossariumError(
                f"{out} cannot go on to {change.new:,} steps: {why[0]}; compare in another folder with --out"
            )


def _remaining(out: Path, trials: tuple[Trial, ...]) -> list[Trial]:
    return [trial for trial in trials if not is_done(trial_folder(out, trial), trial)]
