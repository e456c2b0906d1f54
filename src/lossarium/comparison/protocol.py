"""The comparison: every loss for every seed on an even keel, judged on held-out frames, to a verdict."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lossarium import losses
from lossarium.comparison.outcome import outcome
from lossarium.comparison.plan import Plan
from lossarium.comparison.results import ComparisonResult
from lossarium.errors import LossariumError
from lossarium.facesets.faceset import Faceset
from lossarium.files import write_whole
from lossarium.judging.held_out import directions
from lossarium.judging.judges import JUDGES
from lossarium.models.registry import parameter_count
from lossarium.training import records
from lossarium.training.callbacks import Callbacks, Progress
from lossarium.training.configuration import Recipe, Trial
from lossarium.training.loop import train
from lossarium.training.processes import Processes, single_process
from lossarium.training.run_state import Keeping
from lossarium.training.step import rehearse
from lossarium.training.trial_batches import batches_of
from lossarium.trial.environment import environment
from lossarium.trial.folder import SETTINGS, TRIAL, agree, locked_output, read_toml, trial_folder
from lossarium.trial.run import data_table, evaluator_of, trial_table

_FORMAT = "lossarium comparison 1"
_REPORT_BYTES = 16_000_000
# What must be alike for a trial to go on with the numbers that it would have had.
_SAME_NUMBERS = ("torch", "instructions", "threads", "device")


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

    Args:
        plan: What to compare.
        facesets: The two identities.
        out: The comparison's folder; made if need be.
        watch: Called after every step.
        tell: Called with a sentence when something out of the ordinary happens.
        notes: What was said about the pictures, for the report.
        processes: Who trains together, all of them calling this; by default a single process, on the CPU.
        rescue: Where a trial's last checkpoint goes if its folder cannot be written.

    Raises:
        LossariumError: a loss cannot be computed at this size, the folder cannot be written, belongs to other
            settings or is in use, or a loss became infinite.
    """
    processes = processes or single_process()
    _rehearse(plan, facesets)
    pair = directions(*facesets)
    trials = plan.trials()
    data = data_table(facesets)
    needed = _needed_bytes(plan.recipe, _remaining(out, trials))
    with locked_output(out, needed) if processes.is_first else nullcontext():
        if processes.is_first:
            agree(out / SETTINGS, _settings_table(plan, data, processes))
            _check_environment(out, trials, processes)
        for number, trial in enumerate(trials, start=1):
            report = partial(_report, watch, trial, number, len(trials))
            folder = trial_folder(out, trial)
            if processes.is_first:
                folder.mkdir(parents=True, exist_ok=True)
                agree(folder / TRIAL, trial_table(trial, data, processes))
            if not processes.broadcast_from_first(partial(records.is_finished, folder)):
                evaluator = evaluator_of(trial, pair, folder)
                callbacks = Callbacks(report, tell, evaluator.previews.write, evaluator.previews.write_to)
                keeping = Keeping(rescue=rescue)
                train(trial, facesets, folder, evaluator, callbacks, keeping=keeping, processes=processes)
        result = processes.broadcast_from_first(partial(outcome, plan, facesets, pair, out, notes))
        for damage in result.notes[len(notes) :]:
            tell(damage)
        if processes.is_first:
            write_whole(out / "verdict.json", json.dumps(asdict(result.verdict), indent=1).encode())
    return result


def _rehearse(plan: Plan, facesets: tuple[Faceset, Faceset]) -> None:
    """Try every loss and every judge once: what cannot work fails before the first trial, not after it."""
    batch = batches_of(0, plan.recipe, facesets, torch.device("cpu"))(1)
    rehearse(map(losses.get, plan.losses), batch, plan.recipe.region_weights)
    for judge in JUDGES:
        judge.measure(batch.input.flatten(0, 1), batch.target.flatten(0, 1), None)


def _report(
    watch: Callable[[TrialProgress], None], trial: Trial, number: int, trials: int, progress: Progress
) -> None:
    watch(TrialProgress(trial, number, trials, progress))


def _settings_table(plan: Plan, data: dict[str, str], processes: Processes) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "losses": list(plan.losses),
        "seeds": plan.seeds,
        "recipe": asdict(plan.recipe),
        "data": data,
        "environment": environment(processes),
    }


def _check_environment(out: Path, trials: tuple[Trial, ...], processes: Processes) -> None:
    """Refuse to go on where the remaining trials' numbers would not be comparable to the last bit."""
    if not _remaining(out, trials):
        return
    there = read_toml(out / SETTINGS).get("environment", {})
    here = environment(processes)
    differences = [
        f"{key}: {there.get(key)} there, {here[key]} now"
        for key in _SAME_NUMBERS
        if there.get(key) != here[key]
    ]
    if differences:
        raise LossariumError(
            f"{out} was begun in another environment ({'; '.join(differences)}), where numbers may differ "
            "in their last bits; finish it there, or choose another folder with --out"
        )


def _remaining(out: Path, trials: tuple[Trial, ...]) -> list[Trial]:
    return [trial for trial in trials if not records.is_finished(trial_folder(out, trial))]


def _needed_bytes(recipe: Recipe, trials: list[Trial]) -> int:
    """For every trial its records, its previews, its weights with Adam's two moments; and the report.

    While a trial runs it keeps two checkpoints and one to go back to, and a new one is written before an old
    one is removed.
    """
    parameters = parameter_count(recipe.model, size=recipe.size, identities=2, options=recipe.model_options)
    checkpoint = 3 * 4 * parameters
    rows = 400 * recipe.steps
    previews = recipe.snapshots * 16 * 3 * recipe.size**2
    return len(trials) * (checkpoint + rows + previews) + 3 * bool(trials) * checkpoint + _REPORT_BYTES
