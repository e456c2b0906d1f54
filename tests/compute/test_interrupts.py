"""Signals that arrive where an exception would get lost are delivered afterwards, once, to their handler."""

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
import torch

from lossarium.compute import threads as pool
from lossarium.compute.interrupts import deferred
from lossarium.training.signals import listening
from tests.losses.kernel_cases import threads


def test_ctrl_c_is_delivered_at_the_end():
    reached = []

    def interrupted_twice():
        with deferred():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            reached.append(True)

    with pytest.raises(KeyboardInterrupt):
        interrupted_twice()
    assert reached == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_handlers_are_restored_and_get_each_signal_once():
    heard = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, lambda number, _: heard.append(number))
        with deferred(), deferred():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            assert heard == []
        assert sorted(heard) == sorted(before)
        signal.raise_signal(signal.SIGTERM)
        assert len(heard) == 3
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_ctrl_c_that_raises_loses_no_request_to_end_that_came_after_it():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))

    def interrupted_and_asked_to_end():
        with deferred():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)

    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted_and_asked_to_end()
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_run_that_listens_is_asked_to_stop_and_not_interrupted():
    with listening() as request:
        with deferred():
            signal.raise_signal(signal.SIGINT)
        assert request.number == signal.SIGINT


def test_signals_that_are_ignored_stay_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with deferred():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_do_not_defer_signals():
    handlers = []

    def work():
        with deferred():
            handlers.append(signal.getsignal(signal.SIGINT))

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]


@pytest.mark.skipif(pool._openmp() is None, reason="this build of torch has no OpenMP that can be asked")
def test_ctrl_c_while_torchs_threads_work_reaches_the_caller_after_all_tiles_are_done():
    done = []

    def worker():
        # Not in a tile: on a busy machine the other threads may have taken all of them.
        if threading.current_thread() is threading.main_thread():
            signal.raise_signal(signal.SIGINT)
        return done.append

    with threads(2):
        with pytest.raises(KeyboardInterrupt):
            pool.run_tiles(100, worker)
        assert sorted(done) == list(range(100))
        assert torch.get_num_threads() == 2
        again = []
        pool.run_tiles(100, lambda: again.append)
    assert sorted(again) == list(range(100))


INTERRUPTED = """
    import signal
    from lossarium.compute.compiling import compiled, native
    from numba.core import event

    class Listener(event.Listener):
        def on_start(self, event):
            signal.raise_signal(signal.SIGINT)

        def on_end(self, event):
            pass

    @compiled
    def half(x):
        return x / 2

    @native
    def store(numbers):
        numbers[0] = 1

    for kind in ("numba:compile", "numba:llvm_lock", "numba:compiler_lock"):
        event.register(kind, Listener())
    for call in (lambda: half(4.0), store):
        try:
            call()
        except KeyboardInterrupt:
            print("interrupted")
    event._registered.clear()
    assert half(4.0) == 2
"""


def test_ctrl_c_while_a_kernel_is_compiled_is_never_swallowed_and_the_kernel_is_kept(tmp_path):
    """At the start of every event of the compiler: compiling, taking its lock, and LLVM's passes."""
    file = tmp_path / "interrupted.py"
    file.write_text(textwrap.dedent(INTERRUPTED))
    process = subprocess.run(
        [sys.executable, str(file)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")},
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.split() == ["interrupted"] * 2
    assert len(list((tmp_path / "cache").rglob("*.kernel"))) == 2
