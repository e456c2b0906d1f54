"""The training loop: one trial, from its initial weights to its last step."""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from lossarium import losses
from lossarium.facesets.batches.batch import Batch
from lossarium.facesets.faceset import Faceset
from lossarium.models.registry import weights_digest
from lossarium.training.callbacks import Judge, Progress, Watcher
from lossarium.training.checkpoints import (
    Position,
    keep_the_last,
)
from lossarium.training.configuration import Trial
from lossarium.training.control import Control, Settings
from lossarium.training.convergence import Convergence, has_converged
from lossarium.training.folder_lock import claimed
from lossarium.training.guards import Guards, Watched, exploded, watch_step
from lossarium.training.options import clipping as clippings
from lossarium.training.options import optimizers, schedules
from lossarium.training.options.clipping import Clipping
from lossarium.training.options.schedules import Plateau
from lossarium.training.processes import Processes, this_process
from lossarium.training.records import Records, Row, Unrecorded
from lossarium.training.run_state import (
    Keeping,
    Run,
    Standing,
    batches_for,
    go_back,
    is_due,
    model_of,
    restored,
    save,
)
from lossarium.training.signals import Stopped, listening
from lossarium.training.step import loss_terms, term_names
from lossarium.training.trial_batches import batch_digest, chained, check_regions, parts_of_step


@dataclass(frozen=True)
class _Outcome:
    """What one step came to."""

    loss: float
    terms: Mapping[str, float]
    gradient_norm: float
    finite: bool
    """Whether loss and gradient were, and so whether the weights were changed."""


def train(  # noqa: C901 - one loop, read from top to bottom
    trial: Trial,
    facesets: Sequence[Faceset],
    folder: Path,
    judge: Judge,
    watcher: Watcher,
    *,
    guards: Guards | None = None,
    keeping: Keeping | None = None,
    until_converged: bool = False,
    by_hand: bool = False,
    processes: Processes | None = None,
) -> None:
    """Run a trial to its end, from its last checkpoint if it has one.

    Everything is recorded in `metrics.jsonl` and `checkpoints/` of `folder`. The numbers do not depend on
    whether and where the trial was interrupted.

    Args:
        trial: What to train.
        facesets: One an identity.
        folder: The trial's, which has to be there.
        judge: Called at every snapshot.
        watcher: Who looks on.
        guards: When the trial goes back to a checkpoint; the defaults where none are given.
        keeping: Which checkpoints stay; the last alone where nothing is said.
        until_converged: Whether to stop once the judge sees no more gain.
        by_hand: Whether `control.toml` is looked at before every step.
        processes: Who trains together, all of them calling this; by default this process alone, on the CPU.

    Raises:
        LossariumError: the loss exploded time and again, the folder is in use, or its files are damaged.
        Stopped: the process was asked to stop; all work is saved.
        OSError: the disk was full, or refused, up to the end.
    """
    recipe = trial.recipe
    processes = processes or this_process()
    model = model_of(trial, len(facesets)).to(processes.device)
    optimizer = optimizers.make(optimizers.parse(recipe.optimizer), model.parameters(), recipe.learning_rate)
    run = Run(
        trial,
        facesets,
        folder,
        processes,
        model,
        processes.together(model),
        optimizer,
        optimizers.state_numbers(optimizer),
        guards or Guards(),
        keeping or Keeping(),
        watcher,
        frozenset(recipe.snapshot_steps()),
    )
    clipping = clippings.parse(recipe.clipping)

    with claimed(folder) if processes.is_first else nullcontext(), listening() as request:
        control = Control(folder, watcher.tell, partial(_check_settings, run)) if by_hand else None
        standing = restored(run)
        done, spent = 0, 0.0
        with closing(_records(run, standing)) as records:
            converged = None
            while standing.step < recipe.steps and converged is None:
                if control is not None:
                    _steer(run, standing, control, records)
                step = standing.step + 1
                learning_rate = _learning_rate(run, standing, step)

                started = time.perf_counter()
                parts = parts_of_step(standing.batches, step, recipe.accumulation)
                outcome = _step(run, standing, parts, clipping, learning_rate)
                passed = time.perf_counter() - started

                chain = standing.position.batches
                for batch in parts:
                    chain = chained(chain, processes.all_of(batch_digest(batch)))
                standing.position = Position(step, standing.position.seconds + passed, chain)
                records.write(_row(standing.position, outcome, learning_rate))
                standing.watched = watch_step(
                    standing.watched, run.guards, outcome.loss, outcome.terms, finite=outcome.finite
                )
                if exploded(standing.watched, run.guards):
                    go_back(run, standing, records, outcome.loss)
                    continue

                if step in run.snapshot_steps:
                    scores = processes.of_first(partial(judge, model, step))
                    row = {"step": step, "seconds": standing.position.seconds, "held_out": scores}
                    records.write(row)
                    best = _look(standing, judge.goodness(scores))
                    save(run, standing, records, best=best)
                    converged = _convergence(standing) if until_converged else None
                elif is_due(run, standing):
                    save(run, standing, records)
                watcher.look(model, step)
                done, spent = done + 1, spent + passed
                watcher.progress(
                    Progress(step, recipe.steps, outcome.loss, outcome.terms, learning_rate, done / spent)
                )
                asked = processes.of_any(request.number or 0)
                if asked:
                    if standing.saved < step:
                        save(run, standing, records)
                    raise Stopped(standing.saved, asked)

            if standing.saved < standing.step:
                save(run, standing, records, last=True)
            if processes.is_first:
                keep_the_last(folder, run.keeping.last)
            # After the last checkpoint: a trial that says it is finished has its final weights on disk.
            end: Row = {"finished": True, "weights": weights_digest(model)}
            if converged is not None:
                watcher.tell(f"converged: {converged.why}")
                end["converged"] = converged.why
            records.write({"step": standing.step, "seconds": standing.position.seconds, **end})
            records.flush()


