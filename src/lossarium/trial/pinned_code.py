"""Whether users' own judges and models are still the code that a folder was begun with."""

from collections.abc import Mapping
from pathlib import Path

from lossarium.errors import LossariumError
from lossarium.own_code import is_own, own_source, source_digest
from lossarium.training.configuration import Recipe


def own_code(recipe: Recipe) -> dict[str, str]:
    """Digest of the source file of each own judge and model of a recipe, by `module:name`, for `trial.toml`.

    Only the module's own file counts, not what it imports; the digest of a module without one is empty.

    Raises:
        LossariumError: one cannot be imported.
    """
    return {name: source_digest(name, what) for name, what in _named(recipe).items()}


def check_own_code(folder: Path, there: Mapping[str, str], recipe: Recipe, remedy: str) -> None:
    """Refuse to go on with own code that changed: half of the numbers would be of one code, half of another.

    Args:
        folder: Where the trials lie.
        there: What `own_code` gave when they were begun; a name that was not recorded is not checked.
        recipe: The recipe.
        remedy: What the user can do beside putting the code back.

    Raises:
        LossariumError: a file changed; it is named.
    """
    kinds = _named(recipe)
    changed = [name for name, now in own_code(recipe).items() if there.get(name, now) != now]
    if changed:
        files = (f"{own_source(name, kinds[name])} (the {kinds[name]} {name})" for name in changed)
        raise LossariumError(
            f"{folder} was begun with other own code: {', '.join(files)} changed since, and numbers may "
            f"differ; put back what it was begun with, or {remedy}"
        )


def _named(recipe: Recipe) -> dict[str, str]:
    """The names of own code in a recipe, each with what it is."""
    judges = dict.fromkeys((recipe.judge, *recipe.judges), "judge")
    return {name: what for name, what in {recipe.model: "model", **judges}.items() if is_own(name)}
