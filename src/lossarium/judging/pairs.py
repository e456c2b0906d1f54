"""Pairs of pictures to measure: two files, or two folders matched by name."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from lossarium.errors import LossariumError
from lossarium.facesets.folder import list_folder
from lossarium.facesets.listing import FrameFile, Listing, Packed
from lossarium.facesets.reading import UnreadablePicture, read_face_mask
from lossarium.facesets.whole_pictures import read_grey_mask
from lossarium.text.links import why_outside
from lossarium.text.unicode_names import partners
from lossarium.text.wording import counted, listed, printable_name


@dataclass(frozen=True)
class MaskFile:
    """A mask file: which pixels count."""

    path: Path
    faceset_side: int | None = None
    """Side of a mask in one of Lossarium's facesets, where the face counts; None for a grey picture."""

    def read(self) -> npt.NDArray[np.uint8]:
        """(H, W), 255 where pixels count in full.

        Raises:
            UnreadablePicture: it cannot be read, is not a mask, or is black everywhere.
        """
        if self.faceset_side is None:
            mask = read_grey_mask(self.path)
        else:
            mask = read_face_mask(self.path, self.faceset_side, source_size=self.faceset_side)
        if not mask.any():
            raise UnreadablePicture(self.path, "is a mask that is black everywhere, so no pixel counts")
        return mask


@dataclass(frozen=True)
class Pair:
    """Two pictures to be measured against each other."""

    name: str
    """Name of the pair: the test picture's file name, or in folders the name that both share."""
    reference: Path
    test: Path
    mask: MaskFile | None = None
    packed_reference: Packed | None = None
    """Position of the reference in a faceset.pak, if it comes from one."""
    packed_test: Packed | None = None
    """Position of the test picture in a faceset.pak, if it comes from one."""


@dataclass(frozen=True)
class Pairs:
    """All pairs to measure, in order."""

    pairs: Sequence[Pair]
    of_folders: bool
    notes: tuple[str, ...] = ()
    """Remarks on how the folders were read, a sentence each."""


def find_pairs(reference: Path, test: Path, mask: Path | None = None, *, follow_links: bool = False) -> Pairs:
    """Match two pictures, or the pictures of two folders.

    In folders, two pictures are a pair if their paths are equal up to the ending: 07.png and 07.jpg, a/07.png
    and a/07.png. A folder is read as `lossarium.facesets.folder.load` reads it: with its subfolders and
    without its masks; as one of Lossarium's facesets, whose frames are named 0000, 0001 and so on; or as a
    faceset.pak. Names that differ only in how their accents are stored (NFC and NFD) match as well, unless
    there is a partner of exactly the same name.

    Args:
        reference: The truth: a picture or a folder.
        test: What is measured: a picture or a folder, like `reference`.
        mask: A grey picture for all pairs; or, for folders, a folder with one for each pair (further ones are
            ignored), or a faceset, whose masks say where the face is.
        follow_links: As for `lossarium.facesets.folder.load`.

    Raises:
        LossariumError: only one of the two is a folder, a folder cannot be read, or pictures have no partner
            or no mask, or more than one; all of them are named.
    """
    for path in (reference, test, *(() if mask is None else (mask,))):
        if not path.exists():
            raise LossariumError(f"{printable_name(path)} does not exist; check its path")
    if reference.is_dir() != test.is_dir():
        folder, file = (reference, test) if reference.is_dir() else (test, reference)
        raise LossariumError(
            f"{printable_name(folder)} is a folder and {printable_name(file)} is not; "
            "give two pictures or two folders"
        )
    if not test.is_dir():
        if mask is not None and mask.is_dir():
            raise LossariumError(f"the mask {printable_name(mask)} is a folder; for two pictures give a file")
        name = printable_name(test.name)
        return Pairs(
            (Pair(name, reference, test, None if mask is None else MaskFile(mask)),), of_folders=False
        )
    matched = match_folders(reference, [test], mask, follow_links=follow_links)
    return Pairs(matched.of_folder[0], of_folders=True, notes=matched.notes)


@dataclass(frozen=True)
class MatchedFolders:
    """The pairs of several folders with the same references."""

    of_folder: tuple[tuple[Pair, ...], ...]
    """Of each folder, in the order of the references, which is the same for all of them."""
    left_out: tuple[str, ...] = ()
    """Which pictures have no partner, a sentence per folder, without a full stop."""
    notes: tuple[str, ...] = ()
    """Remarks on how the folders were read, a sentence each."""


