"""The training loop: one trial, from its initial weights to its last step."""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from lossarium import losses
from lossarium.facesets.batches.batch import Batch
from lossarium.facesets.faceset import Faceset
from lossarium.models.randomness import seeded, training_seed
from lossarium.models.registry import weights_digest
from lossarium.training.callbacks import Callbacks, Evaluator, Progress
from lossarium.training.checkpoints import (
    Position,
    keep_the_last,
)
from lossarium.training.configuration import Trial
from lossarium.training.control import Control, Settings
from lossarium.training.convergence import Convergence, has_converged
from lossarium.training.folder_lock import locked_trial
from lossarium.training.guards import Guards, LossHistory, exploded, update_history
from lossarium.training.keeping import Keeping
from lossarium.training.options import clipping as clippings
from lossarium.training.options import optimizers, schedules
from lossarium.training.options.clipping import Clipping
from lossarium.training.options.schedules import Plateau
from lossarium.training.processes import Processes, single_process
from lossarium.training.records import NullRecords, Records, Row
from lossarium.training.rescue import flush_last, save_last, save_stopped, take_back
from lossarium.training.run_state import (
    Run,
    RunState,
    batches_for,
    is_due,
    make_model,
    restored,
    roll_back,
    save,
)
from lossarium.training.signals import Request, Stopped, listening
from lossarium.training.step import loss_terms, term_names
from lossarium.training.trial_batches import batch_digest, chained, check_regions, parts_of_step


@dataclass(frozen=True)
class _Outcome:
    """The result of one step."""

    loss: float
    terms: Mapping[str, float]
    gradient_norm: float
    finite: bool
    """Whether loss and gradient were finite, and so whether the weights were updated."""


