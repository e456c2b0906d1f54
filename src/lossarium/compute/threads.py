"""Who does the work: as many threads as torch uses, each taking the next tile when it is free.

After each of torch's own operations its threads spin for some milliseconds, waiting for the next. Threads of
ours would have to share their processors with them: right after a product of matrices, SSIM on two cores took
7 ms so and 4.9 ms on the very threads that spin. So those do the work where torch's OpenMP can be asked for
them, and plain threads elsewhere: on other builds, and after a fork, which OpenMP's threads do not survive.
"""

import ctypes
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

import torch

from lossarium.compute.compiling import NATIVE

Work = Callable[[int], None]
"""Does one tile."""
Task = Callable[[], None]


class _ThreadPool:
    """Plain threads, kept for the process's life and shared by all who call at once."""

    def __init__(self) -> None:
        self.forked = False
        self._start()

    def _start(self) -> None:
        self.threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="lossarium-kernels")

    def restart_after_fork(self) -> None:
        """In a forked child: none of its parent's threads came with it."""
        self.forked = True
        self._start()

    def submit(self, helpers: int, task: Task) -> list[Future[None]]:
        try:
            return [self.threads.submit(task) for _ in range(helpers)]
        except RuntimeError:  # The interpreter is shutting down: who asks does it all.
            return []


_POOL = _ThreadPool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_POOL.restart_after_fork)


def spread(tiles: int, worker: Callable[[], Work], least: int = 1) -> None:
    """Do tiles 0, 1, ... tiles - 1 on the calling thread and on others, up to torch's thread count.

    `worker` is called once on each thread and gives what does a tile there, with a scratch of its own.
    Waking threads takes up to a tenth of a millisecond: fewer than twice `least` tiles are not worth that.

    Every tile does the same whoever takes it, so results depend on no number of threads. Callers side by side
    do not wait for each other.
    """
    remaining = iter(range(tiles))
    threads = torch.get_num_threads()
    if threads == 1 or tiles < 2 * least:
        _take(remaining, worker)
    elif _POOL.forked or _openmp() is None:
        _on_plain_threads(min(threads, tiles // least), lambda: _take(remaining, worker))
    else:
        _on_torch_threads(threads, lambda: _take(remaining, worker))


def sweep(kernel: Callable[[int], None], arguments: int, tiles: int) -> None:
    """Run a native kernel once on each thread, up to torch's thread count, where there are tiles for two.

    `arguments` is the address of its int64 arguments, among them a counter, by which it takes tile after tile
    (`compiling.next_of`) until all are done.
    Threads that need no interpreter do not wait for it: that is worth the trouble where a whole loss takes
    a fraction of a millisecond.
    """
    threads = torch.get_num_threads()
    if threads == 1 or tiles < 2:
        kernel(arguments)
    elif _POOL.forked or (openmp := _openmp()) is None:
        _on_plain_threads(min(threads, tiles), lambda: kernel(arguments))
    else:
        openmp.GOMP_parallel(kernel, arguments, threads, 0)


def _take(remaining: Iterator[int], worker: Callable[[], Work]) -> None:
    work = worker()
    # `next` of a range's iterator is one step under the interpreter's lock: no tile is taken twice.
    for tile in remaining:
        work(tile)


def _on_plain_threads(threads: int, task: Task) -> None:
    """The caller works, too, and never waits for a thread that has not begun: no busy pool holds it up."""
    asked = _POOL.submit(threads - 1, task)
    try:
        task()
    finally:
        begun = [future for future in asked if not future.cancel()]
        for future in begun:
            future.result()


def _on_torch_threads(threads: int, task: Task) -> None:
    """The caller and its team of OpenMP's.

    All of torch's threads or none: OpenMP would end those that a smaller team leaves over.
    """
    errors: list[BaseException] = []

    def guarded(_: object) -> None:
        try:
            task()
        except BaseException as error:  # Raised again below, on the caller's thread.
            errors.append(error)

    openmp = _openmp()
    assert openmp is not None
    openmp.GOMP_parallel(NATIVE(guarded), None, threads, 0)
    if errors:
        raise errors[0]


@cache
def _openmp() -> ctypes.CDLL | None:
    """The OpenMP that torch is linked to, if it can be asked to run a task on its threads."""
    try:
        library = ctypes.CDLL(torch._C.__file__)
        library.GOMP_parallel.argtypes = (NATIVE, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        library.GOMP_parallel.restype = None
    except (OSError, AttributeError):
        return None
    return library
