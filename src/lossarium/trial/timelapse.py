"""`timelapse.webp`: an animation of a trial's preview sheets, from its first snapshot to its last."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lossarium.errors import LossariumError
from lossarium.facesets.decoding import png
from lossarium.facesets.decoding.decoded import RefusedError
from lossarium.facesets.reading import UnreadablePicture, read_bytes, refusals_named
from lossarium.files import write_whole
from lossarium.provenance import encoded_animation, trial_digest, xmp_packet
from lossarium.text.links import why_outside
from lossarium.text.wording import printable_name
from lossarium.training import records
from lossarium.trial.folder import TRIAL, read_toml
from lossarium.trial.live_preview import block_title
from lossarium.trial.pictures import Pictures
from lossarium.trial.previews import FOLDER, FRAMES, ROWS_PER_DIRECTION
from lossarium.trial.sheets import Block, Column, draw_sheet, picture_side

_Kind = TypeVar("_Kind")

NAME = "timelapse.webp"
MOST_FRAMES = 100
MOST_BYTES = 16_000_000
_LEAST_SIDE, _MOST_SIDE = 96, 160
_LARGEST_SIZE = 1024
_LARGEST_SHEET_BYTES = 64 << 20
# How long the whole animation takes, how short and long a frame may be, and how long the last frame stays.
_MILLISECONDS, _SHORTEST, _LONGEST, _LAST = 10_000, 60, 700, 3000
_SHEET_NAME = re.compile(r"step_(\d{8,12})\.png")


@dataclass(frozen=True)
class _Description:
    """The contents of trial.toml that an animation shows."""

    digest: str
    loss: str
    seed: int
    size: int
    steps: int
    identities: tuple[str, str]


def write_timelapse(trial: Path, out: Path) -> int:
    """Make the animation from the sheets in `previews/`.

    If there are more than `MOST_FRAMES`, or the file would be larger than `MOST_BYTES`, sheets between the
    first and the last are left out at even distances.

    Args:
        trial: The trial's folder, which need not be trusted.
        out: The file to write.

    Returns:
        The number of frames.

    Raises:
        LossariumError: it is not a trial's folder, a file in it is damaged or links to somewhere outside, or
            there are fewer than two sheets.
        OSError: the file cannot be written.
    """
    description = _read_description(trial)
    sheets = _sheets(trial)
    if len(sheets) < 2:
        raise LossariumError(
            f"{printable_name(trial / FOLDER)} holds fewer than two sheets (step_NUMBER.png), and a "
            "time-lapse needs two; train the trial further"
        )
    truth = _truth(trial, description.size)
    most = MOST_FRAMES
    while True:
        chosen = _thinned(sheets, most)
        frames = [
            _frame(description, step, _pixels(trial, path, description.size), truth) for step, path in chosen
        ]
        content = encoded_animation(frames, _durations(len(frames)), xmp_packet(description.digest))
        if len(content) <= MOST_BYTES or len(frames) == 2:
            write_whole(out, content)
            return len(frames)
        most = max(2, len(frames) // 2)


def sheet_count(trial: Path) -> int:
    """The number of sheets of a trial."""
    return len(_sheets(trial))


def _thinned(sheets: Sequence[tuple[int, Path]], most: int) -> list[tuple[int, Path]]:
    places = np.linspace(0, len(sheets) - 1, min(most, len(sheets))).round().astype(int)
    return [sheets[place] for place in places]


def _durations(frames: int) -> list[int]:
    each = min(_LONGEST, max(_SHORTEST, _MILLISECONDS // frames))
    return [each] * (frames - 1) + [_LAST]


def _sheets(trial: Path) -> list[tuple[int, Path]]:
    """The steps and paths of a trial's sheets, in order."""
    folder = trial / FOLDER
    found = (
        (match, path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := _SHEET_NAME.fullmatch(path.name))
    )
    return sorted((int(match[1]), path) for match, path in found)


