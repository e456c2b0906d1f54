"""What all artefacts start with: pictures as float32 or wider, weights up to 1, Gaussian blur."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lossarium.losses.reduction import as_pictures, blend_to_target, in_color

LEVELS = 255.0
"""Grey levels of 8-bit pictures, the unit of amplitudes."""

_LARGEST_FOR_MATRICES = 512
"""Up to this side, products with matrices blur several times as fast as convolutions of a single channel."""


@dataclass(frozen=True)
class Prepared:
    """A prediction and its truth, to measure an artefact in."""

    prediction: Tensor
    """(N, C, H, W); equal to the truth where the weight is 0."""
    truth: Tensor
    """(N, C, H, W)."""
    weight: Tensor
    """(N, 1, H, W), in [0, 1]: picture by picture divided by its largest; 1 everywhere without a weight."""
    _finite: Tensor

    def checked(self, figure: Tensor) -> Tensor:
        """A figure (N,) or picture (N, 1, H, W): NaN for pictures that contain NaN or infinity."""
        finite = self._finite.view(-1, *[1] * (figure.ndim - 1))
        return torch.where(finite, figure, figure.new_tensor(math.nan))


def prepared(prediction: Tensor, truth: Tensor, weight: Tensor | None, *, gray: bool = False) -> Prepared:
    """Check the arguments of an artefact, and bring them to the form that it works on.

    Args:
        prediction: (N, C, H, W).
        truth: Likewise, in [0, 1].
        weight: (N, 1, H, W), non-negative; or None.
        gray: Whether only luminance is measured.
    """
    prediction, truth, weight, _ = as_pictures(prediction, truth, weight, "none")
    finite = (prediction.isfinite() & truth.isfinite()).flatten(1).all(dim=1)
    clean = finite.view(-1, 1, 1, 1)
    prediction, truth = (torch.where(clean, one, torch.zeros_like(one)) for one in (prediction, truth))
    prediction = blend_to_target(prediction, truth, weight)
    if weight is None:
        weight = torch.ones_like(truth[:, :1])
    else:
        peak = weight.amax(dim=(1, 2, 3), keepdim=True)
        weight = weight / torch.where(peak > 0, peak, torch.ones_like(peak))
    if gray:
        prediction, truth = in_color(prediction, "gray"), in_color(truth, "gray")
    return Prepared(prediction, truth, weight, finite)


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """A quotient that is 0 where the denominator is 0 or less."""
    there = denominator > 0
    return torch.where(there, numerator / torch.where(there, denominator, 1.0), 0.0)


def total(values: Tensor) -> Tensor:
    """The sum over channels and pixels, (N,)."""
    return values.sum(dim=(1, 2, 3))


def gaussian(pictures: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (N, C, H, W) with a standard deviation in pixels; borders are repeated."""
    height, width = pictures.shape[-2:]
    radius = max(1, math.ceil(3.5 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(pictures)
    if max(height, width) <= _LARGEST_FOR_MATRICES:
        return _blur_matrix(kernel, height) @ pictures @ _blur_matrix(kernel, width).mT
    planes = pictures.reshape(-1, 1, height, width)
    planes = F.conv2d(F.pad(planes, (0, 0, radius, radius), mode="replicate"), kernel.view(1, 1, -1, 1))
    planes = F.conv2d(F.pad(planes, (radius, radius, 0, 0), mode="replicate"), kernel.view(1, 1, 1, -1))
    return planes.view_as(pictures)


def _blur_matrix(kernel: Tensor, side: int) -> Tensor:
    """The matrix (side, side) that blurs a column of pixels."""
    radius = len(kernel) // 2
    pixels = torch.arange(side, device=kernel.device)
    sources = (pixels[:, None] + torch.arange(-radius, radius + 1, device=kernel.device)).clamp(0, side - 1)
    return kernel.new_zeros(side, side).scatter_add_(1, sources, kernel.expand(side, -1))
