"""LDR-FLIP's kernel against the plain formula in float64."""

import math

import numpy as np
import pytest
import torch

from lossarium.losses import fused
from lossarium.losses.perceptual import flip
from tests.bounds import rounding_error, summation_error
from tests.golden.make_flip import CASES, pair
from tests.losses.kernel_cases import check_float32
from tests.losses.perceptual.test_flip import CHAIN
from tests.losses.pictures import extremes, random_pair

DEFAULT = flip._PIXELS_PER_DEGREE
# Tiny, narrower than the filters, odd, of several tiles; channels; pixels per degree.
SHAPES = [
    (1, 1, 3, DEFAULT),
    (1, 9, 3, DEFAULT),
    (7, 1, 1, DEFAULT),
    (2, 5, 3, DEFAULT),
    (24, 20, 3, DEFAULT),
    (33, 47, 1, DEFAULT),
    (14, 600, 3, DEFAULT),
    (300, 23, 3, DEFAULT),
    (40, 50, 3, 1.0),
    (40, 50, 3, 20.0),
    (40, 50, 3, 120.5),
    (20, 130, 3, flip._MOST_PIXELS_FOR_KERNEL),
]


def kernel(input, target, weight=None, scale=1.0, pixels_per_degree=DEFAULT):
    return flip._flip_kernel(pixels_per_degree)(input, target, weight, scale)


def plain(input, target, weight=None, scale=1.0, pixels_per_degree=DEFAULT, dtype=torch.float64):
    input = input.to(dtype).requires_grad_()
    weight = None if weight is None else weight.to(dtype)
    values = flip._flip_plain(input, target.to(dtype), weight, pixels_per_degree=pixels_per_degree)
    (gradient,) = torch.autograd.grad(values.sum() * scale, input)
    return values.detach().double(), gradient.double()


def weights(height, width):
    return torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(3))


def check(input, target, weight=None, scale=1.0, pixels_per_degree=DEFAULT):
    """Check values and gradient against the plain formula in float64."""

    def exact(input, target, weight):
        return plain(input, target, weight, scale, pixels_per_degree)

    found = kernel(input, target, weight, scale, pixels_per_degree)
    check_float32(found, exact, input, target, weight, chain=CHAIN, draws=6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("height", "width", "channels", "pixels_per_degree"), SHAPES)
def test_equals_the_plain_formula(height, width, channels, pixels_per_degree, weighted):
    pictures = random_pair(height=height, width=width, channels=channels)
    weight = weights(height, width) if weighted else None
    check(*pictures, weight, 0.7, pixels_per_degree)


@pytest.mark.parametrize("case", CASES)
def test_equals_the_plain_formula_on_golden_pictures(case):
    check(*(picture.float() for picture in pair(case)))


def test_flat_pictures_have_no_features():
    """The plain way's float32 leaves rounding errors there, whose slopes are larger than those of colours."""
    pictures = torch.full((1, 3, 30, 40), 0.3), torch.full((1, 3, 30, 40), 0.45)
    _, gradient = kernel(*pictures)
    _, true = plain(*pictures)
    assert (gradient - true).abs().max() <= rounding_error(CHAIN, torch.float32) * true.abs().max()


@pytest.mark.parametrize("case", extremes())
def test_extremes_are_finite_and_equality_is_zero(case):
    input, target = extremes(32)[case]
    values, gradient = kernel(input, target)
    true, _ = plain(input, target)
    # A checkerboard blurs to flat grey, whose features, seen at all, are roots of rounding errors: those of a
    # sum of 21 weights, together 2, times luminances up to 1. Of C^(1 - F) they move at most F / e.
    feature = math.sqrt(2 * summation_error(21, torch.float32) / math.sqrt(2))
    near = feature / math.e + rounding_error(CHAIN, torch.float32) * true
    assert ((values - true).abs() <= near).all()
    assert torch.isfinite(gradient).all()
    if torch.equal(input, target):
        assert values.abs().max() == 0
        assert gradient.abs().max() == 0


def test_equal_regions_count_exactly_nothing():
    input, target = random_pair(height=40, width=530)
    input[:, :, :, 15:] = target[:, :, :, 15:]
    weight = torch.ones(2, 1, 40, 530)
    # Where the filters see no difference.
    weight[:, :, :, :25] = 0
    values, gradient = kernel(input, target, weight)
    assert values.abs().max() == 0
    assert gradient.abs().max() == 0


def test_a_picture_without_weight_counts_nothing():
    input, target = random_pair()
    weight = weights(24, 20)
    weight[1] = 0
    values, gradient = kernel(input, target, weight)
    assert values[1] == 0
    assert gradient[1].abs().max() == 0
    assert torch.equal(values[:1], kernel(input[:1], target[:1], weight[:1])[0])


def test_nan_stays_nan():
    input, target = random_pair()
    input[1, 0, 3, 4] = float("nan")
    values, _ = kernel(input, target)
    assert values.isnan().tolist() == [False, True]
    # A call does not depend on what the previous one left in the scratch.
    assert not kernel(target, target)[0].isnan().any()


@pytest.mark.parametrize(("height", "width"), [(24, 20), (300, 30), (25, 600)])
def test_same_bits_for_any_number_of_threads_and_without_gradient(height, width):
    input, target = random_pair(height=height, width=width)
    weight = weights(height, width)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(kernel(input, target, weight))
            assert torch.equal(results[0][0], kernel(input, target, weight, None)[0])
    finally:
        torch.set_num_threads(before)
    for values, gradient in results[1:]:
        assert torch.equal(values, results[0][0])
        assert torch.equal(gradient, results[0][1])


def test_is_used_as_far_as_its_filters_fit(monkeypatch):
    called = []

    def spy(pixels_per_degree):
        called.append(pixels_per_degree)
        return original(pixels_per_degree)

    original = flip._flip_kernel
    monkeypatch.setattr(flip, "_flip_kernel", spy)
    input, target = random_pair(height=6, width=7)
    flip.flip(input, target)
    assert called == [DEFAULT]
    broad = flip.flip(input, target, pixels_per_degree=flip._MOST_PIXELS_FOR_KERNEL * 1.01)
    with fused.without_kernels():
        flip.flip(input, target)
    assert len(called) == 1
    assert torch.isfinite(broad)


def test_constants_are_those_of_the_plain_formula():
    from lossarium.losses.perceptual import flip_cpu as kernels

    single = np.float32
    assert single(flip._LEAST_SQUARE) == kernels._LEAST_SQUARE
    assert single(flip._LEAST_DIFFERENCE) == kernels._LEAST_DIFFERENCE
    assert single(flip._COLOR_EXPONENT - 1) == kernels._COLOR_EXPONENT
    assert single(flip._LARGEST_DISTANCE**-flip._COLOR_EXPONENT) == kernels._PER_LARGEST
    assert single(flip._COMMON_SHARE) == kernels._COMMON_SHARE
    assert single(flip._COMMON_RANGE / flip._COMMON_SHARE) == kernels._COMMON_SLOPE
