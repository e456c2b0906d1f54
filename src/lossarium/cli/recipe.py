"""The options for how a trial is trained, except for its loss."""

import argparse
import math
from typing import TYPE_CHECKING

from lossarium.cli import names
from lossarium.cli.assignment import assigned
from lossarium.errors import LossariumError

if TYPE_CHECKING:
    from lossarium.training.configuration import Recipe

WITHOUT_A_TRIAL = {
    "steps": 1000,
    "learning_rate": 1e-3,
    "schedule": "constant",
    "judge": None,
    "judges": None,
    "judge_every": 0,
}
"""What `recipe_of` takes for the options of a whole trial where there is no trial and nothing reads them."""


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Register the options of a trial."""
    parser.add_argument(
        "--steps", type=int, default=1000, help="training steps per trial (default: %(default)s)"
    )
    parser.add_argument(
        "--learning-rate",
        type=float,
        default=1e-3,
        help="the rate that the schedule starts from (default: %(default)s)",
    )
    parser.add_argument(
        "--schedule",
        default="constant",
        help=f"of the learning rate: {', '.join(names.SCHEDULES)}, with options such as "
        '"cosine(warmup=500)" (default: constant)',
    )
    add_step(parser)
    parser.add_argument(
        "--judge",
        metavar="NAME",
        help="the judge that steers plateau schedules, --keep-best and --until converged: one of --judges "
        "(default: ssim)",
    )
    parser.add_argument(
        "--judges",
        metavar="LIST",
        help="the judges that score held-out frames, separated by commas; your own as package.module:name "
        f"(default: {', '.join(names.JUDGES)})",
    )
    parser.add_argument(
        "--judge-every",
        type=int,
        default=0,
        metavar="STEPS",
        help="steps between two evaluations on held-out frames (default: 8 evaluations in all)",
    )


def add_step(parser: argparse.ArgumentParser) -> None:
    """Register the options of a single step: of these, a learning-rate range test takes all."""
    parser.add_argument(
        "--size", type=int, default=64, help="side of the pictures in pixels (default: %(default)s)"
    )
    parser.add_argument(
        "--model",
        default="compact",
        help=f"the autoencoder: {', '.join(names.MODELS)}, or your own as package.module:factory "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--model-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the autoencoder, such as architecture=liae; may be repeated",
    )
    parser.add_argument(
        "--batch-size", type=int, default=8, help="frames of each identity in a batch (default: 8)"
    )
    parser.add_argument(
        "--optimizer",
        default="adam",
        help=f"{', '.join(names.OPTIMIZERS)}, or one of pytorch-optimizer's, with options such as "
        '"adamw(weight_decay=0.01)" (default: adam)',
    )
    parser.add_argument(
        "--clipping", default="none", help='of gradients, such as "norm(1)" or "autoclip" (default: none)'
    )
    parser.add_argument(
        "--accumulation", type=int, default=1, help="batches whose gradients a step adds up (default: 1)"
    )
    parser.add_argument(
        "--augmentation",
        default="default",
        help='such as "faceswap", "default(warp=0.03, flip=0)" or "none" (default: default)',
    )
    parser.add_argument(
        "--mask",
        default="none",
        help='the face mask for --mask-loss and for models that learn masks: "stored" with the pictures, or '
        'made from landmarks, as "components" or "extended(dilation=2, blur=1)", in pixels (default: none)',
    )
    parser.add_argument(
        "--mask-loss", action="store_true", help="leave pixels outside the mask out of the loss"
    )
    for region in ("eye", "mouth"):
        parser.add_argument(
            f"--{region}-multiplier",
            type=float,
            default=1.0,
            metavar="TIMES",
            help=f"weight of the {region} in the loss, as a multiple of the other pixels' (default: 1)",
        )
    parser.add_argument(
        "--precision",
        choices=("float32", "bf16"),
        default="float32",
        help="precision of the model; losses are always computed in float32 (default: %(default)s)",
    )


def recipe_of(arguments: argparse.Namespace) -> "Recipe":
    """The recipe of the options.

    Raises:
        LossariumError: a number is out of its range.
    """
    from lossarium.judging.judges import chosen
    from lossarium.models.registry import all_options
    from lossarium.training import region_weights
    from lossarium.training.configuration import Recipe
    from lossarium.training.options import augmentations, clipping, optimizers, schedules

    for option, most in (("steps", 10**8), ("batch_size", 1024), ("accumulation", 1024)):
        check_range(arguments, option, most)
    check_range(arguments, "judge_every", 10**8, least=0)
    if not 32 <= arguments.size <= 512 or arguments.size % 16:
        raise LossariumError(f"--size must be a multiple of 16 from 32 to 512, not {arguments.size}")
    if not 0 < arguments.learning_rate < math.inf:
        raise LossariumError(f"--learning-rate must be positive, not {arguments.learning_rate}")
    for option in ("eye_multiplier", "mouth_multiplier"):
        if not 0 < getattr(arguments, option) < math.inf:
            raise LossariumError(
                f"--{option.replace('_', '-')} must be positive, not {getattr(arguments, option)}"
            )
    scoring, steering = chosen(arguments.judges, arguments.judge)
    given = [assigned(text, "--model-option is") for text in arguments.model_option]
    return Recipe(
        steps=arguments.steps,
        size=arguments.size,
        model=arguments.model,
        model_options=all_options(arguments.model, dict(given)),
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        optimizer=str(optimizers.parse(arguments.optimizer)),
        schedule=str(schedules.parse(arguments.schedule)),
        clipping=str(clipping.parse(arguments.clipping)),
        accumulation=arguments.accumulation,
        augmentation=augmentations.parse(arguments.augmentation),
        mask=str(region_weights.parse(arguments.mask) or "none"),
        mask_loss=arguments.mask_loss,
        eye_multiplier=arguments.eye_multiplier,
        mouth_multiplier=arguments.mouth_multiplier,
        precision=arguments.precision,
        judge=steering,
        judges=scoring,
        judge_every=arguments.judge_every,
    )


def check_range(arguments: argparse.Namespace, option: str, most: int, least: int = 1) -> None:
    """Refuse a whole number out of its range."""
    value = getattr(arguments, option)
    if not least <= value <= most:
        raise LossariumError(f"--{option.replace('_', '-')} must be from {least} to {most:,}, not {value}")
