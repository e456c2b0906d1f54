"""The training loop: one trial, from its initial weights to its last step."""

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.facesets.batches import Batch, Batches
from lossarium.facesets.faceset import Faceset
from lossarium.losses.module import Loss
from lossarium.models.registry import initial_model, weights_digest
from lossarium.training import clipping as clippings
from lossarium.training import optimizers, region_weights, schedules
from lossarium.training.checkpoints import (
    Position,
    keep_the_last_alone,
    load_checkpoint,
    load_good,
    save_checkpoint,
)
from lossarium.training.claims import claimed
from lossarium.training.clipping import Clipping, NormHistory
from lossarium.training.configuration import Recipe, Trial
from lossarium.training.control import Control, Settings
from lossarium.training.convergence import Convergence, has_converged
from lossarium.training.guards import Guards, Watched, exploded, remembered, watch_step, went_back
from lossarium.training.processes import Processes, this_process
from lossarium.training.records import Records, Row, Unrecorded
from lossarium.training.region_weights import RegionWeights, regions_for
from lossarium.training.schedules import Plateau, PlateauState, Schedule
from lossarium.training.step import loss_terms, term_names
from lossarium.training.stopping import Stopped, listening

# A killed trial loses at most this much work; and so often a full disk is tried again.
_SECONDS_BETWEEN_CHECKPOINTS = 15.0
_STEPS_BETWEEN_GOOD_CHECKPOINTS = 500


@dataclass(frozen=True)
class Progress:
    """What a watcher is told after every step."""

    step: int
    steps: int
    loss: float
    terms: Mapping[str, float]
    learning_rate: float
    steps_per_second: float
    """Over this run of the trial."""


HeldOutScores = dict[str, list[float]]


class Judge(Protocol):
    """Who looks at held-out frames."""

    def __call__(self, model: nn.Module, step: int) -> HeldOutScores:
        """Score the model and take its pictures."""

    def goodness(self, scores: HeldOutScores) -> float:
        """One number, the more the better."""


@dataclass(frozen=True)
class Watcher:
    """Who looks on."""

    progress: Callable[[Progress], None] = lambda _: None
    """Called after every step."""
    tell: Callable[[str], None] = lambda _: None
    """Called with a sentence when something out of the ordinary happens."""
    keep_pictures: Callable[[], None] = lambda: None
    """Called before a checkpoint, to write what the judge took; its OSError puts the checkpoint off."""
    record: Callable[[Row], None] = lambda _: None
    """Called with every row of `metrics.jsonl`."""
    look: Callable[[nn.Module, int], None] = lambda _model, _step: None
    """Called after every step with the model, which it has to leave as it was."""


@dataclass(frozen=True)
class Keeping:
    """Which checkpoints stay beside the last ones; the numbers do not depend on it."""

    best: bool = False
    """The best of all snapshots is kept."""
    every: int = 0
    """Every so many steps one is kept for all time; 0 for none."""


@dataclass(frozen=True)
class _Run:
    """What stays the same while a trial runs."""

    trial: Trial
    facesets: Sequence[Faceset]
    folder: Path
    processes: Processes
    model: nn.Module
    together: nn.Module
    """The model as it is called to be trained, by all processes."""
    optimizer: torch.optim.Optimizer
    initial_optimizer: Mapping[str, Any]
    """Its state before the first step."""
    guards: Guards
    keeping: Keeping
    watcher: Watcher
    snapshot_steps: frozenset[int]


@dataclass
class _Standing:
    """Where a run stands between two steps."""

    position: Position
    settings: Settings
    loss: Loss
    schedule: Schedule
    batches: Batches
    watched: Watched
    history: "_History"
    saved: int
    """Step of the last checkpoint."""
    tried_to_save_at: float = field(default_factory=time.monotonic)

    @property
    def step(self) -> int:
        return self.position.step


