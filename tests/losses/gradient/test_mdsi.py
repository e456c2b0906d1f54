"""MDSI."""

import doctest
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import convolve2d

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.losses.gradient import mdsi
from tests.bounds import apart, error_bound
from tests.golden.make_structure import pair
from tests.losses.pictures import check_zero_without_weight_or_difference, random_pair

EXACT = apart(torch.float64)
GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "structure.json").read_text())
Plane = NDArray[np.float64]


@pytest.fixture
def no_epsilons(monkeypatch):
    """The formula without what keeps slopes finite."""
    monkeypatch.setattr(mdsi, "ROOT_EPSILON", 0.0)
    for name in ("_LEAST_SIMILARITY", "_LEAST_SQUARE", "_LEAST_DEVIATION"):
        monkeypatch.setattr(mdsi, name, 0.0)


@pytest.mark.parametrize(
    "golden",
    [golden for golden in GOLDEN if golden["loss"] == "mdsi"],
    ids=lambda golden: f"{golden['pictures']} {golden['options']}",
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_piq(golden, dtype, request):
    function = partial(losses.mdsi, **golden["options"])
    pictures, published = pair(*golden["pictures"], torch.float64), golden["values"]["float64"]
    value = function(*(picture.to(dtype) for picture in pictures)).item()
    # The epsilons move each fourth root of a similarity z by 0.75e-8 z^(-3/4), on average by less than 3e-8;
    # an MDSI q is the fourth root of q^4.
    near = error_bound(function, *pictures, dtype=dtype).item()
    assert value == pytest.approx(published, abs=near + 3e-8 / (4 * published**3))
    if dtype == torch.float64:
        request.getfixturevalue("no_epsilons")
        assert function(*pictures).item() == pytest.approx(published, abs=2 * near + 1e-12 / published**3)


def of_the_authors(x: Plane, y: Plane, weight: Plane, alpha: float) -> float:
    """MDSI of (3, H, W) in [0, 255], step by step as MDSI.m computes it: y the reference, x the distorted."""
    height, width = x.shape[1:]
    factor = max(1, int(min(height, width) / 256 + 0.5))
    box = np.full((factor, factor), 1 / factor**2)
    first = factor // 2

    def averaged(plane):
        return convolve2d(plane, box)[first : first + height : factor, first : first + width : factor]

    def lhm(picture):
        red, green, blue = map(averaged, picture)
        return (
            0.2989 * red + 0.587 * green + 0.114 * blue,
            0.30 * red + 0.04 * green - 0.35 * blue,
            0.34 * red - 0.60 * green + 0.17 * blue,
        )

    def magnitude(plane):
        prewitt = np.array([[1, 0, -1]] * 3) / 3
        return np.hypot(convolve2d(plane, prewitt, "same"), convolve2d(plane, prewitt.T, "same"))

    def similarity(one, other, c):
        return (2 * one * other + c) / (one**2 + other**2 + c)

    l1, h1, m1 = lhm(y)
    l2, h2, m2 = lhm(x)
    g1, g2, fused = magnitude(l1), magnitude(l2), magnitude((l1 + l2) / 2)
    of_gradients = similarity(g1, g2, 140) + similarity(g2, fused, 55) - similarity(g1, fused, 55)
    of_colors = (2 * (h1 * h2 + m1 * m2) + 550) / (h1**2 + h2**2 + m1**2 + m2**2 + 550)
    root = (alpha * of_gradients + (1 - alpha) * of_colors).astype(np.complex128) ** 0.25
    counts = averaged(weight) / averaged(np.ones_like(weight))
    distance = np.abs(root - np.average(root, weights=counts))
    return float(np.average(distance, weights=counts)) ** 0.25


@pytest.mark.usefixtures("no_epsilons")
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("height", "width"), [(21, 26), (400, 386), (641, 640)])
def test_equals_the_authors_code(alpha, weighted, height, width):
    """Also where sides are averaged over 2 and (half upwards, unlike piq) 3 pixels, and roots are complex."""
    input, target = random_pair(height=height, width=width, dtype=torch.float64)
    input[1] = 1 - input[1]
    weight = torch.rand(2, 1, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    if not weighted:
        weight = torch.ones_like(weight)
    ours = losses.mdsi(input, target, alpha=alpha, weight=weight if weighted else None, reduction="none")
    for place in range(2):
        pictures = (255 * picture[place].numpy() for picture in (input, target))
        expected = of_the_authors(*pictures, weight[place, 0].numpy(), alpha)
        # A fourth root near 0 is steep: what rounding moves there may be a thousand times as much.
        assert ours[place].item() == pytest.approx(expected, rel=1000 * EXACT)


def test_the_root_of_a_negative_similarity_is_complex():
    """The picture's negative has opposite colours, whose similarity is below 0."""
    _, target = random_pair(height=32, width=32, dtype=torch.float64)
    colors = (target - 0.5).clone()
    parts = mdsi._lack_of_root(mdsi._lack_of_color_similarity(colors[:, :2], -colors[:, :2]))
    assert (parts[:, 1] < 0).any()
    imaginary = parts[:, 1] < 0
    assert torch.allclose(1 - parts[:, 0][imaginary], -parts[:, 1][imaginary], rtol=EXACT, atol=0)


def test_a_single_channel_is_grey_and_other_numbers_are_averaged():
    input, target = random_pair(channels=4, dtype=torch.float64)
    means = [picture.mean(dim=1, keepdim=True) for picture in (input, target)]
    copies = [mean.expand(-1, 3, -1, -1) for mean in means]
    expected = losses.mdsi(*copies)
    assert torch.allclose(losses.mdsi(*means), expected, rtol=EXACT, atol=0)
    assert torch.allclose(losses.mdsi(input, target), expected, rtol=EXACT, atol=0)


def test_alpha_is_the_share_of_gradients():
    _, target = random_pair(dtype=torch.float64)
    shift = torch.tensor([0.587, -0.2989, 0.0], dtype=torch.float64)[:, None, None]
    hue = target.clone()
    hue[..., :10] += 0.3 * shift
    assert losses.mdsi(hue, target, alpha=0.0).item() > 0.3
    # Luminance is the same but for rounding, of which MDSI is the fourth root, near 1e-16 ^ (1 / 2).
    assert losses.mdsi(hue, target, alpha=1.0).item() < 1e-4


def test_without_weight_and_without_difference_value_and_gradient_are_zero():
    check_zero_without_weight_or_difference(losses.mdsi)


def test_the_gradient_is_finite_however_near_the_pictures_are():
    _, target = random_pair()
    for size in (1e-1, 1e-3, 1e-5, 1e-7):
        noise = size * torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
        input = (target + noise).requires_grad_()
        losses.mdsi(input, target).backward()
        assert torch.isfinite(input.grad).all()
        assert input.grad.abs().max() < 1e3


def test_derivatives_equal_finite_differences():
    input, target = random_pair(height=18, width=17, channels=3, dtype=torch.float64)
    weight = torch.rand(2, 1, 18, 17, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    input.requires_grad_()

    def measured(x):
        return losses.mdsi(x, target, weight=weight, reduction="none")

    assert torch.autograd.gradcheck(measured, input, fast_mode=True)
    assert torch.autograd.gradgradcheck(measured, input, fast_mode=True)


def test_what_does_not_fit_is_refused():
    picture = torch.zeros(1, 3, 20, 40)
    for alpha in (-0.1, 1.1, float("nan")):
        with pytest.raises(LossariumError, match="alpha must be from 0 to 1"):
            losses.mdsi(picture, picture, alpha=alpha)


def test_the_docstrings_examples_run():
    tried = doctest.testmod(mdsi)
    assert tried.failed == 0
    assert tried.attempted > 0
