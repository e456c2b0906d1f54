"""A thread pool over tiles, as large as torch's: each thread takes the next tile when it is free.

Kernels run on torch's own OpenMP threads where possible. After each operation these spin for some
milliseconds, waiting for the next, and a second pool would have to share the processors with them: right
after a matrix product, SSIM on two cores took 7 ms on a pool of its own and 4.9 ms on torch's threads. A
plain thread pool serves builds whose OpenMP cannot be called, and forked processes, which OpenMP's threads
do not survive.
"""

import ctypes
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

import torch

from lossarium.compute.compiling import NATIVE
from lossarium.compute.interrupts import deferred

Work = Callable[[int], None]
"""Processes one tile, given its number."""
Task = Callable[[], None]


class _ThreadPool:
    """Plain threads, kept for the life of the process and shared by concurrent callers."""

    def __init__(self) -> None:
        self.forked = False
        self._start()

    def _start(self) -> None:
        self.threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="lossarium-kernels")

    def restart_after_fork(self) -> None:
        """In a forked child, which has none of its parent's threads."""
        self.forked = True
        self._start()

    def submit(self, helpers: int, task: Task) -> list[Future[None]]:
        try:
            return [self.threads.submit(task) for _ in range(helpers)]
        except RuntimeError:  # The interpreter is shutting down: the caller does all tiles itself.
            return []


_POOL = _ThreadPool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_POOL.restart_after_fork)


def run_tiles(tiles: int, worker: Callable[[], Work], least: int = 1) -> None:
    """Process tiles 0, 1, ... tiles - 1 on the calling thread and on others, up to torch's thread count.

    `worker` is called once on each thread. It returns the function that processes a tile there, with its own
    scratch memory. Waking threads takes up to a tenth of a millisecond, so fewer than twice `least` tiles
    stay on the calling thread.

    A tile's result does not depend on the thread that computes it, so results are the same for any number of
    threads. Concurrent callers do not wait for each other.
    """
    remaining = iter(range(tiles))
    threads = torch.get_num_threads()
    if threads == 1 or tiles < 2 * least:
        _take(remaining, worker)
    elif _POOL.forked or _openmp() is None:
        _on_plain_threads(min(threads, tiles // least), lambda: _take(remaining, worker))
    else:
        _on_torch_threads(threads, lambda: _take(remaining, worker))


def run_native(kernel: Callable[[int], None], arguments: int, tiles: int) -> None:
    """Run a native kernel once on each thread, up to torch's thread count; a single tile needs one thread.

    `arguments` is the address of its int64 arguments. One of them is a counter, from which the kernel takes
    tile numbers (`compiling.next_of`) until all tiles are done. Unlike with `run_tiles`, no thread ever waits
    for the interpreter's lock, which matters where a whole loss takes a fraction of a millisecond.
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
    # `next` on a range's iterator is atomic under the interpreter's lock: no tile is taken twice.
    for tile in remaining:
        work(tile)


def _on_plain_threads(threads: int, task: Task) -> None:
    """The caller works, too. It never waits for tasks that have not begun, so a busy pool cannot delay it."""
    asked = _POOL.submit(threads - 1, task)
    try:
        task()
    finally:
        begun = [future for future in asked if not future.cancel()]
        for future in begun:
            future.result()


def _on_torch_threads(threads: int, task: Task) -> None:
    """Run a task on the caller and its OpenMP team.

    The team always has all of torch's threads: OpenMP would end those that a smaller team does not use.
    """
    errors: list[BaseException] = []

    def guarded(_: object) -> None:
        try:
            task()
        except BaseException as error:  # Raised again below, on the caller's thread.
            errors.append(error)

    openmp = _openmp()
    assert openmp is not None
    with deferred():
        openmp.GOMP_parallel(NATIVE(guarded), None, threads, 0)
    if errors:
        raise errors[0]


@cache
def _openmp() -> ctypes.CDLL | None:
    """The OpenMP library that torch is linked to, or None if it has no `GOMP_parallel` to call."""
    try:
        library = ctypes.CDLL(torch._C.__file__)
        library.GOMP_parallel.argtypes = (NATIVE, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        library.GOMP_parallel.restype = None
    except (OSError, AttributeError):
        return None
    return library
