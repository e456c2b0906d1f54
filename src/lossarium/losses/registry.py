"""The losses by name. To add one: write a plain function and its declaration in its family's file."""

import torch
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses.declaration import LossInfo, Option
from lossarium.losses.frequency import ffl
from lossarium.losses.gradient import derivatives, gmsd
from lossarium.losses.perceptual import flip, lpips
from lossarium.losses.pixel import norms, relative, robust
from lossarium.losses.reduction import as_pictures
from lossarium.losses.structure import ms_ssim, ssim
from lossarium.text.suggestions import nearest

_LOSSES: tuple[LossInfo, ...] = (
    *norms.LOSSES,
    *robust.LOSSES,
    *relative.LOSSES,
    *ssim.LOSSES,
    *ms_ssim.LOSSES,
    *gmsd.LOSSES,
    *derivatives.LOSSES,
    *ffl.LOSSES,
    *lpips.LOSSES,
    *flip.LOSSES,
)


def built_in() -> tuple[LossInfo, ...]:
    """What is declared about the losses that come with Lossarium, family by family."""
    return _LOSSES


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
    input, target, _, how = as_pictures(input, target, None, "none")
    with torch.autocast(input.device.type, enabled=False):
        mapped = loss.map(input, target, **{**loss.options, **options})
    return mapped.reshape(*how, *mapped.shape[1:]) if isinstance(how, torch.Size) else mapped
