"""Folders to facesets: any folder of pictures, and the facesets that Lossarium renders itself.

A folder becomes a list of files (`listing` for a plain folder, `own_format` for one of Lossarium's), the
files become arrays (`frames`, where `reading` reads each picture), the arrays a faceset with a fair `split`.
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
from lossarium.facesets.split import frame_digests, held_out_frames, without_leaks
from lossarium.text.wording import counted, listed, printable_name

FEWEST_PICTURES = 8
"""A faceset of fewer is refused."""


@dataclass(frozen=True)
class LoadedFaceset:
    """A faceset and what its user ought to know about how it was read."""

    faceset: Faceset
    notes: tuple[str, ...]
    """Sentences, each to be said once."""


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
    frame_10); names that begin with a dot and `__MACOSX` are passed over. Its split is `held_out_blocks`.
    Where every picture carries landmarks, or a mask, in the way of faceswap's extracted PNGs or DeepFaceLab's
    aligned JPEGs, the faceset has them. A mask may be a grey picture, too, in a folder `masks` at the top
    (`lossarium.facesets.regions.masks_beside`), and goes before one inside the picture. A `faceset.pak` is
    read in place of loose pictures. A folder with a `faceset.toml` brings its own split, masks, landmarks and
    states.

    Training frames that equal a held-out frame pixel by pixel are left out, for they would flatter.

    Args:
        folder: The folder.
        size: Side of the frames in memory, in pixels.
        skip_bad: Leave unreadable pictures out, with a note, instead of refusing the folder.
        progress: Called after each picture, from the thread that called `load`.
        follow_links: Enter linked folders, and let linked files lead out of the folder; every real file is
            read once. Without it linked folders are passed over with a note.
        cache: A folder for decoded frames. Frames and masks are then memory-mapped files in it, the next time
            no picture is read, and nothing else changes; see `lossarium.facesets.cache`.

    Raises:
        LossariumError: the folder is missing, no folder, not accessible or holds no pictures; pictures cannot
            be read and `skip_bad` is not given (all are listed in the one message); fewer than
            `FEWEST_PICTURES` are left; the faceset's own files are damaged; or `cache` cannot be written.
    """
    listing = list_folder(folder, follow_links=follow_links)
    return load_listing(listing, size, skip_bad=skip_bad, progress=progress, cache=cache)


def list_folder(folder: Path, *, follow_links: bool = False) -> Listing:
    """What a folder of pictures holds, whoever made it; no picture is read. `follow_links` as for `load`.

    Raises:
        LossariumError: the folder is missing, no folder, not accessible or holds no pictures, or files that
            describe its pictures are damaged.
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
    """As `load`, of what `list_folder` found."""
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
    # The copies had their part in the split, so that it is the same with them and without.
    readable = sorted({*readings.kept, *readings.copies})
    held_out = held_out_frames(listing, readable)[np.searchsorted(readable, readings.kept)]
    states = listing.states
    return Faceset(
        identity=listing.identity,
        frames=readings.frames,
        frame_names=tuple(listing.frames[index].name for index in readings.kept),
        held_out=held_out,
        face_masks=readings.face_masks,
        states=None if states is None else tuple(states[index] for index in readings.kept),
        landmarks=readings.landmarks,
    )


def _refuse_unreadable(listing: Listing, readings: Readings) -> NoReturn:
    it = "it" if len(readings.failures) == 1 else "them"
    how_many, which = _failures(listing, readings)
    raise LossariumError(
        f"{how_many} in {printable_name(listing.folder)} cannot be read: {which}; "
        f"mend or remove {it}, or skip {it} with --skip-bad."
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
    judging = int(faceset.held_out.sum())
    for purpose, count in (("held out to judge by", judging), ("left for training", usable - judging)):
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
    """What is said about a faceset that is accepted."""
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
    """How many pictures cannot be read, and which and why."""
    failures = readings.failures
    how_many = f"{len(failures)} of {counted(len(listing.frames), 'picture')}"
    which = [
        f"{failure.path.relative_to(listing.folder).as_posix()} ({failure.reason})" for failure in failures
    ]
    return how_many, listed(which)


def _copies(number: int, link: str) -> str:
    equal = "equals a held-out one" if number == 1 else "equal held-out ones"
    return f"{counted(number, 'training picture')}{link}{equal} pixel by pixel"