def match_folders(
    reference: Path,
    tests: Sequence[Path],
    mask: Path | None = None,
    *,
    follow_links: bool = False,
    common: bool = False,
) -> MatchedFolders:
    """Match the pictures of several folders with those of one, each as in `find_pairs`.

    Args:
        reference: The folder of references.
        tests: The folders of what is measured.
        mask: As for `find_pairs`.
        follow_links: As for `lossarium.facesets.folder.load`.
        common: Whether pictures that some folder lacks are left out of all; otherwise they are an error.

    Raises:
        LossariumError: as `find_pairs`; all pictures without a partner, in any folder, are named at once.
    """
    truths = list_folder(reference, follow_links=follow_links)
    truths_by_name = _by_name(truths)
    listings = [list_folder(folder, follow_links=follow_links) for folder in tests]
    named = [_by_name(listing) for listing in listings]
    partner = [partners(truths_by_name, of_folder) for of_folder in named]
    alone = [
        sentence
        for folder, of_folder, known in zip(tests, named, partner, strict=True)
        for sentence in (
            *_without_partner(of_folder, {*known.values()}, reference),
            *_without_partner(truths_by_name, known, folder),
        )
    ]
    kept = [name for name in truths_by_name if all(name in known for known in partner)]
    if alone and not common:
        remedy = "; --common leaves out what is not in every folder" if len(tests) > 1 else ""
        raise LossariumError("; ".join(alone) + remedy)
    if not kept:
        raise LossariumError(
            f"no picture of {printable_name(reference)} has a partner of the same name in every folder"
        )
    masks = _masks(mask, tuple(kept), follow_links=follow_links)

    def pair(name: str, tested: FrameFile) -> Pair:
        truth = truths_by_name[name]
        return Pair(name, truth.path, tested.path, masks.get(name), truth.packed, tested.packed)

    return MatchedFolders(
        tuple(
            tuple(pair(name, of_folder[known[name]]) for name in kept)
            for of_folder, known in zip(named, partner, strict=True)
        ),
        left_out=tuple(alone),
        notes=tuple(
            f"{printable_name(listing.folder)}: {note}."
            for listing in (truths, *listings)
            for note in listing.notes
        ),
    )


def _by_name(listing: Listing) -> Mapping[str, FrameFile]:
    """A folder's pictures by their path in it without the ending."""
    boundary = listing.boundary()
    found: dict[str, FrameFile] = {}
    for frame in listing.frames:
        for path in (frame.packed.archive if frame.packed else frame.path, frame.mask):
            if path is not None and (reason := why_outside(path, boundary)) is not None:
                raise UnreadablePicture(path, reason)
        name = str(PurePosixPath(frame.name).with_suffix("")) if listing.source_size is None else frame.name
        if name in found:
            raise LossariumError(
                f"{printable_name(found[name].path)} and {printable_name(frame.path)} differ only in their "
                "ending, so either could belong to a pair; move one of them away"
            )
        found[name] = frame
    return found


def _without_partner(named: Mapping[str, FrameFile], matched: Collection[str], folder: Path) -> Iterator[str]:
    """Says which pictures have no partner in a folder, if any."""
    alone = [frame.path.as_posix() for name, frame in named.items() if name not in matched]
    if alone:
        have = "has" if len(alone) == 1 else "have"
        yield (
            f"{counted(len(alone), 'picture')} {have} no partner of the same name in "
            f"{printable_name(folder)}: {listed(alone)}"
        )


def _masks(mask: Path | None, names: Sequence[str], *, follow_links: bool) -> Mapping[str, MaskFile]:
    if mask is None:
        return {}
    if not mask.is_dir():
        return dict.fromkeys(names, MaskFile(mask))
    listing = list_folder(mask, follow_links=follow_links)
    if listing.source_size is None:
        masks = {name: MaskFile(frame.mask or frame.path) for name, frame in _by_name(listing).items()}
    else:
        masks = {
            name: MaskFile(frame.mask, listing.source_size)
            for name, frame in _by_name(listing).items()
            if frame.mask is not None
        }
    partner = partners(names, masks)
    alone = [name for name in names if name not in partner]
    if alone:
        have = "has" if len(alone) == 1 else "have"
        raise LossariumError(
            f"{counted(len(alone), 'pair')} {have} no mask of the same name in {printable_name(mask)}: "
            f"{listed(alone)}"
        )
    return {name: masks[other] for name, other in partner.items()}
