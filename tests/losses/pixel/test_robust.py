"""Losses between squared and absolute error, against their formulas in 60 digits."""

import doctest
import math
from decimal import Decimal, localcontext
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.losses.pixel import norms, robust
from lossarium.losses.pixel.constants import LARGEST_EXPONENT
from tests.bounds import apart, rounding_error
from tests.losses.pictures import random_pair

ERRORS = [0.0, 1e-6, 1e-4, 1e-3, 0.01, 0.03, 0.05, 0.0625, 0.1, 0.2, 0.3]
ALPHAS = [
    *(-math.inf, -1e19, -1e10, -1e4, -10.0, -2.0, -0.5, -1e-8, -1e-17, 0.0, 1e-20, 1e-8, 1e-3, 0.5, 1.0),
    *(1.5, 1.89, 1.9, 1.999, 2 - 1e-7, 2 - 1e-15, 2.0, 2 + 1e-12, 2 + 1e-6, 2.05, 2.2, 3.0, 8.0, 1e6, 1e17),
    math.inf,
]
EXACT = apart(torch.float64)


def at_errors(loss, dtype, errors=ERRORS, **options):
    """The loss of each error alone, and its gradient: one error a picture."""
    input = torch.tensor(errors, dtype=dtype).view(-1, 1, 1, 1).requires_grad_()
    values = loss(input, torch.zeros_like(input), reduction="none", **options)
    (gradient,) = torch.autograd.grad(values.sum(), input)
    return input.detach().flatten().tolist(), values.tolist(), gradient.flatten().tolist()


def check(values, expected, roundings, dtype):
    """As near as chains of so many roundings allow, of each value its own."""
    for value, exact, count in zip(values, expected, roundings, strict=True):
        assert value == pytest.approx(exact, rel=rounding_error(count, dtype), abs=0)


def barron(error: float, alpha: float, c: float) -> tuple[float, float]:
    """Barron 2019, equation 1, and its derivative (c^-2 x (s / |alpha - 2| + 1)^(alpha / 2 - 1))."""
    with localcontext() as context:
        context.prec = 60
        x, scale = Decimal(error), Decimal(c)
        s = (x / scale) ** 2
        slope = x / scale**2
        if alpha == 2:
            return float(s / 2), float(slope)
        if alpha == 0:
            return float((s / 2 + 1).ln()), float(slope / (s / 2 + 1))
        if math.isinf(alpha):
            sign = 1 if alpha > 0 else -1
            power = (sign * s / 2).exp()
            return float(sign * (power - 1)), float(slope * power)
        a = Decimal(alpha)
        b = abs(a - 2)
        base = s / b + 1
        return float(b / a * (base ** (a / 2) - 1)), float(slope * base ** (a / 2 - 1))


def exponents(error: float, alpha: float, c: float) -> tuple[float, float]:
    """Of the powers in the value and in the slope: their sizes, as powers of e."""
    s = (error / c) ** 2
    if alpha == 2:
        return 0, 0
    if math.isinf(alpha):
        return s / 2, s / 2
    logarithm = math.log1p(s / abs(alpha - 2))
    return abs(alpha / 2) * logarithm, abs(alpha / 2 - 1) * logarithm


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_general_and_its_gradient_equal_the_formula(alpha, dtype):
    errors, values, gradients = at_errors(robust.general, dtype, alpha=alpha, c=0.05)
    expected = [barron(error, alpha, 0.05) for error in errors]
    # A power is e to an exponent, whose own roundings, four or so, it magnifies by the exponent's size.
    value_exponents, slope_exponents = zip(*(exponents(error, alpha, 0.05) for error in errors), strict=True)
    check(values, [value for value, _ in expected], [16 + 4 * e for e in value_exponents], dtype)
    check(gradients, [slope for _, slope in expected], [16 + 4 * e for e in slope_exponents], dtype)


@pytest.mark.parametrize("alpha", [-math.inf, -2.0, 0.0, 1.0, 1.5, 2.0, 2.5])
def test_general_equals_the_formula_on_pictures(alpha):
    input, target = random_pair(dtype=torch.float64)
    # Barron's sum of powers, not this library's logarithms of them.
    s = ((input - target) / 0.1) ** 2
    special = {-math.inf: 1 - (-s / 2).exp(), 0.0: (s / 2 + 1).log(), 2.0: s / 2}
    if alpha in special:
        expected = special[alpha]
    else:
        expected = abs(alpha - 2) / alpha * ((s / abs(alpha - 2) + 1) ** (alpha / 2) - 1)
    assert torch.allclose(
        robust.general(input, target, alpha=alpha, c=0.1), expected.mean(), rtol=EXACT, atol=0
    )
    single = robust.general(input.float(), target.float(), alpha=alpha, c=0.1)
    assert single.item() == pytest.approx(expected.mean().item(), rel=rounding_error(16, torch.float32))


