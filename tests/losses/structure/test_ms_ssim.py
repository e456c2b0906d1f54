"""MS-SSIM and the mix of it with a Gaussian-weighted L1."""

import doctest
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.losses.structure import ms_ssim
from tests.bounds import apart, error_bound, rounding_error
from tests.golden.make_structure import pair
from tests.losses.pictures import checkerboard, random_pair
from tests.losses.structure.peers import check_golden

EXACT = apart(torch.float64)
GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "structure.json").read_text())


@pytest.mark.parametrize(
    "golden",
    [golden for golden in GOLDEN if golden["loss"] == "ms_ssim"],
    ids=lambda golden: " ".join(map(str, golden["pictures"])),
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ms_ssim_equals_pytorch_msssims(golden, dtype):
    check_golden(golden, pair(*golden["pictures"], torch.float64), dtype)


@pytest.mark.parametrize(
    ("height", "width", "fitting"), [(11, 30, 1), (21, 21, 2), (64, 64, 3), (128, 300, 4), (170, 161, 5)]
)
def test_as_many_scales_are_taken_as_fit(height, width, fitting):
    input, target = random_pair(height=height, width=width, channels=1)
    assert torch.equal(losses.ms_ssim(input, target), losses.ms_ssim(input, target, scales=fitting))
    if fitting < 5:
        with pytest.raises(LossariumError, match=f"room for {fitting} of {fitting + 1} scales"):
            losses.ms_ssim(input, target, scales=fitting + 1)


def test_fewer_scales_have_weights_that_sum_to_one():
    input, target = random_pair(height=160, width=161)
    for scales in (1, 2, 3, 4):
        weights = ms_ssim.weights_of_scales(
            "ms_ssim", scales, input, smallest_side=11, published=ms_ssim.MS_SSIM_WEIGHTS
        )
        assert sum(weights) == pytest.approx(1, abs=rounding_error(8, torch.float64))
        published = ms_ssim.MS_SSIM_WEIGHTS[scales - 1] / ms_ssim.MS_SSIM_WEIGHTS[0]
        assert weights[-1] / weights[0] == pytest.approx(published, rel=EXACT)
    one_scale = losses.ms_ssim(input, target, scales=1)
    each_channel = torch.stack([losses.ssim(input[:, [c]], target[:, [c]]) for c in range(3)]).mean()
    # Of noise, whose windows all vary, no more is lost than of sums.
    assert torch.allclose(one_scale, each_channel, rtol=apart(torch.float32), atol=0)


@pytest.mark.parametrize("name", ["ms_ssim", "mix"])
def test_what_does_not_fit_is_refused(name):
    function = losses.info(name).function
    small, large = torch.zeros(1, 3, 10, 40), torch.zeros(1, 3, 24, 40)
    with pytest.raises(LossariumError, match="at least 11 pixels, not 40x10"):
        function(small, small)
    for scales in (-1, 6):
        with pytest.raises(LossariumError, match="1 to 5"):
            function(large, large, scales=scales)
    with pytest.raises(LossariumError, match="sigma"):
        function(large, large, sigma=0.0)


def test_ms_ssim_refuses_an_even_window_and_mix_an_alpha_beyond_one():
    picture = torch.zeros(1, 3, 24, 40)
    with pytest.raises(LossariumError, match="odd"):
        losses.ms_ssim(picture, picture, window=6)
    with pytest.raises(LossariumError, match="alpha"):
        losses.mix(picture, picture, alpha=1.1)


def test_a_weight_counts_windows_at_every_scale():
    """Where the errors are alike at each centre that counts, the amounts must not matter."""
    stripes = (torch.arange(48) % 6 / 6).expand(2, 3, 48, 48).double()
    target = 0.3 + 0.4 * stripes
    input = target.mean() + 0.5 * (target - target.mean())
    weight = torch.zeros(2, 1, 48, 48, dtype=torch.float64)
    weight[:, :, 12:36] = torch.rand(2, 1, 24, 1, dtype=torch.float64)
    difference = losses.ms_ssim(input, target, weight=weight) - losses.ms_ssim(input, target)
    assert difference.abs() <= 2 * error_bound(losses.ms_ssim, input, target)


def test_a_constant_weight_changes_nothing_where_sides_are_odd():
    input, target = random_pair(height=43, width=27, dtype=torch.float64)
    weight = torch.full((2, 1, 43, 27), 0.3, dtype=torch.float64)
    for function in (losses.ms_ssim, losses.mix):
        weighted = function(input, target, weight=weight)
        assert torch.allclose(weighted, function(input, target), rtol=EXACT, atol=0)


def test_ms_ssims_gradient_reaches_no_further_than_its_windows():
    input, target = random_pair(height=64, width=64)
    weight = torch.zeros(2, 1, 64, 64)
    weight[:, :, 16:32] = 1
    input.requires_grad_()
    losses.ms_ssim(input, target, weight=weight).backward()
    # The third scale's pixels are 4 wide and its windows reach 5 of them.
    assert input.grad[:, :, 32 + 5 * 4 :].abs().max() == 0
    assert input.grad[:, :, 32 + 5 * 4 - 1].abs().max() > 0


def test_a_region_at_the_border_that_no_window_is_centred_on_counts_zero():
    input, target = random_pair(height=64, width=64)
    weight = torch.zeros(2, 1, 64, 64)
    weight[:, :, :5] = 1
    input.requires_grad_()
    value = losses.ms_ssim(input, target, weight=weight)
    value.backward()
    assert value.item() == 0
    assert input.grad.abs().max() == 0


def test_anti_correlated_pictures_have_finite_values_and_gradients_near_one():
    board = checkerboard(32, 32)
    wave = torch.sin(torch.arange(32) / 3).expand(1, 3, 32, 32)
    for input, target in ((board, 1 - board), (0.5 + 0.4 * wave, 0.5 - 0.4 * wave)):
        input = input.clone().requires_grad_()
        value = losses.ms_ssim(input, target)
        value.backward()
        assert 0.5 < value.item() <= 1
        assert torch.isfinite(input.grad).all()


@pytest.mark.parametrize("brightness", [1.0, 30.0, 255.0])
def test_faint_texture_on_a_bright_ground_is_measured_in_float32(brightness):
    input, target = (brightness + 0.01 * picture for picture in random_pair(height=64, width=48))
    exact = losses.ms_ssim(input.double(), target.double()).item()
    allowed = error_bound(losses.ms_ssim, input.double(), target.double(), dtype=torch.float32).item()
    assert losses.ms_ssim(input, target).item() == pytest.approx(exact, abs=min(allowed, 0.01 * exact))


def test_mix_averages_the_absolute_error_of_patches():
    """Patch by patch as the paper has it: the Gaussian about each centre, normalised inside the picture."""
    height, width, sigma = 14, 17, 2.5
    input, target = random_pair(height=height, width=width, dtype=torch.float64)
    weight = torch.rand(2, 1, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    error = (input - target).abs().mean(dim=1).numpy()
    rows, columns = np.mgrid[:height, :width]
    averages = np.empty((2, height, width))
    for row, column in np.ndindex(height, width):
        down, right = rows - row, columns - column
        gaussian = np.exp(-(down**2 + right**2) / (2 * sigma**2))
        gaussian[np.maximum(abs(down), abs(right)) > 5] = 0
        averages[:, row, column] = (gaussian * error).sum(axis=(1, 2)) / gaussian.sum()
    for centres in (None, weight):
        ours = losses.mix(input, target, alpha=0.0, sigma=sigma, weight=centres, reduction="none")
        counts = np.ones((2, height, width)) if centres is None else centres[:, 0].numpy()
        expected = (counts * averages).sum(axis=(1, 2)) / counts.sum(axis=(1, 2))
        assert np.abs(ours.numpy() - expected).max() < EXACT


def test_mix_is_the_sum_of_its_parts():
    input, target = random_pair(height=24, width=40, dtype=torch.float64)
    near = partial(torch.allclose, rtol=EXACT, atol=0)
    assert near(losses.mix(input, target, alpha=1.0), losses.ms_ssim(input, target))
    parts = 0.84 * losses.ms_ssim(input, target) + 0.16 * losses.mix(input, target, alpha=0.0)
    assert near(losses.mix(input, target), parts)
    flat = torch.full_like(target, 0.25)
    assert losses.mix(target + flat, target, alpha=0.0).item() == pytest.approx(0.25, abs=EXACT)


@pytest.mark.parametrize("name", ["ms_ssim", "mix"])
def test_derivatives_at_two_scales_equal_finite_differences(name):
    input, target = random_pair(height=23, width=22, channels=2, dtype=torch.float64)
    weight = torch.rand(2, 1, 23, 22, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def function(x):
        return losses.info(name).function(x, target, weight=weight, reduction="none")

    input.requires_grad_()
    assert torch.autograd.gradcheck(function, input, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, input, fast_mode=True)


def test_the_docstrings_examples_run():
    tried = doctest.testmod(ms_ssim)
    assert tried.failed == 0
    assert tried.attempted > 0
