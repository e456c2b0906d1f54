"""LDR-FLIP, against its authors' package, and its properties as a loss."""

import json
import math
from functools import cache, partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.losses.perceptual import flip
from tests.bounds import apart, error_bound, sensitivity, summation_error, unit_roundoff
from tests.golden.make_flip import pair
from tests.losses.pictures import extremes, random_pair

# As an attribute of the package, this name is the function.
GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "flip.json").read_text())["cases"]


# Two sweeps of 21 weights are 42 roundings; colours pass matrices, roots and powers in some twenty.
CHAIN = 64


def error_of_float32(input, target, of_luminance, *, pixels_per_degree):
    """What float32 loses of FLIP's map, C^(1 - F): of C a chain of roundings, of F those of luminances.

    A feature F is the root of a difference of filtered luminances. Where there is none, as in flat pictures,
    a rounding u looks like one of about sqrt(u), a thousand times as large.
    """

    def color_of(input, target):
        return flip._color_difference(*map(flip._opponent_colors, (input, target)), pixels_per_degree)

    (color,), (change,) = sensitivity(lambda x, y: (color_of(x, y),), input, target)
    luminances = (flip._opponent_colors(picture)[:, :1] for picture in (input, target))
    feature = flip._feature_difference(*luminances, pixels_per_degree)
    value = color ** (1 - feature)
    squares = [feature.square() + sign * of_luminance / math.sqrt(2) for sign in (1, -1)]
    of_features = torch.stack([color ** (1 - square.clamp(0, 1).sqrt()) - value for square in squares])
    of_colors = torch.where(color > 0, change * value / color, 0.0)
    return of_features.abs().amax(dim=0) + CHAIN * (unit_roundoff(torch.float32) * value + of_colors)


@cache
def error_of_the_authors_strengths(pixels_per_degree):
    """The largest error of an edge's or a point's strength, measured in a picture of 12,480 pixels.

    The authors' steps in float32, as in FLIP.h of their repository: luminance is stored as 116 y - 16 and
    taken back, and the taps of a filter are added one after the other, here once from either end. The error
    comes from roundings of luminances up to 1, so that it is of about this size in flat pictures, too.
    """
    picture = pair("large")[0].float()
    exact = flip._opponent_colors(picture.double())[:, :1]
    luminance = flip._opponent_colors(picture)[:, :1]
    luminance = (116 * luminance - 16) * (luminance.new_tensor(1) / 116) + luminance.new_tensor(16) / 116
    kernels = flip._feature_kernels(pixels_per_degree)
    truth = strengths_in_order(exact, kernels, reverse=False)
    kernels = tuple(kernel.float() for kernel in kernels)
    found = [strengths_in_order(luminance, kernels, reverse=reverse) for reverse in (False, True)]
    return max((strengths - truth).abs().max().item() for strengths in found)


def strengths_in_order(luminance, kernels, *, reverse):
    """Strengths of edges and points, (2, 1, 1, H, W), tap by tap."""
    reach = len(kernels[0]) // 2
    taps = range(2 * reach + 1)

    def filtered(picture, kernel, dim):
        padding = (reach, reach, 0, 0) if dim == 3 else (0, 0, reach, reach)
        padded = F.pad(picture, padding, mode="replicate")
        total = torch.zeros_like(picture)
        for tap in reversed(taps) if reverse else taps:
            total = total + kernel[tap] * padded.narrow(dim, tap, picture.shape[dim])
        return total

    gaussian, *derivatives = kernels
    across, smooth = (
        [filtered(luminance, kernel, 3) for kernel in derivatives],
        filtered(luminance, gaussian, 3),
    )
    return torch.stack(
        [
            (filtered(over, gaussian, 2).square() + filtered(smooth, kernel, 2).square()).sqrt()
            for over, kernel in zip(across, derivatives, strict=True)
        ]
    )


def moved_by_epsilons(input, target, **options):
    """What our epsilons add to every pixel of the map."""
    ours = losses.map("flip", input, target, **options)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_LEAST_SQUARE", "_LEAST_DIFFERENCE"):
            patch.setattr(flip, name, 1e-60)
        return ours - losses.map("flip", input, target, **options)


