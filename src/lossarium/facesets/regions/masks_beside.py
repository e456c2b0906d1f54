"""Masks given as files: grey pictures in a folder `masks` beside the pictures, white where the face is."""

from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

from lossarium.errors import LossariumError
from lossarium.text.unicode_names import refuse_alike, same_form
from lossarium.text.wording import listed, printable_name

FRAMES, MASKS = "frames", "masks"
"""Masks lie in `MASKS`, by the paths that their pictures have beside it, or in a `FRAMES` beside it."""


def split_masks(relative: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Tell a folder's pictures from its masks.

    A folder that holds nothing but `masks` is one of pictures.

    Args:
        relative: Paths in the folder.

    Returns:
        Pictures and masks.
    """
    masks = [path for path in relative if len(path.parts) > 1 and path.parts[0] == MASKS]
    if len(masks) == len(relative):
        return list(relative), []
    there = {*masks}
    return [path for path in relative if path not in there], masks


def place_beside(relative: PurePath) -> PurePath:
    """The path below `MASKS` where a picture's mask is looked for, given the picture's in their folder."""
    parts = relative.parts
    return PurePath(*parts[1:]) if parts[0] == FRAMES and len(parts) > 1 else relative


def masks_of(places: Sequence[PurePath], masks: Sequence[PurePath], folder: Path) -> list[PurePath | None]:
    """For each picture its mask: of the same file name, else of the same but for the ending, else with an
    ending of its own: for 7.jpg these are 7.jpg, 7.png (or another ending) and 7.jpg.png.

    Names that differ only in how their accents are stored belong together, too, where neither has a partner
    of just its name.

    Args:
        places: Of `place_beside`.
        masks: Paths below `MASKS`.
        folder: Where both are, for messages.

    Raises:
        LossariumError: there are several for a picture, or several pictures for one through their accents.
    """
    exact = _finder(masks, str, folder)
    found = [exact(place) for place in places]
    claimed = {*found}
    alike = _finder([mask for mask in masks if mask not in claimed], same_form, folder)
    taken: dict[PurePath, PurePath] = {}
    for index, place in enumerate(places):
        if found[index] is None and (mask := alike(place)) is not None:
            other = taken.setdefault(mask, place)
            if other is not place:
                refuse_alike(other.as_posix(), place.as_posix())
            found[index] = mask
    return found


def _finder(
    masks: Sequence[PurePath], form: Callable[[str], str], folder: Path
) -> Callable[[PurePath], PurePath | None]:
    """Finds the mask of a place, with names compared in some form."""
    by_name: dict[str, list[PurePath]] = {}
    by_stem: dict[str, list[PurePath]] = {}
    for mask in masks:
        by_name.setdefault(form(mask.as_posix()), []).append(mask)
        by_stem.setdefault(form(mask.with_suffix("").as_posix()), []).append(mask)

    def mask_of(place: PurePath) -> PurePath | None:
        name, stem = form(place.as_posix()), form(place.with_suffix("").as_posix())
        found = by_name.get(name) or by_stem.get(stem) or by_stem.get(name) or []
        if len(found) > 1:
            raise LossariumError(
                f"{printable_name(folder)} holds several masks for one picture: "
                f"{listed([f'{MASKS}/{mask}' for mask in found])}; keep one of them."
            )
        return found[0] if found else None

    return mask_of
