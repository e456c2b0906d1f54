"""Plan a swap: the pictures to swap, their masks, and the files to write."""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lossarium.errors import LossariumError
from lossarium.facesets.folder import list_folder
from lossarium.facesets.formats.manifest import MANIFEST_NAME, read_manifest
from lossarium.facesets.listing import PICTURE_ENDINGS, FrameFile, Listing, Packed
from lossarium.facesets.output_folder import refuse_output_in_pictures
from lossarium.facesets.reading import UnreadablePicture
from lossarium.facesets.regions.masks_beside import FRAMES, MASKS, masks_of
from lossarium.judging.pairs import MaskFile
from lossarium.provenance import ENDINGS, PNG
from lossarium.text.links import why_outside
from lossarium.text.unicode_names import same_form
from lossarium.text.wording import counted, listed, printable_name


@dataclass(frozen=True)
class SwapJob:
    """One picture to be swapped."""

    path: Path
    output: Path
    """Ends as one of `ENDINGS`."""
    mask: MaskFile | None = None
    """A mask file that marks the face."""
    landmarks: npt.NDArray[np.float64] | None = field(default=None, compare=False)
    """(68, 2) in the picture's pixels, if its faceset has them."""
    packed: Packed | None = None
    """Where the picture is in a faceset.pak, if it is in one."""


def find_jobs(
    source: Path,
    out: Path,
    *,
    ending: str | None = None,
    force: bool = False,
    follow_links: bool = False,
    tell: Callable[[str], None] = lambda _: None,
    is_finished: Callable[[SwapJob], bool] = lambda _: False,
) -> Sequence[SwapJob]:
    """Plan the swap of a picture or of a folder of pictures.

    A folder is read as `lossarium.facesets.folder.load` reads it, and its pictures keep their paths below
    `out`. Masks are those of the faceset, or grey pictures of the same path in a folder `masks`
    (`lossarium.facesets.regions.masks_beside`), which lies beside the picture or beside its folder `frames`.

    Args:
        source: A picture, or a folder.
        out: A folder; for one picture also a file whose name has one of `ENDINGS`.
        ending: The ending of files that are written to a folder; by default PNG.
        force: Whether to replace files that exist.
        follow_links: As for `lossarium.facesets.folder.load`.
        tell: Called with each sentence on how a folder was read.
        is_finished: Whether an existing file was written by this same swap before it was interrupted.

    Raises:
        LossariumError: `source` is missing or cannot be listed, two pictures would be written to the same
            file, a file exists and `force` is False, or an output would replace an input.
    """
    if not source.exists():
        raise LossariumError(f"{printable_name(source)} does not exist; check its path")
    if source.is_dir():
        jobs = _of_folder(source, out, ending or PNG, follow_links=follow_links, tell=tell)
    else:
        jobs = [_of_picture(source, out, ending)]
    _refuse_clashes(jobs)
    _refuse_existing(jobs, is_finished, force=force)
    return jobs


def _of_picture(path: Path, out: Path, ending: str | None) -> SwapJob:
    mask = _mask_beside(path)
    if out.suffix.lower() not in ENDINGS or out.is_dir():
        if out.suffix and not out.is_dir() and ending is None:
            raise LossariumError(
                f"{printable_name(out)} is neither a folder nor a name that ends in {' or '.join(ENDINGS)}; "
                "pictures are written as PNG or JPEG"
            )
        output = out / f"{path.stem}{ending or PNG}"
    elif ending is not None and (ending == PNG) != (out.suffix.lower() == PNG):
        raise LossariumError(
            f"the ending of {printable_name(out)} contradicts --format; leave one of them out"
        )
    else:
        output = out
    if output.exists() and output.samefile(path):
        raise LossariumError(f"{printable_name(output)} is the input itself; choose another output")
    return SwapJob(path, output, mask)


def _of_folder(
    folder: Path, out: Path, ending: str, *, follow_links: bool, tell: Callable[[str], None]
) -> Sequence[SwapJob]:
    if out.exists() and not out.is_dir():
        raise LossariumError(
            f"{printable_name(out)} is a file; give a folder as output for a folder of pictures"
        )
    refuse_output_in_pictures(out, folder)
    listing = list_folder(folder, follow_links=follow_links)
    for note in listing.notes:
        tell(f"{printable_name(folder)}: {note}.")
    return [_of_frame(frame, listing, out, ending) for frame in listing.frames]


