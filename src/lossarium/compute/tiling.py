"""Cut work into tiles and strips, such that results are the same on any number of threads and any machine.

Whatever has a sum of its own is cut by the work's size alone. By the size of the caches is cut only what
changes no bit: how many rows a kernel sweeps at a time.
"""

from itertools import pairwise

from lossarium.compute.caches import caches

# Below this many rows, what two strips do twice or copy takes longer than a cache that is too small.
_LOWEST_STRIP = 8


def even_parts(length: int, parts: int) -> list[tuple[int, int]]:
    """Split [0, length) into parts of nearly the same length, each as (first, one after the last)."""
    return list(pairwise(length * part // parts for part in range(parts + 1)))


def even_parts_up_to(length: int, longest: int) -> list[tuple[int, int]]:
    """As `even_parts`, into as few parts as possible with none longer than `longest`."""
    return even_parts(length, -(-length // longest))


def steps(length: int, step: int) -> list[tuple[int, int]]:
    """Split [0, length) into parts of length `step`; the last may be shorter."""
    return [(first, min(first + step, length)) for first in range(0, length, step)]


def rows_that_fit(row_bytes: int, surroundings: int, highest: int) -> int:
    """The rows that a kernel sweeps at a time, such that its scratch fits the L2 cache of a core.

    The scratch takes `row_bytes` for each row of the strip and for each of `surroundings` more. It gets three
    quarters of the cache; the rest is for the rows of the pictures that pass through. The height is even, at
    least 8, and at most `highest`.
    """
    rows = caches().second * 3 // 4 // row_bytes - surroundings
    return min(max(rows // 2 * 2, _LOWEST_STRIP), highest)
