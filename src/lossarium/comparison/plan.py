"""The plan of a comparison."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lossarium.training.configuration import Recipe, Trial


@dataclass(frozen=True)
class Plan:
    """Losses and seeds, and the recipe that all trials share."""

    losses: tuple[str, ...]
    """Canonical specs."""
    seeds: int
    recipe: Recipe
    margins: Mapping[str, float] = field(default_factory=dict)
    """Judge -> what is too small to matter, where it is not the judge's own margin. It is about the verdict,
    not about the trials: the same trials can be judged with another."""

    def trials(self) -> tuple[Trial, ...]:
        """The trials seed by seed, so that a comparison that is stopped early has complete seeds."""
        return tuple(Trial(loss, seed, self.recipe) for seed in range(self.seeds) for loss in self.losses)
