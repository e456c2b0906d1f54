"""Blotches: smooth spots that are not in the truth."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lossarium.judging.artefacts.declaration import Artefact
from lossarium.judging.artefacts.preparation import LEVELS, Prepared, gaussian, prepared, ratio, total

_MOST_CELLS = 32
"""Cells a side in which blotches are looked for; each has at least 2 x 2 pixels."""
_SMALLEST = 1.0
"""Standard deviation of the Gaussian that blotches outlast, in cells."""
_LARGEST = 6 / 32
"""And of the one that they do not, as a share of the side."""
# White noise in the cells: the variance of its Gaussian blur over that of what the blur takes off, times two,
# for some pictures have more than the mean.
_CENTRE, _SQUARES = 0.159, 0.0796
_FLOOR = 2 * _SQUARES / (1 - 2 * _CENTRE + _SQUARES)
_RIDGE = 1e-6


def blotches(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """The amplitude of spots between about a tenth and half of the side, root mean square, in grey levels of
    255.

    On a grid of 32 x 32 cells, or half the pixels of small pictures, the error is first freed from what the
    truth explains: a regression, channel by channel, on the truth's colours (a colour shift, a contrast) and
    on its details (blur). What remains is smoothed (G_1 - G_6, in cells of 32). The share that noise would
    have there is taken off.

    Args:
        prediction: (N, C, H, W).
        truth: Likewise, in [0, 1].
        weight: (N, 1, H, W), non-negative, the weight of each pixel.

    Returns:
        (N,). 0 at equality.
    """
    given = prepared(prediction, truth, weight)
    spots, rough, weights = _spots(given)
    channels = spots.shape[1]
    energy = ratio(total(weights * spots**2), channels * total(weights))
    noise = ratio(total(weights * rough**2), channels * total(weights))
    return given.checked(LEVELS * (energy - _FLOOR * noise).clamp(min=0).sqrt())


def blotches_map(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """The amplitude at each pixel over the channels, root mean square, in grey levels of 255: (N, 1, H,
    W)."""
    given = prepared(prediction, truth, weight)
    spots, _, weights = _spots(given)
    amplitude = (spots**2).mean(dim=1, keepdim=True).sqrt() * (weights > 0)
    shown = F.interpolate(amplitude, size=truth.shape[-2:], mode="bilinear")
    return given.checked(LEVELS * shown * (given.weight > 0))


def _spots(given: Prepared) -> tuple[Tensor, Tensor, Tensor]:
    """The spots, what is finer than they are, (N, C, h, w) each, and the cells' weights, (N, 1, h, w)."""
    height, width = given.truth.shape[-2:]
    cells = (min(_MOST_CELLS, max(1, height // 2)), min(_MOST_CELLS, max(1, width // 2)))
    weights = F.adaptive_avg_pool2d(given.weight, cells)
    truth = F.adaptive_avg_pool2d(given.truth, cells)
    error = ratio(F.adaptive_avg_pool2d((given.prediction - given.truth) * given.weight, cells), weights)
    unexplained = _unexplained(error, truth, weights)
    smooth = _mean(unexplained, weights, _SMALLEST)
    return (
        smooth - _mean(unexplained, weights, max(2.0, _LARGEST * min(cells))),
        unexplained - smooth,
        weights,
    )


def _mean(values: Tensor, weights: Tensor, sigma: float) -> Tensor:
    """The weighted mean around each cell."""
    return ratio(gaussian(values * weights, sigma), gaussian(weights, sigma))


def _unexplained(error: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """What remains of the error after a weighted regression on the truth's colours and details."""
    n, channels, height, width = truth.shape
    details = [truth - gaussian(truth, sigma) for sigma in (1.0, 3.0)]
    regressors = torch.cat([torch.ones_like(weights), truth, *details], dim=1).flatten(2).double()
    weighted = regressors * weights.flatten(2).double()
    gram = weighted @ regressors.mT
    # A little of the identity: the regressors of grey or flat pictures depend on each other.
    ridge = _RIDGE * gram.diagonal(dim1=1, dim2=2).amax(dim=1).clamp(min=_RIDGE)
    gram = gram + ridge.view(-1, 1, 1) * torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    coefficients: Tensor = torch.linalg.solve(gram, weighted @ error.flatten(2).double().mT)
    explained = (coefficients.mT @ regressors).view(n, channels, height, width)
    return error - explained.to(error.dtype)


BLOTCHES = Artefact(
    "blotches", "Blotches", "levels", 2, blotches, blotches_map,
    seen=1.0, margin=0.1,
    description="The amplitude of smooth spots that the truth does not have, in grey levels of 255.",
)  # fmt: skip