def _frame(description: _Description, step: int, sheet: Pictures, truth: Pictures | None) -> Pictures:
    """One snapshot, with the step written on it."""
    columns = [Column("reconstruction", sheet[0]), Column("swap", sheet[1])]
    if truth is not None and truth.shape[1] == sheet.shape[1]:
        columns.insert(0, Column("frame", truth[0]))
        columns += [Column("exact swap", exact) for exact in truth[1:]]
    blocks = [Block("both identities", tuple(columns))]
    rows = sheet.shape[1]
    if rows == 2 * ROWS_PER_DIRECTION:
        # With fewer rows, it is not known which of them belong to which direction.
        a, b = description.identities
        halves = (block_title(a, b), slice(0, rows // 2)), (block_title(b, a), slice(rows // 2, rows))
        blocks = [
            Block(title, tuple(Column(column.name, column.pictures[half]) for column in columns))
            for title, half in halves
        ]
    header = f"step {step:,} of {description.steps:,}    {description.loss}    seed {description.seed}"
    side = picture_side(description.size, least=_LEAST_SIDE, most=_MOST_SIDE)
    return draw_sheet(header, blocks, side, share=step / description.steps)


def _truth(trial: Path, size: int) -> Pictures | None:
    """(1 or 2, rows, size, size, 3): the frames and, if any is known, the exact swaps."""
    path = trial / FOLDER / FRAMES
    return _cut(path, _read(trial, path), size, (1, 2)) if path.exists() else None


def _pixels(trial: Path, sheet: Path, size: int) -> Pictures:
    """(2, rows, size, size, 3): the reconstructions and the swaps."""
    return _cut(sheet, _read(trial, sheet), size, (2,))


def _read(trial: Path, path: Path) -> Pictures:
    """Read a PNG of the trial, (H, W, 3)."""
    if (reason := why_outside(path, trial.resolve())) is not None:
        raise UnreadablePicture(path, reason)
    with refusals_named(path):
        if path.stat().st_size > _LARGEST_SHEET_BYTES:
            raise RefusedError("is larger than any sheet")
        data = read_bytes(path)
        if not png.is_png(data):
            raise RefusedError("is not a PNG, as sheets are")
        return np.asarray(png.decode(data).image.convert("RGB"))


def _cut(path: Path, pixels: Pictures, size: int, columns: tuple[int, ...]) -> Pictures:
    """Cut a sheet into its pictures, (columns, rows, size, size, 3)."""
    height, width = pixels.shape[:2]
    rows = height // size
    if width not in [count * size for count in columns] or height % size or rows > 2 * ROWS_PER_DIRECTION:
        raise UnreadablePicture(
            path, f"is {width} x {height} pixels, which does not divide into pictures of {size} x {size}"
        )
    return pixels.reshape(rows, size, width // size, size, 3).transpose(2, 0, 1, 3, 4)


def _read_description(trial: Path) -> _Description:
    path = trial / TRIAL
    if not path.is_file():
        raise LossariumError(f"{printable_name(trial)} holds no {TRIAL}; give a trial's folder")
    if (reason := why_outside(path, trial.resolve())) is not None:
        raise LossariumError(f"{printable_name(path)} {reason}; copy the trial's folder again")
    table = read_toml(path)
    recipe, data = _entry(path, table, "recipe", dict), _entry(path, table, "data", dict)
    size, steps = _entry(path, recipe, "size", int), _entry(path, recipe, "steps", int)
    if not 1 <= size <= _LARGEST_SIZE or steps < 1:
        raise LossariumError(f"{printable_name(path)} has a size or number of steps out of range")
    return _Description(
        digest=trial_digest(path.read_bytes(), _last_weights(trial)),
        loss=_entry(path, table, "loss", str),
        seed=_entry(path, table, "seed", int),
        size=size,
        steps=steps,
        identities=(_entry(path, data, "first", str), _entry(path, data, "second", str)),
    )


def _entry(path: Path, table: Mapping[str, Any], key: str, kind: type[_Kind]) -> _Kind:
    value = table.get(key)
    if not isinstance(value, kind):
        raise LossariumError(f"{printable_name(path)} has no usable entry {key}; copy it again")
    return value


def _last_weights(trial: Path) -> str:
    """The hash of a finished trial's weights; empty before its end."""
    if not records.is_finished(trial):
        return ""
    *_, last = records.read(trial)
    return str(last.get("weights", ""))
