"""Who does the work: plain threads, as many as torch uses, each taking the next tile when it is free."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch

Work = Callable[[int], None]
"""Does one tile."""


class _Crew:
    """Threads that are kept for the process's life and shared by all who call at once."""

    def __init__(self) -> None:
        self.enlist()

    def enlist(self) -> None:
        self.threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="lossarium-kernels")

    def ask(self, helpers: int, task: Callable[[], None]) -> list[Future[None]]:
        try:
            return [self.threads.submit(task) for _ in range(helpers)]
        except RuntimeError:  # The interpreter is shutting down: who asks does it all.
            return []


_CREW = _Crew()
if hasattr(os, "register_at_fork"):
    # Threads do not survive a fork; a child begins with a crew of its own.
    os.register_at_fork(after_in_child=_CREW.enlist)


def spread(tiles: int, worker: Callable[[], Work], least: int = 1) -> None:
    """Do tiles 0, 1, ... tiles - 1 on the calling thread and on others, up to torch's thread count.

    `worker` is called once on each thread and gives what does a tile there, with a scratch of its own.
    Waking a thread takes about a tenth of a millisecond: `least` is how many tiles are worth that.

    Every tile does the same whoever takes it, so results depend on no number of threads. The caller works,
    too, and never waits for a thread that has not begun: callers side by side, or a crew that is busy
    elsewhere, can make this slower but cannot make it stand still.
    """
    remaining = iter(range(tiles))
    asked = _CREW.ask(min(torch.get_num_threads(), tiles // least) - 1, lambda: _take(remaining, worker))
    try:
        _take(remaining, worker)
    finally:
        begun = [future for future in asked if not future.cancel()]
        for future in begun:
            future.result()


def _take(remaining: Iterator[int], worker: Callable[[], Work]) -> None:
    work = worker()
    # `next` of a range's iterator is one step under the interpreter's lock: no tile is taken twice.
    for tile in remaining:
        work(tile)
