"""Which pictures are swapped, by which masks, and which files they become."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lossarium.errors import LossariumError
from lossarium.facesets.links import why_outside
from lossarium.facesets.listing import PICTURE_ENDINGS, FrameFile, names_in, plain_listing
from lossarium.facesets.manifest import MANIFEST_NAME, read_manifest
from lossarium.facesets.own_format import own_listing
from lossarium.facesets.reading import UnreadablePicture
from lossarium.facesets.wording import counted, listed, printable_name
from lossarium.judging.pairs import Mask
from lossarium.provenance import ENDINGS, PNG

_FRAMES, _MASKS = "frames", "masks"


@dataclass(frozen=True)
class Job:
    """One picture to be swapped."""

    path: Path
    output: Path
    """Ends as one of `ENDINGS`."""
    mask: Mask | None = None
    """A file that says where the face is."""
    landmarks: npt.NDArray[np.float64] | None = field(default=None, compare=False)
    """(68, 2) in the picture's pixels, where its faceset says them."""


def find_jobs(source: Path, out: Path, *, ending: str | None = None, force: bool = False) -> Sequence[Job]:
    """Plan what becomes of a picture or of a folder of them.

    A folder is read as `lossarium.facesets.folder.load` reads it, and its pictures keep their paths below
    `out`. Masks are taken from where they are known: a faceset's own, or grey pictures of the same path in a
    folder `masks` beside the folder `frames` that the picture lies in.

    Args:
        source: A picture, or a folder.
        out: A folder; for one picture it may be a file whose name ends as one of `ENDINGS`.
        ending: Of the files in a folder; PNG by default.
        force: Replace files that exist.

    Raises:
        LossariumError: `source` is missing or cannot be listed, two pictures would become one file, a file
            exists and `force` is not given, or an output would replace an input.
    """
    if not source.exists():
        raise LossariumError(f"{printable_name(source)} does not exist; check its path")
    jobs = _of_folder(source, out, ending or PNG) if source.is_dir() else [_of_picture(source, out, ending)]
    _refuse_clashes(jobs)
    _refuse_existing(jobs, force=force)
    return jobs


def _of_picture(path: Path, out: Path, ending: str | None) -> Job:
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
            f"{printable_name(out)} ends otherwise than --format says; leave one of them out"
        )
    else:
        output = out
    if output.exists() and output.samefile(path):
        raise LossariumError(f"{printable_name(output)} is the input itself; choose another output")
    return Job(path, output, mask)


def _of_folder(folder: Path, out: Path, ending: str) -> Sequence[Job]:
    if out.exists() and not out.is_dir():
        raise LossariumError(f"{printable_name(out)} is a file; for a folder of pictures give a folder")
    if out.resolve().is_relative_to(folder.resolve()):
        raise LossariumError(
            f"the output {printable_name(out)} lies in the input {printable_name(folder)}, "
            "where it would be taken for input the next time; choose a folder outside"
        )
    return [
        Job(frame.path, out / f"{relative.as_posix()}{ending}", mask, frame.landmarks)
        for frame, relative, mask in _listed(folder)
    ]


def _listed(folder: Path) -> Iterator[tuple[FrameFile, Path, Mask | None]]:
    """Frames, their paths in the folder without the ending, and their masks."""
    if MANIFEST_NAME in names_in(folder):
        listing = own_listing(folder)
        for frame in listing.frames:
            mask = None if frame.mask is None else Mask(frame.mask, listing.source_size)
            yield frame, Path(frame.name), mask
        return
    for frame in plain_listing(folder).frames:
        if (reason := why_outside(frame.path, folder.resolve())) is not None:
            raise UnreadablePicture(frame.path, reason)
        yield frame, frame.path.relative_to(folder).with_suffix(""), _mask_beside(frame.path)


def _mask_beside(path: Path) -> Mask | None:
    """A mask of the same path in `masks`, where the picture lies in `frames`."""
    absolute = path.absolute()
    frames = next((parent for parent in absolute.parents if parent.name == _FRAMES), None)
    if frames is None:
        return None
    faceset = frames.parent
    relative = absolute.relative_to(frames)
    for ending in PICTURE_ENDINGS:
        mask = faceset / _MASKS / relative.with_suffix(ending)
        if mask.is_file() and why_outside(mask, faceset.resolve()) is None:
            own = (faceset / MANIFEST_NAME).is_file()
            return Mask(mask, read_manifest(faceset).size if own else None)
    return None


def _refuse_clashes(jobs: Sequence[Job]) -> None:
    by_output: dict[Path, Job] = {}
    for job in jobs:
        other = by_output.setdefault(job.output, job)
        if other is not job:
            raise LossariumError(
                f"{printable_name(other.path)} and {printable_name(job.path)} would both become "
                f"{printable_name(job.output)}; rename one of them"
            )


def _refuse_existing(jobs: Sequence[Job], *, force: bool) -> None:
    folders = [job.output.as_posix() for job in jobs if job.output.is_dir()]
    if folders:
        raise LossariumError(f"{listed(folders)} would be written, but is a folder; choose another output")
    if force:
        return
    existing = [job.output.as_posix() for job in jobs if job.output.exists()]
    if existing:
        raise LossariumError(
            f"{counted(len(existing), 'file')} would be replaced: {listed(existing)}; "
            "choose another output, or replace with --force"
        )