def test_general_holds_its_named_special_cases():
    input, target = random_pair(dtype=torch.float64)
    general = robust.general
    near = partial(torch.allclose, rtol=EXACT, atol=0)
    assert near(general(input, target, alpha=2.0, c=0.1), norms.mse(input, target) / 0.02)
    charbonnier = robust.charbonnier(input, target, eps=0.1)
    assert near(general(input, target, alpha=1.0, c=0.1), charbonnier / 0.1)
    s = ((input - target) / 0.1) ** 2
    assert near(general(input, target, alpha=-2.0, c=0.1), (2 * s / (s + 4)).mean())


def test_general_grows_with_alpha():
    input, target = random_pair(dtype=torch.float64)
    values = [robust.general(input, target, alpha=alpha).item() for alpha in sorted(ALPHAS)]
    assert values == sorted(values)


@pytest.mark.parametrize("alpha", [2.5, 8.0, 1e6, math.inf])
def test_generals_exponential_goes_on_as_a_straight_line_before_it_overflows(alpha):
    errors = [1.0, 10.0, 1e3, 1e4]
    _, values, gradients = at_errors(robust.general, torch.float32, errors, alpha=alpha, c=0.05)
    assert all(map(math.isfinite, values + gradients))
    assert values == sorted(values)
    assert min(gradients) > 0
    # At the largest error even the smallest of these powers is on the line: e^30 (1 + exponent - 30) - 1.
    b = 1.0 if math.isinf(alpha) else abs(alpha - 2) / alpha
    exponent, _ = exponents(1e4, alpha, 0.05)
    assert exponent > LARGEST_EXPONENT
    expected = b * (math.exp(LARGEST_EXPONENT) * (1 + exponent - LARGEST_EXPONENT) - 1)
    # As for powers; so close to where the line begins, the exponent's own roundings count as much.
    near = rounding_error(16 + 4 * LARGEST_EXPONENT, torch.float32)
    assert values[-1] == pytest.approx(expected, rel=near)


def test_generals_exponential_has_no_corner_where_the_line_begins():
    # c = 1 and alpha = inf: the exponent is error^2 / 2, and 30 at the square root of 60.
    step = 1e-9
    ends = [math.sqrt(60) * (1 + sign * step) for sign in (-1, 1)]
    _, values, gradients = at_errors(robust.general, torch.float64, ends, alpha=math.inf, c=1.0)
    # Where x is larger by a share, exp(x^2 / 2) is so by x^2 = 60 of it, and its slope by 61.
    assert values[0] == pytest.approx(values[1], rel=60 * 2.01 * step, abs=0)
    assert gradients[0] == pytest.approx(gradients[1], rel=61 * 2.01 * step, abs=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.05, 1.0, 1e-3])
