"""The configuration of a trial: trials with equal configurations and equal facesets give equal numbers.

The command line is derived from `Recipe` (see `cli.recipe`), and no default stands anywhere else. For --help,
this module imports nothing that is slow to import, such as torch.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lossarium.facesets.batches.amount import Augmentation
from lossarium.text.listed_names import DEFAULT_JUDGES, JUDGES, MODELS, OPTIMIZERS, SCHEDULES

FULL_EVALUATIONS = 3
"""The number of evaluations, the last ones of a trial, that judge all held-out frames instead of a sample;
the verdict is about their mean.

Luck of a trial's scores, relative to that of its last evaluation alone (mse, ssim and ssim + mae, 5 seeds,
300 steps, 6 scores, geometric mean): 0.63 with the mean of the evaluations at 87%, 93% and 100% of the steps,
whose PSNR is 0.1 dB lower; 0.83 with those at 93%, 97% and 100%; 0.67 with those at 57%, 77% and 100%, half a
decibel lower; 0.67 to 0.80 with one model whose weights are the mean over the last 3 to 10% of the steps."""
_CLOSING = (0.87, 0.93)
"""The shares of the steps at which the full evaluations before the last one are."""


@dataclass(frozen=True)
class Option:
    """How a field of a recipe is given on the command line; its type and default are those of the field."""

    help: str
    """The help text without the default, which is appended."""
    metavar: str | None = None
    """The placeholder for the value in the help; by default the option's name."""
    choices: tuple[str, ...] | None = None
    """The allowed values; None for any."""
    between: tuple[int, int] | None = None
    """The lowest and the highest whole number allowed."""
    multiple_of: int = 1
    positive: bool = False
    """Whether the number has to be above 0."""
    as_text: bool = False
    """Whether the option is text that is parsed into the field; None if it is not given."""
    default_text: str | None = None
    """The default as the help shows it; by default the field's own."""
    flag: str | None = None
    """The option's name without its dashes; by default the field's."""
    repeated: bool = False
    """Whether the option may be repeated, each time with one value."""
    of_whole_trial: bool = False
    """Whether the option concerns whole trials only, so that a learning-rate range test does not have it."""


def option(default: Any, help: str, **details: Any) -> Any:  # noqa: A002 - argparse's word
    """A field that is an option of the command line, with `details` as in `Option`."""
    return field(default=default, metadata={"option": Option(help, **details)})


@dataclass(frozen=True)
class RegionWeights:
    """The weights of regions in the loss."""

    mask_loss: bool = False
    """Whether pixels outside the face have the weight 0."""
    eye_multiplier: float = 1.0
    """The weight of the eyes relative to the rest."""
    mouth_multiplier: float = 1.0
    """The weight of the mouth relative to the rest."""


