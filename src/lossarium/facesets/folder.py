"""Folders to facesets: any folder of pictures, and the facesets that Lossarium renders itself."""

import hashlib
import json
import math
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from lossarium.errors import LossariumError
from lossarium.facesets.faceset import Faceset
from lossarium.facesets.reading import (
    Picture,
    Remark,
    UnreadablePicture,
    printable_name,
    read_face_mask,
    read_picture,
    reason_of,
)

PICTURE_ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp")
"""Endings looked for, in any case."""
FEWEST_PICTURES = 8
"""A faceset of fewer is refused."""
MANIFEST_NAME = "faceset.toml"
"""A folder that holds this file is a faceset of Lossarium's own."""
MANIFEST_FORMAT = "lossarium faceset 1"

MAX_MANIFEST_BYTES = 4 * 2**20
MAX_JSON_BYTES = 64 * 2**20
MAX_FRAME_SIDE = 4096

_MOST_NAMED = 10
_LANDMARKS = 68

Progress = Callable[[int, int], None]
"""Called with how many pictures have been read and how many there are."""


@dataclass(frozen=True)
class LoadedFaceset:
    """A faceset and what its user ought to know about how it was read."""

    faceset: Faceset
    notes: tuple[str, ...]
    """Sentences, each to be said once."""


def load(
    folder: Path, size: int, *, skip_bad: bool = False, progress: Progress | None = None
) -> LoadedFaceset:
    """Read a folder of pictures, or one of Lossarium's facesets, at `size` x `size`.

    A plain folder is searched with its subfolders for `PICTURE_ENDINGS`, in natural order (frame_2 before
    frame_10); names that begin with a dot, `__MACOSX`, and linked folders are passed over. Its split is
    `held_out_blocks`. A folder with a `faceset.toml` brings its own split, masks and states. Training frames
    that equal a held-out frame pixel by pixel are left out, for they would flatter.

    Args:
        folder: The folder.
        size: Side of the frames in memory, in pixels.
        skip_bad: Leave unreadable pictures out, with a note, instead of refusing the folder.
        progress: Called after each picture, from the thread that called `load`.

    Raises:
        LossariumError: the folder is missing, no folder, not accessible or holds no pictures; pictures cannot
            be read and `skip_bad` is not given (all are listed in the one message); fewer than
            `FEWEST_PICTURES` are left; or the faceset's own files are damaged.
    """
    if size < 1:
        raise LossariumError(f"Frames of {size} pixels are too small; give a size of at least 1.")
    shown = printable_name(folder)
    rendered = MANIFEST_NAME in _top_level(folder)
    collection = _rendered_collection(folder) if rendered else _plain_collection(folder)

    readings = _read_all(collection, folder, size, progress)
    notes = [*_remark_notes(readings, size), *_note_on_failures(collection, readings, folder, skip_bad)]
    if len(readings.kept) < FEWEST_PICTURES:
        raise LossariumError(
            f"The folder {shown} holds only {_count(len(readings.kept), 'usable picture')}; "
            f"at least {FEWEST_PICTURES} are needed."
        )
    faceset, copies = _without_leaks(_faceset(collection, readings))
    if copies:
        what = _count(copies, "training picture")
        if len(faceset.frame_names) < FEWEST_PICTURES:
            raise LossariumError(
                f"The folder {shown} holds only {_count(len(faceset.frame_names), 'usable picture')} without "
                f"the {what} that equal held-out ones pixel by pixel; at least {FEWEST_PICTURES} are needed."
            )
        verb, are = ("equals a held-out one", "is") if copies == 1 else ("equal held-out ones", "are")
        notes.append(f"{what} {verb} pixel by pixel and {are} left out of training.")
    for purpose, count in (
        ("held out to judge by", int(faceset.held_out.sum())),
        ("left for training", int((~faceset.held_out).sum())),
    ):
        if not count:
            raise LossariumError(f"The folder {shown} has no usable picture {purpose}; add more pictures.")
    return LoadedFaceset(faceset, tuple(f"{collection.identity}: {note}" for note in notes))


