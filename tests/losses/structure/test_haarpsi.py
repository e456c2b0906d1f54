"""HaarPSI."""

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
from lossarium.losses.structure import haarpsi
from tests.bounds import apart, error_bound, rounding_error
from tests.golden.make_structure import pair
from tests.losses.pictures import check_zero_without_weight_or_difference, random_pair

EXACT = apart(torch.float64)
GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "structure.json").read_text())
Plane = NDArray[np.float64]


@pytest.mark.parametrize(
    "golden",
    [golden for golden in GOLDEN if golden["loss"] == "haarpsi"],
    ids=lambda golden: f"{golden['pictures']} {golden['from'].split(':')[0]}",
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_other_packages(golden, dtype):
    function = partial(losses.haarpsi, **golden["options"])
    pictures, published = pair(*golden["pictures"], torch.float64), golden["values"]["float64"]
    value = function(*(picture.to(dtype) for picture in pictures)).item()
    # Theirs ends with 1 - HaarPSI, whose logit divides by 1 - p = 0.015 what rounding p to near 1 loses.
    theirs = rounding_error(8, torch.float64) / 0.015
    near = 2 * error_bound(function, *pictures, dtype=dtype).item() + theirs
    assert value == pytest.approx(published, abs=near)


def same(plane: Plane, kernel: Plane) -> Plane:
    """MATLAB's conv2(plane, kernel, "same") for kernels of even sides."""
    height, width = plane.shape
    first = len(kernel) // 2
    return convolve2d(plane, kernel)[first : first + height, first : first + width]


def in_yiq(picture: Plane) -> list[Plane]:
    if len(picture) == 1:
        return [picture[0]]
    red, green, blue = picture
    return [
        0.299 * red + 0.587 * green + 0.114 * blue,
        0.596 * red - 0.274 * green - 0.322 * blue,
        0.211 * red - 0.523 * green + 0.312 * blue,
    ]


def wavelets(plane: Plane) -> list[tuple[Plane, Plane]]:
    found = []
    for scale in (1, 2, 3):
        side = 2**scale
        kernel = 2.0**-scale * np.ones((side, side))
        kernel[: side // 2] *= -1
        found.append((np.abs(same(plane, kernel)), np.abs(same(plane, kernel.T))))
    return found


def of_the_authors(
    x: Plane, y: Plane, weight: Plane | None, *, subsample: bool, c: float, alpha: float
) -> float:
    """HaarPSI of (C, H, W) in [0, 255], step by step as HaarPSI.m computes it."""

    def similarity(one, other):
        return (2 * one * other + c) / (one**2 + other**2 + c)

    box = np.full((2, 2), 0.25)
    one, other = in_yiq(x), in_yiq(y)
    if subsample:
        one, other = ([same(plane, box)[::2, ::2] for plane in planes] for planes in (one, other))
    of_one, of_other = wavelets(one[0]), wavelets(other[0])
    similarities, weights = [], []
    for along in (0, 1):
        weights.append(np.maximum(of_one[2][along], of_other[2][along]))
        similarities.append(sum(similarity(of_one[s][along], of_other[s][along]) for s in (0, 1)) / 2)
    if len(one) == 3:
        colors = [(np.abs(same(one[k], box)), np.abs(same(other[k], box))) for k in (1, 2)]
        similarities.append(sum(similarity(*color) for color in colors) / 2)
        weights.append((weights[0] + weights[1]) / 2)
    if weight is not None:
        counts = same(weight, box)[::2, ::2] if subsample else weight
        weights = [counts * map for map in weights]
    logistic = 1 / (1 + np.exp(-alpha * np.array(similarities)))
    mean = (logistic * weights).sum() / np.sum(weights)
    return float(np.log(mean / (1 - mean)) / alpha) ** 2


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("subsample", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("c", "alpha"), [(30, 4.2), (5, 5.8)])
def test_equals_the_authors_code(channels, subsample, weighted, c, alpha):
    input, target = random_pair(height=22, width=26, channels=channels, dtype=torch.float64)
    weight = torch.rand(2, 1, 22, 26, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    function = partial(losses.haarpsi, c=c / 255**2, alpha=alpha, subsample=subsample, reduction="none")
    ours = function(input, target, weight=weight if weighted else None)
    for place in range(2):
        expected = 1 - of_the_authors(
            255 * input[place].numpy(),
            255 * target[place].numpy(),
            weight[place, 0].numpy() if weighted else None,
            subsample=subsample,
            c=c,
            alpha=alpha,
        )
        # 1 - p, whose logarithm is taken, is at least exp(-alpha) / 2.
        assert ours[place].item() == pytest.approx(expected, abs=EXACT * 2 * np.exp(alpha))


def test_small_errors_keep_their_digits_in_float32():
    _, target = random_pair(dtype=torch.float64)
    noise = torch.randn(target.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    # A quarter of a grey level; in steps that float32 holds exactly.
    target, noise = (target * 2**12).round() / 2**12, (noise * 16).round() / 2**14
    input = target + noise
    exact = losses.haarpsi(input, target).item()
    assert 1e-7 < exact < 1e-3
    bound = error_bound(losses.haarpsi, input, target, dtype=torch.float32).item()
    assert losses.haarpsi(input.float(), target.float()).item() == pytest.approx(exact, abs=2 * bound)
    assert bound < 0.01 * exact


def test_gray_is_the_luminance_of_three_channels_and_the_mean_of_others():
    input, target = random_pair(dtype=torch.float64)
    luma = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]
    gray = [(picture * luma).sum(dim=1, keepdim=True) for picture in (input, target)]
    ours = losses.haarpsi(input, target, color="gray")
    assert torch.allclose(ours, losses.haarpsi(*gray), rtol=EXACT, atol=0)
    four = [torch.cat((picture, picture[:, :1]), dim=1) for picture in (input, target)]
    means = [picture.mean(dim=1, keepdim=True) for picture in four]
    for color in ("rgb", "gray"):
        value = losses.haarpsi(*four, color=color)
        assert torch.allclose(value, losses.haarpsi(*means), rtol=EXACT, atol=0)


def test_colors_count_beside_luminance():
    """A change of hue at constant luminance is seen in colour and not in grey."""
    target = 0.3 + 0.4 * random_pair(height=32, width=48, dtype=torch.float64)[1]
    shift = torch.tensor([0.587, -0.299, 0.0], dtype=torch.float64)[:, None, None] * 0.3
    assert losses.haarpsi(target + shift, target).item() > 0.01
    gray = losses.haarpsi(target + shift, target, color="gray")
    assert gray.item() < 1e-20


@pytest.mark.parametrize(("subsample", "reach"), [(True, 8), (False, 4)])
def test_gradients_reach_as_far_as_the_wavelets(subsample, reach):
    input, target = random_pair(height=40, width=32)
    weight = torch.zeros(2, 1, 40, 32)
    weight[:, :, :16] = 1
    input.requires_grad_()
    losses.haarpsi(input, target, subsample=subsample, weight=weight).backward()
    assert input.grad[:, :, 16 + reach :].abs().max() == 0
    assert input.grad[:, :, 16 + reach - 1].abs().max() > 0


def test_without_weight_contrast_or_difference_value_and_gradient_are_zero():
    black = torch.zeros(2, 3, 24, 20)
    check_zero_without_weight_or_difference(losses.haarpsi, (black, black, None))


def test_derivatives_equal_finite_differences():
    input, target = random_pair(height=18, width=17, channels=3, dtype=torch.float64)
    weight = torch.rand(2, 1, 18, 17, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    input.requires_grad_()
    for options in ({"color": "gray"}, {"subsample": False}, {}):

        def measured(x, options=options):
            return losses.haarpsi(x, target, weight=weight, reduction="none", **options)

        assert torch.autograd.gradcheck(measured, input, fast_mode=True)
        assert torch.autograd.gradgradcheck(measured, input, fast_mode=True)


def test_what_does_not_fit_is_refused():
    picture = torch.zeros(1, 3, 20, 40)
    for c in (0.0, float("nan"), float("inf")):
        with pytest.raises(LossariumError, match="c must be positive"):
            losses.haarpsi(picture, picture, c=c)
    for alpha in (0.0, 31.0, float("nan")):
        with pytest.raises(LossariumError, match="alpha must be above 0 and at most 30"):
            losses.haarpsi(picture, picture, alpha=alpha)
    with pytest.raises(LossariumError, match="color"):
        losses.haarpsi(picture, picture, color="luma")


def test_the_docstrings_examples_run():
    tried = doctest.testmod(haarpsi)
    assert tried.failed == 0
    assert tried.attempted > 0
