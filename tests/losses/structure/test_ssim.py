"""SSIM and UQI."""

import doctest
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.losses.structure import ssim, uqi
from tests.bounds import LONGEST_CHAIN, apart, error_bound, rounding_error, unit_roundoff
from tests.golden.make_structure import pair
from tests.losses.pictures import random_pair
from tests.losses.structure.peers import check_golden

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "structure.json").read_text())


def one_minus_q(input: Tensor, target: Tensor, window: int) -> tuple[np.ndarray, np.ndarray]:
    """1 - Q of every window as the paper writes it, window by window, averaged over channels.

    And the most by which our epsilon e changes it. Q is a product of two quotients a / b from -1 to 1, to
    each of which it adds (a + e) / (b + e) - a / b = (1 - a / b) e / (b + e).
    """
    x, y = (picture.double().numpy() for picture in (input, target))
    n, channels, height, width = x.shape
    q = np.empty((n, channels, height - window + 1, width - window + 1))
    share = np.empty_like(q)
    for place in np.ndindex(*q.shape):
        picture, channel, row, column = place
        here = (picture, channel, slice(row, row + window), slice(column, column + window))
        (sx, sxy), (_, sy) = np.cov(x[here].ravel(), y[here].ravel())
        mx, my = x[here].mean(), y[here].mean()
        q[place] = 4 * sxy * mx * my / ((sx + sy) * (mx**2 + my**2))
        # np.cov divides by one less than the number of pixels.
        variances, squares = (sx + sy) * (1 - 1 / window**2), mx**2 + my**2
        lack_of_structure, lack_of_luminance = 1 - 2 * sxy / (sx + sy), 1 - 2 * mx * my / squares
        share[place] = lack_of_structure * uqi._EPSILON / (variances + uqi._EPSILON)
        share[place] += lack_of_luminance * uqi._EPSILON / (squares + uqi._EPSILON)
    return 1 - q.mean(axis=1, keepdims=True), share.mean(axis=1, keepdims=True)


@pytest.mark.parametrize(
    "golden",
    [golden for golden in GOLDEN if golden["loss"] == "ssim"],
    ids=lambda golden: " ".join(map(str, golden["pictures"])),
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ssim_equals_pytorch_msssims(golden, dtype):
    check_golden(golden, pair(*golden["pictures"], torch.float64), dtype)


def test_ssim_in_gray_is_that_of_the_luminance():
    input, target = random_pair(dtype=torch.float64)
    luma = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]
    gray = [(picture * luma).sum(dim=1, keepdim=True) for picture in (input, target)]
    difference = losses.ssim(input, target, color="gray") - losses.ssim(*gray)
    assert difference.abs() <= 2 * error_bound(losses.ssim, *gray)
    with pytest.raises(LossariumError, match="color"):
        losses.ssim(input, target, color="yuv")


@pytest.mark.parametrize(("name", "reach"), [("ssim", 10), ("uqi", 7)])
@pytest.mark.parametrize("color", ["rgb", "gray"])
def test_the_maps_mean_is_the_loss(name, reach, color):
    input, target = random_pair(dtype=torch.float64)
    map = losses.map(name, input, target, color=color)
    assert map.shape == (2, 1, 24 - reach, 20 - reach)
    value = losses.info(name).function(input, target, color=color)
    assert torch.allclose(map.mean(), value, rtol=apart(torch.float64), atol=0)
    turned = losses.map(name, input.mT, target.mT, color=color)
    allowed = 2 * error_bound(partial(losses.map, name, color=color), input, target)
    assert ((turned.mT - map).abs() <= allowed).all()


def test_maps_refuse_what_the_losses_refuse():
    picture = torch.zeros(1, 3, 9, 40)
    with pytest.raises(LossariumError, match="11 pixels does not fit pictures of 40x9"):
        losses.map("ssim", picture, picture)
    with pytest.raises(LossariumError, match="10 pixels does not fit pictures of 40x9"):
        losses.map("uqi", picture, picture, window=10)
    with pytest.raises(LossariumError, match="shape"):
        losses.map("uqi", picture, picture[..., 1:])


