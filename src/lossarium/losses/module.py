"""Losses as modules, made from a spec."""

import torch
from torch import Tensor, nn

from lossarium.losses.registry import info
from lossarium.losses.spec import Spec, Term, parse


class Loss(nn.Module):
    """A weighted sum of losses, called as `loss(input, target, weight=None)`; gives a scalar.

    All arithmetic is float32 or wider, whatever autocast is on around it.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return self.terms(input, target, weight).sum()

    def terms(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Each term's value times its factor, in the spec's order, (terms,); their sum is the loss."""
        with torch.autocast(input.device.type, enabled=False):
            return torch.stack([_value(term, input, target, weight) for term in self.spec.terms])

    def extra_repr(self) -> str:
        return str(self.spec)


def get(spec: str | Spec) -> Loss:
    """The loss that a spec describes.

    Raises:
        LossariumError: the spec is malformed or names what there is not; see `lossarium.losses.spec.parse`.

    >>> loss = get("ssim + 0.5*mae")
    >>> picture = torch.zeros(1, 3, 16, 16)
    >>> loss(picture + 0.1, picture).ndim
    0
    """
    return Loss(parse(spec) if isinstance(spec, str) else spec)


def _value(term: Term, input: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    return term.factor * info(term.name).function(input, target, weight=weight, **dict(term.options))
