"""LDR-FLIP: the difference that people see when two pictures alternate on a screen.

The colour pipeline compares colours after the blur of the eye. The feature pipeline compares edges and points
in luminance, and amplifies that difference: colour^(1 - feature).
"""

import math
from functools import cache, partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses.declaration import LossInfo
from lossarium.losses.fused import LossKernel, measure
from lossarium.losses.reduction import Reduction, as_pictures, weighted_mean

if TYPE_CHECKING:
    from lossarium.losses.perceptual.flip_cpu import Filters

# A screen 0.7 m and 3840 pixels wide, seen from 0.7 m.
_PIXELS_PER_DEGREE = 0.7 * 3840 / 0.7 * math.pi / 180

# Linear sRGB to CIE XYZ.
_RGB_TO_XYZ = (
    (10135552 / 24577794, 8788810 / 24577794, 4435075 / 24577794),
    (2613072 / 12288897, 8788810 / 12288897, 887015 / 12288897),
    (1425312 / 73733382, 8788810 / 73733382, 70074185 / 73733382),
)
# The same with X, Y and Z divided by white's, which are the sums of the rows.
_RGB_TO_SHARES = tuple(tuple(entry / sum(row) for entry in row) for row in _RGB_TO_XYZ)
_SHARES_TO_RGB = tuple(
    map(tuple, torch.linalg.inv(torch.tensor(_RGB_TO_SHARES, dtype=torch.float64)).tolist())
)

# Contrast sensitivity: (amplitude a, width b) of Gaussians a sqrt(pi / b) exp(-pi^2 degrees^2 / b).
_SENSITIVITIES = (
    ((1.0, 0.0047),),  # luminance
    ((1.0, 0.0053),),  # red-green
    ((34.1, 0.04), (13.5, 0.025)),  # blue-yellow
)
_FEATURE_WIDTH = 0.082
"""From an edge detector's peak to its trough, in degrees."""

_COLOR_EXPONENT = 0.7
_FEATURE_EXPONENT = 0.5
# HyAB of pure green and pure blue under the Hunt effect, the two colours furthest apart.
_LARGEST_DISTANCE = 203.3016546
# Differences up to this share of the largest become [0, 0.95], the rare larger ones the rest.
_COMMON_SHARE = 0.4
_COMMON_RANGE = 0.95

# Roots and powers are infinitely steep at 0, and these constants keep their slopes finite: the first for
# distances (roots of squares), the second for powers of differences. They move FLIP by up to 1.1e-4 where
# features differ by about 1e-6, and by more only where strong features differ at a pixel of nearly equal
# colours, at which FLIP all but jumps; by 2e-5 at most in any golden picture. A hundredth of the second would
# make the gradient of flat regions, where the sign of a feature is chance, ten times as large.
_LEAST_SQUARE = 1e-12
_LEAST_DIFFERENCE = 1e-6

# Above, the filters are too broad for the kernel's tiles.
_MOST_PIXELS_FOR_KERNEL = 800


