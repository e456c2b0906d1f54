"""sRGB and CIELAB, in which equal distances look about equally large.

CIE 15 and IEC 61966-2-1, white D65, for the 2 degree observer. `batches.colour_cpu` has the CPU kernels.
"""

import torch
from torch import Tensor

from lossarium.facesets.batches.colour_cpu import LIGHT_TO_XYZ, XYZ_TO_LIGHT

# Below this, CIE's cube root is continued by a straight line: its value and its argument.
_KNEE = 6 / 29


def srgb_to_lab(pictures: Tensor) -> Tensor:
    """Convert sRGB pictures to CIELAB.

    Args:
        pictures: (N, 3, H, W) in [0, 1].

    Returns:
        (N, 3, H, W): L* in [0, 100]; a* and b*, which stay within +-110 for sRGB.

    >>> srgb_to_lab(torch.ones(1, 3, 1, 1)).flatten().round(decimals=3).abs().tolist()
    [100.0, 0.0, 0.0]
    """
    light = _light(pictures.clamp(0, 1))
    x, y, z = _root(_mixed(light, LIGHT_TO_XYZ)).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def lab_to_srgb(lab: Tensor) -> Tensor:
    """Convert CIELAB pictures (N, 3, H, W) to sRGB in [0, 1]; colours outside sRGB are clipped channel by
    channel.

    >>> lab = torch.tensor([53.24, 80.09, 67.20]).view(1, 3, 1, 1)
    >>> lab_to_srgb(lab).flatten().mul(255).round().tolist()
    [255.0, 0.0, 0.0]
    """
    lightness, a, b = lab.unbind(1)
    y = (lightness + 16) / 116
    roots = torch.stack([y + a / 500, y, y - b / 200], dim=1)
    xyz = torch.where(roots > _KNEE, roots**3, 3 * _KNEE**2 * (roots - 4 / 29))
    return _encoded(_mixed(xyz, XYZ_TO_LIGHT).clamp(0, 1))


def _mixed(channels: Tensor, matrix: tuple[float, ...]) -> Tensor:
    return torch.einsum("ij,njhw->nihw", channels.new_tensor(matrix).view(3, 3), channels)


def _light(encoded: Tensor) -> Tensor:
    return torch.where(encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92)


def _encoded(light: Tensor) -> Tensor:
    return torch.where(
        light > 0.0031308, 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055, 12.92 * light
    )


def _root(xyz: Tensor) -> Tensor:
    cube = xyz.clamp(min=_KNEE**3) ** (1 / 3)
    return torch.where(xyz > _KNEE**3, cube, xyz / (3 * _KNEE**2) + 4 / 29)
