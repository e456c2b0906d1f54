"""What a step minimises: the loss of a model's pictures, at every scale, in the loss's own precision."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossarium.facesets.batches import Batch
from lossarium.losses.module import Loss
from lossarium.models.prediction import predict


def loss_terms(model: nn.Module, loss: Loss, batch: Batch, *, identities: int, precision: str) -> Tensor:
    """The loss of one batch, term by term.

    Args:
        model: Called once, for all identities.
        loss: Computed in float32, whatever the model's precision.
        batch: What goes in and what should come out.
        identities: How many there are, each with a decoder of its own.
        precision: The model's, "float32" or "bf16" for autocast.

    Returns:
        (terms,), in the order of the loss's spec; their sum is what is minimised.
    """
    with torch.autocast(batch.input.device.type, torch.bfloat16, enabled=precision == "bf16"):
        prediction = predict(model, batch.input, range(identities))
    target = batch.target.flatten(0, 1)
    scales = [pictures.flatten(0, 1) for pictures in (prediction.pictures, *prediction.coarser)]
    # Each scale counts alike; their mean keeps the loss as high as that of a single one.
    return torch.stack(
        [loss.terms(pictures, _reduced(target, pictures.shape[-1])) for pictures in scales]
    ).mean(dim=0)


def _reduced(pictures: Tensor, side: int) -> Tensor:
    """By area, to a coarser output's size."""
    return pictures if pictures.shape[-1] == side else F.interpolate(pictures, size=side, mode="area")
