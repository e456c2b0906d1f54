"""LDR-FLIP, against its authors' package, and its properties as a loss."""

import json
from pathlib import Path

import pytest
import torch

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.losses.perceptual import flip
from tests.golden.make_flip import pair
from tests.losses.pictures import extremes, random_pair

# As an attribute of the package, this name is the function.
GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "flip.json").read_text())["cases"]


@pytest.mark.parametrize("case", GOLDEN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mean_and_map_equal_the_authors(case, dtype):
    golden = GOLDEN[case]
    input, target = (picture.to(dtype) for picture in pair(case))
    options = {"pixels_per_degree": golden["pixels_per_degree"]}
    map = losses.map("flip", input, target, **options)
    assert map.shape == (1, 1, *input.shape[2:])
    theirs = torch.tensor(golden["map"], dtype=dtype)
    # Flat pictures differ most, by 4.4e-5: there the rounding of the authors' float32 looks like features.
    assert (map.flatten()[:: golden["map_every"]] - theirs).abs().max() < 6e-5
    assert losses.flip(input, target, **options).item() == pytest.approx(golden["mean"], abs=6e-5)


def test_default_is_the_authors_screen():
    assert losses.info("flip").options == {"pixels_per_degree": pytest.approx(67.0206, abs=1e-4)}


def test_largest_distance_is_that_of_green_and_blue():
    green, blue = torch.eye(3, dtype=torch.float64).view(3, 1, 3, 1, 1)[1:]
    distance = flip._hyab(*(flip._hunt_adjusted(flip._lab(color)) for color in (green, blue)))
    assert distance.item() == pytest.approx(flip._LARGEST_DISTANCE, rel=1e-9)


@pytest.mark.parametrize("case", GOLDEN)
def test_epsilons_move_no_pixel_by_much(case, monkeypatch):
    input, target = pair(case)
    ours = losses.map("flip", input, target)
    for name in ("_LEAST_SQUARE", "_LEAST_DIFFERENCE"):
        monkeypatch.setattr(flip, name, 1e-60)
    assert (losses.map("flip", input, target) - ours).abs().max() < 2e-5


def test_white_against_black_by_hand():
    """Flat pictures have no features: L* = 100 against 0, to the power of 0.7, scaled beyond the knee."""
    white = torch.ones(1, 3, 12, 17, dtype=torch.float64)
    share = (100 / flip._LARGEST_DISTANCE) ** 0.7
    expected = 0.95 + 0.05 * (share - 0.4) / 0.6
    assert losses.flip(white, torch.zeros_like(white)).item() == pytest.approx(expected, abs=1e-7)


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
    for turn in (lambda x: x.mT, lambda x: x.flip(2), lambda x: x.flip(3)):
        assert torch.allclose(losses.map("flip", turn(input), turn(target)), turn(map), atol=1e-12)


def test_colors_are_not_interchangeable():
    black = torch.zeros(1, 3, 8, 8)
    red, green, blue = (losses.flip(black + color.view(1, 3, 1, 1), black).item() for color in torch.eye(3))
    assert blue < red < green


def test_sees_stripes_along_either_side():
    across = (torch.arange(32) % 8 < 4).float().expand(1, 3, 24, 32)
    grey = torch.full_like(across, 0.5)
    seen = losses.flip(across, grey).item()
    assert seen > 0.3
    assert losses.flip(across.mT, grey.mT).item() == pytest.approx(seen, rel=1e-5)


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
    assert torch.allclose(losses.flip(input, target, weight=weight), expected, rtol=1e-12)
    assert torch.allclose(losses.flip(input, target), map.mean(), rtol=1e-12)


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
