"""Means, sums and maxima of plain errors."""

import doctest
import math

import pytest
import torch
import torch.nn.functional as F

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.losses.pixel import norms
from tests.bounds import LONGEST_CHAIN, apart, rounding_error
from tests.losses.pictures import random_pair

EXACT = apart(torch.float64)
PLAIN = [norms.mse, norms.rmse, norms.sse, norms.mae, norms.linf, norms.psnr]


def weights(*, height: int = 24, width: int = 20, seed: int = 1) -> torch.Tensor:
    """Uneven weights, some of them 0."""
    source = torch.Generator().manual_seed(seed)
    return torch.rand(2, 1, height, width, generator=source, dtype=torch.float64).sub(0.3).clamp(min=0)


def spread(weight: torch.Tensor, channels: int = 3) -> torch.Tensor:
    """The weight of each value, normalised to a sum of 1 per picture, (N, C, H, W)."""
    return (weight / weight.sum(dim=(1, 2, 3), keepdim=True)).expand(-1, channels, -1, -1) / channels


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("height", "width", "channels"), [(24, 20, 3), (7, 31, 1), (16, 16, 5)])
def test_equals_torchs_own(dtype, height, width, channels):
    input, target = random_pair(height=height, width=width, channels=channels, dtype=dtype)
    # torch's in float64, of the same pictures.
    exact = [picture.double() for picture in (input, target)]
    squares = torch.stack([F.mse_loss(x, y) for x, y in zip(*exact, strict=True)])
    near = rounding_error(LONGEST_CHAIN, dtype)
    assert norms.mse(input, target).item() == pytest.approx(squares.mean().item(), rel=near)
    assert norms.mae(input, target).item() == pytest.approx(F.l1_loss(*exact).item(), rel=near)
    roots = norms.rmse(input, target, reduction="none")
    assert torch.allclose(roots.double(), squares.sqrt(), rtol=near, atol=0)
    assert norms.sse(input, target).item() == pytest.approx(
        squares.mean().item() * input[0].numel(), rel=near
    )
    assert norms.linf(input, target, reduction="none").tolist() == [
        (x - y).abs().max().item() for x, y in zip(input, target, strict=True)
    ]
    decibels = norms.psnr(input, target, reduction="none")
    assert torch.allclose(decibels.double(), -10 * squares.log10(), rtol=near, atol=0)


def test_the_weight_is_exact_inside_roots_sums_and_logarithms():
    input, target = random_pair(dtype=torch.float64)
    weight = weights()
    square = (spread(weight) * (input - target) ** 2).sum(dim=(1, 2, 3))
    options = {"weight": weight, "reduction": "none"}
    assert torch.allclose(norms.mse(input, target, **options), square, rtol=EXACT, atol=0)
    assert torch.allclose(norms.rmse(input, target, **options), square.sqrt(), rtol=EXACT, atol=0)
    assert torch.allclose(norms.sse(input, target, **options), 3 * 24 * 20 * square, rtol=EXACT, atol=0)
    assert torch.allclose(norms.psnr(input, target, **options), -10 * square.log10(), rtol=EXACT, atol=0)
    absolute = (spread(weight) * (input - target).abs()).sum(dim=(1, 2, 3))
    assert torch.allclose(norms.mae(input, target, **options), absolute, rtol=EXACT, atol=0)


def test_linf_sees_the_largest_error_of_any_channel_and_row():
    input = torch.zeros(1, 3, 4, 5)
    input[0, 2, 3, 1] = -0.75
    input[0, 0, 0, 4] = 0.5
    assert norms.linf(input, torch.zeros_like(input)).item() == 0.75
    weight = torch.ones(1, 1, 4, 5)
    weight[0, 0, 3, 1] = 0.5
    assert norms.linf(input, torch.zeros_like(input), weight=weight).item() == 0.5
    weight[0, 0, 3, 1] = 0.8
    assert norms.linf(input, torch.zeros_like(input), weight=weight).item() == pytest.approx(
        0.6, rel=rounding_error(2, torch.float32)
    )


def test_equal_largest_errors_share_linfs_gradient():
    input = torch.zeros(1, 3, 4, 5)
    input[0, 0, 0, 0], input[0, 2, 3, 4] = 0.5, -0.5
    input.requires_grad_()
    norms.linf(input, torch.zeros_like(input)).backward()
    assert input.grad[0, 0, 0, 0] == 0.5
    assert input.grad[0, 2, 3, 4] == -0.5
    assert input.grad.abs().sum() == 1


