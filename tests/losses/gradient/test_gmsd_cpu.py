"""The kernels of GMSD and MS-GMSD against the plain formulas."""

from functools import partial

import pytest
import torch

from lossarium import losses
from lossarium.losses.gradient import gmsd as plain
from lossarium.losses.gradient import gmsd_cpu as kernels
from tests.losses.kernel_cases import check_float32
from tests.losses.pictures import checkerboard, random_pair

C = 170 / 255**2
WAYS = {
    "gmsd": (plain._gmsd_plain, kernels.gmsd, {"c": C}),
    "gmsd, larger c": (plain._gmsd_plain, kernels.gmsd, {"c": 0.1}),
    "ms_gmsd": (
        plain._ms_gmsd_plain,
        kernels.ms_gmsd,
        {"scale_weights": plain._MS_GMSD_WEIGHTS, "c": C, "alpha": 0.5},
    ),
    "ms_gmsd, one scale": (
        plain._ms_gmsd_plain,
        kernels.ms_gmsd,
        {"scale_weights": (1.0,), "c": C, "alpha": 2.0},
    ),
}
ALL_WAYS = pytest.mark.parametrize("way", WAYS)
COLORS = pytest.mark.parametrize("color", ["gray", "rgb"])


def both_ways(way, color):
    slow, fast, options = WAYS[way]
    return partial(slow, **options, color=color), partial(fast, **options, color=color)


def some_weight(input):
    n, _, height, width = input.shape
    weight = torch.rand(n, 1, height, width, generator=torch.Generator().manual_seed(1))
    weight[0, :, : height // 3] = 0
    return weight


def assert_equal_to_plain(way, color, input, target, weight):
    slow, fast = both_ways(way, color)

    def exact(input, target, weight):
        input = input.clone().requires_grad_()
        expected = slow(input, target, weight)
        (0.5 * expected.sum()).backward()
        return expected.detach(), input.grad

    values, gradient = fast(input, target, weight, 0.5)
    check_float32((values, gradient), exact, input, target, weight, of_difference=True)
    alone, nothing = fast(input, target, weight, None)
    assert nothing is None
    assert torch.equal(alone, values)


@ALL_WAYS
@COLORS
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("channels", "height", "width"), [(3, 64, 64), (3, 27, 19), (1, 70, 33), (2, 18, 66), (4, 33, 40)]
)
def test_value_and_gradient_equal_the_plain_formula(way, color, weighted, channels, height, width):
    input, target = random_pair(height=height, width=width, channels=channels)
    weight = some_weight(input) if weighted else None
    assert_equal_to_plain(way, color, input, target, weight)
    # Near equality as well: what is small is not the difference of large numbers.
    assert_equal_to_plain(way, color, torch.lerp(target, input, 1e-3), target, weight)


@COLORS
@pytest.mark.parametrize(("height", "width"), [(3, 3), (3, 4), (4, 3), (5, 5), (6, 5), (5, 9)])
def test_small_pictures_equal_the_plain_formula(color, height, width):
    input, target = random_pair(height=height, width=width)
    names = ["ms_gmsd, one scale"] if min(height, width) < 5 else ["gmsd", "ms_gmsd, one scale"]
    for name in names:
        for weight in (None, some_weight(input)):
            assert_equal_to_plain(name, color, input, target, weight)


@pytest.mark.parametrize("way", ["gmsd", "ms_gmsd"])
@pytest.mark.parametrize(("height", "width"), [(530, 40), (38, 1100), (515, 1029)])
def test_pictures_of_several_tiles_equal_the_plain_formula(way, height, width):
    input, target = random_pair(height=height, width=width)
    assert_equal_to_plain(way, "gray", input, target, None)
    assert_equal_to_plain(way, "rgb", input, target, some_weight(input))


@ALL_WAYS
@COLORS
def test_equal_pictures_and_those_without_weight_have_value_and_gradient_zero(way, color):
    input, target = random_pair()
    board, flat = checkerboard(), torch.full_like(target, 0.5)
    _, fast = both_ways(way, color)
    for x, y, weight in (
        (target, target.clone(), None),
        (board.contiguous(), board.contiguous(), None),
        (flat, flat, None),
        (flat, flat, some_weight(flat)),
        (input, target, torch.zeros(2, 1, 24, 20)),
    ):
        values, gradient = fast(x, y, weight, 1.0)
        assert values.abs().max().item() == 0
        assert gradient.abs().max().item() == 0


@ALL_WAYS
@COLORS
def test_a_picture_without_weight_leaves_the_others_alone(way, color):
    input, target = random_pair()
    weight = some_weight(input)
    weight[0] = 0
    assert_equal_to_plain(way, color, input, target, weight)


@ALL_WAYS
@COLORS
def test_values_far_outside_and_flat_pictures_stay_finite(way, color):
    input, target = random_pair()
    zeros = torch.zeros_like(target)
    board = checkerboard(24, 20).contiguous()
    for x, y in (
        (1e4 * input - 5e3, target),
        (input, 1e4 * target),
        (zeros + 0.5, zeros),
        (zeros, target),
        (input, zeros),
        (board, 1 - board),
    ):
        values, gradient = both_ways(way, color)[1](x, y, None, 1.0)
        assert torch.isfinite(values).all()
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("way", ["gmsd", "ms_gmsd"])
@pytest.mark.parametrize("shape", [(5, 3, 64, 48), (1, 3, 300, 530)])
def test_any_number_of_threads_gives_the_same_bits(way, shape):
    source = torch.Generator().manual_seed(0)
    input, target = torch.rand(shape, generator=source), torch.rand(shape, generator=source)
    weight = some_weight(input)
    _, fast = both_ways(way, "gray")
    threads = torch.get_num_threads()
    results = []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            results.append(fast(input, target, weight, 1.0))
    finally:
        torch.set_num_threads(threads)
    for values, gradient in results[1:]:
        assert torch.equal(values, results[0][0])
        assert torch.equal(gradient, results[0][1])


@pytest.mark.parametrize("name", ["gmsd", "ms_gmsd"])
def test_the_losses_use_the_kernels(name):
    input, target = random_pair()
    weight = some_weight(input)
    _, fast = both_ways(name, "gray")
    values, gradient = fast(input, target, weight, 0.5)
    leaf = input.clone().requires_grad_()
    value = losses.info(name).function(leaf, target, weight=weight)
    value.backward()
    assert torch.equal(value, values.mean())
    assert torch.equal(leaf.grad, gradient)
