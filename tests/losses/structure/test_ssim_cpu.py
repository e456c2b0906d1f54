"""The kernels of SSIM and UQI against the plain formulas."""

from functools import partial

import pytest
import torch

from lossarium import losses
from tests.bounds import error_bound, rounding_error
from tests.losses.kernel_cases import check_against_plain, pairs
from tests.losses.pictures import random_pair

CASES = pairs()
LOSSES = [
    ("ssim", {}),
    ("ssim", {"window": 7, "sigma": 1.0}),
    ("ssim", {"color": "gray"}),
    ("ms_ssim", {}),
    ("ms_ssim", {"window": 7}),
    ("mix", {}),
    ("uqi", {}),
    ("uqi", {"window": 5}),
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("name", "options"), LOSSES, ids=str)
def test_equals_the_plain_formula(name, options, case):
    check_against_plain(name, *CASES[case], **options)


def test_pictures_too_large_for_all_scales_at_once_give_the_same_result():
    check_against_plain("ms_ssim", *random_pair(height=401, width=403, channels=1, seed=0), None)


@pytest.mark.parametrize("name", ["ssim", "ms_ssim", "uqi"])
@pytest.mark.parametrize("level", [0.0, 1.0, 30.0])
def test_flat_and_bright_pictures_keep_their_digits(name, level):
    """Variances of nearly flat pictures are small differences of large numbers, if taken carelessly."""
    texture = 1e-3 * torch.randn(1, 1, 40, 44, generator=torch.Generator().manual_seed(0))
    target = level + texture
    input = target + 1e-3 * torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
    # Windows take off what they have in common first; halving rounds pictures as bright as they are.
    check_against_plain(name, input, target, None, level=0.0 if name == "ms_ssim" else level)


def test_flat_offsets_are_exact():
    white = torch.ones(1, 3, 32, 32)
    for other in (0.9, 0.5, 0.0):
        expected = (1 - other) ** 2 / (1 + other**2 + 1e-4)
        # Of a flat picture only its mean is rounded, and what is made of it.
        near = rounding_error(16, torch.float32)
        assert losses.ssim(white * other, white).item() == pytest.approx(expected, abs=near)


def test_a_window_too_wide_for_the_kernel_uses_the_plain_formula():
    picture = torch.nn.functional.interpolate(CASES["odd"][0], size=(80, 90))
    value = losses.ssim(picture, picture * 0.5, window=67, sigma=9.0)
    with losses.without_kernels():
        assert torch.equal(value, losses.ssim(picture, picture * 0.5, window=67, sigma=9.0))
    exact = partial(losses.ssim, window=67, sigma=9.0)
    pair = picture.double(), picture.double() * 0.5
    # Two windows of 67 weights, and some ten roundings.
    allowed = error_bound(exact, *pair, dtype=torch.float32, roundings=2 * 67 + 10).item()
    assert value.item() == pytest.approx(exact(*pair).item(), abs=allowed)
