"""Robust pixel losses: between square and absolute value, so that large errors do not dominate.

Most have one scale, the error at which the square turns into the absolute value. On pictures in [0, 1] the
textbooks' scale of 1 would make each of them nearly MSE / 2 everywhere, so all have one default: 0.05, which
is 13 of 255.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses.declaration import LossInfo
from lossarium.losses.fused import LossKernel
from lossarium.losses.pixel.constants import AROUND_SQUARE, FAR_OUT, LARGEST_EXPONENT, NEAR_ZERO
from lossarium.losses.pixel.elementwise import Formula, elementwise_loss, elementwise_map
from lossarium.losses.pixel.norms import check_scale
from lossarium.losses.reduction import Reduction

_SCALE = 0.05


def smooth_l1(
    input: Tensor,
    target: Tensor,
    *,
    beta: float = _SCALE,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Smooth L1: with d = |input - target|, mean of d^2 / (2 beta) where d < beta, else d - beta / 2.

    Range [0, inf), in units of the pictures, 0 at equality.
    Source: Girshick, Fast R-CNN, 2015, equation 3 (there beta = 1).

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        beta: The error, in units of the pictures, at which the square turns into the absolute value. On
            pictures in [0, 1] torch's default of 1 would make this MSE / 2 everywhere; 0.05 is 13 of 255.
        weight: (N, 1, H, W), non-negative; the weight of each pixel.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: beta is not between 1e-6 and 1e6.

    >>> import torch
    >>> smooth_l1(torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2), beta=0.2)
    tensor(0.4000)
    """
    return elementwise_loss(
        _smooth_l1(beta), partial(_smooth_l1_kernel, beta), input, target, weight, reduction
    )


def _smooth_l1(beta: float) -> Formula:
    check_scale("smooth_l1's beta", beta)
    return lambda input, target: _huber_of(input - target, beta) / beta


def _smooth_l1_kernel(beta: float) -> LossKernel:
    from lossarium.losses.pixel.robust_cpu import smooth_l1

    return partial(smooth_l1, beta=beta)


def huber(
    input: Tensor,
    target: Tensor,
    *,
    delta: float = _SCALE,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Huber: with d = |input - target|, mean of d^2 / 2 where d < delta, else delta (d - delta / 2).

    Range [0, inf), in squared units of the pictures, 0 at equality. It is `smooth_l1` times delta: the square
    is MSE / 2 for every delta, and the slope beyond it is delta.
    Source: Huber, Robust estimation of a location parameter, 1964.

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        delta: The error, in units of the pictures, at which the square turns into the absolute value. On
            pictures in [0, 1] torch's default of 1 would make this MSE / 2 everywhere; 0.05 is 13 of 255.
        weight: (N, 1, H, W), non-negative; the weight of each pixel.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: delta is not between 1e-6 and 1e6.

    >>> import torch
    >>> huber(torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2), delta=0.2)
    tensor(0.0800)
    """
    return elementwise_loss(_huber(delta), partial(_huber_kernel, delta), input, target, weight, reduction)


def _huber(delta: float) -> Formula:
    check_scale("huber's delta", delta)
    return lambda input, target: _huber_of(input - target, delta)


def _huber_of(error: Tensor, delta: float) -> Tensor:
    # With m the error cut off at -delta and delta, both branches are m (error - m / 2). The error keeps its
    # sign: through its absolute value the second derivative at equality would be lost.
    inner = error.clamp(-delta, delta)
    return inner * (error - 0.5 * inner)


def _huber_kernel(delta: float) -> LossKernel:
    from lossarium.losses.pixel.robust_cpu import huber

    return partial(huber, delta=delta)


def logcosh(
    input: Tensor,
    target: Tensor,
    *,
    scale: float = _SCALE,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Log-cosh: mean of scale log(cosh((input - target) / scale)). Range [0, inf), 0 at equality.

    In units of the pictures: d^2 / (2 scale) for small errors, d - scale log 2 for large ones. Its slope is
    tanh(error / scale): `smooth_l1` without the corner in its slope.
    Source: Green, Bayesian reconstructions from emission tomography data, 1990 (there with a scale too).

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        scale: The error, in units of the pictures, at which the square turns into the absolute value. On
            pictures in [0, 1] the textbooks' 1 would make this nearly MSE / 2; 0.05 is 13 of 255.
        weight: (N, 1, H, W), non-negative; the weight of each pixel.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: scale is not between 1e-6 and 1e6.

    >>> import torch
    >>> logcosh(torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2), scale=0.2)
    tensor(0.3627)
    """
    return elementwise_loss(
        _logcosh(scale), partial(_logcosh_kernel, scale), input, target, weight, reduction
    )