def flip(
    input: Tensor,
    target: Tensor,
    *,
    pixels_per_degree: float = _PIXELS_PER_DEGREE,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """LDR-FLIP: how visible the difference is when the pictures alternate. Range [0, 1], 0 at equality.

    The mean over pixels of color^(1 - feature). color, in [0, 1], is the HyAB distance in Hunt-adjusted
    CIELAB after the blur of the eye's contrast sensitivity, to the power of 0.7 and scaled; feature, in
    [0, 1], is the difference of edges or of points in luminance, whichever is larger. Symmetric.
    Source: Andersson, Nilsson, Akenine-Moller, Oskarsson, Astrom, Fairchild, FLIP: a difference evaluator for
    alternating images, 2020, section 4, with its erratum; mean and constants as in flip-evaluator 1.7.

    Values outside [0, 1] are clamped first, since FLIP is defined on sRGB in [0, 1]: they count as black or
    white and have no gradient.

    Args:
        input: (N, 3, H, W), the prediction, sRGB in [0, 1]; or (N, 1, H, W), grey.
        target: The truth, likewise.
        pixels_per_degree: Pixels to one degree of the viewer's sight, at least 1: distance in metres times
            pixels per metre times pi / 180. The default is a screen 0.7 m and 3840 pixels wide, from 0.7 m.
        weight: (N, 1, H, W), non-negative; the weight of each pixel. Its difference depends on pixels up to
            10 further away.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: the pictures are neither RGB nor grey, or pixels_per_degree is below 1 or infinite.

    >>> import torch
    >>> round(flip(torch.ones(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)).item(), 3)
    0.967
    """
    input, target, weight, how = as_pictures(input, target, weight, reduction)
    _check(input, pixels_per_degree)
    plain = partial(_flip_plain, pixels_per_degree=pixels_per_degree)
    fits = pixels_per_degree <= _MOST_PIXELS_FOR_KERNEL
    load_kernel = partial(_flip_kernel, pixels_per_degree) if fits else None
    return measure(plain, load_kernel, input, target, weight, how)


def _flip_plain(input: Tensor, target: Tensor, weight: Tensor | None, *, pixels_per_degree: float) -> Tensor:
    return weighted_mean(_difference(input, target, pixels_per_degree), weight)


def _flip_kernel(pixels_per_degree: float) -> LossKernel:
    from lossarium.losses.perceptual.flip_cpu import flip

    return partial(flip, filters=_filters(pixels_per_degree))


@cache
def _filters(pixels_per_degree: float) -> "Filters":
    """FLIP's filters and matrices for the kernel."""
    from lossarium.losses.perceptual.flip_cpu import Filters

    sensitivities = _sensitivity_kernels(pixels_per_degree)
    features = torch.stack(_feature_kernels(pixels_per_degree))
    return Filters(
        tuple(map(tuple, sensitivities.tolist())),
        tuple(map(tuple, features.tolist())),
        _RGB_TO_SHARES,
        _SHARES_TO_RGB,
    )


def _flip_map(input: Tensor, target: Tensor, *, pixels_per_degree: float) -> Tensor:
    _check(input, pixels_per_degree)
    return _difference(input, target, pixels_per_degree)


def _check(input: Tensor, pixels_per_degree: float) -> None:
    if input.shape[1] not in (1, 3):
        raise LossariumError(
            f"flip measures colours as people see them: it needs pictures of 3 channels (RGB) or 1 (grey), "
            f"not {input.shape[1]}"
        )
    if not 1 <= pixels_per_degree < math.inf:
        raise LossariumError(f"flip's pixels_per_degree must be a number from 1 up, not {pixels_per_degree}")


def _difference(input: Tensor, target: Tensor, pixels_per_degree: float) -> Tensor:
    """FLIP at every pixel, (N, 1, H, W)."""
    seen, true = _opponent_colors(input), _opponent_colors(target)
    color = _color_difference(seen, true, pixels_per_degree)
    feature = _feature_difference(seen[:, :1], true[:, :1], pixels_per_degree)
    return _power(color, 1 - feature, _LEAST_DIFFERENCE)


def _power(base: Tensor, exponent: float | Tensor, least: float) -> Tensor:
    """base^exponent for base >= 0 and exponent in [0, 1]: exactly 0 at 0, with a finite slope there."""
    return base * (base + least).pow(exponent - 1)


def _opponent_colors(pictures: Tensor) -> Tensor:
    """Luminance, red-green and blue-yellow of sRGB, (N, 3, H, W).

    This is YCxCz without its factors 116, 500, 200 and its offset, which do not affect linear filters and
    would be undone after them.
    """
    count, _, height, width = pictures.shape
    # Contiguous, since rounding depends on the layout in memory, and equal pictures must stay equal.
    rgb = _to_linear(pictures.clamp(0, 1).contiguous()).expand(count, 3, height, width)
    x, y, z = _mixed(rgb, _RGB_TO_SHARES).unbind(dim=1)
    return torch.stack((y, x - y, y - z), dim=1)


def _to_linear(srgb: Tensor) -> Tensor:
    """sRGB values in [0, 1] to light, IEC 61966-2-1."""
    curved = ((srgb.clamp(min=0.04045) + 0.055) / 1.055).pow(2.4)
    return torch.where(srgb > 0.04045, curved, srgb / 12.92)


def _mixed(colors: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    return torch.einsum("nchw,dc->ndhw", colors, colors.new_tensor(matrix))


def _color_difference(seen: Tensor, true: Tensor, pixels_per_degree: float) -> Tensor:
    """The colour pipeline's difference of two pictures in opponent colours, in [0, 1], (N, 1, H, W)."""
    lab_seen, lab_true = (
        _hunt_adjusted(_lab(_to_rgb_shown(_blurred(colors, pixels_per_degree)))) for colors in (seen, true)
    )
    return _redistributed(_hyab(lab_seen, lab_true))


def _blurred(opponents: Tensor, pixels_per_degree: float) -> Tensor:
    """Opponent colours under the eye's contrast sensitivity, a filter for each of them."""
    luminance, red_green, blue_yellow = opponents.unbind(dim=1)
    kernels = _sensitivity_kernels(pixels_per_degree)
    # Blue-yellow's kernel is a sum of two Gaussians, each of which can be taken a side at a time.
    planes = torch.stack((luminance, red_green, blue_yellow, blue_yellow), dim=1)
    one, two, *three = _filtered(planes, kernels, kernels).unbind(dim=1)
    return torch.stack((one, two, sum(three, start=torch.zeros_like(one))), dim=1)


def _sensitivity_kernels(pixels_per_degree: float) -> Tensor:
    """The Gaussians of all sensitivities in one dimension, those of one colour summing to 1 in two."""
    broadest = max(width for gaussians in _SENSITIVITIES for _, width in gaussians)
    degrees = _offsets(3 * math.sqrt(broadest / (2 * math.pi**2)) * pixels_per_degree) / pixels_per_degree
    kernels = []
    for gaussians in _SENSITIVITIES:
        sides = torch.stack(
            [
                math.sqrt(amplitude * math.sqrt(math.pi / width))
                * torch.exp(-((math.pi * degrees) ** 2) / width)
                for amplitude, width in gaussians
            ]
        )
        kernels.append(sides / sides.sum(dim=1).square().sum().sqrt())
    return torch.cat(kernels)


def _to_rgb_shown(opponents: Tensor) -> Tensor:
    """Opponent colours to the linear RGB that a screen can show."""
    luminance, red_green, blue_yellow = opponents.unbind(dim=1)
    shares = torch.stack((luminance + red_green, luminance, luminance - blue_yellow), dim=1)
    return _mixed(shares, _SHARES_TO_RGB).clamp(0, 1)


def _lab(rgb: Tensor) -> Tensor:
    """CIELAB of linear RGB under D65."""
    shares = _mixed(rgb, _RGB_TO_SHARES)
    # Below (6 / 29)^3 the cube root goes on as its tangent.
    bend = 6 / 29
    root = shares.clamp(min=bend**3).pow(1 / 3)
    x, y, z = torch.where(shares > bend**3, root, shares / (3 * bend**2) + 4 / 29).unbind(dim=1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=1)


def _hunt_adjusted(lab: Tensor) -> Tensor:
    """Colours appear the stronger the lighter they are, the Hunt effect: a* and b* times L* / 100."""
    lightness, chroma = lab[:, :1], lab[:, 1:]
    return torch.cat((lightness, 0.01 * lightness * chroma), dim=1)


def _hyab(lab: Tensor, other: Tensor) -> Tensor:
    """The distance for large differences: city-block between lightness and chroma, (N, 1, H, W)."""
    difference = lab - other
    chroma = difference[:, 1:].square().sum(dim=1, keepdim=True)
    return difference[:, :1].abs() + _power(chroma, 0.5, _LEAST_SQUARE)


def _redistributed(distance: Tensor) -> Tensor:
    """Distances to [0, 1], with most of it for those that are common."""
    largest: float = _LARGEST_DISTANCE**_COLOR_EXPONENT
    share = _power(distance, _COLOR_EXPONENT, _LEAST_DIFFERENCE) / largest
    common = share.clamp(max=_COMMON_SHARE)
    rare = share - common
    return common * (_COMMON_RANGE / _COMMON_SHARE) + rare * ((1 - _COMMON_RANGE) / (1 - _COMMON_SHARE))


def _feature_difference(seen: Tensor, true: Tensor, pixels_per_degree: float) -> Tensor:
    """The feature pipeline's difference of two pictures' luminance, in [0, 1], (N, 1, H, W)."""
    # Channels: edges, points.
    strengths_seen, strengths_true = (_feature_strengths(y, pixels_per_degree) for y in (seen, true))
    larger = (strengths_seen - strengths_true).abs().amax(dim=1, keepdim=True)
    return _power(larger / math.sqrt(2), _FEATURE_EXPONENT, _LEAST_DIFFERENCE)


def _feature_strengths(luminance: Tensor, pixels_per_degree: float) -> Tensor:
    """How much of an edge and of a point there is at every pixel, in any direction, (N, 2, H, W)."""
    gaussian, edge, point = _feature_kernels(pixels_per_degree)
    across = torch.stack((gaussian, gaussian))
    along = torch.stack((edge, point))
    planes = luminance.expand(-1, 2, -1, -1)
    horizontal, vertical = _filtered(planes, across, along), _filtered(planes, along, across)
    return _power(horizontal.square() + vertical.square(), 0.5, _LEAST_SQUARE)


def _feature_kernels(pixels_per_degree: float) -> tuple[Tensor, Tensor, Tensor]:
    """A Gaussian and its first and second derivative, in one dimension."""
    deviation = _FEATURE_WIDTH / 2 * pixels_per_degree
    offsets = _offsets(3 * deviation)
    gaussian = torch.exp(-offsets.square() / (2 * deviation**2))
    edge = -offsets * gaussian
    point = (offsets.square() / deviation**2 - 1) * gaussian
    return gaussian / gaussian.sum(), _balanced(edge), _balanced(point)


def _balanced(kernel: Tensor) -> Tensor:
    """Scale what is positive to a sum of 1 and what is negative to -1."""
    positive, negative = kernel.clamp(min=0), kernel.clamp(max=0)
    return positive / positive.sum() - negative / negative.sum()


def _offsets(radius: float) -> Tensor:
    reach = math.ceil(radius)
    return torch.arange(-reach, reach + 1, dtype=torch.float64)


def _filtered(planes: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Filter the channels of (N, C, H, W) each by its kernels (C, K), down the columns and across the rows.

    As a product of banded matrices: on a CPU that is faster than depthwise convolutions.
    """
    height, width = planes.shape[2:]
    return _bands(down, height).to(planes) @ planes @ _bands(across, width).to(planes).mT


def _bands(kernels: Tensor, length: int) -> Tensor:
    """(C, length, length) matrices whose rows are the kernels (C, K) at each place.

    What reaches over an end falls on the pixel at that end: borders are repeated outwards.
    """
    count, size = kernels.shape
    reach = size // 2
    # Rows of one length more than the matrix has, read on end, move the kernel one pixel a row.
    skewed = F.pad(kernels, (0, length)).repeat(1, length)
    bands = skewed[:, : length * (length + 2 * reach)].view(count, length, length + 2 * reach)
    before = bands[:, :, :reach].sum(dim=2, keepdim=True)
    after = bands[:, :, reach + length :].sum(dim=2, keepdim=True)
    inside = bands[:, :, reach : reach + length]
    return inside + F.pad(before, (0, length - 1)) + F.pad(after, (length - 1, 0))


LOSSES = (
    LossInfo(
        name="flip",
        function=flip,
        family="perceptual",
        formula="mean(C^(1 - F)), C the colour and F the feature difference of x and y as seen at a distance",
        source="Andersson et al. 2020, sec. 4",
        range="[0, 1]",
        map=_flip_map,
        pixel_map=True,
        good_at="visible colour errors, lost or invented edges and dots",
        bad_at="detail too fine to be seen at the assumed distance",
        gradient="Steepest near equality, since it takes powers below 1 of the error, and flat for gross "
        "errors; 0 for values outside [0, 1].",
        artefacts="What the assumed viewer cannot see is left to chance: fine noise, above all in colour, "
        "and values beyond black and white.",
        when="To judge what a viewer would notice, or as a small term beside a pixel loss once pictures are "
        "close; set pixels_per_degree for the distance that they will be viewed at.",
    ),
)
