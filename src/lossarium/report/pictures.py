"""Pictures as data URIs, so that the report needs no other file."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from lossarium.comparison.results import ComparisonResult, Snapshot
from lossarium.trial.pictures import Pictures, PreviewRow

ERROR_SCALE = 0.25
"""The absolute difference of pixels in [0, 1] that the error map shows in its brightest colour."""

ERROR_COLOURS = (
    "#000004",
    "#0b0724",
    "#210c4a",
    "#3d0965",
    "#57106e",
    "#71196e",
    "#8a226a",
    "#a32c61",
    "#bc3754",
    "#d04545",
    "#e35933",
    "#f1711f",
    "#f98c0a",
    "#fcaa0f",
    "#f9c932",
    "#f2e865",
    "#fcffa4",
)
"""Seventeen even steps through inferno, the perceptually uniform map of van der Walt and Smith (CC0)."""

LOSSLESS_BUDGET = 16_000_000
"""Up to this many bytes of data URIs, every picture is kept exactly."""

LOSSY_QUALITY = 90
WEBP_LARGEST_SIDE = 16_383


def data_uri(picture: Pictures, *, lossless: bool = True) -> str:
    """An RGB picture (height, width, 3), uint8, as a `data:` URI: WebP, or PNG where WebP is too small."""
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(picture))
    if max(picture.shape[:2]) > WEBP_LARGEST_SIDE:
        image.save(buffer, "PNG")
        return _uri("image/png", buffer.getvalue())
    image.save(buffer, "WEBP", lossless=lossless, quality=70 if lossless else LOSSY_QUALITY, method=4)
    return _uri("image/webp", buffer.getvalue())


def _uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def truth_sprite(rows: Sequence[PreviewRow]) -> Pictures:
    """(rows * size, 2 * size, 3): the frame, and beside it the exact swap, black where it is not known."""
    return np.concatenate(
        [
            np.concatenate(
                [row.frame, np.zeros_like(row.frame) if row.exact_swap is None else row.exact_swap], axis=1
            )
            for row in rows
        ]
    )


def snapshot_sprite(snapshot: Snapshot) -> Pictures:
    """(rows * size, 2 * size, 3): the reconstruction, and beside it the swap."""
    beside = np.concatenate([snapshot.reconstructions, snapshot.swaps], axis=2)
    return beside.reshape(-1, *beside.shape[2:])


def sprites_of(result: ComparisonResult, budget: int = LOSSLESS_BUDGET) -> tuple[list[list[str]], bool]:
    """One sprite per trial and snapshot, in their order, and whether all of them are exact.

    If they would take more than `budget` bytes, all but the last snapshot of each trial are compressed with
    loss; the last ones, which the verdict is about, stay exact.
    """
    sprites = [
        [data_uri(snapshot_sprite(snapshot)) for snapshot in trial.snapshots] for trial in result.trials
    ]
    if sum(len(sprite) for trial in sprites for sprite in trial) <= budget:
        return sprites, True
    for trial, kept in zip(result.trials, sprites, strict=True):
        kept[:-1] = [data_uri(snapshot_sprite(snapshot), lossless=False) for snapshot in trial.snapshots[:-1]]
    return sprites, False
