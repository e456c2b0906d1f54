"""The pictures that a trial keeps of itself: a few held-out frames at every snapshot."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor, nn

from lossarium.comparison.results import Pictures, PreviewRow
from lossarium.facesets.faceset import Faceset
from lossarium.files import write_whole
from lossarium.judging.held_out import Direction, as_bytes, decode

ROWS_PER_DIRECTION = 4
_FOLDER = "previews"


def chosen(direction: Direction) -> npt.NDArray[np.intp]:
    """Which held-out frames are shown: a few spread evenly, with a known exact swap if any has one."""
    candidates = direction.known.numpy() if len(direction.known) else np.arange(len(direction.frames))
    places = np.linspace(0, len(candidates) - 1, min(ROWS_PER_DIRECTION, len(candidates)))
    return np.asarray(candidates[np.unique(places.round().astype(np.intp))], dtype=np.intp)


def preview_rows(pair: tuple[Direction, ...], facesets: tuple[Faceset, ...]) -> tuple[PreviewRow, ...]:
    """The frames that every trial is shown on, with the truth about each."""
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


def _exact_swap(direction: Direction, frame: np.intp) -> Pictures | None:
    places = np.flatnonzero(direction.known.numpy() == frame)
    return as_bytes(direction.exact_swaps[places[:1]])[0] if len(places) else None


class Previews:
    """The sheets that a trial takes of itself, written when there is room for them."""

    def __init__(self, pair: tuple[Direction, ...], folder: Path) -> None:
        self._pair = pair
        self._folder = folder
        self._taken: dict[Path, bytes] = {}

    def take(self, model: nn.Module, step: int) -> None:
        """A snapshot's sheet: a row a frame, its reconstruction left, its swap right; lossless."""
        rows = []
        for direction in self._pair:
            frames = direction.frames[chosen(direction)]
            reconstructed = decode(model, frames, direction.source)
            rows.append(_side_by_side(reconstructed, decode(model, frames, direction.target)))
        encoded = io.BytesIO()
        Image.fromarray(np.concatenate(rows)).save(encoded, format="PNG")
        self._taken[_sheet(self._folder, step)] = encoded.getvalue()

    def write(self) -> None:
        """Write what was taken.

        Raises:
            OSError: the disk is full or refuses; what is not written is kept for the next time.
        """
        while self._taken:
            path, content = next(iter(self._taken.items()))
            path.parent.mkdir(exist_ok=True)
            write_whole(path, content)
            del self._taken[path]


def load_previews(folder: Path, step: int, size: int) -> tuple[Pictures, Pictures]:
    """A snapshot's reconstructions and swaps, each (rows, size, size, 3)."""
    with Image.open(_sheet(folder, step)) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    rows = pixels.reshape(-1, size, 2, size, 3).transpose(2, 0, 1, 3, 4)
    return np.ascontiguousarray(rows[0]), np.ascontiguousarray(rows[1])


def _sheet(folder: Path, step: int) -> Path:
    return folder / _FOLDER / f"step_{step:08}.png"


def _side_by_side(left: Tensor, right: Tensor) -> Pictures:
    pictures = np.concatenate([as_bytes(left), as_bytes(right)], axis=2)
    return pictures.reshape(-1, *pictures.shape[2:])
