"""Finds where one clip ends and another begins, from the names of frames alone."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class _Name:
    series: tuple[str, ...]
    """The folder, and the texts between the numbers of the file's name."""
    numbers: tuple[int, ...]


def clip_starts(names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which frames begin another clip than the frame before them.

    Names that differ only in their frame counter are of one clip. Of several numbers in a name, the counter
    is the one that most often is the first to change from a name to the next; numbers before it tell clips
    apart, and numbers after it, such as faceswap's number of the face in its frame, do not. Names that count
    nothing, such as hashes, are each a clip of their own. A wrong guess costs little: clips only move blocks
    a little way, see `spread_out`.

    Args:
        names: Of all frames, in order, with forward slashes between folders.

    Returns:
        (N,), False for the first frame.

    >>> clip_starts(["ada1_01.png", "ada1_02.png", "ada1_03.png", "ada2_01.png", "ada2_02.png"]).tolist()
    [False, False, False, True, False]
    """
    taken_apart = [_taken_apart(name) for name in names]
    changes = [_first_to_change(*pair) for pair in pairwise(taken_apart)]
    how_often: dict[tuple[str, ...], Counter[int]] = {}
    for name, place in zip(taken_apart, changes, strict=False):
        if place is not None:
            how_often.setdefault(name.series, Counter())[place] += 1
    # Of several that change equally often, the last one counts frames.
    counters = {
        series: max((n, place) for place, n in found.items())[1] for series, found in how_often.items()
    }
    starts = [
        place is None or place < counters[name.series]
        for name, place in zip(taken_apart, changes, strict=False)
    ]
    return np.array([False, *starts][: len(names)], dtype=np.bool_)


def _taken_apart(name: str) -> _Name:
    folder, _, file = name.rpartition("/")
    pieces = re.split(r"([0-9]+)", file)
    return _Name((folder, *pieces[::2]), tuple(map(int, pieces[1::2])))


def _first_to_change(before: _Name, after: _Name) -> int | None:
    """The place of the first number that differs; None for names of different series or without numbers."""
    if before.series != after.series:
        return None
    numbers = zip(before.numbers, after.numbers, strict=True)
    return next((place for place, (one, other) in enumerate(numbers) if one != other), None)