def held_out_blocks(count: int) -> npt.NDArray[np.bool_]:
    """The split of a plain folder: which of `count` frames, in order, are held out.

    Frames of a video resemble their neighbours, so a split frame by frame would judge by what was trained on.
    Blocks of ceil(count / 25) consecutive frames stay together, and of every five blocks the third is held
    out: a fifth of the frames from all over the folder. 8 frames hold out those of index 2 and 7; 300 hold
    out 60.

    Returns:
        (count,), True where held out.
    """
    length = max(1, math.ceil(count / 25))
    return np.equal(np.arange(count) // length % 5, 2)


def exact_swaps(a: Faceset, b: Faceset) -> npt.NDArray[np.intp]:
    """For each held-out frame of `a`, in order, the frame of `b` that was rendered in the same state.

    Only frames that `b` holds out count: a truth that `b`'s decoder was trained on would flatter it.

    Returns:
        (number of held-out frames of `a`,): indices into `b.frames`, or -1 where there is none.
    """
    if a.states is None or b.states is None:
        return np.full(int(a.held_out.sum()), -1, np.intp)
    truths: dict[str, int] = {}
    for index in np.flatnonzero(b.held_out):
        truths.setdefault(b.states[index], int(index))
    return np.array([truths.get(a.states[index], -1) for index in np.flatnonzero(a.held_out)], np.intp)


def data_digest(faceset: Faceset) -> str:
    """SHA-256, in hex, of all that can change a trial: size, frames, names, split, masks and states."""
    digest = hashlib.sha256()
    described = {
        "size": faceset.size,
        "frame_names": faceset.frame_names,
        "held_out": np.flatnonzero(faceset.held_out).tolist(),
        "face_masks": faceset.face_masks is not None,
        "states": faceset.states,
    }
    digest.update(_canonical_json(described))
    # The description fixes how many bytes follow, so nothing can be read as something else.
    digest.update(np.ascontiguousarray(faceset.frames).data)
    if faceset.face_masks is not None:
        digest.update(np.ascontiguousarray(faceset.face_masks).data)
    return digest.hexdigest()


# --- What is to be read ---


@dataclass(frozen=True)
class _Source:
    """One frame on disk."""

    name: str
    path: Path
    mask: Path | None = None


@dataclass(frozen=True)
class _Collection:
    """A folder's frames and what is known of them before any is read."""

    identity: str
    sources: Sequence[_Source]
    source_size: int | None = None
    """Side of the stored frames, where the manifest fixes it."""
    held_out: frozenset[str] | None = None
    """None: by `held_out_blocks`."""
    states: Sequence[str] | None = None


def _top_level(folder: Path) -> frozenset[str]:
    """The names in a folder, or one sentence why it has none."""
    shown = printable_name(folder)
    try:
        with os.scandir(folder) as entries:
            names = frozenset(entry.name for entry in entries)
            # Listing and entering a folder are separate permissions.
            os.stat(os.path.join(folder, "."))  # noqa: PTH116, PTH118 - pathlib drops the dot
    except FileNotFoundError as error:
        raise LossariumError(f"The folder {shown} does not exist; check its path.") from error
    except NotADirectoryError as error:
        raise LossariumError(f"{shown} is not a folder; give the folder that holds the pictures.") from error
    except (OSError, ValueError) as error:
        _refuse_folder(shown, error)
    return names


def _refuse_folder(shown: str, error: OSError | ValueError) -> NoReturn:
    reason = reason_of(error) if isinstance(error, OSError) else str(error)
    raise LossariumError(
        f"The folder {shown} cannot be read: {reason}; allow it or move the pictures."
    ) from error


def _plain_collection(folder: Path) -> _Collection:
    paths = sorted(_pictures_below(folder), key=lambda path: _natural_order(path.relative_to(folder)))
    if not paths:
        raise LossariumError(
            f"The folder {printable_name(folder)} holds no pictures; names that end in "
            f"{', '.join(PICTURE_ENDINGS[:-1])} or {PICTURE_ENDINGS[-1]} are looked for, in subfolders too."
        )
    sources = [_Source(_relative(path, folder), path) for path in paths]
    return _Collection(printable_name(folder.resolve().name) or "pictures", sources)


def _pictures_below(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> NoReturn:
        # An unreadable subfolder that went unnoticed would make a smaller faceset without a word.
        _refuse_folder(printable_name(os.fspath(error.filename)), error)

    for parent, subfolders, files in os.walk(folder, onerror=refuse, followlinks=False):
        # Assigning to the slice tells os.walk where not to go.
        subfolders[:] = [name for name in subfolders if not _passed_over(name)]
        for name in files:
            if name.lower().endswith(PICTURE_ENDINGS) and not _passed_over(name):
                yield Path(parent, name)


def _passed_over(name: str) -> bool:
    # Archives packed on a Mac carry a __MACOSX folder, and ._names beside the real files.
    return name.startswith(".") or name == "__MACOSX"


def _natural_order(relative: Path) -> tuple[object, ...]:
    """Sorts the numbers in each part of a path by value; where these agree, the names decide."""
    parts = tuple(
        tuple(int(piece) if odd else piece for odd, piece in _alternating(re.split(r"([0-9]+)", part)))
        for part in relative.parts
    )
    return parts, relative.as_posix()


def _alternating(pieces: Iterable[str]) -> Iterator[tuple[bool, str]]:
    return ((index % 2 == 1, piece) for index, piece in enumerate(pieces))


def _relative(path: Path, folder: Path) -> str:
    return printable_name(path.relative_to(folder))


# --- Lossarium's own facesets ---


def _rendered_collection(folder: Path) -> _Collection:
    manifest = _Manifest.read(folder)
    frame_paths = _frames_by_name(folder / "frames", ".webp")
    manifest_path = folder / MANIFEST_NAME
    if len(frame_paths) != manifest.frames:
        _refuse_damaged(
            manifest_path,
            "frames",
            f"says {manifest.frames}, but frames/ holds {len(frame_paths)} .webp files",
        )
    missing = [name for name in manifest.held_out if name not in frame_paths]
    if missing:
        _refuse_damaged(manifest_path, "held_out", f"names what frames/ does not hold: {_listing(missing)}")

    masks = folder / "masks"
    mask_paths: Mapping[str, Path] = {}
    if masks.is_dir():
        mask_paths = _frames_by_name(masks, ".png")
        without = [f"masks/{name}.png" for name in frame_paths if name not in mask_paths]
        if without:
            raise LossariumError(
                f"The faceset {printable_name(folder)} lacks {_listing(without)}, though its other frames "
                "have masks; render or copy it again."
            )
    sources = [_Source(name, path, mask_paths.get(name)) for name, path in frame_paths.items()]
    _check_landmarks(folder / "landmarks.json", frame_paths)
    return _Collection(
        identity=manifest.identity,
        sources=sources,
        source_size=manifest.size,
        held_out=frozenset(manifest.held_out),
        states=_state_digests(folder / "states.json", frame_paths, manifest.renderer),
    )


@dataclass(frozen=True)
class _Manifest:
    """The keys of faceset.toml that reading needs; the others are checked and left in the file."""

    identity: str
    size: int
    frames: int
    held_out: tuple[str, ...]
    renderer: str

    @classmethod
    def read(cls, folder: Path) -> "_Manifest":
        path = folder / MANIFEST_NAME
        try:
            table = tomllib.loads(_capped_text(path, MAX_MANIFEST_BYTES))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise LossariumError(
                f"{printable_name(path)} is not TOML ({printable_name(str(error))}); "
                "render or copy the faceset again."
            ) from error

        def text(key: str) -> str:
            value = table.get(key)
            if not isinstance(value, str) or not value.strip() or not value.isprintable():
                _refuse_damaged(path, key, "has to be a line of text")
            return value

        def whole_number(key: str, lowest: int, highest: int) -> int:
            value = table.get(key)
            if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
                _refuse_damaged(path, key, f"has to be a whole number from {lowest} to {highest}")
            return value

        if text("format") != MANIFEST_FORMAT:
            _refuse_damaged(path, "format", f'has to be "{MANIFEST_FORMAT}", the one that this version reads')
        held_out = table.get("held_out")
        if (
            not isinstance(held_out, list)
            or not held_out
            or not all(isinstance(name, str) for name in held_out)
            or len(set(held_out)) != len(held_out)
        ):
            _refuse_damaged(path, "held_out", "has to be a list of different frame names")
        whole_number("seed", -(2**63), 2**63 - 1)
        text("licence")
        if not isinstance(table.get("provenance"), str | dict):
            _refuse_damaged(path, "provenance", "has to be text or a table")
        return cls(
            identity=text("identity"),
            size=whole_number("size", 1, MAX_FRAME_SIDE),
            frames=whole_number("frames", 1, 1_000_000),
            held_out=tuple(held_out),
            renderer=text("renderer"),
        )


def _frames_by_name(folder: Path, ending: str) -> Mapping[str, Path]:
    """Names such as "0240" to files, in order."""
    files = (folder / name for name in _top_level(folder) if name.lower().endswith(ending))
    frames = {path.stem: path for path in files if not _passed_over(path.name)}
    odd = sorted(name for name in frames if not re.fullmatch(r"[0-9]{4,18}", name))
    if odd:
        raise LossariumError(
            f"{printable_name(folder)} holds {printable_name(odd[0])}{ending}, which is no frame's name "
            f"such as 0240{ending}; remove it."
        )
    return {name: frames[name] for name in sorted(frames, key=lambda name: (int(name), name))}


def _check_landmarks(path: Path, names: Iterable[str]) -> None:
    table = _json_table(path)
    if table is None:
        return
    for name in names:
        points = table.get(name)
        if (
            not isinstance(points, list)
            or len(points) != _LANDMARKS
            or not all(isinstance(p, list) and len(p) == 2 and all(map(_is_number, p)) for p in points)
        ):
            _refuse_damaged(path, name, f"has to be {_LANDMARKS} points of two numbers")


def _state_digests(path: Path, names: Iterable[str], renderer: str) -> list[str] | None:
    table = _json_table(path)
    if table is None:
        return None
    digests = []
    for name in names:
        entry = table.get(name)
        if not isinstance(entry, dict) or not isinstance(entry.get("state"), dict):
            _refuse_damaged(path, name, "has to hold a state")
        rows = entry.get("alignment")
        if (
            not isinstance(rows, list)
            or len(rows) != 2
            or not all(isinstance(row, list) and len(row) == 3 and all(map(_is_number, row)) for row in rows)
        ):
            _refuse_damaged(path, f"{name}.alignment", "has to be two rows of three numbers")
        digests.append(hashlib.sha256(_canonical_json([renderer, entry["state"]])).hexdigest())
    return digests


def _json_table(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None where the file is absent."""
    if not os.path.lexists(path):
        return None
    try:
        table = json.loads(_capped_text(path, MAX_JSON_BYTES), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise LossariumError(
            f"{printable_name(path)} is not JSON ({printable_name(str(error))}); "
            "render or copy the faceset again."
        ) from error
    if not isinstance(table, dict):
        raise LossariumError(
            f"{printable_name(path)} has to hold a table by frame names; render or copy the faceset again."
        )
    return table


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # 1e999 is JSON for infinity, and so is a whole number that no float can hold.
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _canonical_json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _capped_text(path: Path, limit: int) -> str:
    shown = printable_name(path)
    if (reason := _outside(path, path.parent.resolve())) is not None:
        raise LossariumError(f"{shown} {reason}; put the file itself there.")
    try:
        if not path.is_file():
            raise LossariumError(f"{shown} is not a regular file; render or copy the faceset again.")
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise LossariumError(f"{shown} cannot be opened: {reason_of(error)}; allow it to be read.") from error
    if len(data) > limit:
        raise LossariumError(
            f"{shown} takes more than {limit // 2**20} MiB, which no faceset needs; render or copy it again."
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LossariumError(f"{shown} is not UTF-8 text; render or copy the faceset again.") from error


def _refuse_damaged(path: Path, key: str, complaint: str) -> NoReturn:
    raise LossariumError(
        f"{printable_name(path)} is damaged: its key {printable_name(key)!r} {complaint}; "
        "render or copy the faceset again."
    )


# --- Reading ---


@dataclass(frozen=True)
class _Readings:
    """The outcome of reading a collection; arrays hold the readable frames alone, in order."""

    frames: npt.NDArray[np.uint8]
    face_masks: npt.NDArray[np.uint8] | None
    kept: Sequence[int]
    """Indices into the collection's sources."""
    remarks: Mapping[Remark, int]
    failures: Sequence[UnreadablePicture]


def _read_all(collection: _Collection, folder: Path, size: int, progress: Progress | None) -> _Readings:
    count = len(collection.sources)
    has_masks = any(source.mask is not None for source in collection.sources)
    try:
        frames = np.empty((count, size, size, 3), np.uint8)
        face_masks = np.empty((count, size, size), np.uint8) if has_masks else None
    except MemoryError as error:
        raise LossariumError(
            f"{_count(count, 'picture')} of {size} x {size} pixels need more memory than there is; "
            "choose a smaller size or fewer pictures."
        ) from error
    real_folder = folder.resolve()
    kept: list[int] = []
    failures: list[UnreadablePicture] = []
    remarks = dict.fromkeys(Remark, 0)

    def read(source: _Source) -> tuple[Picture, npt.NDArray[np.uint8] | None] | UnreadablePicture:
        try:
            return _read_source(source, real_folder, size, collection.source_size)
        except UnreadablePicture as failure:
            # Kept as a value; its traceback would keep the whole file in memory.
            return UnreadablePicture(failure.path, failure.reason)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for index, outcome in enumerate(pool.map(read, collection.sources)):
                if isinstance(outcome, UnreadablePicture):
                    failures.append(outcome)
                else:
                    picture, mask = outcome
                    frames[len(kept)] = picture.pixels
                    if face_masks is not None and mask is not None:
                        face_masks[len(kept)] = mask
                    for remark in picture.remarks:
                        remarks[remark] += 1
                    kept.append(index)
                if progress is not None:
                    progress(index + 1, count)
        except BaseException:
            # Ctrl-C must not wait for thousands of pictures.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    face_masks = None if face_masks is None else face_masks[: len(kept)]
    return _Readings(frames[: len(kept)], face_masks, kept, remarks, failures)


def _faceset(collection: _Collection, readings: _Readings) -> Faceset:
    kept = readings.kept
    names = tuple(collection.sources[index].name for index in kept)
    if collection.held_out is None:
        held_out = held_out_blocks(len(kept))
    else:
        held_out = np.array([name in collection.held_out for name in names], dtype=np.bool_)
    states = collection.states
    return Faceset(
        identity=collection.identity,
        frames=readings.frames,
        frame_names=names,
        held_out=held_out,
        face_masks=readings.face_masks,
        states=None if states is None else tuple(states[index] for index in kept),
    )


def _note_on_failures(
    collection: _Collection, readings: _Readings, folder: Path, skip_bad: bool
) -> Iterator[str]:
    failures = readings.failures
    if not failures:
        return
    listing = _listing([f"{_relative(failure.path, folder)} ({failure.reason})" for failure in failures])
    counted = f"{len(failures)} of {_count(len(collection.sources), 'picture')}"
    if not skip_bad:
        it = "it" if len(failures) == 1 else "them"
        raise LossariumError(
            f"{counted} in {printable_name(folder)} cannot be read: {listing}; "
            f"mend or remove {it}, or skip {it} with --skip-bad."
        )
    yield f"{counted} cannot be read and {'is' if len(failures) == 1 else 'are'} skipped: {listing}."


def _read_source(
    source: _Source, real_folder: Path, size: int, source_size: int | None
) -> tuple[Picture, npt.NDArray[np.uint8] | None]:
    for path in (source.path, source.mask):
        if path is not None and (reason := _outside(path, real_folder)) is not None:
            raise UnreadablePicture(path, reason)
    picture = read_picture(source.path, size)
    if source_size is not None and picture.source_size != (source_size, source_size):
        width, height = picture.source_size
        raise UnreadablePicture(
            source.path,
            f"is {width} x {height} pixels, but {MANIFEST_NAME} says {source_size} x {source_size}",
        )
    if source.mask is None or source_size is None:
        return picture, None
    return picture, read_face_mask(source.mask, size, source_size=source_size)


def _outside(path: Path, real_folder: Path) -> str | None:
    """Why a link does not count as part of the folder, or None where the path is fine."""
    try:
        inside = path.resolve(strict=True).is_relative_to(real_folder)
    # Links that go in circles: RuntimeError before Python 3.13, OSError since.
    except (OSError, RuntimeError) as error:
        if os.path.islink(path):  # noqa: PTH114 - never raises, as pathlib's may
            return "is a link that leads nowhere"
        return f"cannot be opened: {reason_of(error)}" if isinstance(error, OSError) else "cannot be opened"
    return None if inside else "is a link that leads out of the folder"


def _without_leaks(faceset: Faceset) -> tuple[Faceset, int]:
    """The faceset without the training frames that equal a held-out one, and how many they were."""
    digests = [hashlib.blake2b(frame, digest_size=16).digest() for frame in faceset.frames]
    held_out = {digest for digest, out in zip(digests, faceset.held_out, strict=True) if out}
    fair = [out or digest not in held_out for digest, out in zip(digests, faceset.held_out, strict=True)]
    copies = fair.count(False)
    if not copies:
        return faceset, 0
    keep = np.flatnonzero(fair)
    reduced = replace(
        faceset,
        frames=faceset.frames[keep],
        frame_names=tuple(faceset.frame_names[index] for index in keep),
        held_out=faceset.held_out[keep],
        face_masks=None if faceset.face_masks is None else faceset.face_masks[keep],
        states=None if faceset.states is None else tuple(faceset.states[index] for index in keep),
    )
    return reduced, copies


# --- Sentences ---


def _remark_notes(readings: _Readings, size: int) -> Iterator[str]:
    one_and_many = {
        Remark.ALPHA: (
            "has transparency; it is laid on mid-grey",
            "have transparency; it is laid on mid-grey",
        ),
        Remark.ANIMATION: (
            "is an animation; its first frame is used",
            "are animations; the first frame of each is used",
        ),
        Remark.NOT_SQUARE: (
            "is not square; its centre square is used",
            "are not square; their centre squares are used",
        ),
        Remark.ENLARGED: (
            f"is smaller than {size} x {size} pixels and is enlarged",
            f"are smaller than {size} x {size} pixels and are enlarged",
        ),
        Remark.PROFILE: (
            "carries a colour profile other than sRGB and is converted",
            "carry a colour profile other than sRGB and are converted",
        ),
    }
    for remark, (one, many) in one_and_many.items():
        if count := readings.remarks[remark]:
            yield f"{_count(count, 'picture')} {one if count == 1 else many}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _listing(items: Sequence[str]) -> str:
    named = ", ".join(map(printable_name, items[:_MOST_NAMED]))
    rest = len(items) - _MOST_NAMED
    return f"{named} and {rest} more" if rest > 0 else named
