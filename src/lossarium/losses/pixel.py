"""Losses that compare pixel with pixel."""

from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses.declaration import LossInfo
from lossarium.losses.reduction import Reduction, as_pictures, reduce, weighted_mean


def mse(
    input: Tensor, target: Tensor, *, weight: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """Mean squared error: mean of (input - target)^2. Range [0, inf), 0 at equality.

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        weight: (N, 1, H, W), non-negative; what each pixel counts.
        reduction: "mean" for a scalar, "none" for one value a picture, (N,).

    >>> import torch
    >>> mse(torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2))
    tensor(0.2500)
    """
    input, target, weight = as_pictures(input, target, weight)
    return reduce(weighted_mean((input - target).square(), weight), reduction)


def mae(
    input: Tensor, target: Tensor, *, weight: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """Mean absolute error, L1: mean of |input - target|. Range [0, inf), 0 at equality.

    Arguments as for `mse`. The gradient at equality is 0.

    >>> import torch
    >>> mae(torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2))
    tensor(0.5000)
    """
    input, target, weight = as_pictures(input, target, weight)
    return reduce(weighted_mean((input - target).abs(), weight), reduction)


def smooth_l1(
    input: Tensor,
    target: Tensor,
    *,
    beta: float = 0.05,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Smooth L1: with d = |input - target|, mean of d^2 / (2 beta) where d < beta, else d - beta / 2.

    Range [0, inf), 0 at equality. Source: Girshick, Fast R-CNN, 2015, equation 3 (there beta = 1).

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        beta: The error, in units of the pictures, at which the square turns into the absolute value. On
            pictures in [0, 1] torch's default of 1 would make this MSE / 2 everywhere; 0.05 is 13 of 255.
        weight: (N, 1, H, W), non-negative; what each pixel counts.
        reduction: "mean" for a scalar, "none" for one value a picture, (N,).

    Raises:
        LossariumError: beta is not positive.

    >>> import torch
    >>> smooth_l1(torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2), beta=0.2)
    tensor(0.4000)
    """
    if not beta > 0:
        raise LossariumError(f"smooth_l1's beta must be positive, not {beta}")
    input, target, weight = as_pictures(input, target, weight)
    # With m = min(d, beta) both branches are m * (d - m / 2) / beta, whose gradient is finite everywhere.
    distance = (input - target).abs()
    inner = distance.clamp(max=beta)
    return reduce(weighted_mean(inner * (distance - 0.5 * inner) / beta, weight), reduction)


LOSSES = (
    LossInfo(
        name="mse",
        function=mse,
        family="pixel",
        formula="mean((x - y)^2)",
        source="least squares",
        pixel_map=True,
        good_at="",
        bad_at="",
        gradient="",
        artefacts="",
        when="",
    ),
    LossInfo(
        name="mae",
        function=mae,
        family="pixel",
        formula="mean(|x - y|)",
        source="least absolute deviations",
        pixel_map=True,
        good_at="",
        bad_at="",
        gradient="",
        artefacts="",
        when="",
    ),
    LossInfo(
        name="smooth_l1",
        function=smooth_l1,
        family="pixel",
        formula="mean(d^2 / 2b if d < b else d - b / 2), d = |x - y|",
        source="Girshick 2015, eq. 3",
        pixel_map=True,
        good_at="",
        bad_at="",
        gradient="",
        artefacts="",
        when="",
    ),
)