@pytest.mark.parametrize("error", [1e-12, 1e-6, 1e-2, 1e4])
def test_rmse_is_exact_from_tiny_to_huge_errors(error):
    target = torch.zeros(1, 3, 4, 5)
    input = torch.full_like(target, error).requires_grad_()
    value = norms.rmse(input, target)
    value.backward()
    # The error, its square, their mean and its root; a slope is a quotient more, and the length a mean.
    near = rounding_error(8, torch.float32)
    assert value.item() == pytest.approx(error, rel=near)
    # The length of the gradient does not depend on how large the error is.
    assert input.grad.norm().item() == pytest.approx(1 / math.sqrt(60), rel=near)


def test_rmse_is_exactly_zero_at_equality_with_a_gradient_of_zero():
    input, target = torch.full((2, 1, 3, 4, 5), 0.3)
    input.requires_grad_()
    value = norms.rmse(input, target)
    value.backward()
    assert value == 0
    assert input.grad.abs().max() == 0


def test_psnr_of_known_errors():
    target = torch.zeros(1, 3, 4, 5, dtype=torch.float64)
    # A relative error e of the mean square is 10 e / ln 10 decibels; a logarithm is rounded itself.
    for error, decibels in ((1.0, 0.0), (0.1, 20.0), (0.01, 40.0), (10.0, -20.0)):
        near = 10 / math.log(10) * EXACT + abs(decibels) * EXACT
        assert norms.psnr(target + error, target).item() == pytest.approx(decibels, abs=near)
    bytes_apart = norms.psnr(target + 25.5, target, data_range=255.0)
    assert bytes_apart.item() == pytest.approx(20, abs=(20 + 10 / math.log(10)) * EXACT)


def test_psnr_is_capped_where_pictures_are_equal_or_have_no_weight():
    target = torch.full((2, 3, 4, 5), 0.3)
    input = target.clone()
    input[1] += 0.1
    # 0.1, once added to 0.3, is off by a rounding of 0.4, four of its own.
    near = 20 / math.log(10) * rounding_error(4, torch.float32) + 20 * rounding_error(8, torch.float32)
    assert norms.psnr(input, target, reduction="none").tolist() == pytest.approx([100, 20], abs=near)
    weight = torch.ones(2, 1, 4, 5)
    weight[1] = 0
    input.requires_grad_()
    values = norms.psnr(input, target, weight=weight, reduction="none")
    values.sum().backward()
    assert values.tolist() == [100, 100]
    assert input.grad.abs().max() == 0


@pytest.mark.parametrize("loss", PLAIN, ids=lambda loss: loss.__name__)
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_equals_finite_differences_twice(loss, weighted):
    input, target = random_pair(height=3, width=4, channels=2, dtype=torch.float64)
    weight = weights(height=3, width=4) if weighted else None
    input.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, target, weight=weight), (input,))
    assert torch.autograd.gradgradcheck(lambda x: loss(x, target, weight=weight), (input,))


@pytest.mark.parametrize(
    "info", [info for info in norms.LOSSES if info.pixel_map], ids=lambda info: info.name
)
def test_the_loss_is_the_mean_of_its_map(info):
    input, target = random_pair(dtype=torch.float64)
    weight = weights()
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


@pytest.mark.parametrize("loss", PLAIN, ids=lambda loss: loss.__name__)
def test_compiles_into_one_graph(loss):
    input, target = random_pair(height=6, width=5)
    weight = weights(height=6, width=5).float()
    compiled = torch.compile(lambda x, y, w: loss(x, y, weight=w), fullgraph=True, backend="eager")
    with losses.without_kernels():
        assert torch.equal(compiled(input, target, weight), loss(input, target, weight=weight))


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-7, 1e7, math.inf, math.nan])
def test_scales_that_float32_cannot_square_are_refused(value):
    picture = torch.zeros(1, 3, 4, 5)
    with pytest.raises(LossariumError, match="psnr's data_range must be between 1e-6 and 1e6, not"):
        norms.psnr(picture, picture, data_range=value)


def test_measures_say_why_they_are_not_minimised():
    refused = {info.name: info.not_minimised for info in norms.LOSSES if not info.objective}
    assert list(refused) == ["psnr"]
    assert "higher" in refused["psnr"]


def test_the_docstrings_examples_run():
    tried = doctest.testmod(norms)
    assert tried.failed == 0
    assert tried.attempted > 0
