"""Colour transfer: give a picture the mean and standard deviation of another one's colours, in CIE L*a*b*.

Source: Reinhard et al., Color transfer between images, IEEE Computer Graphics and Applications 21(5), 2001;
in CIE L*a*b* instead of the paper's colour space, as the face-swap tools do it.
"""

import numpy as np
import numpy.typing as npt
import torch

from lossarium.facesets.colour import lab_to_srgb, srgb_to_lab

Picture = npt.NDArray[np.float32]
"""(H, W, 3), sRGB in [0, 1]."""
Channels = npt.NDArray[np.float64]

# A face of uniform colour has no deviation to scale, and noise must not be amplified without limit.
_LEAST_SPREAD = 1e-3
_MOST_SCALING = 4.0


def transfer_colour(
    picture: Picture, reference: Picture, weight: npt.NDArray[np.float32] | None = None
) -> Picture:
    """Shift and scale each channel of L*a*b* to the reference's mean and standard deviation.

    Args:
        picture: (H, W, 3), sRGB in [0, 1]; every pixel is changed.
        reference: The same shape.
        weight: (H, W), non-negative: each pixel's weight in the means and deviations of both; None to weigh
            all pixels the same. If it is 0 everywhere, the picture is returned as it is.

    Returns:
        (H, W, 3), clipped to [0, 1].
    """
    counts = np.ones(picture.shape[:2]) if weight is None else weight.astype(np.float64)
    if not counts.any():
        return picture
    lab = _lab(picture)
    mean, spread = _moments(lab, counts)
    wanted_mean, wanted_spread = _moments(_lab(reference), counts)
    scaling = np.where(spread > _LEAST_SPREAD, wanted_spread / np.maximum(spread, _LEAST_SPREAD), 1.0)
    moved = (lab - mean) * np.minimum(scaling, _MOST_SCALING) + wanted_mean
    return _srgb(moved)


def _moments(lab: Channels, weight: Channels) -> tuple[Channels, Channels]:
    """Mean and standard deviation of each channel, (3,) each."""
    pixels, counts = lab.reshape(-1, 3), weight.reshape(-1)
    mean = np.average(pixels, axis=0, weights=counts)
    variance = np.average((pixels - mean) ** 2, axis=0, weights=counts)
    return mean, np.sqrt(variance)


def _lab(picture: Picture) -> Channels:
    """(H, W, 3) in sRGB to L*a*b*."""
    pictures = torch.from_numpy(np.ascontiguousarray(picture)).double().permute(2, 0, 1)[None]
    return srgb_to_lab(pictures)[0].permute(1, 2, 0).numpy()


def _srgb(lab: Channels) -> Picture:
    """(H, W, 3) in L*a*b* to sRGB in [0, 1]."""
    pictures = lab_to_srgb(torch.from_numpy(lab).permute(2, 0, 1)[None])
    return np.ascontiguousarray(pictures[0].permute(1, 2, 0).float().numpy())
