"""Losses on differences between neighbouring pixels."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lossarium import losses
from lossarium.errors import LossariumError
from tests.bounds import apart, rounding_error
from tests.losses.pictures import extremes, random_pair

# Errors and their differences are below 1.
EXACT = apart(torch.float64)
NAMES = ("pixel_gradient", "laplacian")
SIZES = [(1, 1), (1, 7), (2, 2), (3, 8), (13, 12), (24, 20), (17, 33)]


def function(name: str):
    return losses.info(name).function


def weights(height: int, width: int) -> torch.Tensor:
    return torch.rand(2, 1, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def gradient_map_of(error: np.ndarray, second_order: float) -> np.ndarray:
    """The formula, pixel by pixel, of one channel."""
    e = np.pad(error, 1, mode="edge")
    result = np.empty_like(error)
    for j, i in np.ndindex(error.shape):
        patch = e[j : j + 3, i : i + 3]
        first = abs(patch[1, 2] - patch[1, 0]) / 2 + abs(patch[2, 1] - patch[0, 1]) / 2
        second = (
            abs(patch[1, 2] - 2 * patch[1, 1] + patch[1, 0])
            + abs(patch[2, 1] - 2 * patch[1, 1] + patch[0, 1])
            + 2 * abs(patch[2, 2] - patch[2, 0] - patch[0, 2] + patch[0, 0]) / 4
        )
        result[j, i] = (first + second_order * second) / (1 + second_order)
    return result


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("second_order", [0.0, 0.4, 1.0, 3.0])
def test_pixel_gradient_equals_its_formula(height, width, second_order):
    input, target = random_pair(height=height, width=width, dtype=torch.float64)
    errors = (input - target).numpy()
    expected = np.array(
        [np.mean([gradient_map_of(e, second_order) for e in picture], axis=0) for picture in errors]
    )
    map = losses.map("pixel_gradient", input, target, second_order=second_order)
    assert map.shape == (2, 1, height, width)
    assert np.allclose(map[:, 0], expected, rtol=0, atol=EXACT)
    each = losses.pixel_gradient(input, target, second_order=second_order, reduction="none")
    assert np.allclose(each, expected.mean(axis=(1, 2)), rtol=0, atol=EXACT)
    weight = weights(height, width)
    weighted = losses.pixel_gradient(input, target, second_order=second_order, weight=weight)
    counts = weight[:, 0].numpy()
    assert weighted.item() == pytest.approx(
        ((counts * expected).sum(axis=(1, 2)) / counts.sum(axis=(1, 2))).mean(), abs=EXACT
    )


@pytest.mark.parametrize("period", [2, 3, 4])
def test_pixel_gradient_sees_stripes_along_either_side(period):
    stripes = (torch.arange(16) % period == 0).float()
    across = stripes.expand(1, 3, 12, 16)
    grey = torch.full_like(across, 0.5)
    seen = losses.pixel_gradient(across, grey).item()
    assert seen > 0.3
    assert losses.pixel_gradient(across.mT, grey.mT).item() == seen, "halves and quarters are not rounded"


def test_pixel_gradient_of_one_wrong_pixel_in_one_channel():
    target = torch.zeros(1, 3, 7, 9)
    input = target.clone()
    input[0, 1, 3, 4] = 0.6
    map = losses.map("pixel_gradient", input, target)[0, 0, 2:5, 3:6]
    # (1 / 2) / 2 and 1 / 2 beside it, 2 and 2 upon it, 2 / 4 / 2 across its corners; of one channel in three.
    expected = 0.2 * torch.tensor([[0.25, 0.75, 0.25], [0.75, 2.0, 0.75], [0.25, 0.75, 0.25]])
    near = rounding_error(8, torch.float32)
    assert torch.allclose(map, expected, rtol=near, atol=0)
    assert losses.pixel_gradient(input, target).item() == pytest.approx(0.2 * 6 / 63, rel=near)


def test_pixel_gradient_is_blind_to_a_flat_offset_and_laplacian_counts_it_once():
    _, target = random_pair(height=18, width=21, dtype=torch.float64)
    offset = torch.tensor([0.1, -0.3, 0.2], dtype=torch.float64).view(1, 3, 1, 1)
    # An error is off by a rounding of the input, which is below 1.2; a mean of differences by a few.
    near = 8 * 1.2 * rounding_error(1, torch.float64)
    assert losses.pixel_gradient(target + offset, target).item() == pytest.approx(0, abs=near)
    assert losses.laplacian(target + offset, target).item() == pytest.approx(0.2, abs=EXACT)


def reduced_side(samples: np.ndarray) -> np.ndarray:
    """One side of Burt and Adelson's REDUCE by its definition, along axis 0."""
    kernel, reach = ((1, 3, 3, 1), 1) if len(samples) % 2 == 0 else ((1, 4, 6, 4, 1), 2)
    last = len(samples) - 1
    return np.array(
        [
            sum(k * samples[min(max(2 * i + m - reach, 0), last)] for m, k in enumerate(kernel)) / sum(kernel)
            for i in range((len(samples) + 1) // 2)
        ]
    )


def expanded_side(samples: np.ndarray, length: int) -> np.ndarray:
    """One side of EXPAND by its definition: the kernel over samples with zeros between them."""
    kernel, reach = ((1, 3, 3, 1), 1) if length % 2 == 0 else ((1, 4, 6, 4, 1), 2)
    last = len(samples) - 1
    result = np.zeros((length, *samples.shape[1:]))
    for i in range(length):
        for k in range(-2, len(samples) + 2):
            if 0 <= i - 2 * k + reach < len(kernel):
                result[i] += 2 * kernel[i - 2 * k + reach] / sum(kernel) * samples[min(max(k, 0), last)]
    return result


def pyramid_of(plane: np.ndarray, levels: int) -> list[np.ndarray]:
    bands = []
    for _ in range(levels):
        coarse = reduced_side(reduced_side(plane).T).T
        expanded = expanded_side(expanded_side(coarse, plane.shape[0]).T, plane.shape[1]).T
        bands.append(plane - expanded)
        plane = coarse
    return [*bands, plane]


@pytest.mark.parametrize(
    ("height", "width", "levels", "fitting"),
    [
        (1, 1, 0, 0),
        (2, 3, 0, 1),
        (17, 33, 0, 5),
        (24, 20, 0, 5),
        (13, 12, 0, 4),
        (13, 12, 2, 2),
        (70, 68, 6, 6),
    ],
)
def test_laplacian_equals_its_formula(height, width, levels, fitting):
    input, target = random_pair(height=height, width=width, channels=2, dtype=torch.float64)
    errors = (input - target).numpy()
    each = [
        np.mean([sum(abs(band).mean() for band in pyramid_of(e, fitting)) for e in picture])
        for picture in errors
    ]
    ours = losses.laplacian(input, target, levels=levels, reduction="none")
    assert np.allclose(ours, each, rtol=0, atol=EXACT)


def test_laplacian_is_the_papers_sum_by_the_number_of_pixels():
    """sum_j 4^j |L_j(x) - L_j(y)|_1, of the pyramids of both pictures."""
    input, target = random_pair(height=32, width=64, channels=1, dtype=torch.float64)
    pyramids = [[pyramid_of(plane[0], 5) for plane in pictures.numpy()] for pictures in (input, target)]
    total = sum(
        4**j * abs(band - other).sum()
        for mine, theirs in zip(*pyramids, strict=True)
        for j, (band, other) in enumerate(zip(mine, theirs, strict=True))
    )
    assert losses.laplacian(input, target).item() == pytest.approx(total / input.numel(), rel=EXACT)


def test_even_sides_expand_as_bilinear_interpolation_does():
    from lossarium.losses.gradient.laplacian import _expanded

    coarse = torch.rand(1, 2, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours = _expanded(_expanded(coarse, 14).mT, 10).mT
    assert torch.allclose(ours, F.interpolate(coarse, scale_factor=2, mode="bilinear"), rtol=EXACT, atol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_value_is_invariant_to_direction(name, height, width):
    input, target = random_pair(height=height, width=width, dtype=torch.float64)
    value = function(name)(input, target)
    for turn in (lambda x: x.mT, lambda x: x.flip(2), lambda x: x.flip(3), lambda x: x.flip(1)):
        assert torch.allclose(function(name)(turn(input), turn(target)), value, rtol=EXACT, atol=0)
    assert torch.equal(function(name)(target, input), value)


def test_the_map_turns_with_the_pictures():
    input, target = random_pair(dtype=torch.float64)
    map = losses.map("pixel_gradient", input, target)
    for turn in (lambda x: x.mT, lambda x: x.flip(2), lambda x: x.flip(3)):
        assert torch.allclose(
            losses.map("pixel_gradient", turn(input), turn(target)), turn(map), rtol=0, atol=EXACT
        )


@pytest.mark.parametrize("name", NAMES)
def test_doubling_the_error_doubles_the_value(name):
    input, target = random_pair(dtype=torch.float64)
    value = function(name)(input, target)
    assert torch.allclose(function(name)(2 * input - target, target), 2 * value, rtol=EXACT, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_one_active_channel_counts_a_third(name):
    input, target = random_pair(dtype=torch.float64)
    only = torch.tensor([0.0, 1, 0], dtype=torch.float64).view(1, 3, 1, 1)
    alone = function(name)(input[:, 1:2], target[:, 1:2])
    assert torch.allclose(function(name)(input * only, target * only), alone / 3, rtol=EXACT, atol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", extremes())
def test_value_and_gradient_are_finite_on_extremes(name, case):
    input, target = extremes(32)[case]
    input = input.clone().requires_grad_()
    value = function(name)(input, target)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(input.grad).all()
    if torch.equal(input, target):
        assert value == 0
        assert input.grad.abs().max() == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_equals_finite_differences(name, weighted):
    input, target = random_pair(height=5, width=6, channels=1, dtype=torch.float64)
    weight = weights(5, 6) if weighted else None
    input.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: function(name)(x, target, weight=weight), (input,))


@pytest.mark.parametrize("name", NAMES)
def test_second_derivative_is_zero(name):
    input, target = random_pair(height=5, width=6)
    input.requires_grad_()
    (gradient,) = torch.autograd.grad(function(name)(input, target), input, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), input)
    assert second.abs().max() == 0


@pytest.mark.parametrize("name", NAMES)
def test_compiles_without_a_graph_break(name):
    input, target = random_pair(height=17, width=20)
    compiled = torch.compile(function(name), fullgraph=True, backend="eager")
    with losses.without_kernels():
        assert torch.equal(compiled(input, target), function(name)(input, target))


def test_options_are_checked():
    picture = torch.zeros(1, 3, 20, 40)
    for second_order in (-0.1, float("inf"), float("nan")):
        with pytest.raises(LossariumError, match="second_order must be 0 or a positive number"):
            losses.pixel_gradient(picture, picture, second_order=second_order)
        with pytest.raises(LossariumError, match="second_order"):
            losses.map("pixel_gradient", picture, picture, second_order=second_order)
    for levels in (-1, 6, 1.5):
        with pytest.raises(LossariumError, match=r"whole number up to 5 for pictures of 40x20"):
            losses.laplacian(picture, picture, levels=levels)
