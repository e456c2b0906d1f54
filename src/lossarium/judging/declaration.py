"""What a judge declares about itself."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from lossarium.losses.spec import names_in


@dataclass(frozen=True)
class Judge:
    """A measure of (prediction, truth), one value a picture."""

    name: str
    title: str
    """For people."""
    unit: str
    higher_is_better: bool
    digits: int
    """Decimals worth showing."""
    measure: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    """(N, 3, H, W) twice and a weight (N, 1, H, W) or None, to (N,)."""
    home_of: frozenset[str]
    """Losses that minimise this measure or its like: it has no vote on trials that they trained."""
    description: str
    """One sentence."""
    direction_declared: bool = True
    """Whether somebody said which values are better, or lower ones are by default."""

    def is_home_of(self, spec: str) -> bool:
        """Whether a loss with this spec trained on this judge; one that bears its name always did."""
        return any(name in self.home_of or name == self.name for name in names_in(spec))