@pytest.mark.parametrize("case", GOLDEN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mean_and_map_equal_the_authors(case, dtype):
    golden = GOLDEN[case]
    input, target = (picture.float().to(dtype) for picture in pair(case))
    options = {"pixels_per_degree": golden["pixels_per_degree"]}
    map = losses.map("flip", input, target, **options)
    assert map.shape == (1, 1, *input.shape[2:])
    # Theirs has no epsilons, and is in float32, as its pictures are; 6 digits of it are kept. Ours in float32
    # may be off by what a sum of 21 weights loses, whose magnitudes are 2 together.
    exact = [picture.float().double() for picture in pair(case)]
    moved = moved_by_epsilons(*exact, **options)
    allowed = error_of_float32(*exact, error_of_the_authors_strengths(**options), **options) + 0.5e-6
    if dtype == torch.float32:
        allowed += error_of_float32(*exact, 2 * summation_error(21, dtype), **options)
    every = golden["map_every"]
    difference = (map - moved).flatten()[::every] - torch.tensor(golden["map"], dtype=torch.float64)
    assert (difference.abs() <= allowed.flatten()[::every]).all()
    value = losses.flip(input, target, **options).item() - moved.mean().item()
    assert value == pytest.approx(golden["mean"], abs=allowed.mean().item())


def test_default_is_the_authors_screen():
    # Given to 4 digits.
    assert losses.info("flip").options == {"pixels_per_degree": pytest.approx(67.0206, abs=0.5e-4)}


def test_largest_distance_is_that_of_green_and_blue():
    green, blue = torch.eye(3, dtype=torch.float64).view(3, 1, 3, 1, 1)[1:]
    distance = flip._hyab(*(flip._hunt_adjusted(flip._lab(color)) for color in (green, blue)))
    # The constant has 7 digits after its point.
    assert distance.item() == pytest.approx(flip._LARGEST_DISTANCE, abs=0.5e-7)


@pytest.mark.parametrize("case", GOLDEN)
def test_epsilons_move_no_pixel_by_much(case):
    """By as much as their comment says."""
    assert moved_by_epsilons(*pair(case)).abs().max() < 2e-5


def test_white_against_black_by_hand():
    """Flat pictures have no features: L* = 100 against 0, to the power of 0.7, scaled beyond the knee."""
    white = torch.ones(1, 3, 12, 17, dtype=torch.float64)
    share = (100 / flip._LARGEST_DISTANCE) ** 0.7
    expected = 0.95 + 0.05 * (share - 0.4) / 0.6
    # The epsilon lowers L*, 100, to the power of 0.7 by a share of 0.3 e / 100.
    near = 0.3 * flip._LEAST_DIFFERENCE / 100 + apart(torch.float64)
    assert losses.flip(white, torch.zeros_like(white)).item() == pytest.approx(expected, abs=near)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (5, 16), (17, 31), (33, 64)])
def test_is_exactly_zero_at_equality_however_the_pictures_lie_in_memory(height, width):
    picture, _ = random_pair(height=height, width=width)
    copies = (
        picture.clone(),
        picture.mT.contiguous().mT,
        picture.to(memory_format=torch.channels_last),
    )
    for copy in copies:
        input = copy.requires_grad_()
        value = losses.flip(input, picture)
        (gradient,) = torch.autograd.grad(value, input)
        assert value == 0
        assert gradient.abs().max() == 0


@pytest.mark.parametrize("case", extremes())
def test_value_and_gradient_are_finite_on_extremes(case):
    input, target = extremes(32)[case]
    input = input.clone().requires_grad_()
    value = losses.flip(input, target)
    value.backward()
    assert 0 <= value <= 1
    assert torch.isfinite(input.grad).all()


@pytest.mark.parametrize("size", [1e-2, 1e-4, 1e-6])
def test_gradient_stays_finite_and_bounded_near_equality(size):
    noisy, target = random_pair(height=24, width=20)
    target = 0.1 + 0.8 * target
    input = (target + size * (noisy - target)).requires_grad_()
    losses.flip(input, target).backward()
    assert 0 < input.grad.abs().max() * input[:, 0].numel() < 1e3


def test_grows_with_the_error():
    input, target = random_pair(height=20, width=26)
    values = [losses.flip(torch.lerp(target, input, share), target).item() for share in (0.01, 0.1, 0.5, 1.0)]
    assert values == sorted(values)
    assert values[0] > 0


def test_is_symmetric_and_invariant_to_direction():
    input, target = random_pair(dtype=torch.float64)
    map = losses.map("flip", input, target)
    assert torch.equal(losses.map("flip", target, input), map)
    allowed = 2 * error_bound(partial(losses.map, "flip"), input, target, roundings=CHAIN)
    for turn in (lambda x: x.mT, lambda x: x.flip(2), lambda x: x.flip(3)):
        difference = losses.map("flip", turn(input), turn(target)) - turn(map)
        assert (difference.abs() <= turn(allowed)).all()


