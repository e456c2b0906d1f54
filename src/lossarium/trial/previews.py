"""A trial's preview sheets: its output for a few held-out frames, saved at every snapshot."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor, nn

from lossarium.facesets.decoding import png
from lossarium.facesets.decoding.decoded import RefusedError
from lossarium.facesets.faceset import Faceset
from lossarium.facesets.reading import read_bytes, refusals_named
from lossarium.files import write_whole
from lossarium.judging.held_out import Direction, as_bytes, decode
from lossarium.trial.pictures import Pictures, PreviewRow

ROWS_PER_DIRECTION = 4
FOLDER = "previews"
_GREY, _CROSS = 96, 160
FRAMES = "frames.png"
"""Saved beside the sheets: the frames on the left, their exact swaps on the right, black where not known."""


def chosen(direction: Direction) -> npt.NDArray[np.intp]:
    """The indices of the frames to show: a few, evenly spaced, among those with exact swaps if there are
    any."""
    candidates = direction.known.numpy() if len(direction.known) else np.arange(len(direction.frames))
    places = np.linspace(0, len(candidates) - 1, min(ROWS_PER_DIRECTION, len(candidates)))
    return np.asarray(candidates[np.unique(places.round().astype(np.intp))], dtype=np.intp)


def preview_rows(pair: tuple[Direction, ...], facesets: tuple[Faceset, ...]) -> tuple[PreviewRow, ...]:
    """The frames that the previews of every trial show, with their exact swaps where known."""
    return tuple(
        PreviewRow(
            source=facesets[direction.source].identity,
            target=facesets[direction.target].identity,
            frame_name=direction.frame_names[frame],
            frame=as_bytes(direction.frames[frame][None])[0],
            exact_swap=_exact_swap(direction, frame),
        )
        for direction in pair
        for frame in chosen(direction)
    )


def known_swaps(direction: Direction) -> Pictures | None:
    """The exact swaps of the frames that are shown, black where not known; None if no exact swap is known."""
    swaps = [_exact_swap(direction, frame) for frame in chosen(direction)]
    known = [swap for swap in swaps if swap is not None]
    if not known:
        return None
    return np.stack([np.zeros_like(known[0]) if swap is None else swap for swap in swaps])


def _exact_swap(direction: Direction, frame: np.intp) -> Pictures | None:
    places = np.flatnonzero(direction.known.numpy() == frame)
    return as_bytes(direction.exact_swaps[places[:1]])[0] if len(places) else None


def _frames_sheet(pair: tuple[Direction, ...]) -> Pictures:
    frames = [as_bytes(direction.frames[chosen(direction)]) for direction in pair]
    swaps = [known_swaps(direction) for direction in pair]
    if all(swap is None for swap in swaps):
        return _stacked(np.concatenate(frames))
    shown = [
        np.zeros_like(frame) if swap is None else swap for frame, swap in zip(frames, swaps, strict=True)
    ]
    return _stacked(np.concatenate([np.concatenate(frames), np.concatenate(shown)], axis=2))


class Previews:
    """The preview sheets of a trial: taken at snapshots, kept in memory until `write` succeeds."""

    def __init__(self, pair: tuple[Direction, ...], folder: Path) -> None:
        self._pair = pair
        self._folder = folder
        self._taken: dict[Path, bytes] = {}

    def take(self, model: nn.Module, step: int) -> None:
        """Take a snapshot's sheet: a row per frame, its reconstruction left, its swap right; lossless."""
        rows = []
        for direction in self._pair:
            frames = direction.frames[chosen(direction)]
            reconstructed = decode(model, frames, direction.source)
            rows.append(_side_by_side(reconstructed, decode(model, frames, direction.target)))
        self._taken[_sheet(self._folder, step)] = _png(np.concatenate(rows))
        frames_path = self._folder / FOLDER / FRAMES
        if not frames_path.exists():
            self._taken[frames_path] = _png(_frames_sheet(self._pair))

    def write(self) -> None:
        """Write the sheets that were taken.

        Raises:
            OSError: a sheet cannot be written, as on a full disk; it stays in memory for the next call.
        """
        while self._taken:
            path, content = next(iter(self._taken.items()))
            path.parent.mkdir(exist_ok=True)
            write_whole(path, content)
            del self._taken[path]

    def write_to(self, folder: Path) -> None:
        """Write the sheets that could not be written to the trial's folder to another one.

        Raises:
            OSError: the other folder cannot be written either.
        """
        for path, content in self._taken.items():
            target = folder / path.relative_to(self._folder)
            target.parent.mkdir(exist_ok=True)
            write_whole(target, content)


def load_previews(folder: Path, step: int, size: int, rows: int) -> tuple[Pictures, Pictures]:
    """Read a snapshot's reconstructions and swaps, each (rows, size, size, 3).

    Raises:
        UnreadablePicture: the sheet is missing or damaged, or does not have `rows` rows of this size.
    """
    path = _sheet(folder, step)
    with refusals_named(path):
        data = read_bytes(path)
        if not png.is_png(data):
            raise RefusedError("is not a PNG")
        pixels = np.asarray(png.decode(data).image.convert("RGB"))
        if pixels.shape != (rows * size, 2 * size, 3):
            raise RefusedError(f"is not a sheet of {rows} rows of {size} pixels")
    split = pixels.reshape(rows, size, 2, size, 3).transpose(2, 0, 1, 3, 4)
    return np.ascontiguousarray(split[0]), np.ascontiguousarray(split[1])


def placeholder(size: int, rows: int) -> Pictures:
    """(rows, size, size, 3), a cross on grey: shown instead of a sheet that cannot be read."""
    picture = np.full((size, size, 3), _GREY, dtype=np.uint8)
    places = np.arange(size)
    picture[places, places] = picture[places, places[::-1]] = _CROSS
    return np.broadcast_to(picture, (rows, size, size, 3)).copy()


def _sheet(folder: Path, step: int) -> Path:
    return folder / FOLDER / f"step_{step:08}.png"


def _side_by_side(left: Tensor, right: Tensor) -> Pictures:
    return _stacked(np.concatenate([as_bytes(left), as_bytes(right)], axis=2))


def _stacked(pictures: Pictures) -> Pictures:
    """Stack pictures (N, H, W, 3) one below the other, (N * H, W, 3)."""
    return pictures.reshape(-1, *pictures.shape[2:])


def _png(pixels: Pictures) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, format="PNG")
    return encoded.getvalue()
