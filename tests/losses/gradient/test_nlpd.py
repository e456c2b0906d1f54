"""NLPD."""

import doctest

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import correlate
from scipy.signal import convolve2d

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.losses.gradient import nlpd
from tests.bounds import apart, error_bound
from tests.losses.pictures import check_zero_without_weight_or_difference, checkerboard, random_pair

EXACT = apart(torch.float64)
Plane = NDArray[np.float64]

FILTER = np.outer([0.05, 0.25, 0.4, 0.25, 0.05], [0.05, 0.25, 0.4, 0.25, 0.05])
SIGMAS = (0.0248, 0.0185, 0.0179, 0.0191, 0.0220, 0.2782)
# Rows 2 to 4 of the authors' filters F2, which conv2 turns by half a circle.
AROUND = (
    ((0, 0, 0.1011, 0, 0), (0, 0.1493, 0, 0.1460, 0.0072), (0, 0, 0.1015, 0, 0)),
    ((0, 0, 0.0757, 0, 0), (0, 0.1986, 0, 0.1846, 0), (0, 0, 0.0837, 0, 0)),
    ((0, 0, 0.0477, 0, 0), (0, 0.2138, 0, 0.2243, 0), (0, 0, 0.0467, 0, 0)),
    ((0, 0, 0, 0, 0), (0, 0.2503, 0, 0.2616, 0), (0, 0, 0, 0, 0)),
    ((0, 0, 0, 0, 0), (0, 0.2598, 0, 0.2552, 0), (0, 0, 0, 0, 0)),
    ((0, 0, 0, 0, 0), (0, 0.2215, 0, 0.0717, 0), (0, 0, 0, 0, 0)),
)


def downsampled(plane: Plane) -> Plane:
    return correlate(plane, FILTER, mode="reflect")[::2, ::2]


def upsampled(plane: Plane, height: int, width: int) -> Plane:
    padded = np.pad(plane, 1, mode="edge")
    spread = np.zeros((2 * len(padded), 2 * padded.shape[1]))
    spread[::2, ::2] = 4 * padded
    return correlate(spread, FILTER, mode="constant")[2 : 2 + height, 2 : 2 + width]


def normalised(plane: Plane) -> list[Plane]:
    """The pyramid as NLP_dist.m makes it."""
    levels = []
    for level in range(6):
        band = plane
        if level < 5:
            coarse = downsampled(plane)
            band = plane - upsampled(coarse, *plane.shape)
            plane = coarse
        beside = np.pad(np.array(AROUND[level], dtype=float), ((1, 1), (0, 0)))
        around = convolve2d(np.abs(band), beside)[2 : 2 + len(band), 2 : 2 + band.shape[1]]
        levels.append(band / (SIGMAS[level] + around))
    return levels


def of_the_authors(x: Plane, y: Plane) -> float:
    pairs = zip(normalised(x), normalised(y), strict=True)
    return float(np.mean([np.sqrt(np.mean((one - other) ** 2)) for one, other in pairs]))


@pytest.mark.parametrize(
    ("height", "width"), [(24, 20), (64, 64), (33, 47), (37, 18), (161, 130), (5, 3), (2, 1)]
)
def test_equals_the_authors_code(height, width, monkeypatch):
    input, target = random_pair(height=height, width=width, dtype=torch.float64)
    # Not 0: levels of a single pixel are equal.
    monkeypatch.setattr(nlpd, "ROOT_EPSILON", 1e-60)
    each = losses.nlpd(input, target, color="rgb", reduction="none")
    gray = losses.nlpd(input[:, :1], target[:, :1], reduction="none")
    for place in range(2):
        pairs = zip(input[place].numpy(), target[place].numpy(), strict=True)
        channels = [of_the_authors(*pair) for pair in pairs]
        assert each[place].item() == pytest.approx(np.mean(channels), rel=10 * EXACT)
        assert gray[place].item() == pytest.approx(channels[0], rel=10 * EXACT)


def test_float32_is_as_exact_as_its_roundings():
    input, target = random_pair(height=64, width=48, dtype=torch.float64)
    exact = losses.nlpd(input, target).item()
    bound = error_bound(losses.nlpd, input, target, dtype=torch.float32).item()
    assert losses.nlpd(input.float(), target.float()).item() == pytest.approx(exact, abs=2 * bound)
    assert bound < 1e-4 * exact


def test_the_epsilon_does_not_show(monkeypatch):
    input, target = random_pair(dtype=torch.float64)
    near = torch.lerp(target, input, 1e-3)
    value = losses.nlpd(near, target).item()
    monkeypatch.setattr(nlpd, "ROOT_EPSILON", 0.0)
    assert losses.nlpd(near, target).item() == pytest.approx(value, rel=1e-6)


def test_a_flat_offset_counts_by_the_low_pass_rest():
    target = torch.full((1, 1, 64, 64), 0.4, dtype=torch.float64)
    value = losses.nlpd(target + 0.2, target).item()
    assert value > 0.2 / (0.2782 + 0.6) / 6 / 2


def test_contrast_around_masks_a_difference():
    flat = torch.full((1, 1, 64, 64), 0.5, dtype=torch.float64)
    texture = flat + 0.3 * (2 * checkerboard(64, 64)[:, :1].double() - 1)
    noise = 0.05 * torch.randn(flat.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert losses.nlpd(texture + noise, texture).item() < 0.8 * losses.nlpd(flat + noise, flat).item()


def test_gray_is_the_luminance_of_three_channels_and_the_mean_of_others():
    input, target = random_pair(dtype=torch.float64)
    luma = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]
    gray = [(picture * luma).sum(dim=1, keepdim=True) for picture in (input, target)]
    assert torch.allclose(losses.nlpd(input, target), losses.nlpd(*gray), rtol=10 * EXACT, atol=0)
    four = [torch.cat((picture, picture[:, :1]), dim=1) for picture in (input, target)]
    means = [picture.mean(dim=1, keepdim=True) for picture in four]
    assert torch.allclose(losses.nlpd(*four), losses.nlpd(*means), rtol=10 * EXACT, atol=0)


def test_without_weight_and_without_difference_value_and_gradient_are_zero():
    check_zero_without_weight_or_difference(losses.nlpd)


def test_derivatives_equal_finite_differences():
    input, target = random_pair(height=18, width=17, channels=3, dtype=torch.float64)
    weight = torch.rand(2, 1, 18, 17, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    input.requires_grad_()
    for color in ("gray", "rgb"):

        def measured(x, color=color):
            return losses.nlpd(x, target, color=color, weight=weight, reduction="none")

        assert torch.autograd.gradcheck(measured, input, fast_mode=True)
        assert torch.autograd.gradgradcheck(measured, input, fast_mode=True)


def test_an_unknown_color_is_refused():
    picture = torch.zeros(1, 3, 20, 40)
    with pytest.raises(LossariumError, match="color"):
        losses.nlpd(picture, picture, color="luma")


def test_the_docstrings_examples_run():
    tried = doctest.testmod(nlpd)
    assert tried.failed == 0
    assert tried.attempted > 0