@dataclass
class _History:
    """What the steps and looks so far leave behind, beside weights and optimiser."""

    norms: NormHistory
    plateau: PlateauState
    looks: list[tuple[int, float]]
    """Step and goodness of every snapshot."""


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
    model = _initial(trial, len(facesets)).to(processes.device)
    optimizer = optimizers.make(optimizers.parse(recipe.optimizer), model.parameters(), recipe.learning_rate)
    run = _Run(
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
        standing = _loaded(run)
        done, spent = 0, 0.0
        with closing(_records(run, standing)) as records:
            converged = None
            while standing.step < recipe.steps and converged is None:
                if control is not None:
                    _steer(run, standing, control, records)
                step = standing.step + 1
                learning_rate = _learning_rate(run, standing, step)

                started = time.perf_counter()
                first = (step - 1) * recipe.accumulation + 1
                parts = [standing.batches(number) for number in range(first, first + recipe.accumulation)]
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
                    _go_back(run, standing, records, outcome)
                    continue

                if step in run.snapshot_steps:
                    scores = processes.of_first(partial(judge, model, step))
                    row = {"step": step, "seconds": standing.position.seconds, "held_out": scores}
                    records.write(row)
                    best = _look(standing, judge.goodness(scores))
                    _save(run, standing, records, best=best)
                    converged = _convergence(standing) if until_converged else None
                elif _is_due(run, standing):
                    _save(run, standing, records)
                watcher.look(model, step)
                done, spent = done + 1, spent + passed
                watcher.progress(
                    Progress(step, recipe.steps, outcome.loss, outcome.terms, learning_rate, done / spent)
                )
                asked = processes.of_any(request.number or 0)
                if asked:
                    if standing.saved < step:
                        _save(run, standing, records)
                    raise Stopped(standing.saved, asked)

            if standing.saved < standing.step:
                _save(run, standing, records, last=True)
            if processes.is_first:
                keep_the_last_alone(folder)
            # After the last checkpoint: a trial that says it is finished has its final weights on disk.
            end: Row = {"finished": True, "weights": weights_digest(model)}
            if converged is not None:
                watcher.tell(f"converged: {converged.why}")
                end["converged"] = converged.why
            records.write({"step": standing.step, "seconds": standing.position.seconds, **end})
            records.flush()


def _initial(trial: Trial, identities: int) -> nn.Module:
    recipe = trial.recipe
    return initial_model(
        recipe.model,
        size=recipe.size,
        identities=identities,
        seed=trial.seed,
        options=recipe.model_options,
    )


def _loaded(run: _Run) -> _Standing:
    """Restore the last checkpoint."""
    loaded = load_checkpoint(run.folder, run.model, run.optimizer)
    for sentence in loaded.damaged:
        run.watcher.tell(f"{sentence}; going on from step {loaded.position.step} instead")
    recipe, state = run.trial.recipe, loaded.state
    begun = Settings(recipe.learning_rate, run.trial.loss, recipe.schedule, **asdict(recipe.region_weights))
    settings = Settings(**state["settings"]) if "settings" in state else begun
    return _Standing(
        position=loaded.position,
        settings=settings,
        loss=losses.get(settings.loss),
        schedule=schedules.parse(settings.schedule),
        batches=_batches(run, settings),
        watched=remembered(state.get("guards", {})),
        history=_history(state),
        saved=loaded.position.step,
    )


def _records(run: _Run, standing: _Standing) -> Records | Unrecorded:
    if not run.processes.is_first:
        return Unrecorded()
    return Records(run.folder, standing.position.record_bytes, run.watcher.record)


def _history(state: Mapping[str, Any]) -> _History:
    """As a checkpoint has it."""
    return _History(
        norms=clippings.norm_history(state.get("norms", ())),
        plateau=PlateauState(**state.get("plateau", {})),
        looks=[(int(step), float(goodness)) for step, goodness in state.get("looks", ())],
    )


def _state(standing: _Standing) -> dict[str, Any]:
    """What `_loaded` needs beside weights, optimiser and position."""
    return {
        "settings": asdict(standing.settings),
        "guards": standing.watched.as_table(),
        "norms": list(standing.history.norms),
        "plateau": asdict(standing.history.plateau),
        "looks": standing.history.looks,
    }


def _learning_rate(run: _Run, standing: _Standing, step: int) -> float:
    """By the schedule, and lower by every return to a checkpoint."""
    base, steps = standing.settings.learning_rate, run.trial.recipe.steps
    scheduled = schedules.learning_rate(standing.schedule, base, step, steps, standing.history.plateau)
    return scheduled * run.guards.slower**standing.watched.rollbacks


def _look(standing: _Standing, goodness: float) -> bool:
    """Take a snapshot's goodness down; whether it is the best so far."""
    best = all(goodness > before for _, before in standing.history.looks)
    standing.history.looks.append((standing.step, goodness))
    if isinstance(standing.schedule, Plateau):
        standing.history.plateau = schedules.advance(
            standing.schedule, standing.history.plateau, goodness, higher_is_better=True
        )
    return best


def _convergence(standing: _Standing) -> Convergence | None:
    steps, goodness = zip(*standing.history.looks, strict=True)
    return has_converged(steps, goodness, higher_is_better=True)


def _steer(run: _Run, standing: _Standing, control: Control, records: Records | Unrecorded) -> None:
    """Change by hand what somebody wants changed."""
    step, before = standing.step + 1, standing.settings
    standing.settings = run.processes.of_first(partial(control.before, step, before))
    if standing.settings == before:
        return
    if standing.settings.region_weights != before.region_weights:
        standing.batches = _batches(run, standing.settings)
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
    run: _Run, standing: _Standing, parts: Sequence[Batch], clipping: Clipping, learning_rate: float
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


def _backward(run: _Run, standing: _Standing, batch: Batch, share: float) -> Tensor:
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


def _go_back(run: _Run, standing: _Standing, records: Records | Unrecorded, outcome: _Outcome) -> None:
    """Restore the last good checkpoint, to go on from it with a lower learning rate; or give up."""
    watched, step = standing.watched, standing.step
    what = (
        f'the loss "{standing.settings.loss}" became {outcome.loss:g} at step {step} of seed {run.trial.seed}'
    )
    if watched.rollbacks >= run.guards.rollbacks:
        raise LossariumError(
            f'{what}, after going back {watched.rollbacks} times, its term "{watched.first}" first; '
            f"a learning rate below {run.trial.recipe.learning_rate:g} may help"
        )
    run.model.load_state_dict(_initial(run.trial, len(run.facesets)).state_dict())
    optimizers.restore_state(run.optimizer, {}, dict(run.initial_optimizer))
    good = load_good(run.folder, run.model, run.optimizer)
    position = good.position
    records.go_back(position.record_bytes)
    standing.position, standing.watched = position, went_back(watched)
    standing.history = _history(good.state)
    factor = run.guards.slower**standing.watched.rollbacks
    event = {"from": step, "term": watched.first, "learning_rate_factor": factor}
    records.write({"step": position.step, "seconds": position.seconds, "went_back": event})
    run.watcher.tell(
        f'{what}, its term "{watched.first}" first: back to step {position.step}, '
        f"and on with {factor:g} of the learning rate"
    )
    # At once: a trial that is killed now must not begin again at the old rate.
    _save(run, standing, records)


def _is_due(run: _Run, standing: _Standing) -> bool:
    return (
        time.monotonic() - standing.tried_to_save_at > _SECONDS_BETWEEN_CHECKPOINTS
        or standing.step % _STEPS_BETWEEN_GOOD_CHECKPOINTS == 0
        or _stays(run, standing)
    )


def _stays(run: _Run, standing: _Standing) -> bool:
    return run.keeping.every > 0 and standing.step % run.keeping.every == 0


def _save(
    run: _Run, standing: _Standing, records: Records | Unrecorded, *, best: bool = False, last: bool = False
) -> None:
    """Write a checkpoint, or tell the watcher why there is none; the last one has to be written."""
    standing.tried_to_save_at = time.monotonic()
    if not run.processes.is_first:
        standing.saved = standing.step
        return
    step = standing.step
    at_good_step = step in run.snapshot_steps or step % _STEPS_BETWEEN_GOOD_CHECKPOINTS == 0
    try:
        run.watcher.keep_pictures()
        position = replace(standing.position, record_bytes=records.flush())
        save_checkpoint(
            run.folder,
            position,
            run.model,
            run.optimizer,
            _state(standing),
            best=best and run.keeping.best,
            snapshot=_stays(run, standing),
            # At steps that do not depend on how fast this machine is: a return is to the same one everywhere.
            good=at_good_step and standing.watched.suspicious == 0,
        )
    except OSError as error:
        if last:
            raise
        run.watcher.tell(
            f"no checkpoint could be written after step {step} ({error.strerror or error}); "
            f"training goes on, and the one of step {standing.saved} is safe"
        )
        return
    standing.position, standing.saved = position, step


def _batches(run: _Run, settings: Settings) -> Batches:
    trial, processes = run.trial, run.processes
    return batches_of(
        trial.seed,
        trial.recipe,
        run.facesets,
        processes.device,
        settings.region_weights,
        part=(processes.rank, processes.count),
    )


def _check_settings(run: _Run, settings: Settings) -> None:
    """Refuse what this trial's facesets cannot give."""
    check_regions(run.trial.recipe, settings.region_weights, run.facesets)


def check_regions(recipe: Recipe, weights: RegionWeights, facesets: Sequence[Faceset]) -> None:
    """Refuse weights of regions that nobody knows.

    Raises:
        LossariumError: the loss should look at the mask alone, and there is none; or a faceset has no masks
            or landmarks.
    """
    mask = region_weights.parse(recipe.mask)
    if weights.mask_loss and mask is None:
        raise LossariumError("a loss on the face alone needs a mask; name one with --mask, such as extended")
    regions_for(weights, mask, facesets)


def batches_of(
    seed: int,
    recipe: Recipe,
    facesets: Sequence[Faceset],
    device: torch.device,
    weights: RegionWeights | None = None,
    *,
    part: tuple[int, int] = (0, 1),
) -> Batches:
    """The batches that every trial of this seed sees, with the regions that their weights need.

    Of several processes each sees a part.

    Raises:
        LossariumError: a faceset has no masks or landmarks to make them of.
    """
    return Batches(
        facesets,
        batch_size=recipe.batch_size,
        seed=seed,
        augmentation=recipe.augmentation,
        device=device,
        regions=regions_for(
            recipe.region_weights if weights is None else weights, region_weights.parse(recipe.mask), facesets
        ),
        kernels=True,
        part=part,
    )


def batch_digest(batch: Batch) -> bytes:
    """SHA-256 of a batch's bytes."""
    digest = hashlib.sha256()
    for pictures in (batch.input, batch.target, *batch.regions.values()):
        digest.update(pictures.cpu().contiguous().numpy().data)
    return digest.digest()


def chained(previous: str, digest: bytes) -> str:
    """The next link of the hash chain: SHA-256 of the link before it and of the batch's digest."""
    return hashlib.sha256(bytes.fromhex(previous) + digest).hexdigest()