def train(  # noqa: C901 - one loop, read from top to bottom
    trial: Trial,
    facesets: Sequence[Faceset],
    folder: Path,
    evaluator: Evaluator,
    callbacks: Callbacks,
    *,
    guards: Guards | None = None,
    keeping: Keeping | None = None,
    until_converged: bool = False,
    by_hand: bool = False,
    processes: Processes | None = None,
    model: nn.Module | None = None,
) -> None:
    """Run a trial to its end, from its last checkpoint if it has one.

    Everything is recorded in `metrics.jsonl` and `checkpoints/` of `folder`. The numbers do not depend on
    whether and where the trial was interrupted.

    Args:
        trial: What to train.
        facesets: One per identity.
        folder: The trial's, which has to exist.
        evaluator: Called at every snapshot.
        callbacks: Called as training goes on.
        guards: When the trial is rolled back to a checkpoint; by default `Guards()`.
        keeping: Which checkpoints to keep; by default the last one.
        until_converged: Whether to stop once the judge's score has stopped improving.
        by_hand: Whether to read `control.toml` before every step.
        processes: The processes that train together, all of which call this; by default a single one, on the
            CPU.
        model: The trial's, with its initial weights, if it was built before.

    Raises:
        LossariumError: the loss exploded after all rollbacks, the folder is in use, or its files are damaged.
        Stopped: the process was asked to stop; all work is saved.
        OSError: the last checkpoint could not be written, as on a full disk.
    """
    recipe = trial.recipe
    processes = processes or single_process()
    model = (model or make_model(trial, len(facesets))).to(processes.device)
    optimizer = optimizers.make(optimizers.parse(recipe.optimizer), model.parameters(), recipe.learning_rate)
    run = Run(
        trial=trial,
        facesets=facesets,
        folder=folder,
        processes=processes,
        model=model,
        wrapped=processes.wrap(model),
        optimizer=optimizer,
        initial_optimizer=optimizers.state_numbers(optimizer),
        guards=guards or Guards(),
        keeping=keeping or Keeping(),
        callbacks=callbacks,
        snapshot_steps=frozenset(recipe.snapshot_steps()),
    )
    clipping = clippings.parse(recipe.clipping)
    full_steps = frozenset(recipe.full_evaluation_steps())

    with locked_trial(folder) if processes.is_first else nullcontext(), listening(callbacks.tell) as request:
        if run.keeping.rescue is not None and processes.is_first:
            take_back(folder, run.keeping.rescue, callbacks.tell)
        control = Control(folder, callbacks.tell, partial(_check_settings, run)) if by_hand else None
        state = restored(run)
        done, spent = 0, 0.0
        with closing(_records(run, state)) as records:
            converged = None
            while state.step < recipe.steps and converged is None:
                if control is not None:
                    _steer(run, state, control, records)
                step = state.step + 1
                learning_rate = _learning_rate(run, state, step)

                started = time.perf_counter()
                parts = parts_of_step(state.batches, step, recipe.accumulation)
                outcome = _step(run, state, parts, clipping, learning_rate, request)
                if outcome is None:
                    # This step has changed neither weights nor records.
                    elsewhere = save_stopped(run, state, records)
                    raise Stopped(state.saved, processes.max_over(request.number or 0), elsewhere)
                passed = time.perf_counter() - started

                chain = state.position.batches
                for batch in parts:
                    chain = chained(chain, processes.gather(batch_digest(batch)))
                state.position = Position(step, state.position.seconds + passed, chain)
                records.write(_row(state.position, outcome, learning_rate))
                state.loss_history = update_history(
                    state.loss_history, run.guards, outcome.loss, outcome.terms, finite=outcome.finite
                )
                if exploded(state.loss_history, run.guards):
                    roll_back(run, state, records, outcome.loss)
                    continue

                if step in run.snapshot_steps:
                    judge = partial(evaluator, model, step)
                    row = processes.broadcast_from_first(partial(judge, everything=step in full_steps))
                    best = _record_evaluation(state, evaluator.goodness(row))
                    converged = _convergence(state) if until_converged else None
                    if converged is not None and row.get("judged") == "sample":
                        # This evaluation turns out to be the last one.
                        row = processes.broadcast_from_first(partial(judge, everything=True))
                    records.write({"step": step, "seconds": state.position.seconds, **row})
                    save(run, state, records, best=best)
                elif is_due(run, state):
                    save(run, state, records)
                callbacks.on_step(model, step)
                # The first step compiles kernels: the pace is that of the steps after it.
                done, spent = (done + 1, spent + passed) if done != 1 else (2, 2 * passed)
                callbacks.on_progress(
                    Progress(step, recipe.steps, outcome.loss, outcome.terms, learning_rate, done / spent)
                )
                asked = processes.max_over(request.number or 0)
                if asked:
                    elsewhere = save_stopped(run, state, records)
                    raise Stopped(state.saved, asked, elsewhere)

            if state.saved < state.step:
                save_last(run, state, records, request)
            if processes.is_first:
                keep_the_last(folder, run.keeping.last)
            # Written after the last checkpoint: a trial recorded as finished has its final weights on disk.
            end: Row = {"finished": True, "weights": weights_digest(model)}
            if converged is not None:
                callbacks.tell(f"converged: {converged.why}")
                end["converged"] = converged.why
            records.write({"step": state.step, "seconds": state.position.seconds, **end})
            flush_last(run, state, records, request)


def _check_settings(run: Run, settings: Settings) -> None:
    """Refuse settings that need masks or landmarks which the facesets lack."""
    check_regions(run.trial.recipe, settings.region_weights, run.facesets)


def _records(run: Run, state: RunState) -> Records | NullRecords:
    if not run.processes.is_first:
        return NullRecords()
    return Records(run.folder, state.position.record_bytes, run.callbacks.on_row)


def _learning_rate(run: Run, state: RunState, step: int) -> float:
    """The schedule's learning rate, lowered once for each rollback."""
    base, steps = state.settings.learning_rate, run.trial.recipe.steps
    scheduled = schedules.learning_rate(state.schedule, base, step, steps, state.history.plateau)
    return scheduled * run.guards.slower**state.loss_history.rollbacks


def _record_evaluation(state: RunState, goodness: float) -> bool:
    """Record a snapshot's goodness; return whether it is the best so far."""
    best = all(goodness > before for _, before in state.history.evaluations)
    state.history.evaluations.append((state.step, goodness))
    if isinstance(state.schedule, Plateau):
        state.history.plateau = schedules.advance(
            state.schedule, state.history.plateau, goodness, higher_is_better=True
        )
    return best