def _check_settings(run: Run, settings: Settings) -> None:
    """Refuse what this trial's facesets cannot give."""
    check_regions(run.trial.recipe, settings.region_weights, run.facesets)


def _records(run: Run, standing: Standing) -> Records | Unrecorded:
    if not run.processes.is_first:
        return Unrecorded()
    return Records(run.folder, standing.position.record_bytes, run.watcher.record)


def _learning_rate(run: Run, standing: Standing, step: int) -> float:
    """By the schedule, and lower by every return to a checkpoint."""
    base, steps = standing.settings.learning_rate, run.trial.recipe.steps
    scheduled = schedules.learning_rate(standing.schedule, base, step, steps, standing.history.plateau)
    return scheduled * run.guards.slower**standing.watched.rollbacks


def _look(standing: Standing, goodness: float) -> bool:
    """Take a snapshot's goodness down; whether it is the best so far."""
    best = all(goodness > before for _, before in standing.history.looks)
    standing.history.looks.append((standing.step, goodness))
    if isinstance(standing.schedule, Plateau):
        standing.history.plateau = schedules.advance(
            standing.schedule, standing.history.plateau, goodness, higher_is_better=True
        )
    return best


def _convergence(standing: Standing) -> Convergence | None:
    steps, goodness = zip(*standing.history.looks, strict=True)
    return has_converged(steps, goodness, higher_is_better=True)


def _steer(run: Run, standing: Standing, control: Control, records: Records | Unrecorded) -> None:
    """Change by hand what somebody wants changed."""
    step, before = standing.step + 1, standing.settings
    standing.settings = run.processes.of_first(partial(control.before, step, before))
    if standing.settings == before:
        return
    if standing.settings.region_weights != before.region_weights:
        standing.batches = batches_for(run, standing.settings)
    if (standing.settings.loss, standing.settings.region_weights) != (before.loss, before.region_weights):
        standing.loss = losses.get(standing.settings.loss)
        # Another loss has another height.
        standing.watched = Watched(rollbacks=standing.watched.rollbacks)
    standing.schedule = schedules.parse(standing.settings.schedule)
    there = asdict(before)
    changed = {name: value for name, value in asdict(standing.settings).items() if value != there[name]}
    records.write({"step": step, "seconds": standing.position.seconds, "control": changed})
    run.watcher.tell(
        f"from step {step} on: {', '.join(f'{name} {value}' for name, value in changed.items())}"
    )


def _step(
    run: Run, standing: Standing, parts: Sequence[Batch], clipping: Clipping, learning_rate: float
) -> _Outcome:
    """Forward and backward of every part, one update; no update where a number is none."""
    run.optimizer.zero_grad()
    shares = [_backward(run, standing, batch, 1 / len(parts)) for batch in parts]
    gradient = clippings.clip(run.model.parameters(), clipping, standing.history.norms)
    terms = run.processes.mean(torch.stack(shares).sum(dim=0))
    value = terms.sum().item()
    finite = math.isfinite(value) and gradient.finite
    if finite:
        for group in run.optimizer.param_groups:
            group["lr"] = learning_rate
        run.optimizer.step()
    by_term = dict(zip(term_names(standing.loss, len(terms)), terms.tolist(), strict=True))
    return _Outcome(value, by_term, gradient.norm, finite)


def _backward(run: Run, standing: Standing, batch: Batch, share: float) -> Tensor:
    """A part's share of each term, its gradient added to the weights'."""
    terms = share * loss_terms(
        run.together,
        standing.loss,
        batch,
        identities=len(run.facesets),
        precision=run.trial.recipe.precision,
        weights=standing.settings.region_weights,
    )
    run.processes.backward(terms.sum())
    return terms.detach()


def _row(position: Position, outcome: _Outcome, learning_rate: float) -> Row:
    row: Row = {"step": position.step, "seconds": position.seconds}
    if outcome.finite:
        row |= {"loss": outcome.loss, "terms": outcome.terms, "gradient_norm": outcome.gradient_norm}
    else:
        # JSON has no word for what is no number.
        terms = {term: value if math.isfinite(value) else None for term, value in outcome.terms.items()}
        row["passed_over"] = terms
    return row | {"learning_rate": learning_rate, "batches": position.batches}
