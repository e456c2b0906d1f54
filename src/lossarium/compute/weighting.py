"""What pixels and channels count, as losses and their kernels need it; needs no compiler."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

# Below this a picture's weight counts as none, as in the plain way.
_SMALLEST_WEIGHT = 3e-39
_LUMA = (0.299, 0.587, 0.114)


def luminance_shares(channels: int) -> tuple[float, ...]:
    """What each channel adds to luminance: that of BT.601, or of other than three channels their mean."""
    return _LUMA if channels == 3 else (1 / channels,) * channels


def totals_of(counts: NDArray[np.float32]) -> NDArray[np.float64]:
    """What all of a picture counts, (N,), for the mean to be divided by.

    A picture without any weight has an infinite total, so that it counts nothing.
    """
    totals: NDArray[np.float64] = counts.reshape(len(counts), -1).sum(axis=1, dtype=np.float64)
    return np.where(totals > _SMALLEST_WEIGHT, totals, np.inf)


def shares_of_most(weight: Tensor | None) -> NDArray[np.float32] | None:
    """Each pixel's weight as a share of its picture's greatest, (N, H, W): what multiplies its error.

    This is what blending the input to the target comes to in a function of the error.
    """
    if weight is None:
        return None
    most = weight.amax(dim=(1, 2, 3), keepdim=True)
    shares: NDArray[np.float32] = (weight / torch.where(most > _SMALLEST_WEIGHT, most, 1))[:, 0].numpy()
    return shares


def halved_weight(weight: Tensor | None) -> Tensor | None:
    """The mean weight of the pixels that are averaged into one; the line before an odd side is none."""
    if weight is None:
        return None
    height, width = weight.shape[2:]
    return F.avg_pool2d(weight, kernel_size=2, padding=(height % 2, width % 2), count_include_pad=False)
