"""Folders to facesets: any folder of pictures, and the facesets that Lossarium renders itself.

`listing` (for a plain folder) or `own_format` (for one of Lossarium's) lists the files, `frames` reads them
into arrays (each picture by `reading`), and `split` divides the arrays into training and held-out frames.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import numpy as np

from lossarium.errors import LossariumError
from lossarium.facesets.cache import cached_frames
from lossarium.facesets.faceset import Faceset
from lossarium.facesets.formats.faceset_pak import PAK_NAME, pak_listing
from lossarium.facesets.formats.manifest import MANIFEST_NAME
from lossarium.facesets.formats.own_format import own_listing
from lossarium.facesets.frames import Progress, Readings, read_frames
from lossarium.facesets.listing import Listing, names_in, plain_listing
from lossarium.facesets.regions.masks_beside import MASKS
from lossarium.facesets.split import frame_digests, split_of, without_leaks
from lossarium.text.wording import counted, listed, printable_name

FEWEST_PICTURES = 8
"""A faceset of fewer is refused."""


@dataclass(frozen=True)
class LoadedFaceset:
    """A faceset, and what the user should know about how it was read."""

    faceset: Faceset
    notes: tuple[str, ...]
    """Sentences, each to be printed once."""


def load(
    folder: Path,
    size: int,
    *,
    skip_bad: bool = False,
    progress: Progress | None = None,
    cache: Path | None = None,
    follow_links: bool = False,
) -> LoadedFaceset:
    """Read a folder of pictures, with what faceswap or DeepFaceLab stored in them, or one of Lossarium's
    facesets, at `size` x `size`.

    A plain folder is searched with its subfolders for `PICTURE_ENDINGS`, in natural order (frame_2 before
    frame_10); names that begin with a dot and `__MACOSX` are skipped. Its split is `spread_out`. If
    every picture stores landmarks or a mask, as faceswap's extracted PNGs and DeepFaceLab's aligned JPEGs do,
    the faceset has them. A mask can also be a grey picture in a folder `masks` at the top
    (`lossarium.facesets.regions.masks_beside`), which takes precedence over one inside the picture. If there
    is a `faceset.pak`, it is read instead of loose pictures. A folder with a `faceset.toml` has its own
    split, masks, landmarks and states.

    Training frames that equal a held-out frame pixel by pixel are left out: they would make scores too good.

    Args:
        folder: The folder.
        size: Side of the frames in memory, in pixels.
        skip_bad: Leave unreadable pictures out, with a note, instead of refusing the folder.
        progress: Called after each picture, from the thread that called `load`.
        follow_links: Enter linked folders, and read linked files outside the folder; every real file is read
            once. Without it linked folders are skipped, with a note.
        cache: A folder for decoded frames. Frames and masks are then memory-mapped files in it, and the next
            time no picture is read. The result is the same; see `lossarium.facesets.cache`.

    Raises:
        LossariumError: the folder is missing, not a folder, not accessible or holds no pictures; pictures
            cannot be read and `skip_bad` is not given (one message lists them all); fewer than
            `FEWEST_PICTURES` are left; the faceset's own files are damaged; or `cache` cannot be written.
    """
    listing = list_folder(folder, follow_links=follow_links)
    return load_listing(listing, size, skip_bad=skip_bad, progress=progress, cache=cache)


def list_folder(folder: Path, *, follow_links: bool = False) -> Listing:
    """List a folder of pictures of any format; no picture is read. `follow_links` as for `load`.

    Raises:
        LossariumError: the folder is missing, not a folder, not accessible or holds no pictures, or files
            that describe its pictures are damaged.
    """
    names = names_in(folder)
    if MANIFEST_NAME in names:
        return replace(own_listing(folder), follow_links=follow_links)
    if PAK_NAME in names:
        return pak_listing(folder, follow_links=follow_links)
    return plain_listing(folder, follow_links=follow_links)


def load_listing(
    listing: Listing,
    size: int,
    *,
    skip_bad: bool = False,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> LoadedFaceset:
    """Like `load`, for a listing from `list_folder`."""
    if size < 1:
        raise LossariumError(f"Frames of {size} pixels are too small; give a size of at least 1.")
    if cache is None:
        readings = without_leaks(listing, read_frames(listing, size, progress))
    else:
        readings = cached_frames(listing, size, cache, progress)
    if readings.failures and not skip_bad:
        _refuse_unreadable(listing, readings)
    faceset = _faceset(listing, readings)
    _check_enough(listing.folder, faceset, len(readings.copies))
    notes = _notes(listing, readings, size)
    return LoadedFaceset(faceset, tuple(f"{listing.identity}: {note}." for note in notes))


def _faceset(listing: Listing, readings: Readings) -> Faceset:
    # Copies count in the split, so that leaving them out does not change it.
    readable = sorted({*readings.kept, *readings.copies})
    split = split_of(listing, readable)
    kept = np.searchsorted(readable, readings.kept)
    left_out = split.left_out[kept]
    states = listing.states
    return Faceset(
        identity=listing.identity,
        frames=readings.frames,
        frame_names=tuple(listing.frames[index].name for index in readings.kept),
        held_out=split.held_out[kept],
        face_masks=readings.face_masks,
        states=None if states is None else tuple(states[index] for index in readings.kept),
        landmarks=readings.landmarks,
        left_out=left_out if left_out.any() else None,
    )


def _refuse_unreadable(listing: Listing, readings: Readings) -> NoReturn:
    it = "it" if len(readings.failures) == 1 else "them"
    how_many, which = _failures(listing, readings)
    raise LossariumError(
        f"{how_many} in {printable_name(listing.folder)} cannot be read: {which}; "
        f"fix or remove {it}, or skip {it} with --skip-bad."
    )


def _check_enough(folder: Path, faceset: Faceset, copies: int) -> None:
    shown = printable_name(folder)
    usable = len(faceset.frame_names)
    if usable < FEWEST_PICTURES:
        raise LossariumError(
            f"The folder {shown} holds only {counted(usable, 'usable picture')}"
            + (f" without the {_copies(copies, ' that ')}" if copies else "")
            + f"; at least {FEWEST_PICTURES} are needed."
        )
    judging, training = int(faceset.held_out.sum()), int(faceset.trained.sum())
    for purpose, count in (("held out to judge by", judging), ("left for training", training)):
        if count:
            continue
        if not copies:
            raise LossariumError(f"The folder {shown} has no usable picture {purpose}; add more pictures.")
        different = len({*frame_digests(faceset.frames)})
        raise LossariumError(
            f"The folder {shown} has no usable picture {purpose}: its {counted(usable + copies, 'picture')} "
            f"are copies of {different}, so that {_copies(copies, ' ')}; "
            "add pictures that differ from one another."
        )


def _notes(listing: Listing, readings: Readings, size: int) -> Iterator[str]:
    """The notes on a faceset that is accepted."""
    copies = len(readings.copies)
    yield from listing.notes
    yield from readings.notes
    for what, number in (("landmarks", readings.without_landmarks), ("mask", readings.without_mask)):
        if number:
            lack = "lacks" if number == 1 else "lack"
            yield f"{counted(number, 'picture')} {lack} the {what} that others carry, so none is used"
    from_files = sum(listing.frames[index].mask is not None for index in readings.kept)
    if from_files and readings.face_masks is not None and listing.source_size is None:
        have = "has its face mask" if from_files == 1 else "have their face masks"
        yield f"{counted(from_files, 'picture')} {have} in the folder {MASKS}"
    for remark, count in readings.remarks.items():
        if count:
            of_one, of_many = remark.value
            yield f"{counted(count, 'picture')} {of_one if count == 1 else of_many}".format(size=size)
    if readings.failures:
        how_many, which = _failures(listing, readings)
        are = "is" if len(readings.failures) == 1 else "are"
        yield f"{how_many} cannot be read and {are} skipped: {which}"
    if copies:
        yield f"{_copies(copies, ' ')} and {'is' if copies == 1 else 'are'} left out of training"


def _failures(listing: Listing, readings: Readings) -> tuple[str, str]:
    """How many pictures cannot be read, and which ones for what reason."""
    failures = readings.failures
    how_many = f"{len(failures)} of {counted(len(listing.frames), 'picture')}"
    which = [
        f"{failure.path.relative_to(listing.folder).as_posix()} ({failure.reason})" for failure in failures
    ]
    return how_many, listed(which)


def _copies(number: int, link: str) -> str:
    equal = "equals a held-out one" if number == 1 else "equal held-out ones"
    return f"{counted(number, 'training picture')}{link}{equal} pixel by pixel"