def _logcosh(scale: float) -> Formula:
    check_scale("logcosh's scale", scale)

    def formula(input: Tensor, target: Tensor) -> Tensor:
        error = (input - target) / scale
        # cosh^2 is 1 + sinh^2, which keeps tiny errors; but large ones overflow.
        near = 0.5 * error.clamp(-1, 1).sinh().square().log1p()
        # cosh is exp(d) (1 + exp(-2 d)) / 2, which never overflows; but tiny errors are lost against log 2.
        distance = error.abs()
        far = distance + (-2 * distance).exp().log1p() - math.log(2)
        return scale * torch.where(distance < 1, near, far)

    return formula


def _logcosh_kernel(scale: float) -> LossKernel:
    from lossarium.losses.pixel.robust_cpu import logcosh

    return partial(logcosh, turn=scale)


def charbonnier(
    input: Tensor,
    target: Tensor,
    *,
    eps: float = 1e-3,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Charbonnier: mean of sqrt((input - target)^2 + eps^2) - eps. Range [0, inf), 0 at equality.

    In units of the pictures: MAE with its corner rounded off. Without the subtracted eps it would be eps at
    equality; the gradient is the same. Source: Charbonnier, Blanc-Feraud, Aubert, Barlaud, Two deterministic
    half-quadratic regularization algorithms for computed imaging, 1994; Lai, Huang, Ahuja, Yang, Deep
    Laplacian pyramid networks, 2017, with eps = 1e-3.

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        eps: The error, in units of the pictures, at which the square turns into the absolute value; small, so
            that this is MAE except near equality.
        weight: (N, 1, H, W), non-negative; the weight of each pixel.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: eps is not between 1e-6 and 1e6.

    >>> import torch
    >>> charbonnier(torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2))
    tensor(0.4990)
    """
    return elementwise_loss(
        _charbonnier(eps), partial(_charbonnier_kernel, eps), input, target, weight, reduction
    )


def _charbonnier(eps: float) -> Formula:
    check_scale("charbonnier's eps", eps)

    def formula(input: Tensor, target: Tensor) -> Tensor:
        # (root - eps) (root + eps) / (root + eps): the numerator is the square, so nothing cancels.
        square = (input - target).square()
        return square / ((square + eps**2).sqrt() + eps)

    return formula


def _charbonnier_kernel(eps: float) -> LossKernel:
    from lossarium.losses.pixel.robust_cpu import charbonnier

    return partial(charbonnier, eps=eps)


def general(
    input: Tensor,
    target: Tensor,
    *,
    alpha: float = 1.0,
    c: float = _SCALE,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Barron's general robust loss: many robust losses in one, by their shape alpha. Range [0, inf).

    With s = ((input - target) / c)^2, mean of |alpha - 2| / alpha ((s / |alpha - 2| + 1)^(alpha / 2) - 1).
    Without a unit; s / 2 for small errors whatever alpha is, 0 at equality. Its limits are taken exactly:

    - alpha = inf: exp(s / 2) - 1. It overflows any float, so where an exponent is above 30 (errors of 7.7 c
      and more), its exponential goes on as a straight line, here and for finite alpha > 2.
    - alpha = 2: s / 2, MSE / (2 c^2)
    - alpha = 1: sqrt(s + 1) - 1, `charbonnier` with eps = c, divided by c
    - alpha = 0: log(s / 2 + 1), Cauchy's or Lorentz's
    - alpha = -2: 2 s / (s + 4), Geman and McClure's
    - alpha = -inf: 1 - exp(-s / 2), Welsch's or Leclerc's

    Source: Barron, A general and adaptive robust loss function, 2019, equation 1 and its limits.

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        alpha: The shape; the smaller, the less large errors count. Infinities are allowed; beyond 1e18 it
            counts as infinite.
        c: The error, in units of the pictures, at which the square ends. On pictures in [0, 1] the textbooks'
            1 would make this nearly MSE / 2; 0.05 is 13 of 255.
        weight: (N, 1, H, W), non-negative; the weight of each pixel.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: alpha is not a number, or c is not between 1e-6 and 1e6.

    >>> import torch
    >>> general(torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2), alpha=-2.0, c=0.25)
    tensor(1.)
    """
    return elementwise_loss(
        _general(alpha, c), partial(_general_kernel, alpha, c), input, target, weight, reduction
    )


