"""The declaration of a judge."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from lossarium.losses.spec import names_in


@dataclass(frozen=True)
class Judge:
    """A measure of (prediction, truth) with one value per picture."""

    name: str
    title: str
    """For people."""
    unit: str
    higher_is_better: bool
    digits: int
    """Decimals worth showing."""
    measure: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    """(prediction, truth, weight) -> (N,): two pictures (N, 3, H, W), and a weight (N, 1, H, W) or None."""
    home_of: frozenset[str]
    """Losses that are this measure in another form. It would favour them, so it has no vote on their trials;
    nor on those of losses whose gradient points the same way (`lossarium.judging.home`)."""
    description: str
    """One sentence."""
    margin: float = 0.0
    """A difference that is too small to matter, in the judge's unit."""
    direction_declared: bool = True
    """Whether `higher_is_better` was declared, or is the default (lower is better)."""

    def is_home_of(self, spec: str) -> bool:
        """Whether a term of this spec has the judge's name, or one that `home_of` names."""
        return any(name in self.home_of or name == self.name for name in names_in(spec))
