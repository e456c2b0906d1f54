"""Splits frames into training, held-out and unused ones, so that training frames resemble no held-out one."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lossarium.facesets.clips import clip_starts
from lossarium.facesets.frames import Readings
from lossarium.facesets.listing import Listing

_PART_HELD_OUT = 5
_BLOCKS = 20
_SHORTEST_PERIOD = 10
_LONGEST_PERIOD = 375
_GAPS_PER_BLOCK = 3


@dataclass(frozen=True)
class Split:
    """What frames are used for; those in neither array are trained on."""

    held_out: npt.NDArray[np.bool_]
    """(N,), True for frames that are judged."""
    left_out: npt.NDArray[np.bool_]
    """(N,), True for frames that are neither trained on nor judged: they are next to held-out ones."""

    @property
    def trained(self) -> npt.NDArray[np.bool_]:
        """(N,), True for frames that are trained on."""
        return ~(self.held_out | self.left_out)


def spread_out(names: Sequence[str]) -> Split:
    """The split of a plain folder: blocks of consecutive frames from all over it, with a gap on either side.

    Neighbouring frames of a video are nearly equal, so a random split would judge by frames that were almost
    trained on. The frames are divided into equal periods, and in the middle of each a fifth is held out as
    one block. A gap of a third of a block on either side (one frame at least) is neither trained on nor
    judged; all gaps together are a seventh of a long sequence, and at most a fifth from 10 frames on.

    - 200 frames and more have 20 blocks, enough to tell how much blocks differ: the standard deviation of 20
      is known to within a sixth. Shorter sequences have one block for every 10 frames, so that more than half
      of the frames remain for training.
    - Up to 7,500 frames blocks and gaps grow with the sequence. There, a block has 75 frames (three seconds
      of video) and a gap 25 (one second): blinks and syllables are over within a second, and a longer gap
      would cost more pictures than it keeps apart. Longer sequences have more blocks of this length.

    Of the places that a block can have within its period it takes the nearest to the middle where it is
    within one clip (`clip_starts`), or where it is of as few clips as possible.

    Args:
        names: Of all frames, in order.

    >>> split = spread_out([f"{number}.png" for number in range(300)])
    >>> int(split.trained.sum()), int(split.held_out.sum()), int(split.left_out.sum())
    (200, 60, 40)
    >>> np.flatnonzero(split.held_out)[:6].tolist()
    [6, 7, 8, 21, 22, 23]
    """
    count = len(names)
    held_out, left_out = np.zeros((2, count), dtype=np.bool_)
    # How many clips begin up to each frame: a block is within one clip if its ends have the same number.
    clips = np.cumsum(clip_starts(names))
    blocks = max(1, min(_BLOCKS, count // _SHORTEST_PERIOD), count // _LONGEST_PERIOD)
    length = round(count / blocks / _PART_HELD_OUT)
    gap = max(1, round(length / _GAPS_PER_BLOCK))
    for block in range(blocks if length else 0):
        start, end = (number * count // blocks for number in (block, block + 1))
        middle = start + (end - start - length) // 2
        places = np.arange(start + gap, end - gap - length + 1)
        crossed = np.subtract(clips[places + length - 1], clips[places])
        first = int(places[np.lexsort((places, np.abs(places - middle), crossed))[0]])
        left_out[first - gap : first + length + gap] = True
        held_out[first : first + length] = True
    return Split(held_out, left_out & ~held_out)


def split_of(listing: Listing, readable: Sequence[int]) -> Split:
    """The split of a listing's frames: its own if it has one, otherwise `spread_out`.

    Args:
        listing: The frames.
        readable: Indices of the readable frames, including copies of other frames.
    """
    names = [listing.frames[index].name for index in readable]
    if listing.held_out is None:
        return spread_out(names)
    held_out = np.array([name in listing.held_out for name in names], dtype=np.bool_)
    return Split(held_out, np.zeros_like(held_out))


def frame_digests(frames: npt.NDArray[np.uint8]) -> list[bytes]:
    """A hash of each frame's pixels; reads a memory-mapped array one frame at a time."""
    return [hashlib.blake2b(frame, digest_size=16).digest() for frame in frames]


def fair_rows(digests: Sequence[bytes], split: Split) -> list[int]:
    """All frames except training frames that equal a held-out one pixel by pixel, which would leak.

    Args:
        digests: Of the frames, see `frame_digests`.
        split: Of the frames.

    Returns:
        Their indices, in order.
    """
    judging = {digest for digest, out in zip(digests, split.held_out, strict=True) if out}
    return [
        place
        for place, (digest, trained) in enumerate(zip(digests, split.trained, strict=True))
        if not trained or digest not in judging
    ]


def without_leaks(listing: Listing, readings: Readings) -> Readings:
    """Leave out training frames that equal a held-out one; `copies` lists them."""
    fair = fair_rows(frame_digests(readings.frames), split_of(listing, readings.kept))
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
