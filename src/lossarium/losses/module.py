"""Losses as modules, made from a spec."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lossarium.errors import LossariumError
from lossarium.losses.registry import info
from lossarium.losses.spec import Spec, Term, parse


@dataclass(frozen=True)
class TermReport:
    """The value and gradient of one term of a loss, times its factor."""

    term: str
    """As in the spec: "0.5*mae"."""
    value: float
    gradient_norm: float
    """The L2 norm of the value's gradient by the whole input batch."""


class Loss(nn.Module):
    """A weighted sum of losses, called as `loss(input, target, weight=None)`; returns a scalar.

    All arithmetic is float32 or wider, even under autocast.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec

    if TYPE_CHECKING:

        def __call__(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor: ...

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return self.terms(input, target, weight).sum()

    def terms(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Each term's value times its factor, in the spec's order, (terms,); their sum is the loss."""
        with torch.autocast(input.device.type, enabled=False):
            return torch.stack([_value(term, input, target, weight) for term in self.spec.terms])

    def report(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[TermReport, ...]:
        """Report each term's value and the norm of its gradient, to balance the terms of a sum.

        A term whose gradient is a hundredth of another's hardly influences training, whatever their values.
        It takes a forward and a backward pass per term, separate from training: it does not change
        `input.grad` or any graph, and also works under `torch.no_grad` and `torch.inference_mode`.

        Args:
            input: (N, C, H, W), the prediction.
            target: (N, C, H, W), the truth.
            weight: (N, 1, H, W), non-negative; the weight of each pixel.

        Returns:
            One report per term, in the spec's order; their values add up to the loss.

        Raises:
            LossariumError: as the losses themselves.

        >>> picture = torch.full((1, 3, 16, 16), 0.5)
        >>> for report in get("mae + 0.5*mse").report(picture + 0.25, picture):
        ...     print(f"{report.term}: {report.value:.4f}, gradient {report.gradient_norm:.4f}")
        mae: 0.2500, gradient 0.0361
        0.5*mse: 0.0312, gradient 0.0090
        """
        return tuple(_report(term, input, target, weight) for term in self.spec.terms)

    def extra_repr(self) -> str:
        return str(self.spec)


def get(spec: str | Spec) -> Loss:
    """The loss that a spec describes.

    Raises:
        LossariumError: the spec is malformed, or a name in it is unknown; see `lossarium.losses.spec.parse`.

    >>> loss = get("ssim + 0.5*mae")
    >>> picture = torch.zeros(1, 3, 16, 16)
    >>> loss(picture + 0.1, picture).ndim
    0
    """
    if not isinstance(spec, str | Spec):
        raise LossariumError(f'a loss is a spec such as "ssim + 0.5*mae", not {type(spec).__name__}')
    return Loss(parse(spec) if isinstance(spec, str) else spec)


def _value(term: Term, input: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    return term.factor * info(term.name).function(input, target, weight=weight, **dict(term.options))


def _report(term: Term, input: Tensor, target: Tensor, weight: Tensor | None) -> TermReport:
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(input.device.type, enabled=False),
    ):
        # Losses convert half precision to float32 themselves; converting here keeps the gradient unrounded.
        wide = torch.promote_types(input.dtype, torch.float32)
        prediction = _outside_all_graphs(input).to(wide).requires_grad_()
        region = None if weight is None else _outside_all_graphs(weight)
        value = _value(term, prediction, _outside_all_graphs(target), region)
        (gradient,) = torch.autograd.grad(value, prediction)
        norm = torch.linalg.vector_norm(gradient, dtype=torch.float64)
        return TermReport(str(term), float(value.detach()), float(norm))


def _outside_all_graphs(picture: Tensor) -> Tensor:
    # Tensors made in inference mode cannot be saved for a backward pass; their copies can.
    return picture.clone() if picture.is_inference() else picture.detach()
