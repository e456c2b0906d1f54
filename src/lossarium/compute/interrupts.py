"""Defer Ctrl-C and SIGTERM where an exception would get lost.

Python runs a signal's handler between two of its instructions, wherever the main thread is. In a callback
from C code (LLVM's, OpenMP's) the KeyboardInterrupt that it raises cannot pass through the C code: it is
printed, and the program goes on as if nothing had happened.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_DEFERRED = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred() -> Iterator[None]:
    """Deliver signals that arrive inside this context at its end.

    Does nothing on other threads than the main one, since only that receives signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    handlers = {}

    def remember(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    try:
        for number in _DEFERRED:
            handler = signal.getsignal(number)
            # A signal without a Python handler ends the process, which needs no exception.
            if callable(handler):
                handlers[number] = handler
                signal.signal(number, remember)
        yield
    finally:
        # SIGINT last, whose handler may raise at once.
        for number, handler in reversed(handlers.items()):
            signal.signal(number, handler)
        for number in reversed(_DEFERRED):
            if number in received:
                signal.raise_signal(number)
