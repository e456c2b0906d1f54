"""How work is cut into tiles: by its size alone, so that results depend on no number of threads."""

from itertools import pairwise


def even_parts(length: int, parts: int) -> list[tuple[int, int]]:
    """From 0 to `length` in parts of nearly the same length, each as its first and the one after its last."""
    return list(pairwise(length * part // parts for part in range(parts + 1)))


def even_parts_up_to(length: int, longest: int) -> list[tuple[int, int]]:
    """`even_parts`, as few as are none longer than `longest`."""
    return even_parts(length, -(-length // longest))


def steps(length: int, step: int) -> list[tuple[int, int]]:
    """From 0 to `length` in steps, of which the last may be shorter."""
    return [(first, min(first + step, length)) for first in range(0, length, step)]
