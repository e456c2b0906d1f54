"""What pins a trial: two trials with equal configurations and equal facesets give equal numbers."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lossarium.facesets.batches.augmentation import Augmentation
from lossarium.training.region_weights import RegionWeights


@dataclass(frozen=True)
class Recipe:
    """All that the trials of a comparison share."""

    steps: int = 1000
    size: int = 64
    """Side of the pictures in pixels."""
    model: str = "compact"
    model_options: Mapping[str, Any] = field(default_factory=dict)
    """As `models.registry.all_options` gives them; its defaults where there are none."""
    batch_size: int = 8
    """Pictures of each identity a step."""
    learning_rate: float = 1e-3
    """Where the schedule starts from."""
    optimizer: str = "adam"
    """As `training.optimizers` writes it: "adamw(weight_decay=0.01)"."""
    schedule: str = "constant"
    """As `training.schedules` writes it: "cosine(warmup=500)"."""
    clipping: str = "none"
    """As `training.clipping` writes it: "norm(1)"."""
    accumulation: int = 1
    """Batches a step."""
    mask: str = "none"
    """As `training.region_weights` writes it: "extended(blur=2)"; for `mask_loss`, and for models that learn
    masks."""
    mask_loss: bool = False
    """Whether pixels outside the mask count nothing."""
    eye_multiplier: float = 1.0
    """What the eyes count, of what the rest does."""
    mouth_multiplier: float = 1.0
    """What the mouth counts."""
    precision: str = "float32"
    """float32, or bf16 for autocast; losses are float32 either way."""
    snapshots: int = 8
    """How often in all the trial is judged and photographed, the last time at its end."""
    judge_every: int = 0
    """Instead of `snapshots`: judged and photographed every so many steps, and at the end."""
    judge: str = "ssim"
    """Whose mean over held-out reconstructions says whether a trial gets better: for plateau schedules, the
    best checkpoint and convergence."""
    judges: tuple[str, ...] = ("psnr", "mae", "ssim", "lpips")
    """Who scores held-out frames: names of judges, or package.module:name for a user's own."""
    augmentation: Augmentation = field(default_factory=Augmentation)

    @property
    def region_weights(self) -> RegionWeights:
        """What regions of the pictures count."""
        return RegionWeights(self.mask_loss, self.eye_multiplier, self.mouth_multiplier)

    def snapshot_steps(self) -> tuple[int, ...]:
        """After which steps: closer together early, where pictures change fastest, or evenly."""
        if self.judge_every:
            return tuple(sorted({*range(self.judge_every, self.steps, self.judge_every), self.steps}))
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
