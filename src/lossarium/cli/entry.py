"""The first function of the `lossarium` command: Ctrl-C ends it with 130 from its first moment to its last.

It imports almost nothing: until it has run its first line, Ctrl-C has Python's own effect, a traceback.
"""

import _thread
import atexit
import os
import signal
import sys
import time
from types import FrameType

_SECONDS_BETWEEN_TRIES = 0.01


def main() -> int:
    """Import and run the command line, and return its exit status.

    Before and after the command, while Python imports it and exits, there is nothing to save, and Ctrl-C ends
    the process at once. Within, it raises KeyboardInterrupt, but not while a module is imported.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        # Ignored, as in the background of a shell script, or somebody else's.
        from lossarium.cli.main import main as command

        return command()
    signal.signal(signal.SIGINT, _end)
    # What is registered first is called last. All that is left then is to take the interpreter down, which
    # would give the signal its effect by default and turn the status of finished work into that of a kill.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    from lossarium.cli.main import main as command

    outermost = sys._getframe()

    def interrupt(_number: int, frame: FrameType | None) -> None:
        if _would_lose_it(frame, outermost):
            # Not by a Timer: the code in between may hold one of threading's locks.
            _thread.start_new_thread(_try_again, ())
        else:
            raise KeyboardInterrupt

    try:
        # The command turns a KeyboardInterrupt into a status; this is for the moments around that.
        signal.signal(signal.SIGINT, interrupt)
        return command()
    except KeyboardInterrupt:
        _end()
    finally:
        signal.signal(signal.SIGINT, _end)
    return 128 + signal.SIGINT


def _would_lose_it(frame: FrameType | None, outermost: FrameType) -> bool:
    """Whether a KeyboardInterrupt in this frame would not come through.

    NumPy, torch and modules in C catch every exception in some of their imports, or call `abort`, and Python
    drops all that `__del__` raises.
    """
    while frame is not None and frame is not outermost:
        code = frame.f_code
        if code.co_filename == "<frozen importlib._bootstrap>" or code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def _try_again() -> None:
    """Interrupt the main thread a little later."""
    time.sleep(_SECONDS_BETWEEN_TRIES)
    _thread.interrupt_main()


def _end(*_: object) -> None:
    """End the process: not by an exception, which imports and callbacks from C code may swallow."""
    try:  # noqa: SIM105 - contextlib would take longer to import than all of this
        # Not by sys.stderr, whose lock the interrupted code may hold.
        os.write(2, b"\nlossarium: stopped\n")
    except OSError:
        pass
    os._exit(128 + signal.SIGINT)
