"""Cut work into tiles by its size alone, so that results are the same for any number of threads."""

from itertools import pairwise


def even_parts(length: int, parts: int) -> list[tuple[int, int]]:
    """Split [0, length) into parts of nearly the same length, each as (first, one after the last)."""
    return list(pairwise(length * part // parts for part in range(parts + 1)))


def even_parts_up_to(length: int, longest: int) -> list[tuple[int, int]]:
    """As `even_parts`, into as few parts as possible with none longer than `longest`."""
    return even_parts(length, -(-length // longest))


def steps(length: int, step: int) -> list[tuple[int, int]]:
    """Split [0, length) into parts of length `step`; the last may be shorter."""
    return [(first, min(first + step, length)) for first in range(0, length, step)]
