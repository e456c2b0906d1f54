"""What a step minimises: the loss of a model's output at every scale, computed in float32."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossarium.errors import LossariumError
from lossarium.facesets.batches.batch import Batch
from lossarium.losses.module import Loss
from lossarium.models.prediction import Prediction, predict
from lossarium.training.configuration import RegionWeights
from lossarium.training.region_weights import FACE, pixel_weights

MASK_TERM = "mask"
"""The term of a model that also predicts masks: their mean squared error."""


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
        batch: The model's input and the target of its output.
        identities: How many there are; each has its own decoder.
        precision: The model's: "float32", or "bf16" for autocast.
        weights: The weights of the batch's regions.

    Returns:
        (terms,), as `term_names` names them; training minimises their sum.

    Raises:
        LossariumError: the model predicts masks, and the batch has none.
    """
    with torch.autocast(batch.input.device.type, torch.bfloat16, enabled=precision == "bf16"):
        prediction = predict(model, batch.input, range(identities))
    target, weight = batch.target.flatten(0, 1), _flat_weight(batch, weights or RegionWeights())

    def at_scale(pictures: Tensor) -> Tensor:
        side = pictures.shape[-1]
        counts = None if weight is None else _reduced(weight, side)
        return loss.terms(pictures.flatten(0, 1), _reduced(target, side), counts)

    # The mean over scales, so that the loss is as high as that of a model with a single scale.
    terms = torch.stack([at_scale(scale) for scale in (prediction.pictures, *prediction.coarser)]).mean(dim=0)
    return terms if prediction.masks is None else torch.cat([terms, _mask_error(prediction, batch)])


def term_names(loss: Loss, count: int) -> list[str]:
    """The names of the `count` terms, in the order of `loss_terms`."""
    return [*map(str, loss.spec.terms), MASK_TERM][:count]


def try_losses(losses: Iterable[Loss], batch: Batch, weights: RegionWeights) -> None:
    """Compute every loss once on a batch, so that a loss that cannot work fails before training begins.

    Raises:
        LossariumError: a loss cannot be computed on pictures of this size.
    """
    input, target = batch.input.flatten(0, 1), batch.target.flatten(0, 1)
    for loss in losses:
        loss(input, target, _flat_weight(batch, weights))


def _flat_weight(batch: Batch, weights: RegionWeights) -> Tensor | None:
    """Each pixel's weight, (identities * batch, 1, size, size); None where all count the same."""
    weight = pixel_weights(weights, batch.regions)
    return None if weight is None else weight.flatten(0, 1)


def _mask_error(prediction: Prediction, batch: Batch) -> Tensor:
    if FACE not in batch.regions:
        raise LossariumError(
            "the model learns masks, and was not told which; name them with --mask, such as --mask extended"
        )
    assert prediction.masks is not None
    return (prediction.masks.float() - batch.regions[FACE]).square().mean().view(1)


def _reduced(pictures: Tensor, side: int) -> Tensor:
    """Average pictures by area down to a coarser output's size."""
    return pictures if pictures.shape[-1] == side else F.interpolate(pictures, size=side, mode="area")
