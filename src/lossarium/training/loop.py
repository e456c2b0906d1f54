"""The training loop: one trial, from its initial weights to its last step."""

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.facesets.batches import Batch, Batches
from lossarium.facesets.faceset import Faceset
from lossarium.losses.module import Loss
from lossarium.models.registry import initial_model, weights_digest
from lossarium.training.checkpoints import (
    Position,
    keep_the_last_alone,
    load_checkpoint,
    load_good,
    save_checkpoint,
)
from lossarium.training.claims import claimed
from lossarium.training.configuration import Recipe, Trial
from lossarium.training.control import Control, Settings
from lossarium.training.guards import Guards, Watched, exploded, remembered, watch_step, went_back
from lossarium.training.records import Records, Row
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
Judge = Callable[[nn.Module, int], HeldOutScores]
"""Given the model and the step, scores it on held-out frames and takes its pictures."""


@dataclass(frozen=True)
class Watcher:
    """Who looks on."""

    progress: Callable[[Progress], None] = lambda _: None
    """Called after every step."""
    tell: Callable[[str], None] = lambda _: None
    """Called with a sentence when something out of the ordinary happens."""
    keep_pictures: Callable[[], None] = lambda: None
    """Called before a checkpoint, to write what the judge took; its OSError puts the checkpoint off."""


@dataclass(frozen=True)
class Keeping:
    """Which checkpoints stay beside the last ones; the numbers do not depend on it."""

    goodness: Callable[[HeldOutScores], float] | None = None
    """Held-out scores -> the more the better; the best checkpoint of all snapshots is kept."""
    every: int = 0
    """Every so many steps one is kept for all time; 0 for none."""


@dataclass(frozen=True)
class _Run:
    """What stays the same while a trial runs."""

    trial: Trial
    identities: int
    folder: Path
    model: nn.Module
    optimizer: torch.optim.Optimizer
    guards: Guards
    keeping: Keeping
    watcher: Watcher


@dataclass
class _Standing:
    """Where a run stands between two steps."""

    position: Position
    settings: Settings
    loss: Loss
    watched: Watched
    saved: int
    """Step of the last checkpoint."""
    best: float = -math.inf
    """Goodness of the best snapshot so far."""
    tried_to_save_at: float = field(default_factory=time.monotonic)

    @property
    def step(self) -> int:
        return self.position.step


@dataclass(frozen=True)
class _Outcome:
    """What one step came to."""

    loss: float
    terms: Mapping[str, float]
    gradient_norm: float
    finite: bool
    """Whether loss and gradient were, and so whether the weights were changed."""


