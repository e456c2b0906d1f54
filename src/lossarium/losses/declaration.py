"""The declaration of a loss."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args, get_origin

from torch import Tensor

LossFunction = Callable[..., Tensor]
Option = bool | int | float | str

# Arguments that every loss takes, which are not options.
_SHARED = frozenset({"weight", "reduction"})


@dataclass(frozen=True, kw_only=True)
class LossInfo:
    """A loss with everything that `lossarium explain` shows. Each file of losses ends with its
    declarations."""

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
    """(input, target, **options) -> (N, 1, H', W'), one value per pixel (or a window's centre). Called by
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
    words: dict[str, tuple[str, ...]] = field(init=False)
    """Option -> the words that it may be, for those that are one of a few, a `Literal` in the signature."""

    def __post_init__(self) -> None:
        options = [
            parameter
            for parameter in inspect.signature(self.function).parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in _SHARED
        ]
        words = {
            option.name: get_args(option.annotation)
            for option in options
            if isinstance(option.default, str) and get_origin(option.annotation) is Literal
        }
        object.__setattr__(self, "options", {option.name: option.default for option in options})
        object.__setattr__(self, "words", words)

    @property
    def objective(self) -> bool:
        """Whether it can be minimised."""
        return not self.not_minimised