@pytest.mark.parametrize("window", [8, 5, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uqi_equals_the_paper_window_by_window(window, dtype):
    input, target = random_pair(height=17, width=14, dtype=dtype)
    expected, share = one_minus_q(input, target, window)
    exact = (input.double(), target.double())
    allowed = share + 2 * error_bound(partial(losses.map, "uqi", window=window), *exact).numpy()
    map = losses.map("uqi", *exact, window=window)
    assert (np.abs(map.numpy() - expected) <= allowed).all()
    value = losses.uqi(input, target, window=window).item()
    # The kernel computes in float64; its mean is in the pictures' type.
    assert value == pytest.approx(expected.mean(), abs=(allowed + unit_roundoff(dtype) * expected).mean())


def test_uqi_of_faint_texture_on_a_bright_ground_is_exact_in_float32():
    """One 8-bit level of texture: in float32 a mean of squares less a squared mean would miss it by 1 %."""
    input, target = (0.9 + picture / 255 for picture in random_pair(height=17, width=14))
    expected, share = one_minus_q(input, target, 8)

    def faint(x, y):
        return losses.map("uqi", 0.9 + x, 0.9 + y)

    # What float32 rounds is what remains once the ground is taken off: means, then deviations from them.
    textures = input.double() - 0.9, target.double() - 0.9
    lost = error_bound(faint, *textures, dtype=torch.float32, roundings=2 * LONGEST_CHAIN)
    allowed = share + lost.numpy()
    assert (allowed < 0.01 * expected).all()
    assert (np.abs(losses.map("uqi", input, target).numpy() - expected) <= allowed).all()
    # The kernel computes in float64; its mean is in float32.
    allowed = (share + unit_roundoff(torch.float32) * expected).mean()
    assert losses.uqi(input, target).item() == pytest.approx(expected.mean(), abs=allowed)


def test_uqi_of_flat_pictures_is_that_of_their_luminance():
    flat = torch.full((1, 3, 12, 15), 0.2)
    assert losses.uqi(flat, flat).item() == 0
    # The epsilon's share, 2 e / (mx^2 + my^2) at most, and a few roundings.
    near = 2 * uqi._EPSILON / 0.2 + rounding_error(4, torch.float32)
    assert losses.uqi(2 * flat, flat).item() == pytest.approx(1 - 2 * 0.08 / 0.2, abs=near)
    assert losses.uqi(0 * flat, 0 * flat).item() == 0
    textured = random_pair(height=12, width=15)[1][:1]
    # No covariance: the epsilon's share remains, e / (sx^2 + e).
    variance = textured.unfold(2, 8, 1).unfold(3, 8, 1).var(dim=(-2, -1), correction=0).min().item()
    near = uqi._EPSILON / variance + rounding_error(4, torch.float32)
    assert losses.uqi(textured, flat).item() == pytest.approx(1, abs=near)


def test_uqis_gradient_is_finite_where_pictures_are_nearly_flat():
    steps = torch.linspace(0, 1, 15).square()
    for height in (1e-9, 1e-6, 1e-4, 1e-3):
        input = (0.5 + height * steps).expand(1, 3, 12, 15).clone().requires_grad_()
        losses.uqi(input, torch.full((1, 3, 12, 15), 0.5)).backward()
        # A pixel is in all of at most 64 windows, the slope of each against it at most 0.65 / 1e-4 / 8.
        assert input.grad.abs().max() < 64 * 0.65 / 1e-4 / 8 / (3 * 5 * 8)


@pytest.mark.parametrize("window", [8, 7])
def test_uqi_counts_a_window_as_its_centre_counts(window):
    input, target = random_pair(height=15, width=17, dtype=torch.float64)
    weight = torch.zeros(2, 1, 15, 17, dtype=torch.float64)
    # An even window's centre lies between four pixels, so one pixel is a quarter of four windows' centres.
    weight[:, :, 6, 9] = 3
    first, last = (6 - window // 2, 9 - window // 2), (6 - (window - 1) // 2, 9 - (window - 1) // 2)
    rows, columns = (slice(low, high + window) for low, high in zip(first, last, strict=True))
    pair = input[:, :, rows, columns], target[:, :, rows, columns]
    alone = partial(losses.uqi, window=window)
    difference = losses.uqi(input, target, window=window, weight=weight) - alone(*pair)
    assert difference.abs() <= 2 * error_bound(alone, *pair)


def test_uqi_with_a_weight_does_not_care_for_direction():
    input, target = random_pair(dtype=torch.float64)
    weight = torch.rand(2, 1, 24, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    value = losses.uqi(input, target, weight=weight)
    for turn in (lambda x: x.mT, lambda x: x.flip(2), lambda x: x.flip(3)):
        turned = losses.uqi(turn(input), turn(target), weight=turn(weight))
        assert torch.allclose(turned, value, rtol=apart(torch.float64), atol=0)


def test_uqi_refuses_a_window_of_one_pixel():
    picture = torch.zeros(1, 3, 12, 12)
    with pytest.raises(LossariumError, match="at least 2 pixels"):
        losses.uqi(picture, picture, window=1)


@pytest.mark.parametrize("name", ["ssim", "uqi"])
def test_second_derivatives_equal_finite_differences(name):
    input, target = random_pair(height=13, width=12, channels=1, dtype=torch.float64)
    function = losses.info(name).function
    assert torch.autograd.gradgradcheck(lambda x: function(x, target), input.requires_grad_(), fast_mode=True)


def test_the_docstrings_examples_run():
    tried = doctest.testmod(ssim)
    assert tried.failed == 0
    assert tried.attempted > 0
