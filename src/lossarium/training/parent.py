"""A process that must not outlive its parent: one of several that train together, started by the first.

A parent that is killed with SIGKILL cannot end its children; they would wait for it for ever, or hold a GPU.
"""

import ctypes
import os
import signal
import sys
import threading
import time

_PARENT = "LOSSARIUM_PARENT"
_PR_SET_PDEATHSIG = 1
_SECONDS_BETWEEN_LOOKS = 1.0


def announce_parent() -> None:
    """Say to processes that are started from here on whose children they are."""
    os.environ[_PARENT] = str(os.getpid())


def end_with_parent() -> None:
    """In such a child, have this process killed when its parent ends; elsewhere do nothing."""
    announced = os.environ.get(_PARENT, "")
    # Lightning Fabric numbers the processes that it starts; the first is their parent.
    if not announced.isdigit() or os.environ.get("LOCAL_RANK", "0") == "0":
        return
    parent = int(announced)
    if sys.platform == "linux":
        # The system does it, whatever this process is busy with.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        # It ended before this was asked for.
        _end()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    _end()


def _end() -> None:
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
