"""How a trial is asked to stop: Ctrl-C and the system's request to end, heard between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_HEARD = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A trial stopped when it was asked to, all of its work saved; like KeyboardInterrupt, it is no error."""

    def __init__(self, step: int, number: int) -> None:
        super().__init__(f"stopped after step {step}, which is saved")
        self.step = step
        self.number = number
        """Of the signal; a process ends with 128 more."""


class Request:
    """Whether it was asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.number: int | None = None


@contextmanager
def listening() -> Iterator[Request]:
    """Hear signals as a request; a second one of the same kind does what it always did.

    Only the main thread can listen; elsewhere nothing is ever requested.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in _HEARD}

    def hear(number: int, _frame: FrameType | None) -> None:
        request.number = number
        signal.signal(number, before[signal.Signals(number)])

    for number in _HEARD:
        signal.signal(number, hear)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
