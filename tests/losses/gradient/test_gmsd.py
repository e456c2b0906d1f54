"""GMSD and MS-GMSD."""

import doctest
import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.losses.gradient import gmsd
from lossarium.losses.gradient.constants import ROOT_EPSILON
from tests.bounds import apart, error_bound
from tests.golden.make_structure import pair
from tests.losses.pictures import check_zero_without_weight_or_difference, random_pair

EXACT = apart(torch.float64)
GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "structure.json").read_text())
BOTH = pytest.mark.parametrize("function", [losses.gmsd, losses.ms_gmsd], ids=["gmsd", "ms_gmsd"])


@pytest.mark.parametrize(
    "golden",
    [golden for golden in GOLDEN if "gmsd" in golden["loss"]],
    ids=lambda golden: " ".join(map(str, golden["pictures"])),
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_piq(golden, dtype):
    function = partial(losses.info(golden["loss"]).function, **golden["options"])
    pictures, published = pair(*golden["pictures"], torch.float64), golden["values"]["float64"]
    # The deviation's root has sqrt(e) taken off; what e does to magnitudes is below a thousandth of that.
    value = function(*(picture.to(dtype) for picture in pictures)).item()
    near = 1e-3 * math.sqrt(ROOT_EPSILON) + error_bound(function, *pictures, dtype=dtype).item()
    assert value + math.sqrt(ROOT_EPSILON) == pytest.approx(published, abs=near)
    if dtype == torch.float64:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gmsd, "ROOT_EPSILON", 0.0)
            without = function(*pictures).item()
            near = 2 * error_bound(function, *pictures).item()
        assert without == pytest.approx(published, abs=near)


def similarity(x: np.ndarray, y: np.ndarray, c: float, alpha: float) -> np.ndarray:
    """GMS pixel by pixel, from the papers' formulas."""

    def magnitude(plane):
        padded = np.pad(plane, 1)
        down = sum(padded[2:, k : k + plane.shape[1]] - padded[:-2, k : k + plane.shape[1]] for k in range(3))
        right = sum(
            padded[k : k + plane.shape[0], 2:] - padded[k : k + plane.shape[0], :-2] for k in range(3)
        )
        return np.hypot(down, right) / 3

    gx, gy = magnitude(x), magnitude(y)
    return ((2 - alpha) * gx * gy + c) / (gx**2 + gy**2 - alpha * gx * gy + c)


def halved(plane: np.ndarray) -> np.ndarray:
    return (plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]) / 4


def deviation(map: np.ndarray, weight: np.ndarray) -> float:
    mean = np.average(map, weights=weight)
    return float(np.sqrt(np.average((map - mean) ** 2, weights=weight)))


@pytest.mark.parametrize("c", [170 / 255**2, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_gmsd_of_each_channel_equals_the_formula(c, weighted, monkeypatch):
    input, target = random_pair(height=24, width=20, dtype=torch.float64)
    weight = torch.rand(2, 1, 24, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(gmsd, "ROOT_EPSILON", 0.0)
    ours = losses.gmsd(input, target, c=c, color="rgb", weight=weight if weighted else None, reduction="none")
    for place in range(2):
        counts = halved(weight[place, 0].numpy()) if weighted else np.ones((12, 10))
        expected = np.mean(
            [
                deviation(similarity(halved(x), halved(y), c, 0), counts)
                for x, y in zip(input[place].numpy(), target[place].numpy(), strict=True)
            ]
        )
        assert ours[place].item() == pytest.approx(expected, rel=EXACT)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.5])
def test_ms_gmsd_is_the_root_of_the_weighted_squares(alpha, monkeypatch):
    input, target = random_pair(height=24, width=20, channels=1, dtype=torch.float64)
    monkeypatch.setattr(gmsd, "ROOT_EPSILON", 0.0)
    ours = losses.ms_gmsd(input, target, scales=2, alpha=alpha, reduction="none")
    for place in range(2):
        x, y = input[place, 0].numpy(), target[place, 0].numpy()
        c = 170 / 255**2
        fine = deviation(similarity(x, y, c, alpha), np.ones_like(x))
        coarse = deviation(similarity(halved(x), halved(y), c, alpha), np.ones((12, 10)))
        expected = np.sqrt((0.096 * fine**2 + 0.596 * coarse**2) / (0.096 + 0.596))
        assert ours[place].item() == pytest.approx(expected, rel=EXACT)


@BOTH
def test_gray_is_the_luminance_of_three_channels_and_the_mean_of_others(function):
    input, target = random_pair(dtype=torch.float64)
    luma = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]
    gray = [(picture * luma).sum(dim=1, keepdim=True) for picture in (input, target)]
    assert torch.allclose(function(input, target), function(*gray), rtol=EXACT, atol=0)
    four = [torch.cat((picture, picture[:, :1]), dim=1) for picture in (input, target)]
    means = [picture.mean(dim=1, keepdim=True) for picture in four]
    assert torch.allclose(function(*four), function(*means), rtol=EXACT, atol=0)


