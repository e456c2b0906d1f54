"""The losses by name. To add one: write a plain function and its declaration in its family's file."""

import difflib

import torch
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses import (
    frequency,
    gradient_similarity,
    gradients,
    ldr_flip,
    multi_scale,
    perceptual,
    pixel,
    relative,
    robust,
    structure,
)
from lossarium.losses.declaration import LossInfo, Option

_LOSSES: tuple[LossInfo, ...] = (
    *pixel.LOSSES,
    *robust.LOSSES,
    *relative.LOSSES,
    *structure.LOSSES,
    *multi_scale.LOSSES,
    *gradient_similarity.LOSSES,
    *gradients.LOSSES,
    *frequency.LOSSES,
    *perceptual.LOSSES,
    *ldr_flip.LOSSES,
)


def names() -> tuple[str, ...]:
    """The names of all losses, family by family."""
    return tuple(loss.name for loss in _LOSSES)


def info(name: str) -> LossInfo:
    """What is declared about the loss of this name.

    Raises:
        LossariumError: there is none of this name; the nearest names are told.

    >>> info("ssim").family
    'structure'
    """
    for loss in _LOSSES:
        if loss.name == name:
            return loss
    raise LossariumError(f'there is no loss "{name}"; {nearest(name, names())}')


def map(name: str, input: Tensor, target: Tensor, **options: Option) -> Tensor:
    """A loss before its mean: one value a pixel, (N, 1, H, W).

    Measures that look through windows give one value a window that lies wholly inside the picture, at its
    centre: SSIM's map, say, is 5 pixels narrower on each side.

    Args:
        name: The loss; one whose `info(name).map` is not None.
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        options: The loss's own.

    Raises:
        LossariumError: there is no such loss or option, or the loss has no map.

    >>> import torch
    >>> map("mae", torch.ones(1, 3, 4, 6), torch.zeros(1, 3, 4, 6)).shape
    torch.Size([1, 1, 4, 6])
    """
    loss = info(name)
    if loss.map is None:
        mapped = ", ".join(other.name for other in _LOSSES if other.map)
        raise LossariumError(
            f"{name} measures the whole picture at once and has no map; these have: {mapped}"
        )
    for option in options:
        if option not in loss.options:
            raise LossariumError(f'{name} has no option "{option}"; {nearest(option, tuple(loss.options))}')
    with torch.autocast(input.device.type, enabled=False):
        return loss.map(input, target, **options)


def nearest(word: str, known: tuple[str, ...]) -> str:
    """Words for an error message: the known names most like `word`, or all of them."""
    close = difflib.get_close_matches(word.lower(), known, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return "there are " + ", ".join(known) if known else "there are none"
