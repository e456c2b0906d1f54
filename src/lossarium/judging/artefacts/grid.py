"""Grid and checkerboard: a pattern that repeats every few pixels."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lossarium.judging.artefacts.declaration import Artefact
from lossarium.judging.artefacts.preparation import LEVELS, Prepared, gaussian, prepared, ratio

_LONGEST_PERIOD = 18.0
"""In pixels, and at most a third of the shorter side; longer ones are blotches."""
_COARSE = 4.0
"""Standard deviation, in pixels, of what is taken off before the transform."""
_AROUND = 5
"""Side of the nine squares of frequencies that a peak is compared with: with the strongest of them, for the
error of a sharp low-pass has no power on one side of its cutoff."""
_APART = 4
"""How far they are apart: a window makes peaks wider than a frequency."""
_PEAK = 12.0
"""A peak has so many times the power around. Noise, whose power at a frequency has an exponential
distribution, has 12 times its mean with a chance of 6 in a million, and the strongest of nine squares is
above the mean."""
_BEYOND_TRUTH = 4.0
"""And rises from them so many times as much as the truth does there: a blurred pattern is no grid."""
_BLOCKS = (4, 8, 16)
"""Sides of blocks, in pixels."""
_BEYOND_CHANCE = 4.0
"""Standard errors that are taken off the height of their steps."""
# The mean logarithm of an exponential variable is that of its mean less Euler's constant.
_FROM_LOGARITHM = math.exp(0.5772)
_SMALLEST_POWER = (0.01 / LEVELS) ** 2


def grid(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """The amplitude of periodic patterns in the error, root mean square, in grey levels of 255.

        255 sqrt(sum over peaks of (power - power around))

    power is the spectrum of the error, averaged over the channels. A peak has 12 times the power of the
    frequencies around it (their geometric mean), a period of up to 18 pixels, and no such peak in the truth.
    Transposed convolutions leave patterns of their stride (Odena, Dumoulin, Olah, Deconvolution and
    Checkerboard Artifacts, 2016). Their frequencies need not be known here: a picture may have been resized
    since.

    Blocks, as JPEG's, are steps at regular places, up here and down there, and have no peaks. For periods of
    4, 8 and 16 pixels, half the additional height of the steps there, beyond four standard errors, is their
    amplitude. The largest of these and the pattern's counts.

    Args:
        prediction: (N, C, H, W).
        truth: Likewise, in [0, 1].
        weight: (N, 1, H, W), non-negative, the weight of each pixel.

    Returns:
        (N,). 0 at equality.
    """
    given = prepared(prediction, truth, weight)
    figures = [_peaks(given.prediction - given.truth, given.truth, given.weight)]
    figures += [_blocks(given, period, dim) for period in _BLOCKS for dim in (2, 3)]
    return given.checked(LEVELS * torch.stack(figures).amax(dim=0))


def grid_spectrum(prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """The spectrum of the error, (N, 1, H, W), frequency 0 in the middle: amplitudes in grey levels of 255.

    A pattern of the period p shows as bright points at a distance of 1 / p from the middle, where the borders
    are at 1 / 2.
    """
    given = prepared(prediction, truth, weight)
    power = _power(given.prediction - given.truth, given.weight)
    return given.checked(LEVELS * torch.fft.fftshift(power, dim=(2, 3)).sqrt())


def _blocks(given: Prepared, period: int, dim: int) -> Tensor:
    """Half the additional height of the steps along a dimension that are a period apart, (N,)."""
    across = 5 - dim
    steps = given.prediction.diff(dim=dim).abs() - given.truth.diff(dim=dim).abs()
    weight = given.weight.narrow(dim, 1, steps.shape[dim])
    # One number for each place along the dimension: (N, places).
    heights = ratio((steps.mean(dim=1, keepdim=True) * weight).sum(dim=across), weight.sum(dim=across))[:, 0]
    rise = heights[:, 1:-1] - (heights[:, :-2] + heights[:, 2:]) / 2
    periods = rise.shape[1] // period
    if periods < 3:
        return rise.new_zeros(len(rise))
    by_phase = rise[:, : periods * period].reshape(-1, periods, period)
    mean, phase = by_phase.mean(dim=1).max(dim=1)
    others = torch.arange(period, device=phase.device) != phase[:, None]
    # Beside a high step the rise is low: only what is further away tells what is usual.
    beside = torch.stack([(phase + by) % period for by in (-1, 1)])
    others = others & (torch.arange(period, device=phase.device) != beside[..., None]).all(dim=0)
    spread = ratio((by_phase.square().mean(dim=1) * others).sum(dim=1), others.sum(dim=1).to(mean))
    within = (by_phase - mean[:, None, None]).square().mean(dim=1).gather(1, phase[:, None])[:, 0]
    error = (torch.maximum(spread, within) / periods).sqrt()
    return (mean - _BEYOND_CHANCE * error).clamp(min=0) / 2


def _peaks(error: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """The root of the power of the error's peaks, (N,)."""
    power, of_truth = _power(error, weight), _power(truth, weight)
    around = _around(power)
    rise = power / around
    rise_of_truth = F.max_pool2d(_wrapped(of_truth / _around(of_truth), 1), 3, stride=1)
    peak = (rise > _PEAK) & (rise > _BEYOND_TRUTH * rise_of_truth) & _short_periods(power)
    # A window and a pattern that comes and goes spread a peak over its neighbours.
    wide = F.max_pool2d(_wrapped(peak.to(power), 1), 3, stride=1)
    return (wide * (power - around).clamp(min=0)).sum(dim=(1, 2, 3)).sqrt()


