"""Kernels for the focal frequency loss. Contract: `lossarium.losses.fused.LossKernel`.

Torch does the Fourier transforms; the kernels do what comes between them, in place: one picture's worth of
memory holds the error, its weighted spectrum and the gradient in turn, beside a few planes' half spectra.

The transform back is a forward transform, too, which in torch is several times as fast as the inverse from a
half spectrum: if G is the spectrum of a real picture, that picture is Re D + Im D, where D is the transform
of the real picture Re G + Im G (the Hartley transform).
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossarium.compute.compiling import Real, Reals, compiled, inlined
from lossarium.compute.elementary import exp, log, log1p_of_share
from lossarium.compute.threads import Work, run_tiles
from lossarium.compute.tiling import steps
from lossarium.compute.weighting import shares_of_most

_ZERO = np.float32(0)
_SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)
# Below this exponent log(1 + e^u) is e^u to float32's last digit.
_LEAST_EXPONENT = -17
_NO_SHARES = np.zeros((0, 0), np.float32)
# The fewest pixels that are worth waking a thread.
_LEAST_PIXELS = 1 << 18
# Planes are transformed in groups of up to this many pixels, so that the spectra of all planes are never in
# memory at once.
_PIXELS_AT_ONCE = 1 << 20
_COLUMNS_AT_ONCE = 128

Weigh = Callable[[Real, Real, Real], Real]
"""(power of a frequency, factor that normalises it by the largest, alpha / 2) -> the frequency's weight."""


@compiled
def _take_error(x: Reals, y: Reals, shares: Reals, patches: Reals) -> None:
    """Cut the error x - y of a plane, (H, W), (times shares) into `patches`, (f, f, H / f, W / f)."""
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
    """The largest |F|^2 of a half spectrum, complex, (h, w // 2 + 1)."""
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
        # The number of columns that also stand for a mirrored one.
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
    """Write Re D + Im D of patches' half spectra D, (f, f, h, w // 2 + 1), (times shares) to a plane."""
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

    With `ave_spectrum` all pictures share one value, and the gradient is that of the sum of all pictures'
    values. It is right only where all pictures have the same weight in the loss.
    """
    n, channels, height, width = input.shape
    pixels = channels * height * width
    shares = shares_of_most(weight)
    patches = _errors(input, target, shares, patch_factor)
    if ave_spectrum and n > 1:
        patches = patches.mean(dim=0, keepdim=True)
    planes = patches.flatten(0, 1)
    parts = [slice(*part) for part in steps(len(planes), max(_PIXELS_AT_ONCE // (height * width), 1))]
    peak = max(_peaks(_transformed(planes[part])).max() for part in parts) if batch_matrix else None
    factor = None if scale is None else 2 * scale / pixels
    gradient = None
    if scale is not None:
        # The gradient reuses the patches' memory: it has the same size, and comes when they are done with.
        gradient = patches.view(input.shape) if len(patches) == n else torch.empty_like(input)
    sums = np.zeros(len(planes))
    for part in parts:
        spectra = _transformed(planes[part])
        sums[part] = _weight(spectra, planes[part], factor, alpha, log_matrix, peak)
        if gradient is not None:
            # Freed first, so that only one of a part's spectra is in memory.
            del spectra
            spectra = _transformed(planes[part])
            for first in range(0, n * channels, len(planes)):
                _fill(gradient, slice(first + part.start, first + part.stop), spectra, shares)
        del spectra
    values = torch.from_numpy((sums.reshape(len(patches), -1).sum(axis=1) / pixels).astype(np.float32))
    return values.expand(n).contiguous(), gradient


def _transformed(planes: Tensor) -> Tensor:
    """The half spectra of patches, (planes, f, f, h, w // 2 + 1)."""
    spectra: Tensor
    if planes.numel() <= _PIXELS_AT_ONCE:
        spectra = torch.fft.rfft2(planes, norm="ortho")
        return spectra.contiguous()
    # A transform of both axes at once would hold the spectrum in memory twice.
    spectra = torch.fft.rfft(planes, norm="ortho")
    for first in range(0, spectra.shape[-1], _COLUMNS_AT_ONCE):
        columns = spectra[..., first : first + _COLUMNS_AT_ONCE]
        columns.copy_(torch.fft.fft(columns, dim=-2, norm="ortho"))
    return spectra


def _errors(input: Tensor, target: Tensor, shares: Reals | None, factor: int) -> Tensor:
    """The error, times shares, in patches: (N, C, factor, factor, H / factor, W / factor)."""
    n, channels, height, width = input.shape
    errors = torch.empty(n, channels, factor, factor, height // factor, width // factor)
    x, y, patches = input.numpy(), target.numpy(), errors.numpy()

    def work(plane: int) -> None:
        picture, channel = divmod(plane, channels)
        share = _NO_SHARES if shares is None else shares[picture]
        _take_error(x[picture, channel], y[picture, channel], share, patches[picture, channel])

    run_tiles(n * channels, lambda: work, _worth_a_thread(height * width))
    return errors


def _peaks(spectra: Tensor) -> NDArray[np.float64]:
    """The largest power of each patch's half spectrum, (planes * f * f,)."""
    halves = spectra.flatten(0, 2).numpy()
    peaks = np.zeros(len(halves))

    def find(tile: int) -> None:
        peaks[tile] = _largest_power(halves[tile])

    run_tiles(len(halves), lambda: find, _worth_a_thread(halves[0].size))
    return peaks


def _weight(
    spectra: Tensor, patches: Tensor, factor: float | None, alpha: float, log_matrix: bool, peak: float | None
) -> NDArray[np.float64]:
    """Each plane's sum of w |F|^2, (planes,), with w relative to `peak`, or to each patch's own peak if None.

    With a `factor`, `patches` becomes the real pictures whose transforms give the gradient.
    """
    width = patches.shape[-1]
    halves, wholes = spectra.flatten(0, 2).numpy(), patches.flatten(0, 2).numpy()
    peaks = _peaks(spectra) if peak is None else np.full(len(wholes), peak)
    sums = np.zeros(len(wholes))

    def worker() -> Work:
        scratch = np.empty((3, width // 2 + 1), np.float32)

        def work(tile: int) -> None:
            weighted, per_peak = _choose(alpha, log_matrix, peaks[tile])
            sums[tile] = weighted(
                halves[tile], wholes[tile], scratch, factor is not None,
                per_peak, np.float32(alpha / 2), np.float32(factor or 0),
            )  # fmt: skip

        return work

    run_tiles(len(wholes), worker, _worth_a_thread(wholes[0].size))
    by_plane: NDArray[np.float64] = sums.reshape(len(patches), -1).sum(axis=1)
    return by_plane


def _fill(gradient: Tensor, planes: slice, spectra: Tensor, shares: Reals | None) -> None:
    """Fill some planes of the gradient from the transforms of their patches."""
    channels, height, width = gradient.shape[1:]
    halves, slopes = spectra.numpy(), gradient.view(-1, height, width)[planes].numpy()

    def worker() -> Work:
        scratch = np.empty(spectra.shape[-1], np.float32)

        def work(plane: int) -> None:
            share = _NO_SHARES if shares is None else shares[(planes.start + plane) // channels]
            _give_gradient(halves[plane], share, scratch, slopes[plane])

        return work

    run_tiles(len(slopes), worker, _worth_a_thread(height * width))


def _worth_a_thread(pixels: int) -> int:
    """How many tiles of so many pixels are worth waking a thread."""
    return max(_LEAST_PIXELS // pixels, 1)
