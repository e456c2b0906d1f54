"""Requests to stop a trial: Ctrl-C, SIGTERM or a closed terminal, handled between two steps."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType

# Windows has no SIGHUP.
_HANDLED = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))

_SECONDS_FOR_HANDLERS = 2.0
_SECONDS_IN_SILENCE = 1.0
"""How long a step goes on after a request until the user is told that it does."""


class Stopped(BaseException):
    """A trial stopped on request, with all of its work saved; not an error, like KeyboardInterrupt."""

    def __init__(self, step: int, number: int, elsewhere: str | None = None) -> None:
        """Describe the stop; `elsewhere` is a sentence about where the last step is, if not in its folder."""
        super().__init__(
            f"stopped; {elsewhere}" if elsewhere else f"stopped after step {step}, which is saved"
        )
        self.step = step
        self.number = number
        """The number of the signal; the exit status is 128 more."""


class Request:
    """A request to stop, if there was one, and its signal."""

    def __init__(self) -> None:
        self.number: int | None = None


@contextmanager
def listening(tell: Callable[[str], None] = lambda _: None) -> Iterator[Request]:
    """Turn signals into a request; a second signal of the same kind has its usual effect.

    If work goes on for a second after a request, another thread calls `tell` with a sentence that says so.

    A signal that is ignored stays ignored: SIGHUP under nohup, SIGINT in the background of a shell script.
    Only the main thread can handle signals; in other threads there is never a request.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    handlers = {number: signal.getsignal(number) for number in _HANDLED}
    before = {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}

    def handle(number: int, _frame: FrameType | None) -> None:
        request.number = number
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, handle)
    try:
        with _answering_signals(before, tell):
            yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _answering_signals(handled: Collection[int], tell: Callable[[str], None]) -> Iterator[None]:
    """Answer the first signal, and end the process at a second one of its kind, even while torch computes.

    Python runs handlers between two operations of the main thread, and a backward pass of minutes is one
    operation. The system's own handler writes each signal to a socket at once; a thread reads it there.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    over = threading.Event()

    def watch() -> None:
        seen: set[int] = set()
        number = 0
        while True:
            try:
                content = reader.recv(1)
            except TimeoutError:
                reader.settimeout(None)
                tell(_still_working(number))
                continue
            if not content:
                return
            number = content[0]
            # Give the main thread time to run the handler of the second signal, which leaves nothing
            # half-written.
            if number in seen and not over.wait(_SECONDS_FOR_HANDLERS):
                os._exit(128 + number)
            if number in handled and number not in seen:
                seen.add(number)
                reader.settimeout(_SECONDS_IN_SILENCE)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        over.set()
        # The thread sees the end of its input and returns.
        writer.close()
        watcher.join()
        reader.close()


def _still_working(number: int) -> str:
    again = "Ctrl-C again ends it" if number == signal.SIGINT else "a second signal ends it"
    return f"stopping after this step, which is still computed; {again} at once, without saving"
