"""Whether users' own losses, judges and models are still the code that a folder was begun with."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from lossarium.errors import LossariumError
from lossarium.losses.spec import names_in
from lossarium.own_code import is_own
from lossarium.own_sources import changed_sources, source_digests
from lossarium.training.configuration import Recipe

OwnCode = Mapping[str, Mapping[str, str]]
"""`module:name` -> file -> digest, as in `trial.toml`."""


def own_code(recipe: Recipe, specs: Iterable[str]) -> dict[str, dict[str, str]]:
    """Digests of the source files of each own loss, judge and model, by `module:name`, for `trial.toml`.

    Args:
        recipe: Whose judges and model.
        specs: The losses that are trained.

    Raises:
        LossariumError: one cannot be imported.
    """
    return {name: source_digests(name, what) for name, what in _named(recipe, specs).items()}


def check_own_code(folder: Path, there: OwnCode, recipe: Recipe, specs: Iterable[str], remedy: str) -> None:
    """Refuse to go on with own code that changed: half of the numbers would be of one code, half of another.

    Args:
        folder: Where the trials lie.
        there: What `own_code` gave when they were begun; a name that was not recorded is not checked.
        recipe: As for `own_code`.
        specs: As for `own_code`.
        remedy: What the user can do beside putting the code back.

    Raises:
        LossariumError: a file changed; it is named.
    """
    changed = [
        f"{file} (the {what} {name})"
        for name, what in _named(recipe, specs).items()
        for file in changed_sources(there.get(name), name, what)
    ]
    if changed:
        raise LossariumError(
            f"{folder} was begun with other own code: {', '.join(changed)} changed since, and numbers may "
            f"differ; put back what it was begun with, or {remedy}"
        )


def _named(recipe: Recipe, specs: Iterable[str]) -> dict[str, str]:
    """The names of own code, each with what it is."""
    losses = dict.fromkeys((name for spec in specs for name in names_in(spec)), "loss")
    judges = dict.fromkeys((recipe.judge, *recipe.judges), "judge")
    return {name: what for name, what in {recipe.model: "model", **judges, **losses}.items() if is_own(name)}
