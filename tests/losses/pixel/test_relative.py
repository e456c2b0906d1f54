"""Losses relative to the target, and signed measures."""

import doctest
import math

import numpy as np
import pytest
import torch

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.losses.pixel import norms, relative
from tests.bounds import apart, rounding_error
from tests.losses.pictures import random_pair

LEVEL = 1 / 255
EXACT = apart(torch.float64)
TEMPERATURES = [0.0, 1e-20, 1e-6, 0.01, 0.5, 2.0, 3.99, 4.0, 8.0, 16.0, 50.0, 100.0]


def dark_pair(dtype=torch.float64):
    """Pictures whose target is partly black or negative."""
    input, target = random_pair(dtype=torch.float64)
    return input.to(dtype), (target - 0.3).to(dtype)


def uneven_weight() -> torch.Tensor:
    return torch.rand(2, 1, 24, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_mape_and_mpe_equal_their_formulas():
    input, target = dark_pair()
    target[:, :, 3:5] = 0
    x, y = input.numpy(), target.numpy()
    share = (x - y) / np.maximum(np.abs(y), LEVEL)
    assert relative.mape(input, target).item() == pytest.approx(np.abs(share).mean(), rel=EXACT)
    # Shares cancel: what is lost is relative to their sizes.
    near = EXACT * np.abs(share).mean()
    assert relative.mpe(input, target).item() == pytest.approx(share.mean(), abs=near)
    share = (x - y) / np.maximum(np.abs(y), 0.1)
    assert relative.mape(input, target, eps=0.1).item() == pytest.approx(np.abs(share).mean(), rel=EXACT)
    assert relative.mpe(input, target, eps=0.1).item() == pytest.approx(
        share.mean(), abs=EXACT * np.abs(share).mean()
    )


def test_mape_of_black_is_in_grey_levels():
    black = torch.zeros(1, 3, 4, 5)
    assert relative.mape(black + LEVEL, black).item() == pytest.approx(
        1, rel=rounding_error(4, torch.float32)
    )
    assert relative.mape(black, black).item() == 0


def test_mbe_tells_too_bright_from_too_dark():
    input, target = random_pair(dtype=torch.float64)
    # Errors cancel: what is lost is relative to their sizes.
    near = EXACT * (input - target).abs().mean().item()
    assert relative.mbe(input, target).item() == pytest.approx((input - target).mean().item(), abs=near)
    # The sum of a target up to 1 and the offset is rounded, up to 1.2.
    near = 1.2 * rounding_error(1, torch.float64) + 0.2 * EXACT
    assert relative.mbe(target + 0.2, target).item() == pytest.approx(0.2, abs=near)
    assert relative.mbe(target - 0.2, target).item() == pytest.approx(-0.2, abs=near)
    flipped = torch.where(torch.arange(20) % 2 == 0, 0.2, -0.2)
    assert relative.mbe(target + flipped, target).item() == pytest.approx(0, abs=near)


def test_mase_equals_its_formula_and_counts_both_axes_alike():
    input, target = random_pair(height=9, width=31, dtype=torch.float64)
    for x, y in zip(input.numpy(), target.numpy(), strict=True):
        down, across = np.abs(np.diff(y, axis=1)).mean(), np.abs(np.diff(y, axis=2)).mean()
        expected = np.abs(x - y).mean() / ((down + across) / 2)
        alone = relative.mase(torch.from_numpy(x)[None], torch.from_numpy(y)[None])
        assert alone.item() == pytest.approx(expected, rel=EXACT)


def test_mase_of_stripes_along_either_axis_is_the_same():
    stripes = (torch.arange(20) % 2).double().expand(1, 3, 12, 20)
    input = stripes * 0.5
    # The neighbours along one axis differ by 1, along the other by 0; the error is 0.25.
    assert relative.mase(input, stripes).item() == 0.5
    assert relative.mase(input.mT, stripes.mT).item() == 0.5


def test_mase_is_one_where_the_error_is_that_of_the_neighbours():
    target = torch.linspace(0, 1, 11, dtype=torch.float64).view(1, 1, 1, 11)
    near = 10 * 1.1 * rounding_error(1, torch.float64) + EXACT
    assert relative.mase(target + 0.1, target).item() == pytest.approx(1, abs=near)
    assert relative.mase((target + 0.1).mT, target.mT).item() == pytest.approx(1, abs=near)


def test_mases_weight_does_not_reach_the_forecast():
    input, target = random_pair(dtype=torch.float64)
    weight = uneven_weight()
    forecast = norms.mae(input, target, reduction="none") / relative.mase(input, target, reduction="none")
    expected = norms.mae(input, target, weight=weight, reduction="none") / forecast
    weighted = relative.mase(input, target, weight=weight, reduction="none")
    assert torch.allclose(weighted, expected, rtol=EXACT, atol=0)


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (1, 3, 5, 5)])
def test_mase_of_a_target_without_detail_is_in_grey_levels(shape):
    target = torch.full(shape, 0.5)
    # The error, 0.1, is off by a rounding of 0.6, six of its own, and one of 0.1.
    near = rounding_error(16, torch.float32)
    assert relative.mase(target + 0.1, target).item() == pytest.approx(25.5, rel=near)
    assert relative.mase(target, target).item() == 0


QUADRATURE = 1e-15
"""How near `integral` is, relative to its value: measured against a quadrature in 40 digits."""


