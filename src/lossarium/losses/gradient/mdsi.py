"""MDSI: the mean deviation of the similarity of two pictures' gradients and colours."""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses.declaration import LossInfo
from lossarium.losses.fused import measure
from lossarium.losses.gradient.constants import ROOT_EPSILON
from lossarium.losses.reduction import Reduction, as_pictures, weighted_mean

_ALPHA = 0.6
# For gradients of the two pictures, gradients of one and of the mean of both, and colours.
_C1, _C2, _C3 = 140 / 255**2, 55 / 255**2, 550 / 255**2
# RGB to luminance and two opponent colours, as in the authors' code.
_LHM = ((0.2989, 0.587, 0.114), (0.30, 0.04, -0.35), (0.34, -0.60, 0.17))
_SIDE_OF_ONE_PIXEL = 256
_POWER = 0.25

# Roots are infinitely steep at 0, and these keep their slopes finite: of the fourth root of the combined
# similarity, of the distance from its mean, squared, and of the fourth root of the mean distance. They change
# an MDSI above 0.01 by less than 1e-4 of it (by less than 1e-8 of it above 0.1).
_LEAST_SIMILARITY = 1e-8
_LEAST_SQUARE = 1e-20
_LEAST_DEVIATION = 1e-12


def mdsi(
    input: Tensor,
    target: Tensor,
    *,
    alpha: float = _ALPHA,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean deviation similarity index. Range [0, 1), 0 at equality.

    mean(|g - mean(g)|)^(1/4), g = (alpha GS + (1 - alpha) CS)^(1/4), over pixels. GS = S(x, y; c1)
    + S(x, f; c2) - S(y, f; c2) is the similarity S(a, b; c) = (2 a b + c) / (a^2 + b^2 + c) of the magnitudes
    of the Prewitt gradients of input x, target y and their mean f in luminance; CS is that of two opponent
    colours together. Where the sum is negative, its root is complex: |.|^(1/4) (1 + i) / sqrt(2). Not
    symmetric. Like every deviation, it is also near 0 if the pictures differ evenly.
    Source: Nafchi, Shahkolaei, Hedjam, Cheriet, Mean deviation similarity index: efficient and reliable
    full-reference image quality evaluator, 2016, equations 1 to 10 (combined by the sum); constants, colours
    and borders as in the authors' MDSI.m.

    As in the authors' code, pictures of a shorter side s are first averaged over f x f pixels, f = s / 256
    rounded, at least 1, and padded with zeros.

    Args:
        input: (N, C, H, W), the prediction. Of pictures without exactly three channels, the mean of the
            channels is measured as grey.
        target: (N, C, H, W), the truth.
        alpha: The share of gradients, from 0 (colours alone) to 1 (gradients alone).
        weight: (N, 1, H, W), non-negative; the weight of each pixel, averaged over f x f pixels, in the mean
            and in the deviation from it.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: alpha is outside [0, 1].

    >>> import torch
    >>> picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> mdsi(picture, picture)
    tensor(0.)
    """
    input, target, weight, how = as_pictures(input, target, weight, reduction)
    if not 0 <= alpha <= 1:
        raise LossariumError(f"mdsi's alpha must be from 0 to 1, not {alpha}")
    return measure(partial(_mdsi_plain, alpha=alpha), None, input, target, weight, how)


def _mdsi_plain(input: Tensor, target: Tensor, weight: Tensor | None, *, alpha: float) -> Tensor:
    # Half upwards, as MATLAB rounds.
    factor = max(1, math.floor(min(input.shape[2:]) / _SIDE_OF_ONE_PIXEL + 0.5))
    # One picture after the other, so that no gradient by the target is computed.
    x, y = (_in_lhm(_averaged(picture, factor)) for picture in (input, target))
    if weight is not None:
        # The padding has no weight.
        weight = _averaged(weight, factor) / _averaged(torch.ones_like(weight), factor)
    of_gradients = _lack_of_gradient_similarity(x[:, :1], y[:, :1])
    of_colors = _lack_of_color_similarity(x[:, 1:], y[:, 1:])
    deviation = _mean_deviation(_lack_of_root(alpha * of_gradients + (1 - alpha) * of_colors), weight)
    return deviation * (deviation + _LEAST_DEVIATION).pow(_POWER - 1)


def _averaged(planes: Tensor, factor: int) -> Tensor:
    """Average over factor x factor pixels around every factor-th, with zeros outside."""
    if factor == 1:
        return planes
    before, after = (factor - 1) // 2, factor // 2
    return F.avg_pool2d(F.pad(planes, (before, after, before, after)), kernel_size=factor)


def _in_lhm(pictures: Tensor) -> Tensor:
    """Luminance and two opponent colours, (N, 3, H, W)."""
    if pictures.shape[1] != 3:
        pictures = pictures.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    return torch.einsum("nchw,dc->ndhw", pictures, pictures.new_tensor(_LHM))


def _lack_of_gradient_similarity(input: Tensor, target: Tensor) -> Tensor:
    """1 - GS, (N, 1, H, W), from the luminance of both pictures."""
    across = input.new_tensor([[-1, 0, 1]] * 3) / 3
    prewitt = torch.stack((across, across.mT))[:, None]
    of_input, of_target = (F.conv2d(luminance, prewitt, padding=1) for luminance in (input, target))
    x, y, fused = (
        (slope.square().sum(dim=1, keepdim=True) + ROOT_EPSILON).sqrt()
        for slope in (of_input, of_target, (of_input + of_target) / 2)
    )
    return _lack(x, y, _C1) + _lack(x, fused, _C2) - _lack(y, fused, _C2)


def _lack(x: Tensor, y: Tensor, c: float) -> Tensor:
    """1 - S(x, y; c), exactly 0 at equality."""
    return (x - y).square() / (x.square() + y.square() + c)


def _lack_of_color_similarity(x: Tensor, y: Tensor) -> Tensor:
    """1 - CS, (N, 1, H, W), from the opponent colours of both pictures, (N, 2, H, W)."""
    strength = (x.square() + y.square()).sum(dim=1, keepdim=True)
    return (x - y).square().sum(dim=1, keepdim=True) / (strength + _C3)


def _lack_of_root(lack: Tensor) -> Tensor:
    """1 - (1 - lack)^(1/4), real and imaginary part, (N, 2, H, W), without a difference of near numbers."""
    similarity = 1 - lack
    size = similarity.abs()
    root = size * (size + _LEAST_SIMILARITY).pow(_POWER - 1)
    # 1 - r = (1 - r^4) / ((1 + r) (1 + r^2)).
    of_positive = lack / ((1 + root) * (1 + root.square()))
    diagonal = root * math.sqrt(0.5)
    negative = similarity < 0
    real = torch.where(negative, 1 - diagonal, of_positive)
    imaginary = torch.where(negative, -diagonal, torch.zeros_like(diagonal))
    return torch.cat((real, imaginary), dim=1)


def _mean_deviation(parts: Tensor, weight: Tensor | None) -> Tensor:
    """The mean distance of complex numbers, (N, 2, H, W), from their mean, (N,)."""
    means = torch.stack([weighted_mean(part, weight) for part in parts.chunk(2, dim=1)], dim=1)
    square = (parts - means[:, :, None, None]).square().sum(dim=1, keepdim=True)
    return weighted_mean(square * (square + _LEAST_SQUARE).rsqrt(), weight)


LOSSES = (
    LossInfo(
        name="mdsi",
        function=mdsi,
        family="structure",
        formula=(
            "mean(|g - mean(g)|)^(1/4), g = (a GS + (1 - a) CS)^(1/4), GS the similarity of Prewitt "
            "gradients and CS of opponent colours"
        ),
        source="Nafchi, Shahkolaei, Hedjam, Cheriet 2016, eq. 1 to 10",
        range="[0, 1)",
        good_at="edges and colours that are blurred, broken or invented locally",
        bad_at="flat offsets, even damage, edge direction; it is steep near equality",
        gradient=(
            "Grows without a limit near equality, as the power -1/2 of the error. It improves places that "
            "are worse than the mean but worsens those that are better, as that of gmsd does."
        ),
        artefacts=(
            "Evenly wrong pictures stay wrong: brightness and contrast drift, and edges may change sign or "
            "direction. Training trembles near the truth."
        ),
        when="As a judge of edges and colours together; as a loss only as a small term beside a pixel loss.",
    ),
)
