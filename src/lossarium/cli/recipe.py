"""The options for how a trial is trained, except for its loss: derived from the fields of `Recipe`."""

import argparse
import math
from collections.abc import Iterator
from dataclasses import Field, fields
from typing import Any

from lossarium.cli.assignment import assigned
from lossarium.errors import LossariumError
from lossarium.training.configuration import Option, Recipe


def add_recipe(parser: argparse.ArgumentParser, *, of_whole_trial: bool = True) -> None:
    """Register the options of a recipe.

    Args:
        parser: Of the command.
        of_whole_trial: Whether the command trains whole trials; if not, options that concern only whole
            trials are left out.
    """
    for field, option in _options():
        if of_whole_trial or not option.of_whole_trial:
            flag = _flag(option.flag or field.name)
            parser.add_argument(flag, dest=field.name, **_argument(field, option))


def recipe_of(arguments: argparse.Namespace) -> Recipe:
    """The recipe of the options; fields without an option in this command keep their defaults.

    Raises:
        LossariumError: a number is out of its range, or a text cannot be read.
    """
    # Late: these import torch, which takes a second.
    from lossarium.judging.judges import chosen
    from lossarium.models.registry import all_options
    from lossarium.training import region_weights
    from lossarium.training.options import augmentations, clipping, optimizers, schedules

    given = {field.name: getattr(arguments, field.name) for field, _ in _options() if field.name in arguments}
    _check_numbers(given)
    scoring, steering = chosen(given.get("judges"), given.get("judge"))
    options = [assigned(text, "--model-option is") for text in given["model_options"]]
    given |= {
        "model_options": all_options(given["model"], dict(options)),
        "optimizer": str(optimizers.parse(given["optimizer"])),
        "clipping": str(clipping.parse(given["clipping"])),
        "mask": str(region_weights.parse_mask(given["mask"]) or "none"),
        "judges": scoring,
        "judge": steering,
    }
    augmentation = given.pop("augmentation")
    if augmentation is not None:
        given["augmentation"] = augmentations.parse(augmentation)
    if "schedule" in given:
        given["schedule"] = str(schedules.parse(given["schedule"]))
    return Recipe(**given)


def check_range(arguments: argparse.Namespace, option: str, most: int, least: int = 1) -> None:
    """Refuse a whole number out of its range."""
    _check_between(option, getattr(arguments, option), least, most)


def _options() -> Iterator[tuple[Field[Any], Option]]:
    """The fields of a recipe that the command line has, in their order."""
    for field in fields(Recipe):
        if "option" in field.metadata:
            yield field, field.metadata["option"]


def _argument(field: Field[Any], option: Option) -> dict[str, Any]:
    """The arguments of `add_argument` for a field."""
    if option.repeated:
        return {"action": "append", "default": [], "metavar": option.metavar, "help": option.help}
    if field.default is False:
        return {"action": "store_true", "help": option.help}
    shown = field.default if option.default_text is None else option.default_text
    if isinstance(shown, float):
        shown = f"{shown:g}"
    argument = {"metavar": option.metavar, "help": f"{option.help} (default: {shown})"}
    if option.as_text:
        return argument
    return argument | {"type": type(field.default), "choices": option.choices, "default": field.default}


def _check_numbers(given: dict[str, Any]) -> None:
    for field, option in _options():
        if field.name in given and option.between is not None:
            _check_between(field.name, given[field.name], *option.between, option.multiple_of)
    for field, option in _options():
        if field.name in given and option.positive and not 0 < given[field.name] < math.inf:
            raise LossariumError(f"{_flag(field.name)} must be positive, not {given[field.name]}")


def _check_between(name: str, value: int, least: int, most: int, multiple_of: int = 1) -> None:
    if not least <= value <= most or value % multiple_of:
        multiple = "" if multiple_of == 1 else f"a multiple of {multiple_of} "
        raise LossariumError(f"{_flag(name)} must be {multiple}from {least} to {most:,}, not {value}")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
