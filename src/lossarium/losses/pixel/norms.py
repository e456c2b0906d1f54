"""Losses that compare pixel with pixel: the means, sums and maxima of plain errors."""

import torch
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses.declaration import LossInfo
from lossarium.losses.fused import LossKernel, measure
from lossarium.losses.pixel.elementwise import elementwise_loss, elementwise_map, mean_of
from lossarium.losses.reduction import Reduction, as_pictures, blend_to_target, reduce

# With scales between these, squares of float32 errors neither underflow (1e-38) nor overflow (3e38).
_SMALLEST_SCALE, _LARGEST_SCALE = 1e-6, 1e6
# Just above float32's smallest normal number, so that the root's slope there, 1.6e18, is finite.
_SMALLEST_SQUARE = 1e-37
# A mean squared error of 1e-10 is 100 dB.
_LEAST_ERROR = 1e-10


def check_scale(option: str, value: float) -> None:
    """Refuse a scale of errors, in units of the pictures, that float32 cannot square safely.

    Raises:
        LossariumError: `value` is not between 1e-6 and 1e6.
    """
    if not _SMALLEST_SCALE <= value <= _LARGEST_SCALE:
        raise LossariumError(f"{option} must be between 1e-6 and 1e6, not {value}")


def mse(
    input: Tensor, target: Tensor, *, weight: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """Mean squared error: mean of (input - target)^2. Range [0, inf), 0 at equality.

    In squared units of the pictures. Source: least squares (Legendre 1805).

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        weight: (N, 1, H, W), non-negative; the weight of each pixel.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: the pictures or the weight have the wrong shape or type.

    >>> import torch
    >>> mse(torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2))
    tensor(0.2500)
    """
    return elementwise_loss(squared_error, mse_kernel, input, target, weight, reduction)


def squared_error(input: Tensor, target: Tensor) -> Tensor:
    return (input - target).square()


def mse_kernel() -> LossKernel:
    from lossarium.losses.pixel.norms_cpu import mse

    return mse


def rmse(
    input: Tensor, target: Tensor, *, weight: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """Root mean squared error: sqrt(mean of (input - target)^2), picture by picture. Range [0, inf).

    In units of the pictures; 0 at equality, where the gradient is 0 as well. The root is taken of each
    picture's mean before the mean over pictures, so it has no map; the weight is exact inside the root.
    Source: the root of `mse`.

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        weight: (N, 1, H, W), non-negative; the weight of each pixel.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: the pictures or the weight have the wrong shape or type.

    >>> import torch
    >>> rmse(torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2))
    tensor(0.5000)
    """
    input, target, weight, how = as_pictures(input, target, weight, reduction)
    squares = measure(mean_of(squared_error), mse_kernel, input, target, weight, "none")
    return reduce(_root(squares), how)


def _root(square: Tensor) -> Tensor:
    # Adding an epsilon to the square would raise the value everywhere. The root's slope is infinite only at
    # 0; elsewhere the errors shrink with the root, so the gradient is bounded.
    none = square <= _SMALLEST_SQUARE
    root = torch.where(none, torch.ones_like(square), square).sqrt()
    return torch.where(none, torch.zeros_like(root), root)


def sse(
    input: Tensor, target: Tensor, *, weight: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """Sum of squared errors: sum of (input - target)^2 over a picture's pixels and channels. Range [0, inf).

    In squared units of the pictures, 0 at equality; pictures are averaged, not summed. With a weight it is
    the number of values, C H W, times their weighted mean: weights are relative, and a constant one changes
    nothing. A sum is not the mean of a map, so it has no map. Source: least squares (Legendre 1805).

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        weight: (N, 1, H, W), non-negative; the weight of each pixel.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: the pictures or the weight have the wrong shape or type.

    >>> import torch
    >>> sse(torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2))
    tensor(3.)
    """
    input, target, weight, how = as_pictures(input, target, weight, reduction)
    values_a_picture = input.shape[1:].numel()
    return values_a_picture * measure(mean_of(squared_error), mse_kernel, input, target, weight, how)


def mae(
    input: Tensor, target: Tensor, *, weight: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """Mean absolute error, L1: mean of |input - target|. Range [0, inf), 0 at equality.

    In units of the pictures. The gradient at equality is 0. Source: least absolute deviations (Boscovich
    1757, Laplace 1793).

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        weight: (N, 1, H, W), non-negative; the weight of each pixel.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: the pictures or the weight have the wrong shape or type.

    >>> import torch
    >>> mae(torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2))
    tensor(0.5000)
    """
    return elementwise_loss(absolute_error, mae_kernel, input, target, weight, reduction)


def absolute_error(input: Tensor, target: Tensor) -> Tensor:
    return (input - target).abs()


def mae_kernel() -> LossKernel:
    from lossarium.losses.pixel.norms_cpu import mae

    return mae


def linf(
    input: Tensor, target: Tensor, *, weight: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """Largest error, L-infinity: max of |input - target| over a picture's pixels and channels.

    Range [0, inf), in units of the pictures, 0 at equality. Only the largest error has a gradient; equal
    largest ones share it equally. Source: Chebyshev's distance.

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        weight: (N, 1, H, W), non-negative; where it is small, the input is blended towards the target.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: the pictures or the weight have the wrong shape or type.

    >>> import torch
    >>> input = torch.zeros(1, 3, 4, 5)
    >>> input[0, 1, 2, 3] = 0.5
    >>> linf(input, torch.zeros(1, 3, 4, 5))
    tensor(0.5000)
    """
    input, target, weight, how = as_pictures(input, target, weight, reduction)
    return measure(_linf_plain, _linf_kernel, input, target, weight, how)


def _linf_plain(input: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    return (blend_to_target(input, target, weight) - target).abs().amax(dim=(1, 2, 3))


def _linf_kernel() -> LossKernel:
    from lossarium.losses.pixel.norms_cpu import linf

    return linf


def psnr(
    input: Tensor,
    target: Tensor,
    *,
    data_range: float = 1.0,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Peak signal-to-noise ratio: -10 log10(mse / data_range^2), picture by picture. Range (-inf, 100].

    In decibels; higher is better, so it is a measure to judge with, and `mse` is the loss with the same best
    picture. The mean squared error is at least 1e-10, so that equal pictures have 100 dB instead of infinity;
    so does a picture whose weight is 0 everywhere. The weight is exact inside the logarithm.
    Source: Huynh-Thu and Ghanbari, Scope of validity of PSNR in image/video quality assessment,
    2008, equation 1.

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        data_range: The peak: the distance between the pictures' black and white.
        weight: (N, 1, H, W), non-negative; the weight of each pixel.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: data_range is not between 1e-6 and 1e6.

    >>> import torch
    >>> psnr(torch.full((1, 3, 2, 2), 0.1), torch.zeros(1, 3, 2, 2))
    tensor(20.)
    """
    check_scale("psnr's data_range", data_range)
    input, target, weight, how = as_pictures(input, target, weight, reduction)
    squares = measure(mean_of(squared_error), mse_kernel, input, target, weight, "none")
    error = (squares / data_range**2).clamp(min=_LEAST_ERROR)
    return reduce(-10 * error.log10(), how)


LOSSES = (
    LossInfo(
        name="mse",
        function=mse,
        family="pixel",
        formula="mean((x - y)^2)",
        source="least squares (Legendre 1805)",
        map=elementwise_map(lambda: squared_error),
        pixel_map=True,
        good_at="large errors and overall colour; best PSNR",
        bad_at="fine detail: averages what the model is unsure of",
        gradient="Proportional to the error: it fades towards equality, and the largest errors dominate it.",
        artefacts="Blur, since its best answer is the mean of all plausible pictures. "
        "An error of 1 of 255 counts 65025 times less than one of 255, so faint texture is ignored.",
        when="As the baseline that other losses are compared with, or where PSNR is what counts.",
    ),
    LossInfo(
        name="rmse",
        function=rmse,
        family="pixel",
        formula="sqrt(mean((x - y)^2)), picture by picture",
        source="the root of mse",
        good_at="reports: an error in units of the pictures",
        bad_at="converging: its gradient does not fade near equality",
        gradient="MSE's direction, with a length that does not depend on the size of the error, and 0 at "
        "equality: good and bad pictures of a batch have equally long gradients.",
        artefacts="MSE's blur; with a constant learning rate it keeps jittering around the best picture.",
        when="To report errors. To train if hard pictures should not outweigh easy ones as in MSE.",
    ),
    LossInfo(
        name="sse",
        function=sse,
        family="pixel",
        formula="sum((x - y)^2)",
        source="least squares (Legendre 1805)",
        good_at="what MSE is good at; derivations that ask for a sum",
        bad_at="changes of resolution: its size grows with the pictures",
        gradient="MSE's times the number of values, C H W: 49152 times as long for 3x128x128.",
        artefacts="MSE's blur. A learning rate that was right for MSE diverges under plain SGD, "
        "and gradient clipping cuts every step.",
        when="As the likelihood term of a model that defines it so, such as a variational autoencoder; "
        "else MSE.",
    ),
    LossInfo(
        name="mae",
        function=mae,
        family="pixel",
        formula="mean(|x - y|)",
        source="least absolute deviations (Boscovich 1757, Laplace 1793)",
        map=elementwise_map(lambda: absolute_error),
        pixel_map=True,
        good_at="outliers; edges somewhat sharper than MSE's",
        bad_at="converging: its gradient does not fade near equality",
        gradient="The sign of the error: equally long for tiny and huge errors, and 0 at equality.",
        artefacts="Less blur than MSE, since its best answer is the median, but thin or rare detail that "
        "the median leaves out vanishes.",
        when="As the usual pixel term beside a structural or perceptual one.",
    ),
    LossInfo(
        name="linf",
        function=linf,
        family="pixel",
        formula="max(|x - y|)",
        source="Chebyshev's distance",
        good_at="finding the one worst pixel",
        bad_at="everything but that pixel; noise",
        gradient="The sign of one value in each picture (equal largest errors share it); 0 for all others.",
        artefacts="Training on it alone hardly progresses: each step corrects one value in each picture, "
        "and noise decides which.",
        when="To judge, or as a small term against single wrong pixels.",
    ),
    LossInfo(
        name="psnr",
        function=psnr,
        family="pixel",
        formula="-10 log10(mse(x, y) / data_range^2)",
        source="Huynh-Thu and Ghanbari 2008, eq. 1",
        range="(-inf, 100]",
        not_minimised="higher is better; mse is lowest where psnr is highest",
        good_at="comparing with published figures, in dB",
        bad_at="sharpness: blurred pictures score well",
        gradient="MSE's divided by MSE, with the opposite sign; 0 above 100 dB.",
        artefacts="Optimising it rewards blur, since it orders pictures exactly as MSE does.",
        when="To judge, beside a measure of structure.",
    ),
)
