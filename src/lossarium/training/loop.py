"""The training loop: one trial, from its initial weights to its last step."""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.facesets.batches import Batch, Batches
from lossarium.facesets.faceset import Faceset
from lossarium.models.registry import initial_model, weights_digest
from lossarium.training.checkpoints import Position, load_checkpoint, save_checkpoint
from lossarium.training.configuration import Recipe, Trial
from lossarium.training.records import Records

# A killed trial loses at most this much work.
_SECONDS_BETWEEN_CHECKPOINTS = 15.0


@dataclass(frozen=True)
class Progress:
    """What a watcher is told after every step."""

    step: int
    steps: int
    loss: float
    steps_per_second: float
    """Over this run of the trial."""


HeldOutScores = dict[str, list[float]]
Judge = Callable[[nn.Module, int], HeldOutScores]
"""Given the model and the step, scores it on held-out frames and keeps its pictures."""


def train(
    trial: Trial,
    facesets: Sequence[Faceset],
    folder: Path,
    judge: Judge,
    watch: Callable[[Progress], None],
) -> None:
    """Run a trial to its end, from its last checkpoint if it has one.

    Everything is recorded in `metrics.jsonl` and `checkpoints/` of `folder`. The numbers do not depend on
    whether and where the trial was interrupted.

    Raises:
        LossariumError: the loss is not finite any more, or the checkpoint is damaged.
    """
    recipe = trial.recipe
    device = torch.device("cpu")
    identities = range(len(facesets))
    loss = losses.get(trial.loss)
    labels = [str(term) for term in loss.spec.terms]
    model = initial_model(recipe.model, size=recipe.size, identities=len(facesets), seed=trial.seed).to(
        device
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate, fused=True)
    batches = batches_of(trial.seed, recipe, facesets, device)
    snapshot_steps = recipe.snapshot_steps()

    position = load_checkpoint(folder, model, optimizer)
    with closing(Records(folder, position.record_bytes)) as records:
        saved_at = time.monotonic()
        seconds, chain, resumed = position.seconds, position.batches, position
        for step in range(position.step + 1, recipe.steps + 1):
            started = time.perf_counter()
            batch = batches(step)
            chain = chained(chain, batch)
            with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
                prediction = model(batch.input, identities)
            terms = loss.terms(prediction.flatten(0, 1), batch.target.flatten(0, 1))
            total = terms.sum()
            value = total.item()
            if not math.isfinite(value):
                raise LossariumError(
                    f'the loss "{trial.loss}" became {value} at step {step} of seed {trial.seed}; '
                    f"a learning rate below {recipe.learning_rate:g} may help"
                )
            optimizer.zero_grad()
            torch.autograd.backward(total)
            optimizer.step()
            seconds += time.perf_counter() - started

            by_term = dict(zip(labels, terms.tolist(), strict=True))
            records.write(
                {"step": step, "seconds": seconds, "loss": value, "terms": by_term, "batches": chain}
            )
            at_snapshot = step in snapshot_steps
            if at_snapshot:
                records.write({"step": step, "seconds": seconds, "held_out": judge(model, step)})
            if at_snapshot or time.monotonic() - saved_at > _SECONDS_BETWEEN_CHECKPOINTS:
                position = Position(step, seconds, chain, records.flush())
                save_checkpoint(folder, position, model, optimizer)
                saved_at = time.monotonic()
            done, spent = step - resumed.step, seconds - resumed.seconds
            watch(Progress(step, recipe.steps, value, done / spent))

        # After the last checkpoint, so that a trial that says it is finished has its final weights on disk.
        end = {"step": recipe.steps, "seconds": seconds, "finished": True, "weights": weights_digest(model)}
        records.write(end)
        records.flush()


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
