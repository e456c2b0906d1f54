"""HaarPSI: the similarity of two pictures' Haar wavelets."""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lossarium.compute.weighting import SMALLEST_WEIGHT
from lossarium.errors import LossariumError
from lossarium.losses.declaration import LossInfo
from lossarium.losses.fused import measure
from lossarium.losses.gradient.gmsd import halved, halved_weight
from lossarium.losses.reduction import Color, Reduction, as_pictures, check_color, in_color

_C = 30 / 255**2
_ALPHA = 4.2
# The authors' RGB to YIQ; other libraries have other last digits.
_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))
_SCALES = 3


def haarpsi(
    input: Tensor,
    target: Tensor,
    *,
    c: float = _C,
    alpha: float = _ALPHA,
    subsample: bool = True,
    color: Color = "rgb",
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """1 - HaarPSI, so that smaller is better. Range [0, 1), 0 at equality.

    HaarPSI = (logit(sum w sigmoid(alpha s) / sum w) / alpha)^2 over pixels and three maps. Two maps compare
    the luminance Y in horizontal and vertical Haar wavelets: s is the mean, over wavelets of 2 and 4 pixels,
    of (2 |x| |y| + c) / (x^2 + y^2 + c), and w the larger magnitude of the two pictures' wavelets of 8
    pixels. The third compares the colours I and Q, averaged over 2x2 pixels, in the same way, with the mean
    of the other two as w. Symmetric.
    Source: Reisenhofer, Bosse, Kutyniok, Wiegand, A Haar wavelet-based perceptual similarity index for image
    quality assessment, 2018, equations 6 to 15; constants, borders and YIQ as in the authors' HaarPSI.m.

    As in the authors' code, pictures are padded with zeros, so a border counts as an edge, and a window of an
    even side lies half a pixel off its centre, so a mirrored pair measures slightly differently. Two black
    pictures, for which that code divides 0 by 0, measure 0.

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        c: In squared units of the pictures; wavelets well below its root hardly count. The authors' 30 for
            pictures in [0, 255] is 30 / 255^2 for those in [0, 1].
        alpha: Positive, at most 30: how much more the least similar places count.
        subsample: Average over 2x2 pixels first, as the authors do to model the distance of a viewer.
        color: "rgb" measures luminance and colours, "gray" the luminance alone. Pictures without exactly
            three channels have no colours: the mean of their channels is measured.
        weight: (N, 1, H, W), non-negative; the weight of each pixel, averaged over 2x2 pixels with
            `subsample`, multiplies w. A pixel's wavelets reach up to 8 pixels further (4 without it).
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: c is not positive, alpha is not in (0, 30], or the color is unknown.

    >>> import torch
    >>> picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> haarpsi(picture, picture)
    tensor(0.)
    """
    input, target, weight, how = as_pictures(input, target, weight, reduction)
    if not 0 < c < math.inf:
        raise LossariumError(f"haarpsi's c must be positive, not {c}")
    # Beyond, the logistic function of a float32 cannot be told from 1.
    if not 0 < alpha <= 30:
        raise LossariumError(f"haarpsi's alpha must be above 0 and at most 30, not {alpha}")
    check_color(color)
    plain = partial(_haarpsi_plain, c=c, alpha=alpha, subsample=subsample, color=color)
    return measure(plain, None, input, target, weight, how)


def _haarpsi_plain(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    *,
    c: float,
    alpha: float,
    subsample: bool,
    color: Color,
) -> Tensor:
    # One picture after the other, so that no gradient by the target is computed.
    (fine_x, coarse_x, colors_x), (fine_y, coarse_y, colors_y) = (
        _magnitudes(picture, subsample, color) for picture in (input, target)
    )
    counts = torch.maximum(coarse_x, coarse_y)
    by_wavelet = _dissimilarity(fine_x, fine_y, c)
    lack = (by_wavelet[:, :2] + by_wavelet[:, 2:]) / 2
    if colors_x is not None and colors_y is not None:
        lack = torch.cat((lack, _dissimilarity(colors_x, colors_y, c).mean(dim=1, keepdim=True)), dim=1)
        counts = torch.cat((counts, counts.mean(dim=1, keepdim=True)), dim=1)
    if subsample:
        weight = halved_weight(weight)
    if weight is not None:
        counts = counts * weight
    return _pooled(lack, counts, alpha)


def _magnitudes(pictures: Tensor, subsample: bool, color: Color) -> tuple[Tensor, Tensor, Tensor | None]:
    """Wavelets of 2 and of 4 pixels, (N, 4, H, W), wavelets of 8, (N, 2, H, W), and colours I and Q averaged
    over 2x2 pixels, (N, 2, H, W), if there are any."""
    if color == "gray" or pictures.shape[1] != 3:
        pictures = in_color(pictures, "gray")
    if subsample:
        pictures = halved(pictures)
    if pictures.shape[1] != 3:
        wavelets = _wavelets(pictures).abs()
        return wavelets[:, :4], wavelets[:, 4:], None
    yiq = torch.einsum("nchw,dc->ndhw", pictures, pictures.new_tensor(_YIQ))
    wavelets = _wavelets(yiq[:, :1]).abs()
    colors = F.avg_pool2d(F.pad(yiq[:, 1:], (0, 1, 0, 1)), kernel_size=2, stride=1).abs()
    return wavelets[:, :4], wavelets[:, 4:], colors


def _wavelets(planes: Tensor) -> Tensor:
    """Haar wavelets of 2, 4 and 8 pixels, (N, 6, H, W), of (N, 1, H, W): of each size first that of
    horizontal edges, then that of vertical ones.

    Multiplies by banded matrices from each side: on a CPU this is 5 times as fast as a convolution for 64
    pixels a side, and twice for 256.
    """
    sums, differences = _bands(planes.shape[2], planes)
    sums_across, differences_across = _bands(planes.shape[3], planes)
    down = torch.stack((differences, sums), dim=1).flatten(0, 1)
    across = torch.stack((sums_across, differences_across), dim=1).flatten(0, 1).mT
    return down @ planes @ across


def _bands(length: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices that add up 2, 4 and 8 pixels, and that take the first half of them from the second, each
    divided by the root of their number, (3, length, length).

    There are zeros beyond the ends, one more after the last pixel than before the first: MATLAB's
    conv2(..., "same").
    """
    places = torch.arange(length, device=like.device)
    ahead = places - places[:, None]
    sums, differences = [], []
    for scale in range(_SCALES):
        half = 2**scale
        first = ((ahead > -half) & (ahead <= 0)).to(like)
        second = ((ahead > 0) & (ahead <= half)).to(like)
        root = math.sqrt(2 * half)
        sums.append((first + second) / root)
        differences.append((second - first) / root)
    return torch.stack(sums), torch.stack(differences)


def _dissimilarity(x: Tensor, y: Tensor, c: float) -> Tensor:
    """1 - (2 x y + c) / (x^2 + y^2 + c), exactly 0 at equality."""
    return (x - y).square() / (x.square() + y.square() + c)


def _pooled(dissimilarity: Tensor, counts: Tensor, alpha: float) -> Tensor:
    """1 - HaarPSI of each picture, (N,), from 1 - s and w, exactly 0 where all s are 1.

    With p = sigmoid(alpha) and d = 1 - s, sigmoid(alpha s) = p (1 - (1 - p) v) for
    v = e / (1 + (1 - p) e), e = exp(alpha d) - 1. So logit of the mean is alpha + log(1 - (1 - p) V)
    - log(1 + p V), V the weighted mean of v: no difference of nearly equal numbers is taken.
    """
    p = 1 / (1 + math.exp(-alpha))
    q = 1 / (1 + math.exp(alpha))
    excess = torch.expm1(alpha * dissimilarity)
    lack = excess / (1 + q * excess)
    total = counts.sum(dim=(1, 2, 3))
    empty = total <= SMALLEST_WEIGHT
    mean = (counts * lack).sum(dim=(1, 2, 3)) / torch.where(empty, torch.ones_like(total), total)
    # A product instead of torch.where, which would hide NaN.
    mean = mean * ~empty
    short = (torch.log1p(p * mean) - torch.log1p(-q * mean)) / alpha
    return short * (2 - short)


LOSSES = (
    LossInfo(
        name="haarpsi",
        function=haarpsi,
        family="structure",
        formula=(
            "1 - HaarPSI, HaarPSI = (logit(sum w sigmoid(a s) / sum w) / a)^2, s the similarity of Haar "
            "wavelets of 2 and 4 pixels, w the magnitude of those of 8 pixels"
        ),
        source="Reisenhofer, Bosse, Kutyniok, Wiegand 2018, eq. 6 to 15",
        range="[0, 1)",
        good_at="lost or invented edges and texture of 4 to 8 pixels, and, less, colour casts",
        bad_at="brightness and flat regions, and detail of single pixels, which 2x2 averaging hides",
        gradient=(
            "Vanishes in proportion to the error near equality, and for wavelets much stronger than c that "
            "are far from the truth. Flat regions hardly count: a place's weight is its contrast."
        ),
        artefacts=(
            "Brightness drifts, edges may change sign, and patterns of single pixels and faint noise in flat "
            "regions can grow unnoticed; strong false edges may stay, since their gradient is small."
        ),
        when="As a judge that agrees well with people at little cost; as a loss beside a pixel loss.",
    ),
)