@dataclass(frozen=True)
class Recipe:
    """The settings that all trials of a comparison share."""

    steps: int = option(1000, "training steps per trial", between=(1, 10**8), of_whole_trial=True)
    size: int = option(64, "side of the pictures in pixels", between=(32, 512), multiple_of=16)
    model: str = option(
        "compact",
        f"the autoencoder: {', '.join(MODELS)}, or your own as package.module:factory",
    )
    model_options: Mapping[str, Any] = field(
        default_factory=dict,
        metadata={
            "option": Option(
                "an option of the autoencoder, such as architecture=liae; may be repeated",
                metavar="NAME=VALUE",
                flag="model-option",
                repeated=True,
            )
        },
    )
    """From `models.registry.all_options`; empty for the model's defaults."""
    batch_size: int = option(8, "frames of each identity in a batch", between=(1, 1024))
    learning_rate: float = option(
        1e-3, "the rate that the schedule starts from", positive=True, of_whole_trial=True
    )
    optimizer: str = option(
        "adam",
        f"{', '.join(OPTIMIZERS)}, or one of pytorch-optimizer's, with options such as "
        '"adamw(weight_decay=0.01)"',
    )
    """In the syntax of `training.options.optimizers`."""
    schedule: str = option(
        "constant",
        f'of the learning rate: {", ".join(SCHEDULES)}, with options such as "cosine(warmup=500)"',
        of_whole_trial=True,
    )
    """In the syntax of `training.options.schedules`."""
    clipping: str = option("none", 'of gradients, such as "norm(1)" or "autoclip"')
    """In the syntax of `training.options.clipping`."""
    accumulation: int = option(1, "batches whose gradients a step adds up", between=(1, 1024))
    mask: str = option(
        "none",
        'the face mask for --mask-loss and for models that learn masks: "stored" with the pictures, or made '
        'from landmarks, as "components" or "extended(dilation=2, blur=1)", in pixels',
    )
    """In the syntax of `training.region_weights`."""
    mask_loss: bool = option(RegionWeights.mask_loss, "leave pixels outside the mask out of the loss")
    eye_multiplier: float = option(
        RegionWeights.eye_multiplier,
        "weight of the eyes in the loss, as a multiple of the other pixels'",
        metavar="TIMES",
        positive=True,
    )
    mouth_multiplier: float = option(
        RegionWeights.mouth_multiplier,
        "weight of the mouth in the loss, as a multiple of the other pixels'",
        metavar="TIMES",
        positive=True,
    )
    precision: str = option(
        "float32",
        "precision of the model, bf16 by autocast; losses are always computed in float32",
        choices=("float32", "bf16"),
    )
    snapshots: int = 8
    """The number of snapshots (scores and previews) of the whole trial; the last one is at its end."""
    judge_every: int = option(
        0,
        "steps between two evaluations on held-out frames",
        metavar="STEPS",
        between=(0, 10**8),
        default_text=f"{snapshots} evaluations in all",
        of_whole_trial=True,
    )
    """0 for `snapshots`."""
    judged_frames: int = option(
        256,
        "held-out frames, of both identities together, that evaluations during training judge; the last "
        f"{FULL_EVALUATIONS} judge all",
        metavar="FRAMES",
        between=(2, 10**8),
        of_whole_trial=True,
    )
    """A fixed sample, see `judging.sample`."""
    judge: str = option(
        "ssim",
        "the judge that steers plateau schedules, --keep-best and --until converged: one of --judges",
        metavar="NAME",
        as_text=True,
        of_whole_trial=True,
    )
    """Its mean over the reconstructions of `judged_frames` decides whether a trial has improved."""
    judges: tuple[str, ...] = option(
        DEFAULT_JUDGES,
        f"the judges that score held-out frames, separated by commas: {', '.join(JUDGES)}; "
        "your own as package.module:name",
        metavar="LIST",
        as_text=True,
        default_text=", ".join(DEFAULT_JUDGES),
        of_whole_trial=True,
    )
    augmentation: Augmentation = field(
        default_factory=Augmentation,
        metadata={
            "option": Option(
                'such as "faceswap", "default(warp=0.03, flip=0)" or "none"',
                as_text=True,
                default_text="default",
            )
        },
    )
    """From text by `training.options.augmentations`."""

    @property
    def region_weights(self) -> RegionWeights:
        """The weights of regions in the loss."""
        return RegionWeights(self.mask_loss, self.eye_multiplier, self.mouth_multiplier)

    def snapshot_steps(self) -> tuple[int, ...]:
        """The steps after which snapshots are taken: denser early, when pictures change fastest, and at the
        end, where the evaluations that the verdict averages should be about the same model; or evenly
        spaced."""
        if self.judge_every:
            return tuple(sorted({*range(self.judge_every, self.steps, self.judge_every), self.steps}))
        closing = _CLOSING if self.snapshots > 2 * FULL_EVALUATIONS else ()
        count = self.snapshots - len(closing)
        shares = [*((i / count) ** 2 for i in range(1, count + 1)), *closing]
        return tuple(sorted({max(1, round(self.steps * share)) for share in shares}))

    def full_evaluation_steps(self) -> tuple[int, ...]:
        """The snapshots at which all held-out frames are judged."""
        return self.snapshot_steps()[-FULL_EVALUATIONS:]


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