def train(
    trial: Trial,
    facesets: Sequence[Faceset],
    folder: Path,
    judge: Judge,
    watcher: Watcher,
    *,
    guards: Guards | None = None,
    keeping: Keeping | None = None,
    by_hand: bool = False,
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
        by_hand: Whether `control.toml` is looked at before every step.

    Raises:
        LossariumError: the loss exploded time and again, the folder is in use, or its files are damaged.
        Stopped: the process was asked to stop; all work is saved.
        OSError: the disk was full, or refused, up to the end.
    """
    recipe = trial.recipe
    device = torch.device("cpu")
    model = _initial(trial, len(facesets)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate, fused=True)
    run = _Run(
        trial, len(facesets), folder, model, optimizer, guards or Guards(), keeping or Keeping(), watcher
    )
    batches = batches_of(trial.seed, recipe, facesets, device)
    snapshot_steps = recipe.snapshot_steps()

    with claimed(folder), listening() as request:
        control = Control(folder, watcher.tell) if by_hand else None
        standing = _loaded(run)
        done, spent = 0, 0.0
        with closing(Records(folder, standing.position.record_bytes)) as records:
            while standing.step < recipe.steps:
                if control is not None:
                    _steer(run, standing, control, records)
                learning_rate = (
                    standing.settings.learning_rate * run.guards.slower**standing.watched.rollbacks
                )

                started = time.perf_counter()
                step = standing.step + 1
                batch = batches(step)
                outcome = _step(model, optimizer, standing.loss, batch, learning_rate, recipe.precision)
                passed = time.perf_counter() - started

                standing.position = Position(
                    step, standing.position.seconds + passed, chained(standing.position.batches, batch)
                )
                records.write(_row(standing.position, outcome, learning_rate))
                standing.watched = watch_step(
                    standing.watched, run.guards, outcome.loss, outcome.terms, finite=outcome.finite
                )
                if exploded(standing.watched, run.guards):
                    _go_back(run, standing, records, outcome)
                    continue

                at_snapshot = step in snapshot_steps
                scores = judge(model, step) if at_snapshot else None
                if scores is not None:
                    row = {"step": step, "seconds": standing.position.seconds, "held_out": scores}
                    records.write(row)
                if at_snapshot or _is_due(run, standing):
                    _save(run, standing, records, scores)
                done, spent = done + 1, spent + passed
                watcher.progress(
                    Progress(step, recipe.steps, outcome.loss, outcome.terms, learning_rate, done / spent)
                )
                if request.number is not None:
                    if standing.saved < step:
                        _save(run, standing, records, None)
                    raise Stopped(standing.saved, request.number)

            if standing.saved < recipe.steps:
                _save(run, standing, records, None, last=True)
            keep_the_last_alone(folder)
            # After the last checkpoint: a trial that says it is finished has its final weights on disk.
            end = {"finished": True, "weights": weights_digest(model)}
            records.write({"step": recipe.steps, "seconds": standing.position.seconds, **end})
            records.flush()


def _initial(trial: Trial, identities: int) -> nn.Module:
    recipe = trial.recipe
    return initial_model(recipe.model, size=recipe.size, identities=identities, seed=trial.seed)


def _loaded(run: _Run) -> _Standing:
    """Restore the last checkpoint."""
    loaded = load_checkpoint(run.folder, run.model, run.optimizer)
    for sentence in loaded.damaged:
        run.watcher.tell(f"{sentence}; going on from step {loaded.position.step} instead")
    recipe = run.trial.recipe
    begun = {"learning_rate": recipe.learning_rate, "loss": run.trial.loss}
    settings = Settings(**loaded.state.get("settings", begun))
    watched = remembered(loaded.state.get("guards", {}))
    best = loaded.state.get("best")
    return _Standing(
        position=loaded.position,
        settings=settings,
        loss=losses.get(settings.loss),
        watched=watched,
        saved=loaded.position.step,
        best=-math.inf if best is None else best,
    )


def _steer(run: _Run, standing: _Standing, control: Control, records: Records) -> None:
    """Change by hand what somebody wants changed."""
    step, before = standing.step + 1, standing.settings
    standing.settings = control.before(step, before)
    if standing.settings == before:
        return
    if standing.settings.loss != before.loss:
        standing.loss = losses.get(standing.settings.loss)
        # Another loss has another height.
        standing.watched = Watched(rollbacks=standing.watched.rollbacks)
    changed = asdict(standing.settings)
    records.write({"step": step, "seconds": standing.position.seconds, "control": changed})
    run.watcher.tell(
        f"from step {step} on: {', '.join(f'{name} {value}' for name, value in changed.items())}"
    )


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Loss,
    batch: Batch,
    learning_rate: float,
    precision: str,
) -> _Outcome:
    """Forward, backward, update; no update where a number is none."""
    with torch.autocast(batch.input.device.type, torch.bfloat16, enabled=precision == "bf16"):
        prediction = model(batch.input, range(len(batch.input)))
    terms = loss.terms(prediction.flatten(0, 1), batch.target.flatten(0, 1))
    total = terms.sum()
    optimizer.zero_grad()
    torch.autograd.backward(total)
    norm, value = _gradient_norm(model), total.item()
    finite = math.isfinite(value) and math.isfinite(norm)
    if finite:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.step()
    by_term = dict(zip(map(str, loss.spec.terms), terms.tolist(), strict=True))
    return _Outcome(value, by_term, norm, finite)


def _gradient_norm(model: nn.Module) -> float:
    """L2 norm of the gradient by all weights together."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return torch.nn.utils.get_total_norm(gradients).item()


def _row(position: Position, outcome: _Outcome, learning_rate: float) -> Row:
    row: Row = {"step": position.step, "seconds": position.seconds}
    if outcome.finite:
        row |= {"loss": outcome.loss, "terms": outcome.terms, "gradient_norm": outcome.gradient_norm}
    else:
        # JSON has no word for what is no number.
        terms = {term: value if math.isfinite(value) else None for term, value in outcome.terms.items()}
        row["passed_over"] = terms
    return row | {"learning_rate": learning_rate, "batches": position.batches}


def _go_back(run: _Run, standing: _Standing, records: Records, outcome: _Outcome) -> None:
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
    run.model.load_state_dict(_initial(run.trial, run.identities).state_dict())
    run.optimizer.state.clear()
    position = load_good(run.folder, run.model, run.optimizer)
    records.go_back(position.record_bytes)
    standing.position, standing.watched = position, went_back(watched)
    factor = run.guards.slower**standing.watched.rollbacks
    event = {"from": step, "term": watched.first, "learning_rate_factor": factor}
    records.write({"step": position.step, "seconds": position.seconds, "went_back": event})
    run.watcher.tell(
        f'{what}, its term "{watched.first}" first: back to step {position.step}, '
        f"and on with {factor:g} of the learning rate"
    )
    # At once: a trial that is killed now must not begin again at the old rate.
    _save(run, standing, records, None)


def _is_due(run: _Run, standing: _Standing) -> bool:
    return (
        time.monotonic() - standing.tried_to_save_at > _SECONDS_BETWEEN_CHECKPOINTS
        or standing.step % _STEPS_BETWEEN_GOOD_CHECKPOINTS == 0
        or _stays(run, standing)
    )


def _stays(run: _Run, standing: _Standing) -> bool:
    return run.keeping.every > 0 and standing.step % run.keeping.every == 0


def _save(
    run: _Run, standing: _Standing, records: Records, scores: HeldOutScores | None, *, last: bool = False
) -> None:
    """Write a checkpoint, or tell the watcher why there is none; the last one has to be written."""
    standing.tried_to_save_at = time.monotonic()
    step = standing.step
    goodness = -math.inf
    if scores is not None and run.keeping.goodness is not None:
        goodness = run.keeping.goodness(scores)
    best = max(goodness, standing.best)
    at_good_step = step in run.trial.recipe.snapshot_steps() or step % _STEPS_BETWEEN_GOOD_CHECKPOINTS == 0
    try:
        run.watcher.keep_pictures()
        position = replace(standing.position, record_bytes=records.flush())
        save_checkpoint(
            run.folder,
            position,
            run.model,
            run.optimizer,
            {
                "settings": asdict(standing.settings),
                "guards": standing.watched.as_table(),
                "best": best if math.isfinite(best) else None,
            },
            best=goodness > standing.best,
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
    standing.position, standing.saved, standing.best = position, step, best


def batches_of(seed: int, recipe: Recipe, facesets: Sequence[Faceset], device: torch.device) -> Batches:
    """The batches that every trial of this seed sees."""
    return Batches(
        facesets,
        batch_size=recipe.batch_size,
        seed=seed,
        augmentation=recipe.augmentation,
        device=device,
    )


def chained(previous: str, batch: Batch) -> str:
    """The next link of the hash chain: SHA-256 of the link before it and of the batch's bytes."""
    digest = hashlib.sha256(bytes.fromhex(previous))
    for pictures in (batch.input, batch.target):
        digest.update(pictures.cpu().contiguous().numpy().data)
    return digest.hexdigest()