def _general(alpha: float, c: float) -> Formula:
    if math.isnan(alpha):
        raise LossariumError("general's alpha must be a number, perhaps infinite, not nan")
    check_scale("general's c", c)
    return lambda input, target: _general_of(((input - target) / c).square(), alpha)


def _general_kernel(alpha: float, c: float) -> LossKernel:
    from lossarium.losses.pixel.robust_cpu import general

    return partial(general, alpha=alpha, c=c)


def _general_of(square: Tensor, alpha: float) -> Tensor:
    if alpha == 2:
        return 0.5 * square
    if abs(alpha) < NEAR_ZERO:
        return (0.5 * square).log1p()
    if alpha < -FAR_OUT:
        return -_expm1(-0.5 * square)
    if alpha > FAR_OUT:
        return _expm1(0.5 * square)
    from_square = abs(alpha - 2)
    growth = (square / from_square).log1p()
    if from_square < AROUND_SQUARE:
        # A power near the first, of a base that grows without bound, is the base times a power near 0.
        return (square + (square + from_square) * (0.5 * (alpha - 2) * growth).expm1()) / alpha
    # By expm1 of its logarithm the power less 1 keeps small errors, and all errors near alpha = 0.
    return from_square / alpha * _expm1(0.5 * alpha * growth)


def _expm1(exponent: Tensor) -> Tensor:
    """exp(exponent) - 1, going on as its tangent beyond the largest exponent."""
    inner = exponent.clamp(max=LARGEST_EXPONENT)
    # torch takes expm1's slope from its value plus 1, in which the small slopes of outliers are lost.
    value = torch.where(inner < -1, inner.exp() - 1, inner.expm1())
    return value + math.exp(LARGEST_EXPONENT) * F.relu(exponent - LARGEST_EXPONENT)