def test_logcosh_equals_its_formula_from_tiny_to_huge_errors(scale, dtype):
    errors, values, gradients = at_errors(robust.logcosh, dtype, [*ERRORS, 1.0, 50.0, 1e4], scale=scale)

    def formula(error: float) -> tuple[float, float]:
        with localcontext() as context:
            context.prec, context.Emax = 60, 10**8
            up = (Decimal(error) / Decimal(scale)).exp()
            down = 1 / up
            value = Decimal(scale) * ((up + down) / 2).ln()
            return float(value), float((up - down) / (up + down))

    expected = [formula(error) for error in errors]
    check(values, [value for value, _ in expected], [16] * len(errors), dtype)
    check(gradients, [slope for _, slope in expected], [16] * len(errors), dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_charbonnier_equals_its_formula_from_tiny_to_huge_errors(dtype):
    default = 1e-3
    errors, values, gradients = at_errors(robust.charbonnier, dtype, [*ERRORS, 1.0, 50.0, 1e4])

    def formula(error: float) -> tuple[float, float]:
        with localcontext() as context:
            context.prec = 60
            eps = Decimal(default)
            root = (Decimal(error) ** 2 + eps**2).sqrt()
            return float(root - eps), float(Decimal(error) / root)

    expected = [formula(error) for error in errors]
    check(values, [value for value, _ in expected], [16] * len(errors), dtype)
    check(gradients, [slope for _, slope in expected], [16] * len(errors), dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("turn", [0.01, 0.05, 1.0])
def test_huber_and_smooth_l1_equal_torchs_own(turn, dtype):
    input, target = random_pair(dtype=dtype)
    # torch's in float64, of the same pictures.
    exact, near = (input.double(), target.double()), rounding_error(16, dtype)
    ours, theirs = robust.huber(input, target, delta=turn), F.huber_loss(*exact, delta=turn)
    assert ours.item() == pytest.approx(theirs.item(), rel=near)
    ours, theirs = robust.smooth_l1(input, target, beta=turn), F.smooth_l1_loss(*exact, beta=turn)
    assert ours.item() == pytest.approx(theirs.item(), rel=near)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_quantile_equals_its_formula(q):
    input, target = random_pair(dtype=torch.float64)
    error = target - input
    expected = torch.maximum(q * error, (q - 1) * error).mean()
    assert torch.allclose(robust.quantile(input, target, q=q), expected, rtol=EXACT, atol=0)
    assert torch.allclose(robust.quantile(target, input, q=1 - q), expected, rtol=EXACT, atol=0)


def test_quantiles_best_answer_is_the_quantile():
    """Of one value for many targets, the best is the quantile of the targets."""
    targets = torch.rand(1, 1, 20, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for q in (0.25, 0.8):
        answers = torch.linspace(0, 1, 401, dtype=torch.float64)
        costs = [robust.quantile(torch.full_like(targets, float(x)), targets, q=q) for x in answers]
        best = answers[torch.stack(costs).argmin()]
        # The best of these answers is beside the best of all, one of the targets around the quantile.
        ordered = targets.flatten().sort().values
        near = 1 / 400 + ordered.diff()[int(q * 999)].item()
        assert best.item() == pytest.approx(targets.flatten().quantile(q).item(), abs=near)


@pytest.mark.parametrize("info", robust.LOSSES, ids=lambda info: info.name)
def test_is_exactly_zero_at_equality_with_a_gradient_of_zero(info):
    picture, _ = random_pair()
    picture.requires_grad_()
    value = info.function(picture, picture.detach().clone())
    value.backward()
    assert value == 0
    assert picture.grad.abs().max() == 0


@pytest.mark.parametrize(
    ("loss", "curvature"),
    [
        (robust.smooth_l1, 20.0),
        (robust.huber, 1.0),
        (robust.logcosh, 20.0),
        (robust.charbonnier, 1000.0),
        *((lambda x, y, a=alpha: robust.general(x, y, alpha=a), 400.0) for alpha in ALPHAS),
    ],
)
def test_curvature_at_equality_is_that_of_the_square(loss, curvature):
    input = torch.full((1, 1, 1, 1), 0.3, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(input, input.detach().clone()), input, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), input)
    assert second.item() == pytest.approx(curvature, rel=rounding_error(16, torch.float32))


@pytest.mark.parametrize("info", robust.LOSSES, ids=lambda info: info.name)
def test_gradient_equals_finite_differences_twice(info):
    input, target = random_pair(height=3, width=4, channels=2, dtype=torch.float64)
    weight = torch.rand(2, 1, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    input.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: info.function(x, target, weight=weight), (input,))
    assert torch.autograd.gradgradcheck(lambda x: info.function(x, target, weight=weight), (input,))


@pytest.mark.parametrize("info", robust.LOSSES, ids=lambda info: info.name)
def test_the_loss_is_the_mean_of_its_map(info):
    input, target = random_pair(dtype=torch.float64)
    weight = torch.rand(2, 1, 24, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    map = losses.map(info.name, input, target)
    assert map.shape == (2, 1, 24, 20)
    assert torch.allclose(info.function(input, target), map.mean(), rtol=EXACT, atol=0)
    means = (weight * map).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3))
    assert torch.allclose(
        info.function(input, target, weight=weight, reduction="none"), means, rtol=EXACT, atol=0
    )
    assert torch.equal(losses.map(info.name, input.mT, target.mT), map.mT)
    with pytest.raises(LossariumError, match="shape"):
        losses.map(info.name, input, target[..., 1:])


@pytest.mark.parametrize("info", robust.LOSSES, ids=lambda info: info.name)
def test_the_map_takes_the_losss_options_and_their_defaults(info):
    input, target = random_pair()
    map = losses.map(info.name, input, target)
    assert torch.equal(losses.map(info.name, input, target, **info.options), map)


@pytest.mark.parametrize("info", robust.LOSSES, ids=lambda info: info.name)
def test_compiles_into_one_graph(info):
    input, target = random_pair(height=6, width=5)
    compiled = torch.compile(info.function, fullgraph=True, backend="eager")
    with losses.without_kernels():
        assert torch.equal(compiled(input, target), info.function(input, target))


@pytest.mark.parametrize(
    ("loss", "option"),
    [
        (robust.smooth_l1, "beta"),
        (robust.huber, "delta"),
        (robust.logcosh, "scale"),
        (robust.charbonnier, "eps"),
        (robust.general, "c"),
    ],
)
@pytest.mark.parametrize("value", [0.0, -1.0, 1e-7, 1e7, math.inf, math.nan])
def test_scales_that_float32_cannot_square_are_refused(loss, option, value):
    picture = torch.zeros(1, 3, 4, 4)
    for way in (loss, partial(losses.map, loss.__name__)):
        with pytest.raises(LossariumError, match=f"{loss.__name__}'s {option} must be between 1e-6 and 1e6"):
            way(picture, picture, **{option: value})


def test_invalid_shapes_and_quantiles_are_refused():
    picture = torch.zeros(1, 3, 4, 4)
    with pytest.raises(LossariumError, match="general's alpha must be a number"):
        robust.general(picture, picture, alpha=math.nan)
    for q in (0.0, 1.0, -0.5, math.nan):
        with pytest.raises(LossariumError, match="quantile's q must be between 0 and 1"):
            robust.quantile(picture, picture, q=q)


def test_the_docstrings_examples_run():
    tried = doctest.testmod(robust)
    assert tried.failed == 0
    assert tried.attempted > 0