def integral(end: float, temperature: float) -> float:
    """Of exp(T u (1 - u)) from 0 to `end`, by Gauss-Legendre quadrature; beyond 1 the slope is 1.

    With 100 points; with 200 their weights lose more.
    """
    nodes, weights = np.polynomial.legendre.leggauss(100)
    inner = min(end, 1.0)
    places = inner * (nodes + 1) / 2
    return math.fsum(weights * np.exp(temperature * places * (1 - places))) * inner / 2 + end - inner


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_imae_is_the_integral_of_its_gradient(temperature, dtype):
    ends = [0.0, 1e-6, 1e-3, 0.01, 0.03, 0.06, 0.0625, 0.07, 0.12, 0.125, 0.13, 0.3, 0.5, 0.8, 1.0, 3.0, 1e4]
    input = torch.tensor(ends, dtype=dtype).view(-1, 1, 1, 1).requires_grad_()
    values = relative.imae(input, torch.zeros_like(input), temperature=temperature, reduction="none")
    (gradient,) = torch.autograd.grad(values.sum(), input)
    exact = input.detach().flatten().tolist()
    # The error function magnifies what its argument's rounding loses by about the temperature.
    precision = rounding_error(6, dtype) * (2 + temperature / 10) + QUADRATURE
    assert values.tolist() == pytest.approx([integral(d, temperature) for d in exact], rel=precision, abs=0)
    slopes = [math.exp(temperature * min(d, 1) * (1 - min(d, 1))) if d else 0 for d in exact]
    assert gradient.flatten().tolist() == pytest.approx(slopes, rel=precision, abs=0)


def test_imae_is_mae_at_temperature_zero_and_symmetric():
    input, target = random_pair(dtype=torch.float64)
    assert torch.equal(relative.imae(input, target, temperature=0.0), norms.mae(input, target))
    assert torch.equal(relative.imae(input, target), relative.imae(target, input))


def test_imaes_gradient_is_longest_for_half_right_values():
    input = torch.tensor([0.25, 0.5, 0.75, 1.0]).view(-1, 1, 1, 1).requires_grad_()
    relative.imae(input, torch.zeros_like(input), reduction="none").sum().backward()
    slopes = input.grad.flatten().tolist()
    assert slopes == pytest.approx(
        [math.exp(1.5), math.exp(2), math.exp(1.5), 1], rel=rounding_error(12, torch.float32)
    )


@pytest.mark.parametrize("info", relative.LOSSES, ids=lambda info: info.name)
def test_gradient_equals_finite_differences_twice(info):
    input, target = random_pair(height=3, width=4, channels=2, dtype=torch.float64)
    weight = torch.rand(2, 1, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    input.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: info.function(x, target, weight=weight), (input,))
    assert torch.autograd.gradgradcheck(lambda x: info.function(x, target, weight=weight), (input,))


@pytest.mark.parametrize("info", relative.LOSSES, ids=lambda info: info.name)
def test_the_loss_is_the_mean_of_its_map(info):
    input, target = dark_pair()
    weight = uneven_weight()
    map = losses.map(info.name, input, target)
    assert map.shape == (2, 1, 24, 20)
    assert torch.allclose(info.function(input, target), map.mean(), rtol=EXACT, atol=0)
    means = (weight * map).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3))
    assert torch.allclose(
        info.function(input, target, weight=weight, reduction="none"), means, rtol=EXACT, atol=0
    )
    assert torch.allclose(losses.map(info.name, input.mT, target.mT), map.mT, rtol=EXACT, atol=0)
    with pytest.raises(LossariumError, match="shape"):
        losses.map(info.name, input, target[..., 1:])


@pytest.mark.parametrize("info", relative.LOSSES, ids=lambda info: info.name)
def test_the_map_takes_the_losss_options_and_their_defaults(info):
    input, target = random_pair()
    map = losses.map(info.name, input, target)
    assert torch.equal(losses.map(info.name, input, target, **info.options), map)


@pytest.mark.parametrize("info", relative.LOSSES, ids=lambda info: info.name)
def test_a_picture_without_weight_counts_zero(info):
    input, target = random_pair()
    weight = torch.ones(2, 1, 24, 20)
    weight[0] = 0
    input.requires_grad_()
    values = info.function(input, target, weight=weight, reduction="none")
    values.sum().backward()
    assert values[0] == 0
    assert values[1] != 0
    assert input.grad[0].abs().max() == 0
    assert torch.isfinite(input.grad).all()


@pytest.mark.parametrize("info", relative.LOSSES, ids=lambda info: info.name)
def test_compiles_into_one_graph(info):
    input, target = random_pair(height=6, width=5)
    compiled = torch.compile(info.function, fullgraph=True, backend="eager")
    with losses.without_kernels():
        assert torch.equal(compiled(input, target), info.function(input, target))


@pytest.mark.parametrize("loss", [relative.mape, relative.mase, relative.mpe], ids=lambda loss: loss.__name__)
@pytest.mark.parametrize("eps", [0.0, -1.0, 1e-7, math.inf, math.nan])
def test_eps_out_of_range_is_refused(loss, eps):
    picture = torch.zeros(1, 3, 4, 4)
    with pytest.raises(LossariumError, match=f"{loss.__name__}'s eps must be between 1e-6 and 1e6"):
        loss(picture, picture, eps=eps)


@pytest.mark.parametrize("temperature", [-1.0, 101.0, math.nan])
def test_temperatures_out_of_range_are_refused(temperature):
    picture = torch.zeros(1, 3, 4, 4)
    with pytest.raises(LossariumError, match="imae's temperature must be between 0 and 100, not"):
        relative.imae(picture, picture, temperature=temperature)


def test_measures_say_why_they_are_not_minimised():
    refused = {info.name: info.not_minimised for info in relative.LOSSES if not info.objective}
    assert list(refused) == ["mbe", "mpe"]
    assert all("at the darkest input" in reason for reason in refused.values())


def test_the_docstrings_examples_run():
    tried = doctest.testmod(relative)
    assert tried.failed == 0
    assert tried.attempted > 0
