"""The kernel of ffl against the plain formula in float64."""

from functools import partial

import pytest
import torch

from lossarium import losses
from lossarium.losses.frequency import ffl_cpu as kernels
from lossarium.losses.frequency.ffl import _ffl_plain
from tests.bounds import LONGEST_CHAIN, rounding_error
from tests.losses.kernel_cases import check_float32, threads
from tests.losses.pictures import extremes, random_pair

SIZES = [(1, 1), (1, 7), (7, 1), (2, 2), (3, 8), (13, 12), (24, 20), (17, 33), (12, 18), (6, 600)]
DEFAULTS = {
    "alpha": 1.0,
    "patch_factor": 1,
    "ave_spectrum": False,
    "log_matrix": False,
    "batch_matrix": False,
}
OPTIONS = [
    {},
    {"alpha": 0.0},
    {"alpha": 0.3},
    {"alpha": 4.0},
    {"log_matrix": True},
    {"log_matrix": True, "alpha": 2.5, "batch_matrix": True},
    {"batch_matrix": True},
    {"ave_spectrum": True},
    {"patch_factor": 2},
    {"patch_factor": 3, "log_matrix": True},
    {"patch_factor": 2, "ave_spectrum": True, "batch_matrix": True},
]
SCALE = 0.3


def weights(kind: str, height: int, width: int):
    if kind == "none":
        return None
    weight = 3 * torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(1))
    if kind == "sparse":
        weight[0] = 0
        weight[1, :, height // 2 :] = 0
    return weight


def assert_equals_the_plain_way(input, target, weight, options):
    def exact(input, target, weight):
        input = input.clone().requires_grad_()
        expected = _ffl_plain(input, target, weight, **options)
        (gradient,) = torch.autograd.grad(SCALE * expected.sum(), input)
        return expected.detach(), gradient

    values, gradient = kernels.ffl(input, target, weight, SCALE, **options)
    assert values.dtype == gradient.dtype == torch.float32
    check_float32((values, gradient), exact, input, target, weight, of_difference=True)
    alone, none = kernels.ffl(input, target, weight, None, **options)
    assert none is None
    assert torch.equal(alone, values)


def fits(height, width, patch_factor=1, **_):
    return height % patch_factor == width % patch_factor == 0


@pytest.mark.parametrize(
    ("size", "options"), [(size, one) for one in OPTIONS for size in SIZES if fits(*size, **one)], ids=str
)
def test_value_and_gradient_equal_the_plain_formula(size, options):
    (height, width), options = size, DEFAULTS | options
    for channels in (1, 3):
        input, target = random_pair(height=height, width=width, channels=channels)
        for kind in ("none", "random", "sparse"):
            assert_equals_the_plain_way(input, target, weights(kind, height, width), options)


def test_logarithms_of_tiny_spectra_keep_their_proportions():
    """log(1 + |F|^alpha) is |F|^alpha there, and that less than any float32 but for its ratio."""
    input, target = random_pair()
    options = DEFAULTS | {"alpha": 8.0, "log_matrix": True}
    assert_equals_the_plain_way(1e-6 * (input - target), torch.zeros_like(target), None, options)


@pytest.mark.parametrize("case", extremes())
@pytest.mark.parametrize("options", [*OPTIONS[:9], {"alpha": 30.0}, {"alpha": 30.0, "log_matrix": True}])
def test_extremes_are_finite_and_equal_pictures_give_exactly_zero(case, options):
    input, target = (picture.contiguous() for picture in extremes(32)[case])
    values, gradient = kernels.ffl(input, target, None, SCALE, **(DEFAULTS | options))
    assert torch.isfinite(values).all()
    assert torch.isfinite(gradient).all()
    if torch.equal(input, target):
        assert values.abs().max() == 0
        assert gradient.abs().max() == 0


@pytest.mark.parametrize("options", [{}, {"ave_spectrum": True, "log_matrix": True}, {"patch_factor": 4}])
@pytest.mark.parametrize("number", [2, 3])
def test_bits_do_not_depend_on_the_number_of_threads(options, number):
    input, target = random_pair(height=260, width=516)
    weight = weights("sparse", 260, 516)
    kernel = partial(kernels.ffl, input, target, weight, SCALE, **(DEFAULTS | options))
    with threads(1):
        values, gradient = kernel()
    with threads(number):
        others, other_gradient = kernel()
    assert torch.equal(values, others)
    assert torch.equal(gradient, other_gradient)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_averaged_spectra_have_the_plain_gradient_for_any_weights(reduction):
    input, target = random_pair()
    gradients = []
    for way in (torch.float32, torch.float64):
        leaf = input.to(way, copy=True).requires_grad_()
        each = losses.ffl(leaf, target.to(way), ave_spectrum=True, reduction=reduction)
        (each * torch.tensor([1.0, 5.0]) if reduction == "none" else each).sum().backward()
        gradients.append(leaf.grad)
    fast, exact = gradients
    assert (fast - exact).abs().max() <= rounding_error(LONGEST_CHAIN, torch.float32) * exact.abs().max()


@pytest.mark.parametrize(
    "options", [{}, {"batch_matrix": True}, {"patch_factor": 2, "ave_spectrum": True}], ids=str
)
@pytest.mark.parametrize("kind", ["none", "sparse"])
def test_large_planes_transformed_one_by_one_give_the_same_result(options, kind, monkeypatch):
    monkeypatch.setattr(kernels, "_PIXELS_AT_ONCE", 1)
    monkeypatch.setattr(kernels, "_COLUMNS_AT_ONCE", 5)
    input, target = random_pair(height=24, width=20)
    assert_equals_the_plain_way(input, target, weights(kind, 24, 20), DEFAULTS | options)
