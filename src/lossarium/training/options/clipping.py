"""Gradient clipping as text: `"value(0.5)"`, `"norm(1.0)"`, `"autoclip(percentile=10)"`."""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.text.suggestions import nearest
from lossarium.training.options.syntax import call_text, read_call

HISTORY_LENGTH = 10_000
"""How many norms autoclip remembers."""

NormHistory = deque[float]
"""The norms of the latest steps; `list(history)` goes into a checkpoint, `norm_history(list)` comes back."""


@dataclass(frozen=True)
class Clipping:
    """How gradients are clipped."""

    kind: str = "none"
    """none; value: each component to [-limit, limit]; norm: the L2 norm of all gradients together to at most
    limit; autoclip: that norm to at most a percentile of its own history (Seetharaman et al. 2020, "AutoClip:
    Adaptive gradient clipping for source separation networks", algorithm 1)."""
    limit: float = 1.0
    """Of value and norm."""
    percentile: float = 10.0
    """Of autoclip, from 0 to 100."""

    def __post_init__(self) -> None:
        if self.kind not in CLIPPINGS:
            raise LossariumError(
                f'there is no gradient clipping "{self.kind}"; {nearest(self.kind, CLIPPINGS)}'
            )
        if not 0 < self.limit < math.inf:
            raise LossariumError(f"gradients can be clipped to a limit above 0 only, not to {self.limit:g}")
        if not 0 <= self.percentile <= 100:
            raise LossariumError(f"autoclip's percentile is from 0 to 100, not {self.percentile:g}")

    def __str__(self) -> str:
        if self.kind == "autoclip":
            return call_text(self.kind, {"percentile": self.percentile})
        return self.kind if self.kind == "none" else call_text(self.kind, {"": self.limit})


CLIPPINGS = ("none", "value", "norm", "autoclip")


@dataclass(frozen=True)
class GradientNorm:
    """What `clip` returns."""

    norm: float
    """L2 norm of all gradients together, before clipping."""
    finite: bool
    """Whether every component of every gradient is finite; if not, the step must be skipped."""
    clipped: bool
    """Whether a gradient may have been changed."""


def parse(text: str) -> Clipping:
    """Read a clipping.

    Raises:
        LossariumError: the text is malformed, the name is unknown, or a value is out of its range.

    >>> parse("norm(2)")
    Clipping(kind='norm', limit=2.0, percentile=10.0)
    >>> str(parse("autoclip"))
    'autoclip(percentile=10)'
    """
    call = read_call(text, "gradient clipping")
    if call.name not in CLIPPINGS:
        raise call.error(nearest(call.name, CLIPPINGS))
    option = {"value": "limit", "norm": "limit", "autoclip": "percentile"}.get(call.name)
    # The one option may be given without its name.
    values = list(call.values({option: 1.0, "": 1.0} if option else {}).values())
    if len(values) > 1:
        raise call.error(f"{option} is given twice")
    return Clipping(call.name, **{option: values[0]} if option and values else {})


def norm_history(norms: Iterable[float] = ()) -> NormHistory:
    """A history for `clip`, empty or with the norms of a checkpoint.

    It holds the latest `HISTORY_LENGTH` norms, where the paper's history grows without end. Up to that many
    steps both are the same. Later, the percentile follows the training instead of keeping its large first
    gradients, norms from before a change of the loss are forgotten, and a checkpoint grows by at most 80 kB.
    """
    return deque(norms, maxlen=HISTORY_LENGTH)


@torch.no_grad()
def clip(parameters: Iterable[Tensor], clipping: Clipping, history: NormHistory) -> GradientNorm:
    """Clip the gradients of parameters in place.

    Gradients with NaN or infinity are left as they are and do not enter the history.

    Args:
        parameters: Those without a gradient are skipped.
        clipping: How to clip.
        history: The norms so far; autoclip adds this step's norm and then takes the percentile.

    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> clip([weight], Clipping("norm", 1.0), norm_history())
    GradientNorm(norm=5.0, finite=True, clipped=True)
    >>> weight.grad
    tensor([0.6000, 0.8000])
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = _norm(gradients)
    if not math.isfinite(norm):
        return GradientNorm(norm, finite=False, clipped=False)
    if clipping.kind == "value":
        for gradient in gradients:
            gradient.clamp_(-clipping.limit, clipping.limit)
        return GradientNorm(norm, finite=True, clipped=True)
    limit = math.inf
    if clipping.kind == "norm":
        limit = clipping.limit
    elif clipping.kind == "autoclip":
        # A norm of 0 means that there was no gradient, which says nothing about the size of gradients.
        if norm > 0:
            history.append(norm)
        known = np.fromiter(history, np.float64, len(history))
        limit = float(np.percentile(known, clipping.percentile)) if history else math.inf
    # Gradients within the limit stay bit-identical; multiplying them by nearly 1 would not leave them so.
    if norm <= limit:
        return GradientNorm(norm, finite=True, clipped=False)
    for gradient in gradients:
        gradient.mul_(limit / norm)
    return GradientNorm(norm, finite=True, clipped=True)


def _norm(gradients: list[Tensor]) -> float:
    if not gradients:
        return 0.0
    norm = torch.nn.utils.get_total_norm(gradients).item()
    if math.isfinite(norm):
        return norm
    # Squares overflow in float32 long before the gradients do; float64 tells whether these are finite.
    squares = [torch.linalg.vector_norm(gradient, dtype=torch.float64).item() ** 2 for gradient in gradients]
    return math.sqrt(math.fsum(squares)) if all(map(math.isfinite, squares)) else norm
