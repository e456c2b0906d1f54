"""The losses by name: built-in ones and users' own."""

import torch
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses import built_in, own
from lossarium.losses.declaration import LossInfo, Option
from lossarium.losses.reduction import as_pictures
from lossarium.text.suggestions import nearest


def names() -> tuple[str, ...]:
    """The names of all losses: built-in ones, family by family, then registered ones."""
    return (*(loss.name for loss in built_in.LOSSES), *own.names())


def info(name: str) -> LossInfo:
    """The declaration of a loss; the name may be `package.module:function` for a user's own.

    Raises:
        LossariumError: no loss has this name (the message has the nearest), or a user's own cannot be
            imported or breaks the contract.

    >>> info("ssim").family, info("l1").name
    ('structure', 'mae')
    """
    wanted = built_in.ALSO_CALLED.get(name, name)
    for loss in built_in.LOSSES:
        if loss.name == wanted:
            return loss
    found = own.find(name)
    if found is not None:
        return found
    raise LossariumError(
        f'there is no loss "{name}"; {nearest(name, names())} (your own is named package.module:function; '
        "one that a script or notebook registered is known only there)"
    )


def map(name: str, input: Tensor, target: Tensor, **options: Option) -> Tensor:
    """A loss before its mean: one value per pixel, (N, 1, H, W).

    Measures that look through windows give one value per window that lies wholly inside the picture, at its
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
        others = ", ".join(other.name for other in built_in.LOSSES if other.map)
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
