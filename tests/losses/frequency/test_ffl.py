"""The focal frequency loss, against its authors' package and against its formula."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from lossarium import losses
from lossarium.errors import LossariumError
from tests.bounds import LONGEST_CHAIN, apart, error_bound, rounding_error, unit_roundoff
from tests.golden.make_frequency import pair
from tests.losses.pictures import extremes, random_pair

EXACT = apart(torch.float64)
GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "frequency.json").read_text())["cases"]


@pytest.mark.parametrize("case", GOLDEN)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_value_and_gradient_equal_the_authors(case, dtype):
    golden = GOLDEN[case]
    function = partial(losses.ffl, **golden["options"])

    def slopes(input, target):
        input = input.detach().requires_grad_()
        return torch.autograd.grad(function(input, target), input)[0].flatten()[:: golden["gradient_every"]]

    def of_difference(measured):
        return lambda difference, target: measured(target + difference, target)

    pictures = [picture.to(dtype) for picture in pair(case)]
    value, gradient = function(*pictures).item(), slopes(*pictures)
    if dtype == torch.float64:
        # The authors', of which gradients are kept to 9 digits after the first. They lose as much.
        expected, times = golden["value"], 2
        expected_gradient = torch.tensor(golden["gradient"], dtype=dtype)
        kept = 5e-10 * expected_gradient.abs()
    else:
        # The exact ones of the rounded pictures: all that follows is relative to their difference.
        pictures = [picture.double() for picture in pictures]
        expected, expected_gradient, times, kept = function(*pictures).item(), slopes(*pictures), 1, 0.0
    places = pictures[0] - pictures[1], pictures[1]
    near = times * error_bound(of_difference(function), *places, dtype=dtype).item()
    assert value == pytest.approx(expected, abs=near)
    # Slopes are sums that may cancel: what is lost is relative to the largest.
    near = kept + times * error_bound(of_difference(slopes), *places, dtype=dtype)
    near = near + times * rounding_error(LONGEST_CHAIN, dtype) * golden["gradient_largest"]
    assert ((gradient - expected_gradient).abs() <= near).all()


@pytest.mark.parametrize(("height", "width"), [(6, 7), (7, 6), (5, 5), (8, 8), (1, 4), (4, 1)])
def test_gradient_equals_the_inverse_transform_of_the_weighted_spectrum(height, width):
    """By Fourier matrices: 2 / (N C H W) times the real part of W* (w F) W*, w constant."""
    input, target = random_pair(height=height, width=width, dtype=torch.float64)
    down, across = (
        torch.fft.fft(torch.eye(n, dtype=torch.complex128), norm="ortho") for n in (height, width)
    )
    spectrum = down @ (input - target).to(torch.complex128) @ across
    weights = spectrum.abs() / spectrum.abs().amax(dim=(2, 3), keepdim=True)
    gradient = (down.mH @ (weights * spectrum) @ across.mH).real * 2 / input.numel()
    input.requires_grad_()
    value = losses.ffl(input, target)
    value.backward()
    assert value.item() == pytest.approx((weights * spectrum.abs().square()).mean().item(), rel=EXACT)
    assert (input.grad - gradient).abs().max() <= EXACT * gradient.abs().max()


@pytest.mark.parametrize("options", [{}, {"log_matrix": True}, {"batch_matrix": True}, {"patch_factor": 2}])
def test_with_alpha_0_it_is_mse_and_its_gradient_a_derivative(options):
    input, target = random_pair(height=6, width=8, channels=2, dtype=torch.float64)
    weight = torch.rand(2, 1, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    value = losses.ffl(input, target, alpha=0.0, **options)
    assert torch.allclose(value, losses.mse(input, target), rtol=EXACT, atol=0)
    input.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: losses.ffl(x, target, alpha=0.0, weight=weight, **options), (input,)
    )


def test_one_frequency_counts_fully_along_either_side():
    """A single wave has one weight of 1, so the value is its mean square."""
    wave = torch.cos(torch.arange(12, dtype=torch.float64) * 2 * torch.pi / 4).expand(1, 3, 10, 12)
    flat = torch.zeros_like(wave)
    for input in (wave, wave.mT):
        assert losses.ffl(input, flat.view_as(input)).item() == pytest.approx(0.5, rel=EXACT)


def test_averaged_spectra_give_each_picture_the_same_value():
    input, target = random_pair()
    each = losses.ffl(input, target, ave_spectrum=True, reduction="none")
    assert each.shape == (2,)
    assert each[0] == each[1]
    # Opposite errors cancel in the average, but for a rounding of either sum, which is below 1.1.
    opposite = torch.cat((target[:1] + 0.1, target[:1] - 0.1))
    value = losses.ffl(opposite, target[:1].expand(2, -1, -1, -1), ave_spectrum=True)
    assert value < (1.1 * unit_roundoff(torch.float32)) ** 2


@pytest.mark.parametrize("case", extremes())
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"alpha": 0.0},
        {"alpha": 0.3},
        {"alpha": 30.0},
        {"alpha": 30.0, "log_matrix": True},
        {"log_matrix": True, "batch_matrix": True},
        {"ave_spectrum": True, "patch_factor": 4},
    ],
)
def test_value_and_gradient_are_finite_on_extremes(case, options):
    input, target = extremes(32)[case]
    input = input.clone().requires_grad_()
    value = losses.ffl(input, target, **options)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(input.grad).all()
    if torch.equal(input, target):
        assert value == 0
        assert input.grad.abs().max() == 0


@pytest.mark.parametrize("log_matrix", [False, True])
def test_grows_with_the_error_and_never_exceeds_mse(log_matrix):
    input, target = random_pair()
    values = [
        losses.ffl(torch.lerp(target, input, share), target, log_matrix=log_matrix).item()
        for share in (0.1, 0.3, 1.0, 3.0)
    ]
    assert values == sorted(values)
    assert values[2] <= losses.mse(input, target).item()


def test_value_is_invariant_to_direction_channel_order_and_argument_order():
    input, target = random_pair(dtype=torch.float64)
    value = losses.ffl(input, target)
    for turn in (lambda x: x.mT, lambda x: x.flip(2), lambda x: x.flip(3), lambda x: x.flip(1)):
        assert torch.allclose(losses.ffl(turn(input), turn(target)), value, rtol=EXACT, atol=0)
    assert torch.equal(losses.ffl(target, input), value)


def test_errors_where_the_weight_is_zero_do_not_count():
    input, target = random_pair(height=16, width=12)
    weight = torch.ones(2, 1, 16, 12)
    weight[:, :, 9:] = 0
    input.requires_grad_()
    losses.ffl(input, target, weight=weight).backward()
    assert input.grad[:, :, 9:].abs().max() == 0
    assert input.grad[:, :, :9].abs().max() > 0
    input, target, weight = input.detach().double(), target.double(), weight.double()
    kept = torch.where(weight > 0, input, target)
    value = losses.ffl(input, target, weight=weight)
    assert torch.allclose(value, losses.ffl(kept, target), rtol=EXACT, atol=0)


def test_compiles_without_a_graph_break():
    input, target = random_pair()
    compiled = torch.compile(losses.ffl, fullgraph=True, backend="eager")
    with losses.without_kernels():
        plain = losses.ffl(input, target, patch_factor=2)
    assert torch.equal(compiled(input, target, patch_factor=2), plain)


def test_options_are_checked():
    picture = torch.zeros(1, 3, 24, 20)
    for alpha in (-1.0, float("nan"), float("inf")):
        with pytest.raises(LossariumError, match="alpha must be 0 or a positive number"):
            losses.ffl(picture, picture, alpha=alpha)
    for patch_factor in (3, 5, 0, -2, 1.5):
        with pytest.raises(LossariumError, match="divides both sides of pictures of 20x24"):
            losses.ffl(picture, picture, patch_factor=patch_factor)
