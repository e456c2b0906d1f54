"""Splits frames into training and held-out ones, without duplicates across the two."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lossarium.facesets.frames import Readings
from lossarium.facesets.listing import Listing


def held_out_blocks(count: int) -> npt.NDArray[np.bool_]:
    """The split of a plain folder: which of `count` frames, in order, are held out.

    Neighbouring frames of a video are nearly equal, so a random split would judge by frames that were almost
    trained on. Blocks of ceil(count / 25) consecutive frames stay together, and of every five blocks the
    third is held out: a fifth of the frames from all over the folder. 8 frames hold out those of index 2 and
    7; 300 hold out 60.

    Returns:
        (count,), True where held out.
    """
    length = max(1, math.ceil(count / 25))
    return np.equal(np.arange(count) // length % 5, 2)


def held_out_frames(listing: Listing, readable: Sequence[int]) -> npt.NDArray[np.bool_]:
    """The split of a listing's frames: its own if it has one, otherwise `held_out_blocks`.

    Args:
        listing: The frames.
        readable: Indices of the readable frames, including copies of other frames.

    Returns:
        (len(readable),), True where held out.
    """
    if listing.held_out is None:
        return held_out_blocks(len(readable))
    names = (listing.frames[index].name for index in readable)
    return np.array([name in listing.held_out for name in names], dtype=np.bool_)


def frame_digests(frames: npt.NDArray[np.uint8]) -> list[bytes]:
    """A hash of each frame's pixels; reads a memory-mapped array one frame at a time."""
    return [hashlib.blake2b(frame, digest_size=16).digest() for frame in frames]


def fair_rows(digests: Sequence[bytes], held_out: npt.NDArray[np.bool_]) -> list[int]:
    """All frames except training frames that equal a held-out one pixel by pixel, which would leak.

    Args:
        digests: Of the frames, see `frame_digests`.
        held_out: Which of them are held out.

    Returns:
        Their indices, in order.
    """
    judging = {digest for digest, out in zip(digests, held_out, strict=True) if out}
    return [
        place
        for place, (digest, out) in enumerate(zip(digests, held_out, strict=True))
        if out or digest not in judging
    ]


def without_leaks(listing: Listing, readings: Readings) -> Readings:
    """Leave out training frames that equal a held-out one; `copies` lists them."""
    held_out = held_out_frames(listing, readings.kept)
    fair = fair_rows(frame_digests(readings.frames), held_out)
    if len(fair) == len(readings.kept):
        return readings
    kept = [readings.kept[place] for place in fair]
    return replace(
        readings,
        frames=readings.frames[fair],
        face_masks=None if readings.face_masks is None else readings.face_masks[fair],
        landmarks=None if readings.landmarks is None else readings.landmarks[fair],
        kept=kept,
        copies=sorted({*readings.kept} - {*kept}),
    )
