"""Weights of pixels and channels, for losses and their kernels; needs no compiler."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

# A picture whose weights sum to less than this counts nothing. It is the smallest float32 whose reciprocal is
# finite.
SMALLEST_WEIGHT = 3e-39
_LUMA = (0.299, 0.587, 0.114)


def luminance_shares(channels: int) -> tuple[float, ...]:
    """Each channel's share of luminance: BT.601's for three channels, else all the same."""
    return _LUMA if channels == 3 else (1 / channels,) * channels


def totals_of(counts: NDArray[np.float32]) -> NDArray[np.float64]:
    """The sum of each picture's weights, (N,), which its mean is divided by.

    It is infinite for a picture whose weights are all 0, so that its mean is 0.
    """
    totals: NDArray[np.float64] = counts.reshape(len(counts), -1).sum(axis=1, dtype=np.float64)
    return np.where(totals > SMALLEST_WEIGHT, totals, np.inf)


def shares_of_most(weight: Tensor | None) -> NDArray[np.float32] | None:
    """Each pixel's weight divided by its picture's greatest weight, (N, H, W): the factor on its error.

    For a loss that is a function of the error, this equals blending the input with the target by the weight.
    """
    if weight is None:
        return None
    most = weight.amax(dim=(1, 2, 3), keepdim=True)
    shares: NDArray[np.float32] = (weight / torch.where(most > SMALLEST_WEIGHT, most, 1))[:, 0].numpy()
    return shares


def halved_weight(weight: Tensor | None) -> Tensor | None:
    """The mean weight of the pixels that are averaged into one, without the padding of odd sides."""
    if weight is None:
        return None
    height, width = weight.shape[2:]
    return F.avg_pool2d(weight, kernel_size=2, padding=(height % 2, width % 2), count_include_pad=False)
