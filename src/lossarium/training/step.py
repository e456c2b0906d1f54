"""What a step minimises: the loss of a model's pictures, at every scale, in the loss's own precision."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossarium.errors import LossariumError
from lossarium.facesets.batches import Batch
from lossarium.losses.module import Loss
from lossarium.models.prediction import Prediction, predict
from lossarium.training.region_weights import FACE, RegionWeights, pixel_weights

MASK_TERM = "mask"
"""The term of a model that learns masks: the mean square of their error."""


def loss_terms(
    model: nn.Module,
    loss: Loss,
    batch: Batch,
    *,
    identities: int,
    precision: str,
    weights: RegionWeights | None = None,
) -> Tensor:
    """The loss of one batch, term by term.

    Args:
        model: Called once, for all identities.
        loss: Computed in float32, whatever the model's precision.
        batch: What goes in and what should come out.
        identities: How many there are, each with a decoder of its own.
        precision: The model's, "float32" or "bf16" for autocast.
        weights: What the batch's regions count.

    Returns:
        (terms,), as `term_names` names them; their sum is what is minimised.

    Raises:
        LossariumError: the model learns masks, and the batch has none.
    """
    with torch.autocast(batch.input.device.type, torch.bfloat16, enabled=precision == "bf16"):
        prediction = predict(model, batch.input, range(identities))
    target = batch.target.flatten(0, 1)
    weight = pixel_weights(weights or RegionWeights(), batch.regions)
    counts = None if weight is None else weight.flatten(0, 1)
    # Each scale counts alike; their mean keeps the loss as high as that of a single one.
    terms = torch.stack(
        [
            loss.terms(pictures, _reduced(target, side), None if counts is None else _reduced(counts, side))
            for pictures in (scale.flatten(0, 1) for scale in (prediction.pictures, *prediction.coarser))
            for side in (pictures.shape[-1],)
        ]
    ).mean(dim=0)
    return terms if prediction.masks is None else torch.cat([terms, _mask_error(prediction, batch)])


def term_names(loss: Loss, count: int) -> list[str]:
    """The names of so many terms, in the order of `loss_terms`."""
    return [*map(str, loss.spec.terms), MASK_TERM][:count]


def _mask_error(prediction: Prediction, batch: Batch) -> Tensor:
    if FACE not in batch.regions:
        raise LossariumError(
            "the model learns masks, and was not told which; name them with --mask, such as --mask extended"
        )
    assert prediction.masks is not None
    return (prediction.masks.float() - batch.regions[FACE]).square().mean().view(1)


def _reduced(pictures: Tensor, side: int) -> Tensor:
    """By area, to a coarser output's size."""
    return pictures if pictures.shape[-1] == side else F.interpolate(pictures, size=side, mode="area")
