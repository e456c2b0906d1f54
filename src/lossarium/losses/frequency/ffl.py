"""Losses that compare Fourier spectra."""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses.declaration import LossInfo
from lossarium.losses.fused import LossKernel, measure
from lossarium.losses.reduction import Reduction, as_pictures, blend_to_target


def ffl(
    input: Tensor,
    target: Tensor,
    *,
    alpha: float = 1.0,
    patch_factor: int = 1,
    ave_spectrum: bool = False,
    log_matrix: bool = False,
    batch_matrix: bool = False,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Focal frequency loss: squared errors of the spectrum, each weighted by how wrong its frequency is.

    mean of w |F|^2, where F is the orthonormal two-dimensional Fourier transform of input - target and
    w = |F|^alpha / max |F|^alpha, in [0, 1], with the maximum over the frequencies of each channel.
    Range [0, inf), in squared units of the pictures, at most `mse`; 0 at equality.
    Source: Jiang, Dai, Wu, Loy, Focal frequency loss for image reconstruction and synthesis, 2021, section
    3.3; options, order and normalisation as in their package focal-frequency-loss 0.3.0.

    The gradient is not the derivative of this value: w is a constant in it, as the authors define it, so that
    no frequency lessens the loss by changing its weight. With alpha = 0 every w is 1, the value is `mse` and
    the gradient its derivative. At equality value and gradient are exactly 0.

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        alpha: How strongly the weights follow the errors; 0 weights all frequencies alike.
        patch_factor: Cut the pictures into this many patches along each side, each with its own spectrum.
        ave_spectrum: Compare the spectra averaged over the batch; each picture then gets the same value.
        log_matrix: w from log(1 + |F|^alpha), which flattens it.
        batch_matrix: Take the maximum over the whole batch, its channels and patches.
        weight: (N, 1, H, W), non-negative; where it is small, the input is blended towards the target.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: alpha is negative or infinite, or patch_factor does not divide the sides.

    >>> import torch
    >>> stripes = (torch.arange(8) % 2).float().expand(1, 3, 8, 8)
    >>> ffl(stripes, torch.zeros(1, 3, 8, 8))
    tensor(0.5000)
    """
    input, target, weight, how = as_pictures(input, target, weight, reduction)
    _check_options(alpha, patch_factor, input)
    options: dict[str, Any] = {
        "alpha": alpha,
        "patch_factor": patch_factor,
        "ave_spectrum": ave_spectrum,
        "log_matrix": log_matrix,
        "batch_matrix": batch_matrix,
    }
    # A kernel returns the gradient of each picture's own value, which a value that depends on all pictures
    # does not have; for the mean and the sum over the batch that makes no difference.
    one_each = not ave_spectrum or len(input) == 1 or how in ("mean", "sum")
    load_kernel = partial(_ffl_kernel, options) if one_each else None
    return measure(partial(_ffl_plain, **options), load_kernel, input, target, weight, how)


def _ffl_kernel(options: dict[str, Any]) -> LossKernel:
    from lossarium.losses.frequency.ffl_cpu import ffl

    return partial(ffl, **options)


def _check_options(alpha: float, patch_factor: int, input: Tensor) -> None:
    if not 0 <= alpha < math.inf:
        raise LossariumError(f"ffl's alpha must be 0 or a positive number, not {alpha}")
    height, width = input.shape[2:]
    whole = isinstance(patch_factor, int) and patch_factor > 0
    if not whole or height % patch_factor or width % patch_factor:
        raise LossariumError(
            f"ffl's patch_factor must be a whole number that divides both sides of pictures of "
            f"{width}x{height}, not {patch_factor}"
        )


def _ffl_plain(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    *,
    alpha: float,
    patch_factor: int,
    ave_spectrum: bool,
    log_matrix: bool,
    batch_matrix: bool,
) -> Tensor:
    errors = blend_to_target(input, target, weight) - target
    count = len(errors)
    # The transform is linear: that of the mean error is the difference of the mean spectra.
    if ave_spectrum:
        errors = errors.mean(dim=0, keepdim=True)
    patches = _patches(errors, patch_factor)
    height, width = patches.shape[-2:]
    spectrum = torch.fft.rfft2(patches, norm="ortho")
    power = spectrum.real.square() + spectrum.imag.square()
    weights = _spectrum_weights(power.detach(), alpha, log_matrix, batch_matrix)
    total: Tensor = ((weights * power) @ _occurrences(width, power)).sum(dim=-1)
    return total.mean(dim=(1, 2, 3)).expand(count) / (height * width)


def _patches(planes: Tensor, factor: int) -> Tensor:
    """(N, C, factor * h, factor * w) cut into (N, C, factor, factor, h, w)."""
    count, channels, height, width = planes.shape
    cut = planes.reshape(count, channels, factor, height // factor, factor, width // factor)
    return cut.transpose(3, 4)


def _spectrum_weights(power: Tensor, alpha: float, log_matrix: bool, batch_matrix: bool) -> Tensor:
    """The weight of each frequency, in [0, 1]; 0 for a spectrum of zeros unless alpha is 0."""
    # The least normal number replaces the maximum of a spectrum of zeros, and changes no other quotient.
    least = torch.finfo(power.dtype).tiny
    dims = tuple(range(power.ndim)) if batch_matrix else (-2, -1)
    if not log_matrix:
        relative = power / power.amax(dim=dims, keepdim=True).clamp(min=least)
        return relative.pow(alpha / 2)
    # log(1 + |F|^alpha) as log(exp(0) + exp(alpha log |F|)), which no alpha makes infinite.
    logarithm = torch.logaddexp(power.clamp(min=least).log() * (alpha / 2), power.new_zeros(()))
    return logarithm / logarithm.amax(dim=dims, keepdim=True).clamp(min=least)


def _occurrences(width: int, like: Tensor) -> Tensor:
    """How often each column of a real picture's half spectrum occurs in the full one, (width // 2 + 1,).

    Twice, once mirrored; but the first column and, if the width is even, the last are their own mirror
    images.
    """
    column = torch.arange(width // 2 + 1, device=like.device)
    return torch.where((column == 0) | (2 * column == width), 1.0, 2.0).to(like)


LOSSES = (
    LossInfo(
        name="ffl",
        function=ffl,
        family="frequency",
        formula="mean(w |F|^2), F = FFT(x - y) orthonormal, w = |F|^alpha / max |F|^alpha held constant",
        source="Jiang et al. 2021, sec. 3.3",
        pixel_map=False,
        good_at="regular patterns, stripes, upsampling grids",
        bad_at="small local errors: they spread over all frequencies",
        gradient="That of mse with the weak frequencies of the error attenuated; it is proportional to the "
        "error. It is not the value's derivative: the weights count as constants.",
        artefacts="The few strongest frequencies, mostly the lowest, are corrected first. Alone it leaves "
        "the rest soft or noisy for long, and causes faint ripples, since frequencies have no place.",
        when="Beside a pixel or structure loss, against checkerboard patterns of upsampling.",
    ),
)
