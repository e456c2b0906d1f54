"""The processes that render frames: one per core, each with a single thread."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

from lossarium.errors import LossariumError

_WORKER_ENVIRONMENT = {
    # One thread, since there is already one process per core.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # By default the C library returns the buffers of every frame to the system, and the next frame takes page
    # faults to get them back: 4 ms per frame.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 26),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 29),
}

Task = TypeVar("Task")
Result = TypeVar("Result")


def available_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Make processes started inside ignore Ctrl-C, which reaches all of them: the parent handles it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python allows only the main thread to change signal handlers.
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _start() -> None:
    """A first task for each worker: a pool starts a process only for a task that no idle one can take."""


@contextmanager
def _worker_environment() -> Iterator[None]:
    """Set the environment of processes started inside: one thread each, and malloc keeps freed memory."""
    before = {name: os.environ.get(name) for name in _WORKER_ENVIRONMENT}
    os.environ.update(_WORKER_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def worker_pool(workers: int) -> Iterator[Executor | None]:
    """A pool of fresh processes, or None for one worker. On an error, waiting tasks are cancelled."""
    if workers == 1:
        yield None
        return
    with _worker_environment():
        pool = ProcessPoolExecutor(workers, get_context("spawn"))
        try:
            with _ignoring_interrupts():
                for _ in range(workers):
                    pool.submit(_start)
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def each(
    pool: Executor | None, function: Callable[[Task], Result], tasks: Iterable[Task]
) -> Iterator[Result]:
    """Yield the function's result for every task, in any order."""
    if pool is None:
        yield from map(function, tasks)
    else:
        try:
            for future in as_completed([pool.submit(function, task) for task in tasks]):
                yield future.result()
        except BrokenProcessPool as error:
            raise LossariumError(
                "A rendering process was killed, most likely because memory ran out: use fewer --workers."
            ) from error
