"""Compute a loss either by plain torch operations or by a kernel that gives value and gradient in one pass.

Every loss is written in plain torch operations, which work on any device and dtype, under transformations and
for derivatives of any order. On a CPU, each of these operations is a pass over the pictures. So a kernel (in
the file of the same name that ends in `_cpu`) replaces them for values and first derivatives by the input in
float32.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from lossarium.losses.reduction import How, reduce

Plain = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(input, target, weight) -> one value per picture, (N,)."""
LossKernel = Callable[[Tensor, Tensor, Tensor | None, float | None], tuple[Tensor, Tensor | None]]
"""(input, target, weight, scale) -> one value per picture, (N,), and the gradient of each picture's value by
the input, times `scale`, (N, C, H, W); None for the gradient if scale is None. All tensors are float32,
contiguous and detached."""
LoadKernel = Callable[[], LossKernel]
"""Imports and returns a kernel when it is first needed: importing the compiler takes half a second, too long
for `--help`."""

_KERNELS_ALLOWED = ContextVar("_KERNELS_ALLOWED", default=True)


@contextmanager
def without_kernels() -> Iterator[None]:
    """Compute losses by plain torch operations inside this context, to compare or to debug.

    >>> import torch
    >>> from lossarium import losses
    >>> with losses.without_kernels():
    ...     losses.mse(torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2))
    tensor(1.)
    """
    token = _KERNELS_ALLOWED.set(False)
    try:
        yield
    finally:
        _KERNELS_ALLOWED.reset(token)


def measure(
    plain: Plain,
    load_kernel: LoadKernel | None,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    how: How,
) -> Tensor:
    """Compute a loss of pictures that `as_pictures` has checked, by its kernel if possible, else plainly.

    Args:
        plain: The loss in plain torch operations.
        load_kernel: Imports and returns its kernel; None if there is no kernel for these options.
        input: (N, C, H, W), the prediction.
        target: (N, C, H, W), the truth.
        weight: (N, 1, H, W), non-negative; the weight of each pixel.
        how: How the pictures' values become the result.
    """
    if load_kernel is None or not _kernel_serves(input, target, weight):
        # Autocast would compute matrix products in half precision.
        with torch.autocast(input.device.type, enabled=False):
            return reduce(plain(input, target, weight), how)
    kernel = load_kernel()
    input, target = input.contiguous(), target.contiguous()
    weight = None if weight is None else weight.contiguous()
    if torch.is_grad_enabled() and input.requires_grad:
        # The base method skips Function.apply's check for transformations, which are absent here.
        apply = super(torch.autograd.Function, _Fused).apply
        value: Tensor = apply(input, target, weight, plain, kernel, how)  # type: ignore[no-untyped-call]
        return value
    values, _ = kernel(input.detach(), target.detach(), weight, None)
    return reduce(values, how)


def _kernel_serves(input: Tensor, target: Tensor, weight: Tensor | None) -> bool:
    # Compilers, tracers and transformations cannot record a kernel, and their tensors carry more than the
    # memory that a kernel reads.
    if (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._are_functorch_transforms_active()
    ):
        return False
    grad = torch.is_grad_enabled()
    return (
        _is_plain_float32_on_cpu(input)
        and _is_plain_float32_on_cpu(target)
        and not (grad and target.requires_grad)
        and (weight is None or (_is_plain_float32_on_cpu(weight) and not (grad and weight.requires_grad)))
        and _KERNELS_ALLOWED.get()
        and not _in_forward_mode()
        and _kernels_installed()
    )


def _is_plain_float32_on_cpu(picture: Tensor) -> bool:
    # Tensor subclasses carry more than their memory, too.
    return picture.dtype is torch.float32 and picture.is_cpu and type(picture) in (Tensor, torch.nn.Parameter)


def _in_forward_mode() -> bool:
    return forward_ad._current_level >= 0


@cache
def _kernels_installed() -> bool:
    return find_spec("numba") is not None


class _Fused(torch.autograd.Function):
    """A loss computed by a kernel, which returns the gradient with the value."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        target: Tensor,
        weight: Tensor | None,
        plain: Plain,
        kernel: LossKernel,
        how: How,
    ) -> Tensor:
        # Scaled to be the gradient of the returned value, so that backward has little left to do.
        scale = 1 / len(input) if how == "mean" else 1.0
        values, gradient = kernel(input, target, weight, scale)
        ctx.save_for_backward(input, target, weight)
        ctx.plain, ctx.kernel, ctx.how, ctx.scale = plain, kernel, how, scale
        # A list, so that the first backward pass can take the gradient out and return it without a copy.
        ctx.gradients = [gradient]
        return reduce(values, how)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            input, target, weight = ctx.saved_tensors
            gradient = _differentiable_gradient(ctx.plain, input, target, weight, slope, ctx.how)
            return gradient, *(None,) * 5
        try:
            gradient = ctx.gradients.pop()
        except IndexError:  # a second time through a retained graph
            input, target, weight = ctx.saved_tensors
            _, gradient = ctx.kernel(input.detach(), target, weight, ctx.scale)
        if slope.ndim:
            gradient.mul_(slope.reshape(-1, 1, 1, 1))
        elif slope.item() != 1:
            gradient.mul_(slope)
        return gradient, *(None,) * 5


def _differentiable_gradient(
    plain: Plain, input: Tensor, target: Tensor, weight: Tensor | None, slope: Tensor, how: How
) -> Tensor:
    """The gradient as a function of input and slope that can be differentiated again (create_graph=True)."""
    value = reduce(plain(input, target, weight), how)
    (gradient,) = torch.autograd.grad(value, input, slope, create_graph=True)
    return gradient
