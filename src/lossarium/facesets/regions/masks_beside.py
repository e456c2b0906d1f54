"""Masks as files: grey pictures in a folder `masks` beside the pictures, white where the face is."""

from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

from lossarium.errors import LossariumError
from lossarium.text.unicode_names import refuse_alike, same_form
from lossarium.text.wording import listed, printable_name

FRAMES, MASKS = "frames", "masks"
"""A mask has the same path below `MASKS` as its picture has beside `MASKS`, or below `FRAMES`."""


def split_masks(relative: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Divide the files of a folder into pictures and masks.

    If all files lie in `masks`, they are pictures.

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
    """The path below `MASKS` where a picture's mask is looked for, from the picture's path in the folder."""
    parts = relative.parts
    return PurePath(*parts[1:]) if parts[0] == FRAMES and len(parts) > 1 else relative


def masks_of(places: Sequence[PurePath], masks: Sequence[PurePath], folder: Path) -> list[PurePath | None]:
    """Each picture's mask. For 7.jpg: 7.jpg, else 7 with another ending (7.png), else 7.jpg.png.

    Names that differ only in how their accents are stored (Unicode NFC and NFD) match, too, unless one of
    them has an exact match.

    Args:
        places: From `place_beside`.
        masks: Paths below `MASKS`.
        folder: The folder of both, for messages.

    Raises:
        LossariumError: a picture has several masks, or several pictures whose names differ only in their
            accents share one.
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
    """A function that finds the mask of a place; names are compared after `form`."""
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
