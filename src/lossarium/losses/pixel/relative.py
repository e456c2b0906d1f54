"""Losses that compare errors with the target's brightness or detail, and measures that keep their sign."""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses.declaration import LossInfo
from lossarium.losses.fused import LossKernel, measure
from lossarium.losses.pixel.elementwise import Formula, elementwise_loss, elementwise_map, mean_of
from lossarium.losses.pixel.norms import absolute_error, check_scale, mae_kernel
from lossarium.losses.reduction import Reduction, as_pictures, reduce

_GREY_LEVEL = 1 / 255
# Rows of a target whose neighbours are compared at once.
_PIXELS_AT_ONCE = 1 << 20
# Below the lowest, a temperature equals 0 within float64; above the highest, values would reach 1e11.
_LOWEST_TEMPERATURE, _HIGHEST_TEMPERATURE = 1e-18, 100.0
# With this many terms imae's series is exact in float64 where it is used.
_TERMS = 20
_WARMEST_KERNEL = 16.0


def mape(
    input: Tensor,
    target: Tensor,
    *,
    eps: float = _GREY_LEVEL,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean absolute percentage error: mean of |input - target| / max(|target|, eps). Range [0, inf).

    A fraction, not a percentage: 0.1 is 10%; 0 at equality, where the gradient is 0 as well. Not symmetric.
    Source: the forecasters' MAPE, as in Hyndman and Koehler, Another look at measures of forecast accuracy,
    2006, section 2.2.

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        eps: The least divisor, in units of the pictures: black would divide by 0. The default is one of 255
            grey levels, the darkest value of an 8-bit picture that is not black.
        weight: (N, 1, H, W), non-negative; the weight of each pixel.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: eps is not between 1e-6 and 1e6.

    >>> import torch
    >>> mape(torch.full((1, 3, 2, 2), 0.5), torch.full((1, 3, 2, 2), 0.4))
    tensor(0.2500)
    """
    return elementwise_loss(_mape(eps), partial(_mape_kernel, eps), input, target, weight, reduction)


def _mape(eps: float) -> Formula:
    check_scale("mape's eps", eps)
    return lambda input, target: _relative_error(input, target, eps).abs()


def _mape_kernel(eps: float) -> LossKernel:
    from lossarium.losses.pixel.relative_cpu import mape

    return partial(mape, eps=eps)


def _relative_error(input: Tensor, target: Tensor, eps: float) -> Tensor:
    return (input - target) / target.abs().clamp(min=eps)


def mase(
    input: Tensor,
    target: Tensor,
    *,
    eps: float = _GREY_LEVEL,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean absolute scaled error: mean of |input - target| / max(f, eps), f the forecast error of the target.

    f is the mean absolute error of forecasting each pixel of the target by its neighbour: the mean of
    |y[i + 1, j] - y[i, j]| and that of |y[i, j + 1] - y[i, j]| over all channels, averaged (a side of one
    pixel has no neighbours and leaves the other alone). So 1 means as wrong as the target shifted by a pixel.
    Range [0, inf), without a unit, 0 at equality, where the gradient is 0 as well. Not symmetric.
    Source: Hyndman and Koehler, Another look at measures of forecast accuracy, 2006, section 3; their
    forecast along time goes along both axes here.

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        eps: The least divisor, in units of the pictures: a target of one colour would divide by 0. The
            default is one of 255 grey levels.
        weight: (N, 1, H, W), non-negative; the weight of each pixel's error. It does not apply to f, which
            depends on the whole target.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: eps is not between 1e-6 and 1e6.

    >>> import torch
    >>> ramp = torch.linspace(0, 1, 6).expand(1, 3, 6, 6)
    >>> mase(ramp + 0.1, ramp)
    tensor(1.0000)
    """
    check_scale("mase's eps", eps)
    input, target, weight, how = as_pictures(input, target, weight, reduction)
    errors = measure(mean_of(absolute_error), mae_kernel, input, target, weight, "none")
    return reduce(errors / _forecast_error(target).clamp(min=eps), how)


def _mase(eps: float) -> Formula:
    check_scale("mase's eps", eps)

    def formula(input: Tensor, target: Tensor) -> Tensor:
        return absolute_error(input, target) / _forecast_error(target).clamp(min=eps).view(-1, 1, 1, 1)

    return formula


def _forecast_error(target: Tensor) -> Tensor:
    """Mean absolute difference of neighbours, each axis counting alike, (N,)."""
    n, channels, height, width = target.shape
    pairs = {2: channels * (height - 1) * width, 3: channels * height * (width - 1)}
    axes = [axis for axis, count in pairs.items() if count]
    if not axes:
        return target.new_zeros(n)
    # In bands of rows, so that the differences of a large picture take little memory.
    rows = max(_PIXELS_AT_ONCE // (n * channels * width), 1)
    totals = [target.new_zeros(n) for _ in axes]
    for first in range(0, height, rows):
        bands = {2: target[:, :, first : first + rows + 1], 3: target[:, :, first : first + rows]}
        for place, axis in enumerate(axes):
            totals[place] = totals[place] + bands[axis].diff(dim=axis).abs().sum(dim=(1, 2, 3))
    means = [total / pairs[axis] for total, axis in zip(totals, axes, strict=True)]
    return torch.stack(means).mean(dim=0)


def imae(
    input: Tensor,
    target: Tensor,
    *,
    temperature: float = 8.0,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Improved MAE: MAE whose gradient is longest for values that are half right. Range [0, inf).

    With d = |input - target| and T the temperature, mean of the integral of exp(T u (1 - u)) over u from 0 to
    d, continued with slope 1 beyond d = 1. In units of the pictures, 0 at equality, where the gradient is 0.

    The paper is about classification. MAE's gradient by the logits has the length 4 p (1 - p), p being the
    probability given to the labelled class; IMAE keeps its direction and makes its length exp(T p (1 - p)),
    so that uncertain examples count more, by as much as T says. A picture has no logits and probabilities.
    Here every value is an example, and its agreement with the truth, p = 1 - min(d, 1), stands for p; MAE's
    gradient by the value, sign(input - target), keeps its direction and gets that same length. The loss is
    the integral of this gradient, so value and gradient belong together, and T = 0 is MAE. What the authors'
    code does besides, dividing by the sum of a batch's lengths, is left out: it would tie pictures together.
    Source: Wang, Hua, Kodirov, Robertson, IMAE for noise-robust learning, arXiv 1903.12141, 2019.

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        temperature: T, from 0 to 100: the gradient of a half-right value is exp(T / 4) times as long as that
            of a right or a wholly wrong one, at the authors' 8 (theirs for CIFAR-100 with 20% and 40% of
            wrong labels) 7.4 times.
        weight: (N, 1, H, W), non-negative; the weight of each pixel.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: the temperature is not between 0 and 100.

    >>> import torch
    >>> input = torch.full((1, 3, 2, 2), 0.5)
    >>> imae(input, torch.zeros(1, 3, 2, 2)), imae(input, torch.zeros(1, 3, 2, 2), temperature=0.0)
    (tensor(2.2099), tensor(0.5000))
    """
    # The kernel integrates with too few nodes for temperatures above.
    load_kernel = None if temperature > _WARMEST_KERNEL else partial(_imae_kernel, temperature)
    return elementwise_loss(_imae(temperature), load_kernel, input, target, weight, reduction)


def _imae(temperature: float) -> Formula:
    if not 0 <= temperature <= _HIGHEST_TEMPERATURE:
        raise LossariumError(
            f"imae's temperature must be between 0 and {_HIGHEST_TEMPERATURE:g}, not {temperature}"
        )
    return lambda input, target: _imae_of((input - target).abs(), temperature)


def _imae_kernel(temperature: float) -> LossKernel:
    from lossarium.losses.pixel.relative_cpu import imae

    return partial(imae, temperature=temperature)


def _imae_of(distance: Tensor, temperature: float) -> Tensor:
    if temperature < _LOWEST_TEMPERATURE:
        return distance
    inner = distance.clamp(max=1)
    # Near 0 the error function's two values cancel, and a few terms of the integrand's series are exact.
    series_reach = 0.5 / max(temperature, 4)
    near = _integral_by_series(inner.clamp(max=series_reach), temperature)
    far = _integral_by_error_function(inner, temperature)
    return torch.where(inner < series_reach, near, far) + F.relu(distance - 1)


def _integral_by_series(end: Tensor, temperature: float) -> Tensor:
    """The integral of f(u) = exp(T u (1 - u)) from 0 to a small end, by the powers of u."""
    # f' = T (1 - 2 u) f gives each coefficient of f from the two before it.
    coefficients = [1.0, temperature]
    for power in range(2, _TERMS):
        coefficients.append(temperature * (coefficients[-1] - 2 * coefficients[-2]) / power)
    series = torch.zeros_like(end)
    for power in reversed(range(_TERMS)):
        series = series * end + coefficients[power] / (power + 1)
    return series * end


def _integral_by_error_function(end: Tensor, temperature: float) -> Tensor:
    """The same integral to any end: the integrand is a Gaussian around 1/2."""
    sharpness = math.sqrt(temperature)
    size = math.exp(temperature / 4) * math.sqrt(math.pi) / (2 * sharpness)
    if temperature < 4:
        return size * ((sharpness * (end - 0.5)).erf() + math.erf(sharpness / 2))
    # For a narrow Gaussian erf is near -1 at 0, so erf + 1 is computed without cancellation.
    return size * ((sharpness * (0.5 - end)).erfc() - math.erfc(sharpness / 2))


def mbe(
    input: Tensor, target: Tensor, *, weight: Tensor | None = None, reduction: Reduction = "mean"
) -> Tensor:
    """Mean bias error: mean of input - target. Range (-inf, inf), in units of the pictures.

    Positive where the input is too bright on average, negative where too dark; 0 not only at equality, as
    errors of either sign cancel. A measure to judge with; it cannot be minimised.
    Source: the first moment of the errors, as in Willmott, Some comments on the evaluation of model
    performance, 1982.

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        weight: (N, 1, H, W), non-negative; the weight of each pixel.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: the pictures or the weight have the wrong shape or type.

    >>> import torch
    >>> mbe(torch.full((1, 3, 2, 2), 0.25), torch.full((1, 3, 2, 2), 0.5))
    tensor(-0.2500)
    """
    return elementwise_loss(_signed_error, _mbe_kernel, input, target, weight, reduction)


def _signed_error(input: Tensor, target: Tensor) -> Tensor:
    return input - target


def _mbe_kernel() -> LossKernel:
    from lossarium.losses.pixel.relative_cpu import mbe

    return mbe


def mpe(
    input: Tensor,
    target: Tensor,
    *,
    eps: float = _GREY_LEVEL,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean percentage error: mean of (input - target) / max(|target|, eps). Range (-inf, inf).

    A fraction, not a percentage: -0.1 is 10% too dark on average; 0 not only at equality, as errors of either
    sign cancel. A measure to judge with; it cannot be minimised. Source: `mape` with its sign. (Forecasters
    often take target - input; here the sign is that of `mbe`.)

    Args:
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        eps: The least divisor, in units of the pictures, as in `mape`.
        weight: (N, 1, H, W), non-negative; the weight of each pixel.
        reduction: "mean" or "sum" over the pictures for a scalar, "none" for one value per picture, (N,).

    Raises:
        LossariumError: eps is not between 1e-6 and 1e6.

    >>> import torch
    >>> mpe(torch.full((1, 3, 2, 2), 0.25), torch.full((1, 3, 2, 2), 0.5))
    tensor(-0.5000)
    """
    return elementwise_loss(_mpe(eps), partial(_mpe_kernel, eps), input, target, weight, reduction)


def _mpe(eps: float) -> Formula:
    check_scale("mpe's eps", eps)
    return lambda input, target: _relative_error(input, target, eps)


def _mpe_kernel(eps: float) -> LossKernel:
    from lossarium.losses.pixel.relative_cpu import mpe

    return partial(mpe, eps=eps)


_LOWEST_WHEN_DARK = "its minimum is at the darkest input, not at equality"

LOSSES = (
    LossInfo(
        name="mape",
        function=mape,
        family="pixel",
        formula="mean(|x - y| / max(|y|, eps))",
        source="Hyndman and Koehler 2006, section 2.2",
        map=elementwise_map(_mape),
        pixel_map=True,
        good_at="shadows: errors count relative to brightness",
        bad_at="highlights; black pixels outweigh all others",
        gradient="Length 1 / max(|y|, eps) for every error: 1 for white, 255 for black; 0 at equality.",
        artefacts="Too dark where the model is unsure: too bright has no upper cost, too dark at most 1. "
        "Colour drifts in highlights.",
        when="If shadows matter and the target has little black; a larger eps (0.1) makes it more stable.",
    ),
    LossInfo(
        name="mase",
        function=mase,
        family="pixel",
        formula="mean(|x - y|) / max(f, eps), f = mean absolute difference of y's neighbours",
        source="Hyndman and Koehler 2006, section 3",
        map=elementwise_map(_mase),
        pixel_map=True,
        good_at="comparing errors of smooth and busy pictures",
        bad_at="flat targets: they outweigh a batch",
        gradient="MAE's divided by the target's mean difference of neighbours, so up to 255 times as long.",
        artefacts="Those of MAE; smooth pictures of a batch are fitted first, busy ones last.",
        when="To compare errors of pictures of unequal detail: above 1 is worse than a shift by a pixel.",
    ),
    LossInfo(
        name="imae",
        function=imae,
        family="pixel",
        formula="mean(integral of exp(T u (1 - u)) du from 0 to |x - y|), T = temperature",
        source="after Wang et al. 2019, arXiv 1903.12141",
        map=elementwise_map(_imae),
        pixel_map=True,
        good_at="half-right values: corrected before all others",
        bad_at="near equality it is no better than MAE",
        gradient="Length exp(T d (1 - d)) for an error d: 1 near equality, exp(T / 4) at d = 1/2, 1 again "
        "from d = 1 on; 0 at equality.",
        artefacts="Those of MAE near equality. Early in training, when errors are large, steps are up to "
        "exp(T / 4) times as long.",
        when="To test whether MAE underfits because it treats all errors alike; with T = 0 it is MAE.",
    ),
    LossInfo(
        name="mbe",
        function=mbe,
        family="pixel",
        formula="mean(x - y)",
        source="Willmott 1982",
        range="(-inf, inf)",
        map=elementwise_map(lambda: _signed_error),
        pixel_map=True,
        not_minimised=_LOWEST_WHEN_DARK,
        good_at="telling whether pictures are too bright or dark",
        bad_at="anything else: errors of either sign cancel",
        gradient="The same everywhere, for every error: darker is always less.",
        artefacts="It would drive every picture to black and below.",
        when="To judge: it tells a shift of brightness from other errors.",
    ),
    LossInfo(
        name="mpe",
        function=mpe,
        family="pixel",
        formula="mean((x - y) / max(|y|, eps))",
        source="mape with its sign",
        range="(-inf, inf)",
        map=elementwise_map(_mpe),
        pixel_map=True,
        not_minimised=_LOWEST_WHEN_DARK,
        good_at="telling whether shadows are too bright or dark",
        bad_at="highlights; errors of either sign cancel",
        gradient="Length 1 / max(|y|, eps) for every error: darker is always less.",
        artefacts="It would drive every picture to black and below, shadows first.",
        when="To judge: a shift of brightness relative to the target's, such as lifted or crushed shadows.",
    ),
)