def _power(pictures: Tensor, weight: Tensor) -> Tensor:
    """The power by frequency, averaged over the channels, (N, 1, H, W); its sum is the mean square."""
    height, width = pictures.shape[-2:]
    window = torch.outer(*(torch.hann_window(side + 2)[1:-1] for side in (height, width)))
    # The root keeps more of the picture, and still ends at 0.
    window = window.to(pictures).sqrt() * weight
    energy = window.square().sum(dim=(1, 2, 3)).view(-1, 1, 1, 1)
    transformed = torch.fft.fft2((pictures - gaussian(pictures, _COARSE)) * window)
    squared = transformed.real**2 + transformed.imag**2
    return ratio(squared.mean(dim=1, keepdim=True), energy * (height * width))


def _around(power: Tensor) -> Tensor:
    """The geometric mean of the power around each frequency, as an estimate of its mean."""
    floor = _SMALLEST_POWER / power[0, 0].numel()
    of_square = F.avg_pool2d(_wrapped((power + floor).log(), _AROUND // 2), _AROUND, stride=1)
    strongest = F.max_pool2d(_wrapped(of_square, _APART), 3, stride=1, dilation=_APART)
    return strongest.exp() * _FROM_LOGARITHM


def _wrapped(spectrum: Tensor, by: int) -> Tensor:
    """A spectrum with margins: it is periodic."""
    height, width = spectrum.shape[-2:]
    down, across = (torch.arange(-by, side + by, device=spectrum.device) % side for side in (height, width))
    return spectrum[:, :, down][..., across]


def _short_periods(power: Tensor) -> Tensor:
    down, across = (torch.fft.fftfreq(side, device=power.device) for side in power.shape[-2:])
    longest = min(_LONGEST_PERIOD, min(power.shape[-2:]) / 3)
    return torch.hypot(down[:, None], across[None, :]) >= 1 / longest


GRID = Artefact(
    "grid", "Grid", "levels", 2, grid, grid_spectrum,
    seen=1.0, margin=0.1,
    description="The amplitude of patterns that repeat every few pixels, in grey levels of 255.",
)  # fmt: skip
