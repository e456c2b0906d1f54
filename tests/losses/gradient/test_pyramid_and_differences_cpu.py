"""The kernels of pixel_gradient and laplacian against the plain formulas in float64."""

from functools import partial

import pytest
import torch

from lossarium.losses.gradient import laplacian, laplacian_cpu, pixel_gradient, pixel_gradient_cpu
from tests.losses.kernel_cases import check_float32, threads
from tests.losses.pictures import extremes, random_pair

SIZES = [(1, 1), (1, 7), (7, 1), (2, 2), (3, 8), (13, 12), (24, 20), (17, 33), (5, 1030), (300, 40)]
SCALE = 0.3


def ways(height: int, width: int):
    """(the plain formula, the kernel) under several options."""
    for second_order in (0.0, 1.0, 2.5):
        options = {"second_order": second_order}
        yield (
            partial(pixel_gradient._pixel_gradient_plain, **options),
            partial(pixel_gradient_cpu.pixel_gradient, **options),
        )
    fitting = (min(height, width) - 1).bit_length()
    for levels in {0, min(fitting, 1), min(fitting, 5), fitting}:
        options = {"levels": levels}
        yield partial(laplacian._laplacian_plain, **options), partial(laplacian_cpu.laplacian, **options)


def weights(kind: str, height: int, width: int):
    if kind == "none":
        return None
    weight = 3 * torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(1))
    if kind == "sparse":
        weight[0] = 0
        weight[1, :, height // 2 :] = 0
    return weight


def check(plain, kernel, input, target, weight):
    """Check the kernel's values and gradient, and its values alone, against the plain formula in float64."""

    def exact(input, target, weight):
        input = input.clone().requires_grad_()
        values = plain(input, target, weight)
        (gradient,) = torch.autograd.grad(SCALE * values.sum(), input)
        return values.detach(), gradient

    values, gradient = kernel(input, target, weight, SCALE)
    assert values.dtype == gradient.dtype == torch.float32
    check_float32((values, gradient), exact, input, target, weight, of_difference=True)
    alone, none = kernel(input, target, weight, None)
    assert none is None
    assert torch.equal(alone, values)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", ["none", "random", "sparse"])
def test_value_and_gradient_equal_the_plain_formula(height, width, channels, kind):
    input, target = random_pair(height=height, width=width, channels=channels)
    weight = weights(kind, height, width)
    for plain, kernel in ways(height, width):
        check(plain, kernel, input, target, weight)


def test_many_channels_are_cut_into_bands():
    input, target = random_pair(height=3, width=600, channels=300)
    check(*next(ways(3, 600)), input, target, None)


@pytest.mark.parametrize("case", extremes())
def test_extremes_are_finite_and_equal_pictures_give_exactly_zero(case):
    input, target = (picture.contiguous() for picture in extremes(32)[case])
    for _, kernel in ways(32, 32):
        values, gradient = kernel(input, target, None, SCALE)
        assert torch.isfinite(values).all()
        assert torch.isfinite(gradient).all()
        if torch.equal(input, target):
            assert values.abs().max() == 0
            assert gradient.abs().max() == 0


@pytest.mark.parametrize("number", [2, 3])
def test_bits_do_not_depend_on_the_number_of_threads(number):
    input, target = random_pair(height=301, width=1037)
    weight = weights("sparse", 301, 1037)
    for _, kernel in ways(301, 1037):
        with threads(1):
            values, gradient = kernel(input, target, weight, SCALE)
        with threads(number):
            others, other_gradient = kernel(input, target, weight, SCALE)
        assert torch.equal(values, others)
        assert torch.equal(gradient, other_gradient)
