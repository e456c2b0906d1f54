"""CIEDE2000: how different two colours look, CIE's current formula."""

import math

import torch
from torch import Tensor

from lossarium.facesets.colour import srgb_to_lab
from lossarium.judging.declaration import Judge
from lossarium.losses.reduction import as_pictures, weighted_mean

_WHOLE_TURN = 2 * math.pi
_25_TO_THE_7TH = 25.0**7


def ciede2000(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """The mean colour difference of the pixels, Delta E 2000. 0 at equality; 1 is about what is just visible.

    Source: CIE 142-2001, as in Sharma, Wu, Dalal, The CIEDE2000 Color-Difference Formula: Implementation
    Notes, Supplementary Test Data, and Mathematical Observations, 2005. sRGB to CIELAB with the white D65.

    Args:
        prediction: (N, 3, H, W), sRGB; values outside [0, 1] count as black or white. Or (N, 1, H, W), grey.
        truth: Likewise.
        weight: (N, 1, H, W), non-negative, the weight of each pixel.

    Returns:
        (N,). 0 for a picture whose weight is 0 everywhere.
    """
    prediction, truth, weight, _ = as_pictures(prediction, truth, weight, "none")
    return weighted_mean(ciede2000_map(prediction, truth), weight)


def ciede2000_map(prediction: Tensor, truth: Tensor) -> Tensor:
    """The colour difference of each pixel, (N, 1, H, W); pictures as for `ciede2000`."""
    first, second = (srgb_to_lab(one.expand(-1, 3, -1, -1)) for one in (prediction, truth))
    return lab_difference(first, second)[:, None]


def lab_difference(first: Tensor, second: Tensor) -> Tensor:
    """Delta E 2000 of CIELAB colours (N, 3, ...): (N, ...). The numbers are those of Sharma et al.

    The formula jumps by up to a percent where two hues are opposite: rounding decides on which side they are.
    """
    (lightness_1, a_1, b_1), (lightness_2, a_2, b_2) = first.unbind(1), second.unbind(1)
    # (4) to (7): a* is stretched near grey.
    stretch = 1.5 - 0.5 * _share_of_chroma((torch.hypot(a_1, b_1) + torch.hypot(a_2, b_2)) / 2)
    a_1, a_2 = stretch * a_1, stretch * a_2
    chroma_1, chroma_2 = torch.hypot(a_1, b_1), torch.hypot(a_2, b_2)
    hue_1, hue_2 = torch.atan2(b_1, a_1) % _WHOLE_TURN, torch.atan2(b_2, a_2) % _WHOLE_TURN

    # (8) to (11): the differences; the hue of grey is undefined, and counts as no difference.
    turn = hue_2 - hue_1
    grey = chroma_1 * chroma_2 == 0
    far = turn.abs() > math.pi
    turn = torch.where(far, turn - turn.sign() * _WHOLE_TURN, turn)
    turn = torch.where(grey, torch.zeros_like(turn), turn)
    lightness_difference = lightness_2 - lightness_1
    chroma_difference = chroma_2 - chroma_1
    hue_difference = 2 * (chroma_1 * chroma_2).sqrt() * torch.sin(turn / 2)

    # (12) to (14): the means.
    lightness = (lightness_1 + lightness_2) / 2
    chroma = (chroma_1 + chroma_2) / 2
    total = hue_1 + hue_2
    across_zero = torch.where(total < _WHOLE_TURN, total + _WHOLE_TURN, total - _WHOLE_TURN)
    hue = torch.where(grey, total, torch.where(far, across_zero, total) / 2)

    # (15) to (21): the weights.
    evenness = (
        1
        - 0.17 * torch.cos(hue - math.radians(30))
        + 0.24 * torch.cos(2 * hue)
        + 0.32 * torch.cos(3 * hue + math.radians(6))
        - 0.20 * torch.cos(4 * hue - math.radians(63))
    )
    from_middle = (lightness - 50) ** 2
    lightness_scale = 1 + 0.015 * from_middle / (20 + from_middle).sqrt()
    chroma_scale = 1 + 0.045 * chroma
    hue_scale = 1 + 0.015 * chroma * evenness
    blueness = torch.exp(-(((hue - math.radians(275)) / math.radians(25)) ** 2))
    rotation = -2 * _share_of_chroma(chroma) * torch.sin(2 * math.radians(30) * blueness)

    # (22).
    by_lightness = lightness_difference / lightness_scale
    by_chroma = chroma_difference / chroma_scale
    by_hue = hue_difference / hue_scale
    squared = by_lightness**2 + by_chroma**2 + by_hue**2 + rotation * by_chroma * by_hue
    return squared.clamp(min=0).sqrt()


def _share_of_chroma(chroma: Tensor) -> Tensor:
    """sqrt(C^7 / (C^7 + 25^7))."""
    power = chroma**7
    return (power / (power + _25_TO_THE_7TH)).sqrt()


CIEDE2000 = Judge(
    "ciede2000", "CIEDE2000", "Delta E", False, 2, ciede2000, frozenset(),
    "How different the colours of the pixels look, on average; 1 is about what is just visible.",
    margin=0.1,
)  # fmt: skip
