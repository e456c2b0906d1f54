"""LPIPS's distance between two feature maps of its network; torch does the convolutions."""

import numpy as np
import torch
from torch import Tensor

from lossarium.compute.compiling import Real, Reals, compiled
from lossarium.compute.threads import Work, run_tiles
from lossarium.compute.tiling import steps

# Numbers in a tile, which is made of whole pixels: enough that the interpreter's overhead is small.
_TILE = 1 << 17


@compiled
def _compare(
    seen: Reals,
    truth: Reals,
    linear: Reals,
    shares: Reals,
    gradient: Reals,
    scale: Real,
    smallest: Real,
    scratch: Reals,
    first: int,
    last: int,
) -> float:
    """The sum over places first to last of share * distance; writes its gradient times `scale`, unless empty.

    `seen` and `truth` are (places, C). The normalised features are stored in the scratch before they are
    subtracted. Otherwise the compiler could fuse product and difference, and equal features would differ by
    the product's rounding.
    """
    channels = linear.size
    units, others = scratch[0], scratch[1]
    result = 0.0
    for place in range(first, last):
        a, b = seen[place], truth[place]
        squares = true_squares = np.float32(0)
        for c in range(channels):
            squares += a[c] * a[c]
            true_squares += b[c] * b[c]
        length, true_length = np.sqrt(squares), np.sqrt(true_squares)
        inverse, true_inverse = (
            np.float32(1) / max(length, smallest),
            np.float32(1) / max(true_length, smallest),
        )
        for c in range(channels):
            units[c] = a[c] * inverse
            others[c] = b[c] * true_inverse
        distance = along = np.float32(0)
        for c in range(channels):
            difference = units[c] - others[c]
            weighted = linear[c] * difference
            distance += weighted * difference
            along += weighted * units[c]
        result += shares[place] * distance
        if gradient.size > 0:
            # Below the smallest length the inverse is constant.
            if length <= smallest:
                along = np.float32(0)
            factor = np.float32(2) * scale * shares[place] * inverse
            slopes = gradient[place]
            for c in range(channels):
                slopes[c] = factor * (linear[c] * (units[c] - others[c]) - units[c] * along)
    return result


def compare_features(
    seen: Tensor, truth: Tensor, linear: Tensor, shares: Tensor, scale: float | None, *, smallest: float
) -> tuple[Tensor, Tensor | None]:
    """A layer's part of each picture's value, (N,), and its gradient by `seen` times `scale`.

    With u and v the features at unit length and w the linear layer, a place's distance is sum_c w (u - v)^2,
    and the value the sum of its distances times their shares. The gradient is
    2 share / |seen| (w (u - v) - u sum_c(u w (u - v))).

    Args:
        seen: (N, C, h, w) features of the prediction, float32, channels last.
        truth: (N, C, h, w), those of the target.
        linear: (C,), each channel's weight.
        shares: (N, h, w), each place's weight.
        scale: The factor on the gradient; None for no gradient.
        smallest: The least length that features are divided by.
    """
    n, channels, height, width = seen.shape
    places = height * width
    a, b = (
        features.permute(0, 2, 3, 1).contiguous().view(-1, channels).numpy() for features in (seen, truth)
    )
    gradient = None if scale is None else torch.empty(n, height, width, channels)
    slopes = np.zeros((1, 0), np.float32) if gradient is None else gradient.view(-1, channels).numpy()
    weights, counts = linear.contiguous().numpy(), shares.contiguous().view(-1).numpy()
    tiles = [
        (picture * places + first, picture * places + last)
        for picture in range(n)
        for first, last in steps(places, max(_TILE // channels, 1))
    ]
    sums = np.zeros(len(tiles))

    def worker() -> Work:
        scratch = np.empty((2, channels), np.float32)

        def work(tile: int) -> None:
            sums[tile] = _compare(
                a,
                b,
                weights,
                counts,
                slopes,
                np.float32(scale or 0),
                np.float32(smallest),
                scratch,
                *tiles[tile],
            )

        return work

    run_tiles(len(tiles), worker)
    values = torch.from_numpy(sums.reshape(n, -1).sum(axis=1).astype(np.float32))
    return values, None if gradient is None else gradient.permute(0, 3, 1, 2)
