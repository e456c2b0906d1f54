"""What pins a trial: two trials with equal configurations and equal facesets give equal numbers."""

from dataclasses import asdict, dataclass, field
from typing import Any

from lossarium.facesets.augmentation import Augmentation


@dataclass(frozen=True)
class Recipe:
    """All that the trials of a comparison share."""

    steps: int = 1000
    size: int = 64
    """Side of the pictures in pixels."""
    model: str = "compact"
    batch_size: int = 8
    """Pictures of each identity a step."""
    learning_rate: float = 1e-3
    """Adam's, constant."""
    precision: str = "float32"
    """float32, or bf16 for autocast; losses are float32 either way."""
    snapshots: int = 8
    """How often in all the trial is judged and photographed, the last time at its end."""
    augmentation: Augmentation = field(default_factory=Augmentation)

    def snapshot_steps(self) -> tuple[int, ...]:
        """After which steps: closer together early, where pictures change fastest."""
        shares = ((i / self.snapshots) ** 2 for i in range(1, self.snapshots + 1))
        return tuple(sorted({max(1, round(self.steps * share)) for share in shares}))


@dataclass(frozen=True)
class Trial:
    """One training run."""

    loss: str
    """The spec."""
    seed: int
    recipe: Recipe

    def as_table(self) -> dict[str, Any]:
        """For `trial.toml`."""
        return {"loss": self.loss, "seed": self.seed, "recipe": asdict(self.recipe)}
