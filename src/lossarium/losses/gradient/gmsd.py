"""Losses that compare the gradient magnitudes of two pictures by the deviation of their similarity."""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses.declaration import LossInfo
from lossarium.losses.fused import LossKernel, measure
from lossarium.losses.gradient.constants import ROOT_EPSILON
from lossarium.losses.reduction import Color, Reduction, as_pictures, check_color, in_color
from lossarium.losses.structure.ms_ssim import mean_of_channels, weights_of_scales

_C = 170 / 255**2
_MS_GMSD_WEIGHTS = (0.096, 0.596, 0.289, 0.019)
_PREWITT_SIDE = 3


def gmsd(
    input: Tensor,
    target: Tensor,
    *,
    c: float = _C,
    color: Color = "gray",
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Gradient magnitude similarity deviation. Range [0, 0.5), 0 at equality.

    The standard deviation over the picture of GMS = (2 gx gy + c) / (gx^2 + gy^2 + c), with g the magnitude
    of the Prewitt gradient of the picture averaged over 2x2 pixels. It is also 0 if the pictures
    differ evenly: it sees a flat offset only at the border, where pictures are padded with 0.
    Source: Xue, Zhang, Mou, Bovik, Gradient magnitude similarity deviation, 2014, equations 4 to 6.

    As in the authors' code an odd side is averaged with a line of zeros after it, so there a mirrored pair
    measures slightly differently.

    Args:
        input: (N, C, H, W), the prediction; sides of at least 5.
        target: (N, C, H, W), the truth.
        c: In squared units of the pictures; gradients well below its root hardly count. The paper's 170 for
            pictures in [0, 255] is 170 / 255^2 for those in [0, 1].
        color: "gray" measures the luminance, "rgb" every channel alone and averages the deviations.
        weight: (N, 1, H, W), non-negative; the weight of each pixel, averaged over 2x2 pixels, in the mean
            and in the deviation from it.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: the pictures are too small, c is not positive or the color is unknown.

    >>> import torch
    >>> picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> gmsd(picture, picture)
    tensor(0.)
    """
    input, target, weight, how = as_pictures(input, target, weight, reduction)
    _check_options("gmsd", c, color)
    height, width = input.shape[2:]
    if (min(height, width) + 1) // 2 < _PREWITT_SIDE:
        raise LossariumError(f"gmsd needs pictures with sides of at least 5 pixels, not {width}x{height}")
    plain = partial(_gmsd_plain, c=c, color=color)
    return measure(plain, partial(_gmsd_kernel, c, color), input, target, weight, how)


def _gmsd_kernel(c: float, color: Color) -> LossKernel:
    from lossarium.losses.gradient.gmsd_cpu import gmsd

    return partial(gmsd, c=c, color=color)


def _gmsd_plain(input: Tensor, target: Tensor, weight: Tensor | None, *, c: float, color: Color) -> Tensor:
    input, target = halved(in_color(input, color)), halved(in_color(target, color))
    variance = _variance_of_dissimilarity(input, target, halved_weight(weight), c=c, alpha=0.0)
    return _root(variance).mean(dim=1)


def ms_gmsd(
    input: Tensor,
    target: Tensor,
    *,
    scales: int = 0,
    c: float = _C,
    alpha: float = 0.5,
    color: Color = "gray",
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Gradient magnitude similarity deviation at four scales. Range [0, 0.5), 0 at equality.

    sqrt(sum_s w_s d_s^2), with d the standard deviation over the picture of the similarity
    ((2 - alpha) gx gy + c) / (gx^2 + gy^2 - alpha gx gy + c), g the magnitude of the Prewitt gradient, and
    the weights 0.096, 0.596, 0.289 and 0.019 from the picture itself to the coarsest scale, averaged over 2x2
    pixels from one to the next. The paper's chromatic part (MS-GMSDc) is left out. As with `gmsd`, an even
    difference is hardly seen and a mirrored pair measures slightly differently where a side is odd.
    Source: Zhang, Sander, Bermak, Gradient magnitude similarity deviation on multiple scales for color image
    quality assessment, 2017.

    Args:
        input: (N, C, H, W), the prediction; sides of at least 3.
        target: (N, C, H, W), the truth.
        scales: How many of the four scales, from the finest; fewer than four have their weights renormalised
            to the sum 1. 0 takes as many as fit: sides of 3, 5, 9 and 17 pixels have room for one to four.
        c: As for `gmsd`.
        alpha: How much a strong gradient in both pictures masks their difference, from 0 (as in `gmsd`; the
            most) to 2 (not at all).
        color: "gray" measures the luminance, "rgb" every channel alone and averages the deviations.
        weight: (N, 1, H, W), non-negative; as for `gmsd`, averaged from scale to scale like the pictures.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: that many scales do not fit or are not known, c is not positive, alpha is outside
            [0, 2], or the color is unknown.

    >>> import torch
    >>> picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> ms_gmsd(picture, picture)
    tensor(0.)
    """
    input, target, weight, how = as_pictures(input, target, weight, reduction)
    _check_options("ms_gmsd", c, color)
    if not 0 <= alpha <= 2:
        raise LossariumError(f"ms_gmsd's alpha must be from 0 to 2, not {alpha}")
    weights = weights_of_scales(
        "ms_gmsd", scales, input, smallest_side=_PREWITT_SIDE, published=_MS_GMSD_WEIGHTS
    )
    plain = partial(_ms_gmsd_plain, scale_weights=weights, c=c, alpha=alpha, color=color)
    load_kernel = partial(_ms_gmsd_kernel, weights, c, alpha, color)
    return measure(plain, load_kernel, input, target, weight, how)


def _ms_gmsd_kernel(scale_weights: tuple[float, ...], c: float, alpha: float, color: Color) -> LossKernel:
    from lossarium.losses.gradient.gmsd_cpu import ms_gmsd

    return partial(ms_gmsd, scale_weights=scale_weights, c=c, alpha=alpha, color=color)


def _ms_gmsd_plain(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    *,
    scale_weights: tuple[float, ...],
    c: float,
    alpha: float,
    color: Color,
) -> Tensor:
    input, target = in_color(input, color), in_color(target, color)
    variance = input.new_zeros(input.shape[:2])
    for scale, scale_weight in enumerate(scale_weights):
        if scale > 0:
            input, target, weight = halved(input), halved(target), halved_weight(weight)
        at_scale = _variance_of_dissimilarity(input, target, weight, c=c, alpha=alpha)
        variance = variance + scale_weight * at_scale
    return _root(variance).mean(dim=1)


def _check_options(loss: str, c: float, color: Color) -> None:
    if not c > 0:
        raise LossariumError(f"{loss}'s c must be positive, not {c}")
    check_color(color)


def halved(planes: Tensor) -> Tensor:
    """Average over 2x2 pixels, with zeros after an odd side."""
    height, width = planes.shape[2:]
    return F.avg_pool2d(F.pad(planes, (0, width % 2, 0, height % 2)), kernel_size=2)


def halved_weight(weight: Tensor | None) -> Tensor | None:
    """The mean weight of the pixels that `halved` averages; its padding has no weight."""
    return None if weight is None else F.avg_pool2d(weight, kernel_size=2, ceil_mode=True)


def _variance_of_dissimilarity(
    input: Tensor, target: Tensor, weight: Tensor | None, *, c: float, alpha: float
) -> Tensor:
    """The variance over the picture of 1 - GMS, and so of GMS, in each channel, (N, C).

    1 - GMS is (gx - gy)^2 over GMS's denominator: exactly 0 at equality.
    """
    x, y = _gradient_magnitude(torch.cat((input, target))).chunk(2)
    dissimilarity = (x - y).square() / (x.square() + y.square() - alpha * x * y + c)
    mean = mean_of_channels(dissimilarity, weight)[:, :, None, None]
    return mean_of_channels((dissimilarity - mean).square(), weight)


def _gradient_magnitude(planes: Tensor) -> Tensor:
    n, channels, height, width = planes.shape
    across = planes.new_tensor([[-1, 0, 1]] * 3) / 3
    prewitt = torch.stack((across, across.mT))[:, None]
    slopes = F.conv2d(planes.reshape(n * channels, 1, height, width), prewitt, padding=1)
    return (slopes.square().sum(dim=1) + ROOT_EPSILON).sqrt().view(planes.shape)


def _root(variance: Tensor) -> Tensor:
    """sqrt(variance + epsilon) - sqrt(epsilon), which is 0 at 0, without taking a difference."""
    return variance / ((variance + ROOT_EPSILON).sqrt() + math.sqrt(ROOT_EPSILON))


LOSSES = (
    LossInfo(
        name="gmsd",
        function=gmsd,
        family="structure",
        formula="std(GMS), GMS = (2 gx gy + c) / (gx^2 + gy^2 + c), g the Prewitt gradient's magnitude",
        source="Xue, Zhang, Mou, Bovik 2014, eq. 4 to 6",
        range="[0, 0.5)",
        good_at="edges that are blurred, broken or invented locally",
        bad_at="flat offsets, colour, even damage, edge direction",
        gradient=(
            "Vanishes near equality. It improves places that are worse than the mean, but worsens those that "
            "are better, so a picture that is evenly wrong stays wrong."
        ),
        artefacts=(
            "Brightness and hue may drift, and edges may change sign or direction; single-pixel patterns, "
            "which 2x2 averaging hides, can grow unnoticed."
        ),
        when="As a cheap judge of sharpness, or as a small term beside a pixel loss; never alone.",
    ),
    LossInfo(
        name="ms_gmsd",
        function=ms_gmsd,
        family="structure",
        formula="sqrt(sum_s w_s std(GMS_s)^2), GMS = ((2 - a) gx gy + c) / (gx^2 + gy^2 - a gx gy + c)",
        source="Zhang, Sander, Bermak 2017",
        range="[0, 0.5)",
        good_at="uneven damage to edges, from fine to coarse",
        bad_at="flat offsets, colour, even damage, edge direction",
        gradient=(
            "As of gmsd, from four scales, most from the second, which is gmsd's own. The finest has no "
            "averaging before it, so it responds to single pixels too."
        ),
        artefacts="As of gmsd, with fewer hidden single-pixel patterns.",
        when="In place of gmsd for pictures with edges of many widths; beside a pixel loss.",
    ),
)