@BOTH
def test_both_directions_of_stripes_in_every_channel_are_seen(function):
    target = 0.5 + 0.2 * random_pair(height=32, width=48)[1][:1]
    values = []
    for channel in range(3):
        for stripes in ((torch.arange(48) // 4 % 2), (torch.arange(32) // 4 % 2)[:, None]):
            input = target.clone()
            input[:, channel, :16] += 0.3 * stripes.expand(32, 48)[:16]
            values.append(function(input, target, color="rgb").item())
    assert min(values) > 0.02


def test_ms_gmsd_takes_as_many_scales_as_fit():
    for side, fitting in ((3, 1), (4, 1), (5, 2), (9, 3), (16, 3), (17, 4), (64, 4)):
        input, target = random_pair(height=side, width=side + 3)
        assert torch.equal(losses.ms_gmsd(input, target), losses.ms_gmsd(input, target, scales=fitting))
        if fitting < 4:
            with pytest.raises(LossariumError, match=f"room for {fitting} of {fitting + 1} scales"):
                losses.ms_gmsd(input, target, scales=fitting + 1)


@BOTH
def test_a_constant_weight_changes_nothing_where_sides_are_odd(function):
    input, target = random_pair(height=27, width=19, dtype=torch.float64)
    weight = torch.full((2, 1, 27, 19), 0.3, dtype=torch.float64)
    weighted = function(input, target, weight=weight)
    assert torch.allclose(weighted, function(input, target), rtol=EXACT, atol=0)


@pytest.mark.parametrize(("name", "scale", "beyond"), [("gmsd", 2, 18), ("ms_gmsd", 8, 24)])
def test_gradients_reach_no_further_than_the_prewitt_filter(name, scale, beyond):
    input, target = random_pair(height=40, width=32)
    weight = torch.zeros(2, 1, 40, 32)
    weight[:, :, :16] = 1
    input.requires_grad_()
    losses.info(name).function(input, target, weight=weight).backward()
    assert beyond == 16 + scale
    assert input.grad[:, :, beyond:].abs().max() == 0
    assert input.grad[:, :, beyond - 1].abs().max() > 0


@BOTH
def test_without_weight_and_without_difference_value_and_gradient_are_zero(function):
    check_zero_without_weight_or_difference(function)


@BOTH
def test_derivatives_equal_finite_differences(function):
    input, target = random_pair(height=18, width=17, channels=3, dtype=torch.float64)
    weight = torch.rand(2, 1, 18, 17, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    input.requires_grad_()
    for color in ("gray", "rgb"):

        def measured(x, color=color):
            return function(x, target, color=color, weight=weight, reduction="none")

        assert torch.autograd.gradcheck(measured, input, fast_mode=True)
        assert torch.autograd.gradgradcheck(measured, input, fast_mode=True)


def test_what_does_not_fit_is_refused():
    small, large = torch.zeros(1, 3, 2, 40), torch.zeros(1, 3, 20, 40)
    with pytest.raises(LossariumError, match="at least 5 pixels, not 40x2"):
        losses.gmsd(small, small)
    with pytest.raises(LossariumError, match="at least 3 pixels, not 40x2"):
        losses.ms_gmsd(small, small)
    with pytest.raises(LossariumError, match="1 to 4"):
        losses.ms_gmsd(large, large, scales=5)
    with pytest.raises(LossariumError, match="alpha"):
        losses.ms_gmsd(large, large, alpha=2.5)
    for function in (losses.gmsd, losses.ms_gmsd):
        with pytest.raises(LossariumError, match="c must be positive"):
            function(large, large, c=0.0)
        with pytest.raises(LossariumError, match="color"):
            function(large, large, color="luma")


def test_the_docstrings_examples_run():
    tried = doctest.testmod(gmsd)
    assert tried.failed == 0
    assert tried.attempted > 0
