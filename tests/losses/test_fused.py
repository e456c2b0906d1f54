"""When a kernel replaces plain operations, and when it does not."""

from functools import partial

import pytest
import torch

from lossarium import losses
from lossarium.losses import fused
from tests.bounds import LONGEST_CHAIN, apart, error_bound, rounding_error
from tests.losses.pictures import random_pair

NAMES = [name for name in losses.names() if losses.info(name).objective]


@pytest.fixture
def calls(monkeypatch):
    """How often the kernel of mse was called."""
    from lossarium.losses.pixel import norms_cpu

    counted = []
    original = norms_cpu.mse

    def mse(*arguments):
        counted.append(arguments[3])
        return original(*arguments)

    monkeypatch.setattr(norms_cpu, "mse", mse)
    return counted


def test_a_kernel_serves_float32_on_the_cpu(calls):
    input, target = random_pair()
    input.requires_grad_()
    losses.mse(input, target).backward()
    assert calls == [0.5]
    with torch.no_grad():
        losses.mse(input, target)
    assert calls == [0.5, None]


@pytest.mark.parametrize(
    "way",
    [
        "float64",
        "a target with gradient",
        "a weight with gradient",
        "without kernels",
        "no numba",
        "vmap",
        "jvp",
    ],
)
# torch's own decompositions for forward mode.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_plain_operations_serve_the_rest(way, calls, monkeypatch):
    input, target = random_pair(dtype=torch.float64 if way == "float64" else torch.float32)
    expected = (input - target).square().mean()
    weight = None
    if way == "a target with gradient":
        target.requires_grad_()
    if way == "a weight with gradient":
        weight = torch.ones(2, 1, *input.shape[2:], requires_grad=True)
    if way == "no numba":
        monkeypatch.setattr(fused, "_kernels_installed", lambda: False)
    if way == "without kernels":
        with losses.without_kernels():
            value = losses.mse(input, target)
    elif way == "vmap":
        batched = torch.func.vmap(losses.mse)(input[:, None], target[:, None])
        value = batched.mean()
    elif way == "jvp":
        value, _ = torch.func.jvp(lambda x: losses.mse(x, target), (input,), (input,))
    else:
        value = losses.mse(input, target, weight=weight)
    assert calls == []
    assert torch.allclose(value, expected, rtol=apart(torch.float32), atol=0)


@pytest.mark.parametrize("name", ["mse", "huber", "mape", "ssim", "gmsd", "ffl"])
def test_the_gradient_of_a_target_equals_finite_differences(name):
    input, target = random_pair(height=13, width=12, channels=1, dtype=torch.float64)
    function = losses.info(name).function
    if name == "ffl":
        # Its focal weights are constants in the gradient; without them it is a plain derivative.
        function = partial(function, alpha=0.0)
    assert torch.autograd.gradcheck(lambda y: function(input, y), (target.requires_grad_(),))
    single = target.detach().float().requires_grad_()
    function(input.float(), single).backward()
    (exact,) = torch.autograd.grad(function(input, target), target)

    def slopes(x, y):
        y = y.detach().requires_grad_()
        return torch.autograd.grad(function(x, y), y)[0]

    # Slopes are sums that may cancel: what is lost is relative to the largest.
    lost = rounding_error(LONGEST_CHAIN, torch.float32) * exact.abs().max()
    allowed = lost + error_bound(slopes, input, target.detach(), dtype=torch.float32)
    assert ((single.grad - exact).abs() <= allowed).all()
    assert allowed.median() < 1e-4 * exact.abs().max(), "a bound that says nothing"


def test_a_gradient_by_func_equals_autograds():
    input, target = random_pair(height=32, width=32)
    slopes = torch.func.grad(lambda x: losses.ssim(x, target))(input)
    leaf = input.clone().requires_grad_()
    with losses.without_kernels():
        losses.ssim(leaf, target).backward()
    assert torch.equal(slopes, leaf.grad)


@pytest.mark.parametrize("name", NAMES)
def test_compiles_as_one_graph(name):
    input, target = random_pair(height=32, width=32)
    weight = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    function = losses.info(name).function
    torch.compiler.reset()
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    leaf = input.clone().requires_grad_()
    value = compiled(leaf, target, weight=weight)
    value.backward()
    plain = input.clone().requires_grad_()
    with losses.without_kernels():
        expected = function(plain, target, weight=weight)
    expected.backward()
    # The graph has the plain operations in their order: the same bits.
    assert torch.equal(value, expected)
    assert torch.equal(leaf.grad, plain.grad)


def test_memory_formats_and_views_do_not_matter():
    input, target = random_pair(height=32, width=30)
    usual = input.clone().requires_grad_()
    expected = losses.ssim(usual, target)
    expected.backward()
    for other in (input.to(memory_format=torch.channels_last), input.mT.contiguous().mT):
        leaf = other.clone(memory_format=torch.preserve_format).requires_grad_()
        assert not leaf.is_contiguous()
        value = losses.ssim(leaf, target)
        value.backward()
        assert torch.equal(value, expected)
        assert torch.equal(leaf.grad, usual.grad)
    grey = input[:, :1].expand_as(input)
    assert torch.equal(losses.mse(grey, target), losses.mse(grey.clone(), target))


@pytest.mark.parametrize("noticed", [True, False])
def test_the_gradient_is_that_of_the_value_though_the_input_was_changed_since(noticed):
    input, target = random_pair()
    leaf = input.clone().requires_grad_()
    picture = leaf * 1
    value = losses.mse(picture, target)
    # Autograd does not notice a change of `data`.
    (picture if noticed else picture.data).add_(1)
    value.backward()
    expected = 2 * (input - target) / input.numel()
    assert torch.allclose(leaf.grad, expected, rtol=rounding_error(8, torch.float32), atol=0)