def test_colors_are_not_interchangeable():
    black = torch.zeros(1, 3, 8, 8)
    red, green, blue = (losses.flip(black + color.view(1, 3, 1, 1), black).item() for color in torch.eye(3))
    assert blue < red < green


def test_sees_stripes_along_either_side():
    across = (torch.arange(32) % 8 < 4).float().expand(1, 3, 24, 32)
    grey = torch.full_like(across, 0.5)
    seen = losses.flip(across, grey).item()
    assert seen > 0.3
    turned = losses.flip(across.mT, grey.mT).item()
    assert turned == pytest.approx(seen, rel=apart(torch.float32, CHAIN))


def test_fewer_pixels_per_degree_blur_less():
    stripes = (torch.arange(32) % 2).float().expand(1, 3, 24, 32)
    grey = torch.full_like(stripes, 0.5)
    near, far = (losses.flip(stripes, grey, pixels_per_degree=ppd).item() for ppd in (10.0, 120.0))
    assert near > far


def test_grey_pictures_count_as_rgb_of_equal_channels():
    input, target = random_pair(channels=1)
    in_color = losses.flip(*(picture.expand(-1, 3, -1, -1) for picture in (input, target)))
    assert torch.equal(losses.flip(input, target), in_color)


def test_values_outside_are_clamped_and_have_no_gradient():
    _, target = random_pair(height=16, width=16)
    input = target.clone()
    input[:, :, :8] = 3.0
    input[:, :, 8:] = -2.0
    input.requires_grad_()
    value = losses.flip(input, target)
    value.backward()
    assert input.grad.abs().max() == 0
    assert torch.equal(value, losses.flip(input.clamp(0, 1), target))


def test_a_weight_counts_the_map():
    input, target = random_pair(dtype=torch.float64)
    weight = torch.rand(2, 1, 24, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    map = losses.map("flip", input, target)
    expected = ((weight * map).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3))).mean()
    assert torch.allclose(
        losses.flip(input, target, weight=weight), expected, rtol=apart(torch.float64), atol=0
    )
    assert torch.allclose(losses.flip(input, target), map.mean(), rtol=apart(torch.float64), atol=0)


def test_errors_further_than_ten_pixels_from_the_weight_count_nothing():
    input, target = random_pair(height=32, width=12)
    weight = torch.zeros(2, 1, 32, 12)
    weight[:, :, :8] = 1
    input = input.clamp(0.01, 0.99).requires_grad_()
    losses.flip(input, target, weight=weight).backward()
    assert input.grad[:, :, 18:].abs().max() == 0
    assert input.grad[:, :, 17].abs().max() > 0


@pytest.mark.parametrize("channels", [1, 3])
def test_gradient_equals_finite_differences(channels):
    input, target = random_pair(height=5, width=6, channels=channels, dtype=torch.float64)
    weight = torch.rand(2, 1, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    # Away from black and white, where clamping bends the loss.
    input = input.clamp(0.02, 0.98).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: losses.flip(x, target, weight=weight), (input,))


def test_gradient_can_be_differentiated():
    input, target = random_pair(height=3, width=4, channels=1, dtype=torch.float64)
    input = input.clamp(0.02, 0.98).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: losses.flip(x, target), (input,))


def test_compiles_without_a_graph_break():
    input, target = random_pair()
    compiled = torch.compile(losses.flip, fullgraph=True, backend="eager")
    with losses.without_kernels():
        plain = losses.flip(input, target)
    assert torch.equal(compiled(input, target), plain)


def test_pictures_and_options_are_checked():
    picture = torch.zeros(1, 4, 8, 8)
    with pytest.raises(LossariumError, match=r"3 channels \(RGB\) or 1 \(grey\), not 4"):
        losses.flip(picture, picture)
    picture = torch.zeros(1, 3, 8, 8)
    for pixels_per_degree in (0.0, -3.0, float("inf"), float("nan")):
        with pytest.raises(LossariumError, match="pixels_per_degree"):
            losses.flip(picture, picture, pixels_per_degree=pixels_per_degree)
        with pytest.raises(LossariumError, match="pixels_per_degree"):
            losses.map("flip", picture, picture, pixels_per_degree=pixels_per_degree)
