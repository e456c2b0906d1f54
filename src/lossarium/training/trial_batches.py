"""The batches of a trial, made from its recipe. All trials of a seed see the same batches."""

import hashlib
from collections.abc import Callable, Sequence

import torch

from lossarium.facesets.batches.batch import Batch, Batches
from lossarium.facesets.faceset import Faceset
from lossarium.training.configuration import Recipe, RegionWeights
from lossarium.training.region_weights import parse_mask, regions_for


def check_regions(recipe: Recipe, weights: RegionWeights, facesets: Sequence[Faceset]) -> None:
    """Check that the facesets have the masks and landmarks that the region weights need.

    Raises:
        LossariumError: the loss is limited to the face but the recipe names no mask, or a faceset lacks the
            masks or landmarks.
    """
    regions_for(weights, parse_mask(recipe.mask), facesets)


def batches_of(
    seed: int,
    recipe: Recipe,
    facesets: Sequence[Faceset],
    device: torch.device,
    weights: RegionWeights | None = None,
    *,
    part: tuple[int, int] = (0, 1),
) -> Batches:
    """The batches that every trial of this seed sees, with the regions that the weights need.

    With several processes, each gets its `part`, as (rank, count).

    Raises:
        LossariumError: as `check_regions`.
    """
    return Batches(
        facesets,
        batch_size=recipe.batch_size,
        seed=seed,
        augmentation=recipe.augmentation,
        device=device,
        regions=regions_for(
            recipe.region_weights if weights is None else weights, parse_mask(recipe.mask), facesets
        ),
        kernels=True,
        part=part,
    )


def parts_of_step(batches: Callable[[int], Batch], step: int, accumulation: int) -> list[Batch]:
    """The batches whose gradients a step accumulates."""
    first = (step - 1) * accumulation + 1
    return [batches(number) for number in range(first, first + accumulation)]


def batch_digest(batch: Batch) -> bytes:
    """SHA-256 of a batch's bytes."""
    digest = hashlib.sha256()
    for pictures in (batch.input, batch.target, *batch.regions.values()):
        digest.update(pictures.cpu().contiguous().numpy().data)
    return digest.digest()


def chained(previous: str, digest: bytes) -> str:
    """The next link of the hash chain: SHA-256 of the link before it and of the batch's digest."""
    return hashlib.sha256(bytes.fromhex(previous) + digest).hexdigest()
