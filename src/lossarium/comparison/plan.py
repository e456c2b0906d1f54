"""The plan of a comparison."""

from dataclasses import dataclass

from lossarium.training.configuration import Recipe, Trial


@dataclass(frozen=True)
class Plan:
    """Losses and seeds, and the recipe that all trials share."""

    losses: tuple[str, ...]
    """Canonical specs."""
    seeds: int
    recipe: Recipe

    def trials(self) -> tuple[Trial, ...]:
        """The trials seed by seed, so that a comparison that is stopped early has complete seeds."""
        return tuple(Trial(loss, seed, self.recipe) for seed in range(self.seeds) for loss in self.losses)
