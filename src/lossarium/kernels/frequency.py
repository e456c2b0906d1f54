"""Kernels for losses that compare spectra. Contract: `lossarium.losses.fused.Kernel`.

Torch transforms, and what stands between its transforms is done here in place, so that two pictures' worth of
memory is all that is needed: one for the error, its weighted spectrum and the gradient in turn, and one for
the half spectrum. The way back is a forward transform, too, for it is several times faster in torch than the
inverse from a half spectrum: if G is the spectrum of a real picture, that picture is Re D + Im D, where D is
the transform of the real picture Re G + Im G (Hartley's).
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossarium.kernels.compiling import Real, Reals, compiled, inlined
from lossarium.kernels.crew import Work, spread
from lossarium.kernels.elementary import exp, log, log1p_of_share
from lossarium.kernels.weighting import shares_of_most

_ZERO = np.float32(0)
_SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)
# Below this exponent log(1 + e^u) is e^u to float32's last digit.
_LEAST_EXPONENT = -17
_NO_SHARES = np.zeros((0, 0), np.float32)
# Pixels that are worth waking a thread.
_LEAST_PIXELS = 1 << 18

Weigh = Callable[[Real, Real, Real], Real]
"""(power of a frequency, what makes it a share of the largest, alpha / 2) -> what it counts."""


@compiled
def _take_error(x: Reals, y: Reals, shares: Reals, patches: Reals) -> None:
    """Cut the error of a plane x beside y, (H, W), (times shares) into `patches`, (f, f, H / f, W / f)."""
    factor, _, height, width = patches.shape
    for i in range(x.shape[0]):
        for part in range(factor):
            first = part * width
            x_row, y_row = x[i, first:], y[i, first:]
            row = patches[i // height, part, i % height]
            if shares.size == 0:
                for j in range(width):
                    row[j] = x_row[j] - y_row[j]
            else:
                share_row = shares[i, first:]
                for j in range(width):
                    row[j] = (x_row[j] - y_row[j]) * share_row[j]


@compiled
def _largest_power(spectrum: Reals) -> Real:
    """The largest |F|^2 of a spectrum, of complex numbers (h, w // 2 + 1)."""
    largest = _ZERO
    for i in range(spectrum.shape[0]):
        row = spectrum[i]
        for j in range(row.shape[0]):
            largest = max(largest, row[j].real * row[j].real + row[j].imag * row[j].imag)
    return largest


def _weighing(weigh: Weigh) -> Callable[..., Real]:
    def weighted(
        spectrum: Reals,
        whole: Reals,
        scratch: Reals,
        sloped: bool,
        per_peak: Real,
        half_alpha: Real,
        factor: Real,
    ) -> Real:
        """The sum of w |F|^2 over the whole spectrum F, of which `spectrum` is half, (h, w // 2 + 1).

        `whole`, (h, w), becomes Re G + Im G with G = factor * w F, if `sloped`. `scratch` has room for
        three rows.
        """
        height, columns = spectrum.shape
        width = whole.shape[1]
        # Columns that stand for themselves and, mirrored, for another.
        twice = (width + 1) // 2 - 1
        result = 0.0
        powers, real, imaginary = scratch[0], scratch[1], scratch[2]
        for i in range(height):
            row = spectrum[i]
            for j in range(columns):
                re, im = row[j].real, row[j].imag
                power = re * re + im * im
                weight = weigh(power, per_peak, half_alpha)
                powers[j] = weight * power
                real[j] = weight * re * factor
                imaginary[j] = weight * im * factor
            total = _ZERO
            for j in range(columns):
                total += powers[j]
            total += total - powers[0]
            if width % 2 == 0:
                total -= powers[columns - 1]
            result += total
            if not sloped:
                continue
            own = whole[i]
            for j in range(columns):
                own[j] = real[j] + imaginary[j]
            mirrored = whole[(height - i) % height, columns:]
            for j in range(twice):
                mirrored[j] = real[twice - j] - imaginary[twice - j]
        return result

    return compiled(weighted)


@inlined
def _proportional(power: Real, per_peak: Real, _half_alpha: Real) -> Real:
    """|F| / max |F|: alpha = 1."""
    return np.sqrt(power * per_peak)


@inlined
def _powered(power: Real, per_peak: Real, half_alpha: Real) -> Real:
    return exp(half_alpha * log(power * per_peak))


@inlined
def _logarithmic(power: Real, per_peak: Real, half_alpha: Real) -> Real:
    """log(1 + |F|^alpha) as log(1 + e^u), times `per_peak`."""
    u = half_alpha * log(power)
    return (max(u, _ZERO) + log1p_of_share(exp(-abs(u)))) * per_peak


_WEIGHED_IN_PROPORTION = _weighing(_proportional)
_WEIGHED_BY_POWER = _weighing(_powered)
_WEIGHED_BY_LOGARITHM = _weighing(_logarithmic)


@compiled
def _give_gradient(spectra: Reals, shares: Reals, scratch: Reals, gradient: Reals) -> None:
    """Re D + Im D of patches' half spectra D, (f, f, h, w // 2 + 1), (times shares), as a plane (H, W)."""
    factor, _, height, columns = spectra.shape
    width = gradient.shape[1] // factor
    twice = (width + 1) // 2 - 1
    for i in range(gradient.shape[0]):
        for part in range(factor):
            patch = spectra[i // height, part]
            own, mirrored = patch[i % height], patch[(height - i % height) % height]
            row = gradient[i, part * width :]
            for j in range(columns):
                row[j] = own[j].real + own[j].imag
            for j in range(columns):
                scratch[j] = mirrored[j].real - mirrored[j].imag
            rest = row[columns:]
            for j in range(twice):
                rest[j] = scratch[twice - j]
        if shares.size > 0:
            whole = gradient[i]
            for j in range(width * factor):
                whole[j] *= shares[i, j]


def _choose(alpha: float, log_matrix: bool, largest: float) -> tuple[Callable[..., Real], np.float32]:
    """The kernel that weights a spectrum whose largest power is known, and its `per_peak`."""
    peak = max(float(largest), _SMALLEST_NORMAL)
    exponent = alpha / 2 * math.log(peak)
    if log_matrix and exponent > _LEAST_EXPONENT:
        return _WEIGHED_BY_LOGARITHM, np.float32(
            1 / (max(exponent, 0) + math.log1p(math.exp(-abs(exponent))))
        )
    return _WEIGHED_IN_PROPORTION if alpha == 1 else _WEIGHED_BY_POWER, np.float32(1 / peak)


def ffl(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    scale: float | None,
    *,
    alpha: float,
    patch_factor: int,
    ave_spectrum: bool,
    log_matrix: bool,
    batch_matrix: bool,
) -> tuple[Tensor, Tensor | None]:
    """The mean of w |F|^2, and its gradient with w constant, times `scale`.

    With `ave_spectrum` all pictures share one value: the gradient is that of all pictures' values together,
    so that it serves only where they count alike.
    """
    n, channels, height, width = input.shape
    pixels = channels * height * width
    shares = shares_of_most(weight)
    patches = _errors(input, target, shares, patch_factor)
    if ave_spectrum and n > 1:
        patches = patches.mean(dim=0, keepdim=True)
    spectra = _transformed(patches)
    factor = None if scale is None else 2 * scale / pixels
    sums = _weight(spectra, patches, factor, alpha, log_matrix, batch_matrix)
    values = torch.from_numpy((sums.sum(axis=1) / pixels).astype(np.float32)).expand(n).contiguous()
    if scale is None:
        return values, None
    del spectra
    spectra = _transformed(patches)
    # The patches are done with, and have as many numbers as the gradient.
    gradient = patches.view(input.shape) if len(patches) == n else torch.empty_like(input)
    _fill(gradient, spectra, shares)
    return values, gradient


def _transformed(planes: Tensor) -> Tensor:
    spectra: Tensor = torch.fft.rfft2(planes, norm="ortho")
    return spectra.contiguous()


def _errors(input: Tensor, target: Tensor, shares: Reals | None, factor: int) -> Tensor:
    """The error, times shares, in patches: (N, C, factor, factor, H / factor, W / factor)."""
    n, channels, height, width = input.shape
    errors = torch.empty(n, channels, factor, factor, height // factor, width // factor)
    x, y, patches = input.numpy(), target.numpy(), errors.numpy()

    def work(plane: int) -> None:
        picture, channel = divmod(plane, channels)
        share = _NO_SHARES if shares is None else shares[picture]
        _take_error(x[picture, channel], y[picture, channel], share, patches[picture, channel])

    spread(n * channels, lambda: work, _worth_a_thread(height * width))
    return errors


def _weight(
    spectra: Tensor, patches: Tensor, factor: float | None, alpha: float, log_matrix: bool, batch_matrix: bool
) -> NDArray[np.float64]:
    """Each picture's sums of w |F|^2, one a patch, (N, C * f * f).

    With a `factor`, `patches` become the real pictures whose transforms hold the gradient.
    """
    height, width = patches.shape[-2:]
    halves = spectra.view(-1, height, width // 2 + 1).numpy()
    wholes = patches.view(-1, height, width).numpy()
    tiles = len(wholes)
    least = _worth_a_thread(height * width)
    peaks, sums = np.zeros(tiles), np.zeros(tiles)

    def find_peak(tile: int) -> None:
        peaks[tile] = _largest_power(halves[tile])

    def worker() -> Work:
        scratch = np.empty((3, width // 2 + 1), np.float32)

        def work(tile: int) -> None:
            weighted, per_peak = _choose(alpha, log_matrix, peaks[tile])
            sums[tile] = weighted(
                halves[tile], wholes[tile], scratch, factor is not None,
                per_peak, np.float32(alpha / 2), np.float32(factor or 0),
            )  # fmt: skip

        return work

    spread(tiles, lambda: find_peak, least)
    if batch_matrix:
        peaks[:] = peaks.max()
    spread(tiles, worker, least)
    return sums.reshape(len(patches), -1)


def _fill(gradient: Tensor, spectra: Tensor, shares: Reals | None) -> None:
    """The gradient from the transforms of `patches`; all pictures' alike if there are those of one only."""
    n, channels, height, width = gradient.shape
    halves, slopes = spectra.numpy(), gradient.numpy()

    def worker() -> Work:
        scratch = np.empty(spectra.shape[-1], np.float32)

        def work(plane: int) -> None:
            picture, channel = divmod(plane, channels)
            share = _NO_SHARES if shares is None else shares[picture]
            _give_gradient(halves[picture % len(halves), channel], share, scratch, slopes[picture, channel])

        return work

    spread(n * channels, worker, _worth_a_thread(height * width))


def _worth_a_thread(pixels: int) -> int:
    """How many tiles of so many pixels are worth waking a thread."""
    return max(_LEAST_PIXELS // pixels, 1)
