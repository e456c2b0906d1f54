"""The declaration of a loss."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

LossFunction = Callable[..., Tensor]
Option = bool | int | float | str

# Arguments that every loss takes, which are not options.
_SHARED = frozenset({"weight", "reduction"})


@dataclass(frozen=True, kw_only=True)
class LossInfo:
    """A loss and what `lossarium explain` says about it. Each file of losses ends with its declarations."""

    name: str
    function: LossFunction
    """(input, target, *, weight=None, reduction="mean", **options) -> scalar or (N,)."""
    family: str
    """pixel, structure, frequency or perceptual; "own" for a user's loss."""
    formula: str
    """The formula in plain text, with x the input and y the target."""
    source: str
    """Paper and equation."""
    range: str = "[0, inf)"
    map: LossFunction | None = None
    """(input, target, **options) -> (N, 1, H', W'), one value a pixel (or a window's centre). Called by
    `lossarium.losses.map`, which checks the pictures before and passes every option."""
    pixel_map: bool = False
    """Whether the loss is the mean of that map; then a region weight is exact."""
    not_minimised: str = ""
    """Why it cannot be a training loss; empty if it can."""
    good_at: str
    bad_at: str
    gradient: str
    """How its gradient behaves, near equality and far from it."""
    artefacts: str
    """What training on it alone is known to do to pictures."""
    when: str
    """When to use it."""
    options: dict[str, Option] = field(init=False)
    """Option -> default, read from the function's signature."""

    def __post_init__(self) -> None:
        parameters = inspect.signature(self.function).parameters.values()
        options = {
            p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in _SHARED
        }
        object.__setattr__(self, "options", options)

    @property
    def objective(self) -> bool:
        """Whether it can be minimised."""
        return not self.not_minimised