def _convergence(state: RunState) -> Convergence | None:
    steps, goodness = zip(*state.history.evaluations, strict=True)
    return has_converged(steps, goodness, higher_is_better=True)


def _steer(run: Run, state: RunState, control: Control, records: Records | NullRecords) -> None:
    """Apply the changes written to `control.toml`."""
    step, before = state.step + 1, state.settings
    state.settings = run.processes.broadcast_from_first(partial(control.before, step, before))
    if state.settings == before:
        return
    if state.settings.region_weights != before.region_weights:
        state.batches = batches_for(run, state.settings)
    if (state.settings.loss, state.settings.region_weights) != (before.loss, before.region_weights):
        state.loss = losses.get(state.settings.loss)
        # Values of the new loss cannot be compared with those of the old one.
        state.loss_history = LossHistory(rollbacks=state.loss_history.rollbacks)
    state.schedule = schedules.parse(state.settings.schedule)
    there = asdict(before)
    changed = {name: value for name, value in asdict(state.settings).items() if value != there[name]}
    records.write({"step": step, "seconds": state.position.seconds, "control": changed})
    run.callbacks.tell(
        f"from step {step} on: {', '.join(f'{name} {value}' for name, value in changed.items())}"
    )


def _step(
    run: Run,
    state: RunState,
    parts: Sequence[Batch],
    clipping: Clipping,
    learning_rate: float,
    request: Request,
) -> _Outcome | None:
    """Forward and backward pass of every part, then one update, unless loss or gradient is not finite.

    None if a request to stop came between two parts: a step of large batches may take minutes.
    """
    run.optimizer.zero_grad()
    buffers = [(buffer, buffer.clone()) for buffer in run.model.buffers()]
    shares = []
    for part, batch in enumerate(parts):
        if part and run.processes.max_over(request.number or 0):
            _restore(buffers)
            return None
        shares.append(_backward(run, state, batch, 1 / len(parts), _seed(run, state, part, len(parts))))
    gradient = clippings.clip(run.model.parameters(), clipping, state.history.norms)
    terms = run.processes.mean(torch.stack(shares).sum(dim=0))
    value = terms.sum().item()
    finite = math.isfinite(value) and gradient.finite
    if finite:
        for group in run.optimizer.param_groups:
            group["lr"] = learning_rate
        run.optimizer.step()
    else:
        # Running statistics of batch normalisation would stay NaN for ever.
        _restore(buffers)
    by_term = dict(zip(term_names(state.loss, len(terms)), terms.tolist(), strict=True))
    return _Outcome(value, by_term, gradient.norm, finite)


def _restore(buffers: Sequence[tuple[Tensor, Tensor]]) -> None:
    for buffer, before in buffers:
        buffer.copy_(before)


def _backward(run: Run, state: RunState, batch: Batch, share: float, seed: int) -> Tensor:
    """A part's share of each term; its gradient is added to that of the weights."""
    with seeded(run.processes.device, seed):
        terms = share * loss_terms(
            run.wrapped,
            state.loss,
            batch,
            identities=len(run.facesets),
            precision=run.trial.recipe.precision,
            weights=state.settings.region_weights,
        )
        run.processes.backward(terms.sum())
    return terms.detach()


def _seed(run: Run, state: RunState, part: int, parts: int) -> int:
    """The seed of a part's dropout, different in each step, part and process."""
    return training_seed(run.trial.seed, state.step + 1, run.processes.rank * parts + part)


def _row(position: Position, outcome: _Outcome, learning_rate: float) -> Row:
    row: Row = {"step": position.step, "seconds": position.seconds}
    if outcome.finite:
        row |= {"loss": outcome.loss, "terms": outcome.terms, "gradient_norm": outcome.gradient_norm}
    else:
        # JSON has neither NaN nor infinity.
        terms = {term: value if math.isfinite(value) else None for term, value in outcome.terms.items()}
        row["passed_over"] = terms
    return row | {"learning_rate": learning_rate, "batches": position.batches}