def _of_frame(frame: FrameFile, listing: Listing, out: Path, ending: str) -> SwapJob:
    where = frame.packed.archive if frame.packed else frame.path
    if (reason := why_outside(where, listing.boundary())) is not None:
        raise UnreadablePicture(frame.path, reason)
    output = out / f"{_path_in(listing, frame).as_posix()}{ending}"
    return SwapJob(frame.path, output, _mask_of(frame, listing), frame.landmarks, frame.packed)


def _path_in(listing: Listing, frame: FrameFile) -> Path:
    """The path of a frame in its folder, without the ending."""
    if listing.source_size is not None:
        return Path(frame.name)
    return (Path(frame.name) if frame.packed else frame.path.relative_to(listing.folder)).with_suffix("")


def _mask_of(frame: FrameFile, listing: Listing) -> MaskFile | None:
    if frame.mask is not None and why_outside(frame.mask, listing.boundary()) is None:
        return MaskFile(frame.mask, listing.source_size)
    return None if frame.packed else _mask_beside(frame.path)


def _mask_beside(path: Path) -> MaskFile | None:
    """The mask of the same path in a folder `masks`, beside the picture or beside its folder `frames`."""
    absolute = path.absolute()
    frames = next((parent for parent in absolute.parents if parent.name == FRAMES), None)
    faceset = absolute.parent if frames is None else frames.parent
    place = absolute.relative_to(frames or faceset)
    names = [place.with_suffix(ending) for ending in PICTURE_ENDINGS]
    names += [place, *(place.with_name(place.name + ending) for ending in PICTURE_ENDINGS)]
    there = [name for name in dict.fromkeys(names) if (faceset / MASKS / name).is_file()]
    if not there and not place.as_posix().isascii():
        there = _alike(faceset / MASKS, names)
    (found,) = masks_of([place], there, faceset)
    if found is None or why_outside(mask := faceset / MASKS / found, faceset.resolve()) is not None:
        return None
    return MaskFile(mask, read_manifest(faceset).size if (faceset / MANIFEST_NAME).is_file() else None)


def _alike(folder: Path, names: Sequence[Path]) -> list[Path]:
    """The files in a folder that have one of these names, however accents are stored."""
    found = [Path()]
    for part in names[0].parent.parts:
        found = [
            above / name
            for above in found
            for name in _names_by_form(folder / above).get(same_form(part), ())
        ]
    wanted = dict.fromkeys(same_form(name.name) for name in names)
    alike = [
        above / name
        for above in found
        for form in wanted
        for name in _names_by_form(folder / above).get(form, ())
    ]
    return [path for path in alike if (folder / path).is_file()]


def _names_by_form(folder: Path) -> Mapping[str, Sequence[str]]:
    try:
        return _listed_by_form(folder, folder.stat().st_mtime_ns)
    except OSError:
        return {}


@functools.lru_cache(maxsize=16)
def _listed_by_form(folder: Path, _changed: int) -> Mapping[str, Sequence[str]]:
    """The names in a folder by their Unicode form; read once for all its pictures, until it changes."""
    forms: dict[str, list[str]] = {}
    for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names alone are wanted
        forms.setdefault(same_form(name), []).append(name)
    return forms


def _refuse_clashes(jobs: Sequence[SwapJob]) -> None:
    by_output: dict[Path, SwapJob] = {}
    for job in jobs:
        other = by_output.setdefault(job.output, job)
        if other is not job:
            raise LossariumError(
                f"{printable_name(other.path)} and {printable_name(job.path)} would both become "
                f"{printable_name(job.output)}; rename one of them"
            )


def _refuse_existing(jobs: Sequence[SwapJob], is_finished: Callable[[SwapJob], bool], *, force: bool) -> None:
    folders = [job.output.as_posix() for job in jobs if job.output.is_dir()]
    if folders:
        raise LossariumError(f"{listed(folders)} would be written, but is a folder; choose another output")
    if force:
        return
    existing = [job.output.as_posix() for job in jobs if job.output.exists() and not is_finished(job)]
    if existing:
        raise LossariumError(
            f"{counted(len(existing), 'file')} would be replaced: {listed(existing)}; "
            "choose another output, or replace with --force"
        )
