"""Losses that compare structure at several scales, halving the pictures between them."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lossarium.compute.weighting import halved_weight
from lossarium.errors import LossariumError
from lossarium.losses.declaration import LossInfo
from lossarium.losses.fused import LossKernel, measure
from lossarium.losses.reduction import Color, How, Reduction, as_pictures, in_color, weighted_mean
from lossarium.losses.structure.ssim import (
    WIDEST_KERNEL,
    at_centres,
    check_gaussian,
    ssim_terms,
)

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# A mean similarity of 0 or less has no fractional power, and just above 0 the power's slope is unbounded. At
# 1e-4 that slope is at most 300; only anti-correlated pictures are below.
SMALLEST_SIMILARITY = 1e-4
WINDOW, SIGMA = 11, 1.5


def ms_ssim(
    input: Tensor,
    target: Tensor,
    *,
    scales: int = 0,
    window: int = 11,
    sigma: float = 1.5,
    color: Color = "rgb",
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """1 - MS-SSIM, so that smaller is better: 0 at equality, at most 1.

    MS-SSIM is the product over scales of mean(cs)^w with SSIM's contrast and structure term
    cs = (2 sxy + C2) / (sx^2 + sy^2 + C2), and of mean(SSIM)^w at the coarsest scale, taken in each channel
    and averaged over channels. The weights w of five scales are 0.0448, 0.2856, 0.3001, 0.2363 and 0.1333.
    Means below 0.0001 (anti-correlated pictures) count as 0.0001.
    Source: Wang, Simoncelli, Bovik, Multi-scale structural similarity for image quality assessment, 2003,
    equation 7.

    The pictures are averaged over 2x2 pixels from scale to scale. A side that is odd then gets a line of
    zeros before it, as in pytorch-msssim, so there a mirrored pair measures slightly differently.

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        scales: How many of the five scales, from the finest; fewer than five have their weights renormalised
            to the sum 1. 0 takes as many as the window fits into: of 11 pixels, into one scale of a side of
            11, three of a side of 64, four of 128, five from 161.
        window: Side of the window in pixels, odd; no larger than the pictures.
        sigma: Standard deviation of the Gaussian in pixels.
        color: "rgb" measures every channel and averages, "gray" the luminance alone, as the paper does.
        weight: (N, 1, H, W), non-negative; averaged from scale to scale like the pictures; a window has the
            weight of the pixel at its centre. A scale whose centres all have weight 0, as for a small region
            at the border, is left out of the product.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: that many scales do not fit or are not known, the window is even, sigma is not
            positive, or the color is unknown.

    >>> import torch
    >>> picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> ms_ssim(picture, picture)
    tensor(0.)
    """
    input, target, weight, how = as_pictures(input, target, weight, reduction)
    check_gaussian("ms_ssim", window, sigma)
    exponents = weights_of_scales("ms_ssim", scales, input, smallest_side=window, published=MS_SSIM_WEIGHTS)
    input, target = in_color(input, color), in_color(target, color)
    return _ms_ssim(input, target, weight, exponents, window, sigma, how)


def _ms_ssim(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    exponents: tuple[float, ...],
    window: int,
    sigma: float,
    how: How,
) -> Tensor:
    plain = partial(ms_ssim_plain, exponents=exponents, window=window, sigma=sigma)
    load_kernel = partial(_ms_ssim_kernel, exponents, window, sigma) if window <= WIDEST_KERNEL else None
    return measure(plain, load_kernel, input, target, weight, how)


def _ms_ssim_kernel(exponents: tuple[float, ...], window: int, sigma: float) -> LossKernel:
    from lossarium.losses.structure.ms_ssim_cpu import ms_ssim

    return partial(ms_ssim, exponents=exponents, window=window, sigma=sigma, smallest=SMALLEST_SIMILARITY)


def ms_ssim_plain(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    *,
    exponents: tuple[float, ...],
    window: int,
    sigma: float,
) -> Tensor:
    logarithm = input.new_zeros(input.shape[:2])
    for scale, exponent in enumerate(exponents):
        if scale > 0:
            weight = halved_weight(weight)
            input, target = _halved(input), _halved(target)
        luminance, covariance, variances = ssim_terms(input, target, window, sigma)
        coarsest = scale == len(exponents) - 1
        similarity = (luminance * covariance if coarsest else covariance) / variances
        # Averaged as 1 - similarity, so that a picture whose weight is 0 everywhere is 0.
        lack = mean_of_channels(1 - similarity, at_centres(weight, window))
        logarithm = logarithm + exponent * torch.log1p(-lack.clamp(max=1 - SMALLEST_SIMILARITY))
    return -torch.expm1(logarithm).mean(dim=1)


def _halved(planes: Tensor) -> Tensor:
    height, width = planes.shape[2:]
    return F.avg_pool2d(planes, kernel_size=2, padding=(height % 2, width % 2))


def weights_of_scales(
    loss: str, scales: int, input: Tensor, *, smallest_side: int, published: tuple[float, ...]
) -> tuple[float, ...]:
    """The weights of the finest scales: of all that fit where `scales` is 0, else of that many.

    Published weights are kept as they are where all scales are used (MS-SSIM's sum to 1.0001), and
    renormalised to the sum 1 where not.

    Raises:
        LossariumError: that many scales do not exist or do not fit.
    """
    height, width = input.shape[2:]
    side, fitting = min(height, width), 0
    while fitting < len(published) and side >= smallest_side:
        side, fitting = (side + 1) // 2, fitting + 1
    if not 0 <= scales <= len(published):
        raise LossariumError(
            f"{loss}'s scales must be 1 to {len(published)}, or 0 for as many as fit, not {scales}"
        )
    if fitting == 0:
        raise LossariumError(
            f"{loss} needs pictures with sides of at least {smallest_side} pixels, not {width}x{height}"
        )
    if scales > fitting:
        raise LossariumError(
            f"{loss} has room for {fitting} of {scales} scales in pictures of {width}x{height}; "
            f"ask for {fitting}, or for 0 to take as many as fit"
        )
    chosen = published[: scales or fitting]
    total = sum(chosen) if len(chosen) < len(published) else 1.0
    return tuple(weight / total for weight in chosen)


def mean_of_channels(map: Tensor, weight: Tensor | None) -> Tensor:
    """`weighted_mean` of each channel alone, (N, C)."""
    n, channels, height, width = map.shape
    planes = map.reshape(n * channels, 1, height, width)
    if weight is not None:
        weight = weight.expand(n, channels, height, width).reshape(planes.shape)
    return weighted_mean(planes, weight).view(n, channels)


LOSSES = (
    LossInfo(
        name="ms_ssim",
        function=ms_ssim,
        family="structure",
        formula=(
            "1 - prod_s mean(cs_s)^w_s * mean(SSIM_S)^w_S, cs = (2 sxy + C2) / (sx^2 + sy^2 + C2), "
            "x and y halved from scale to scale"
        ),
        source="Wang, Simoncelli, Bovik 2003, eq. 7",
        range="[0, 1]",
        good_at="structure from fine texture to the shape of a face",
        bad_at="flat offsets, brightness and colour",
        gradient=(
            "Vanishes in proportion to the error near equality. It is largest for a scale that correlates "
            "poorly, and 0 for one that is anti-correlated on average."
        ),
        artefacts=(
            "Brightness and colours drift more than with ssim, since only the coarsest scale looks at "
            "luminance, with an exponent of 0.13."
        ),
        when="As the structural part beside an L1 (see mix), for pictures of 128 pixels and more.",
    ),
)
