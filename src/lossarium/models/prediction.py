"""The output of a model: pictures and, optionally, coarser pictures and masks."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lossarium.errors import LossariumError


class Prediction(NamedTuple):
    """The outputs of one forward call."""

    pictures: Tensor
    """(slices, batch, 3, S, S) in [0, 1]."""
    coarser: tuple[Tensor, ...] = ()
    """Smaller outputs of a multiscale decoder, coarsest first, each (slices, batch, 3, s, s) in [0, 1]."""
    masks: Tensor | None = None
    """(slices, batch, 1, S, S) in [0, 1], 1 on the face; None unless the model learns masks."""

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "Prediction":
        """Apply a function to every tensor."""
        masks = None if self.masks is None else change(self.masks)
        return Prediction(change(self.pictures), tuple(map(change, self.coarser)), masks)

    def simplest(self) -> "Tensor | Prediction":
        """The pictures tensor if there are neither coarser pictures nor masks, else this `Prediction`."""
        return self if self.coarser or self.masks is not None else self.pictures


def stacked(predictions: Sequence[Prediction]) -> Prediction:
    """Stack predictions of one slice each, which lack the first dimension.

    >>> stacked([Prediction(torch.zeros(8, 3, 64, 64)), Prediction(torch.ones(8, 3, 64, 64))]).pictures.shape
    torch.Size([2, 8, 3, 64, 64])
    """
    pictures, coarser, masks = zip(*predictions, strict=True)
    return Prediction(
        torch.stack(pictures),
        tuple(torch.stack(scale) for scale in zip(*coarser, strict=True)),
        None if masks[0] is None else torch.stack(masks),
    )


def predict(model: nn.Module, pictures: Tensor, identities: Sequence[int]) -> Prediction:
    """Call a model that gives pictures or a `Prediction`; returns a `Prediction`.

    Args:
        model: Called once with both arguments, for all identities.
        pictures: (slices, batch, 3, S, S) in [0, 1].
        identities: For each slice the identity whose decoder it uses: (0, 1) reconstructs, (1, 0) swaps.

    Raises:
        LossariumError: the model gives neither a tensor nor a Prediction.
    """
    output = model(pictures, identities)
    if isinstance(output, Prediction):
        return output
    if isinstance(output, Tensor):
        return Prediction(output)
    raise LossariumError(
        f"the model {type(model).__name__} gives back a {type(output).__name__}; its forward has to return a "
        "Tensor of pictures or a lossarium.models.prediction.Prediction"
    )