def quantile(
    input: Tensor,
    target: Tensor,
    *,
    q: float = 0.5,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Quantile or pinball loss: with e = target - input, mean of max(q e, (q - 1) e). Range [0, inf).

    In units of the pictures, 0 at equality, where the gradient is 0 as well. Its best answer is the quantile
    q of all plausible values: at q = 0.5 the median (it is MAE / 2), above it too dark a value costs more
    than too bright a one. All channels have the same q.
    Source: Koenker and Bassett, Regression quantiles, 1978.

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        q: The quantile, between 0 and 1, both excluded.
        weight: (N, 1, H, W), non-negative; the weight of each pixel.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: q is not between 0 and 1.

    >>> import torch
    >>> dark, bright = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    >>> quantile(dark, bright, q=0.75), quantile(bright, dark, q=0.75)
    (tensor(0.7500), tensor(0.2500))
    """
    return elementwise_loss(_quantile(q), partial(_quantile_kernel, q), input, target, weight, reduction)


def _quantile(q: float) -> Formula:
    if not 0 < q < 1:
        raise LossariumError(f"quantile's q must be between 0 and 1, both excluded, not {q}")

    def formula(input: Tensor, target: Tensor) -> Tensor:
        # The maximum of the two slopes would have a gradient at equality for every q but 0.5.
        error = target - input
        return q * F.relu(error) + (1 - q) * F.relu(-error)

    return formula


def _quantile_kernel(q: float) -> LossKernel:
    from lossarium.losses.pixel.robust_cpu import quantile

    return partial(quantile, q=q)


LOSSES = (
    LossInfo(
        name="smooth_l1",
        function=smooth_l1,
        family="pixel",
        formula="mean(d^2 / (2 beta) if d < beta else d - beta / 2), d = |x - y|",
        source="Girshick 2015, eq. 3",
        map=elementwise_map(_smooth_l1),
        pixel_map=True,
        good_at="converging near equality; robust to outliers",
        bad_at="fine detail below beta: blurred as by MSE",
        gradient="Proportional to the error up to beta, where its length is 1, and constant beyond.",
        artefacts="Those of MAE for errors above beta; those of MSE, a soft haze over fine texture, below.",
        when="Instead of MAE if training should converge. A larger beta is nearer to MSE.",
    ),
    LossInfo(
        name="huber",
        function=huber,
        family="pixel",
        formula="mean(d^2 / 2 if d < delta else delta (d - delta / 2)), d = |x - y|",
        source="Huber 1964",
        map=elementwise_map(_huber),
        pixel_map=True,
        good_at="converging near equality; robust to outliers",
        bad_at="fine detail below delta; its size changes with delta",
        gradient="The error itself up to delta, and delta beyond: smooth_l1's times delta, so at most 0.05 "
        "with the default.",
        artefacts="Those of smooth_l1. Its values are small, so beside other terms it is easily too weak.",
        when="If you want squared errors with outliers limited; "
        "smooth_l1 is easier to balance against other terms.",
    ),
    LossInfo(
        name="logcosh",
        function=logcosh,
        family="pixel",
        formula="mean(scale log(cosh((x - y) / scale)))",
        source="Green 1990",
        map=elementwise_map(_logcosh),
        pixel_map=True,
        good_at="smoothness: it has every derivative",
        bad_at="fine detail below its scale: blurred as by MSE",
        gradient="tanh(error / scale): proportional to small errors, of length 1 for large ones, no corner.",
        artefacts="Those of smooth_l1, from which it is hard to tell by eye.",
        when="In place of smooth_l1 if second derivatives are used.",
    ),
    LossInfo(
        name="charbonnier",
        function=charbonnier,
        family="pixel",
        formula="mean(sqrt((x - y)^2 + eps^2) - eps)",
        source="Charbonnier et al. 1994; Lai et al. 2017",
        map=elementwise_map(_charbonnier),
        pixel_map=True,
        good_at="restoration and super-resolution; outliers",
        bad_at="what MAE is bad at, except converging",
        gradient="error / sqrt(error^2 + eps^2): MAE's, but fading to 0 within a few eps of equality.",
        artefacts="Those of MAE: detail that the median leaves out vanishes.",
        when="As an MAE that converges; the usual pixel loss of super-resolution.",
    ),
    LossInfo(
        name="general",
        function=general,
        family="pixel",
        formula="mean(|a - 2| / a ((s / |a - 2| + 1)^(a / 2) - 1)), s = ((x - y) / c)^2, a = alpha",
        source="Barron 2019, eq. 1",
        map=elementwise_map(_general),
        pixel_map=True,
        good_at="choosing how little outliers count, by one number",
        bad_at="bad starts with alpha < 0: large errors have no gradient",
        gradient="error / c^2 near equality for every alpha. Far from it, it grows if alpha > 1, is constant "
        "if alpha = 1 and fades if alpha < 1, the sooner the smaller alpha is.",
        artefacts="With alpha below 1, regions that are wrong by much more than c may stay wrong for ever.",
        when="To search for the shape of a robust loss; alpha = 1 is a safe start, "
        "lower it if the data have wrong pixels.",
    ),
    LossInfo(
        name="quantile",
        function=quantile,
        family="pixel",
        formula="mean(max(q (y - x), (q - 1) (y - x)))",
        source="Koenker and Bassett 1978",
        map=elementwise_map(_quantile),
        pixel_map=True,
        good_at="pulling to the bright (q > 0.5) or dark side",
        bad_at="true colour for any q but 0.5",
        gradient="Of length q where the input is too dark and 1 - q where it is too bright; 0 at equality.",
        artefacts="Where the model is unsure, pictures get too bright for q > 0.5 and too dark for q < 0.5.",
        when="To see where a model is unsure: the pictures of two quantiles differ there.",
    ),
)
