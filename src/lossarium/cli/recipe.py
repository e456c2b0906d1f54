"""The options that say how a trial is trained, whatever its loss."""

import argparse
import math
from typing import TYPE_CHECKING

from lossarium.errors import LossariumError

if TYPE_CHECKING:
    from lossarium.training.configuration import Recipe


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Register the options."""
    parser.add_argument("--steps", type=int, default=1000, help="steps a trial (default: %(default)s)")
    parser.add_argument(
        "--size", type=int, default=64, help="pictures' side in pixels (default: %(default)s)"
    )
    parser.add_argument("--model", default="compact", help="the autoencoder (default: %(default)s)")
    parser.add_argument(
        "--batch-size", type=int, default=8, help="frames of each identity a step (default: 8)"
    )
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="Adam's (default: %(default)s)")
    parser.add_argument(
        "--precision",
        choices=("float32", "bf16"),
        default="float32",
        help="of the model (default: %(default)s)",
    )


def recipe_of(arguments: argparse.Namespace) -> "Recipe":
    """The recipe that the options ask for.

    Raises:
        LossariumError: a number is out of its range.
    """
    from lossarium.training.configuration import Recipe

    for option, most in (("steps", 10**8), ("batch_size", 1024)):
        check_range(arguments, option, most)
    if not 32 <= arguments.size <= 512 or arguments.size % 16:
        raise LossariumError(f"--size must be a multiple of 16 from 32 to 512, not {arguments.size}")
    if not 0 < arguments.learning_rate < math.inf:
        raise LossariumError(f"--learning-rate must be positive, not {arguments.learning_rate}")
    return Recipe(
        steps=arguments.steps,
        size=arguments.size,
        model=arguments.model,
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        precision=arguments.precision,
    )


def check_range(arguments: argparse.Namespace, option: str, most: int, least: int = 1) -> None:
    """Refuse a whole number out of its range."""
    value = getattr(arguments, option)
    if not least <= value <= most:
        raise LossariumError(f"--{option.replace('_', '-')} must be from {least} to {most:,}, not {value}")
