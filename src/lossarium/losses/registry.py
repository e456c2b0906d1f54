"""The losses by name. To add one: write a plain function and its declaration in its family's file."""

import torch
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses import own
from lossarium.losses.declaration import LossInfo, Option
from lossarium.losses.frequency import ffl
from lossarium.losses.gradient import gmsd, laplacian, pixel_gradient
from lossarium.losses.perceptual import flip, lpips
from lossarium.losses.pixel import norms, relative, robust
from lossarium.losses.reduction import as_pictures
from lossarium.losses.structure import mix, ms_ssim, ssim, uqi
from lossarium.text.suggestions import nearest

_LOSSES: tuple[LossInfo, ...] = (
    *norms.LOSSES,
    *robust.LOSSES,
    *relative.LOSSES,
    *ssim.LOSSES,
    *uqi.LOSSES,
    *ms_ssim.LOSSES,
    *mix.LOSSES,
    *gmsd.LOSSES,
    *pixel_gradient.LOSSES,
    *laplacian.LOSSES,
    *ffl.LOSSES,
    *lpips.LOSSES,
    *flip.LOSSES,
)
# Other common names.
_ALSO_CALLED = {"l1": "mae", "l2": "mse"}


def built_in() -> tuple[LossInfo, ...]:
    """The declarations of the built-in losses, family by family."""
    return _LOSSES


def built_in_names() -> frozenset[str]:
    """The names of the built-in losses, and their other common names."""
    return frozenset((*(loss.name for loss in _LOSSES), *_ALSO_CALLED))


def names() -> tuple[str, ...]:
    """The names of all losses: built-in ones, family by family, then registered ones."""
    return (*(loss.name for loss in _LOSSES), *own.names())


def info(name: str) -> LossInfo:
    """The declaration of a loss; the name may be `package.module:function` for a user's own.

    Raises:
        LossariumError: no loss has this name (the message has the nearest), or a user's own cannot be
            imported or breaks the contract.

    >>> info("ssim").family, info("l1").name
    ('structure', 'mae')
    """
    wanted = _ALSO_CALLED.get(name, name)
    for loss in _LOSSES:
        if loss.name == wanted:
            return loss
    found = own.find(name)
    if found is not None:
        return found
    raise LossariumError(
        f'there is no loss "{name}"; {nearest(name, names())} (your own is named package.module:function)'
    )


def map(name: str, input: Tensor, target: Tensor, **options: Option) -> Tensor:
    """A loss before its mean: one value a pixel, (N, 1, H, W).

    Measures that look through windows give one value a window that lies wholly inside the picture, at its
    centre: SSIM's map, say, is 5 pixels narrower on each side.

    Args:
        name: The loss; one whose `info(name).map` is not None.
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        options: The options of the loss.

    Raises:
        LossariumError: there is no such loss or option, or the loss has no map.

    >>> import torch
    >>> map("mae", torch.ones(1, 3, 4, 6), torch.zeros(1, 3, 4, 6)).shape
    torch.Size([1, 1, 4, 6])
    """
    loss = info(name)
    if loss.map is None:
        others = ", ".join(other.name for other in _LOSSES if other.map)
        raise LossariumError(
            f"{name} measures the whole picture at once and has no map; these have: {others}"
        )
    for option in options:
        if option not in loss.options:
            raise LossariumError(f'{name} has no option "{option}"; {nearest(option, tuple(loss.options))}')
    input, target, _, how = as_pictures(input, target, None, "none")
    with torch.autocast(input.device.type, enabled=False):
        mapped = loss.map(input, target, **{**loss.options, **options})
    return mapped.reshape(*how, *mapped.shape[1:]) if isinstance(how, torch.Size) else mapped
