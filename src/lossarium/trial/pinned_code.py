"""Check that users' own losses, judges and models have not changed since a folder was begun."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from lossarium.errors import LossariumError
from lossarium.losses.spec import names_in
from lossarium.own_code import is_own, own_source, source_digest
from lossarium.training.configuration import Recipe


def own_code(recipe: Recipe, specs: Iterable[str]) -> dict[str, str]:
    """Digest of the source file of each own loss, judge and model, by `module:name`, for `trial.toml`.

    Only the module's own file counts, not what it imports; the digest of a module without one is empty.

    Args:
        recipe: Whose judges and model.
        specs: The losses that are trained.

    Raises:
        LossariumError: one cannot be imported.
    """
    return {name: source_digest(name, what) for name, what in _named(recipe, specs).items()}


def check_own_code(
    folder: Path, there: Mapping[str, str], recipe: Recipe, specs: Iterable[str], remedy: str
) -> None:
    """Refuse to continue with own code that changed, since numbers before and after could not be compared.

    Args:
        folder: The trial's or the comparison's.
        there: The result of `own_code` when the folder was begun; names that were not recorded are not
            checked.
        recipe: As for `own_code`.
        specs: As for `own_code`.
        remedy: What the user can do besides restoring the code.

    Raises:
        LossariumError: a file changed; the message names it.
    """
    specs = tuple(specs)
    kinds = _named(recipe, specs)
    changed = [name for name, now in own_code(recipe, specs).items() if there.get(name, now) != now]
    if changed:
        files = (f"{own_source(name, kinds[name])} (the {kinds[name]} {name})" for name in changed)
        raise LossariumError(
            f"{folder} was begun with other own code: {', '.join(files)} changed since, and numbers may "
            f"differ; put back what it was begun with, or {remedy}"
        )


def _named(recipe: Recipe, specs: Iterable[str]) -> dict[str, str]:
    """The names of own code, each with its kind."""
    losses = dict.fromkeys((name for spec in specs for name in names_in(spec)), "loss")
    judges = dict.fromkeys((recipe.judge, *recipe.judges), "judge")
    return {name: what for name, what in {recipe.model: "model", **judges, **losses}.items() if is_own(name)}
