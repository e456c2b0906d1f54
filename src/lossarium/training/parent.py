"""Ends the child processes of a training run on several devices when their parent ends.

A parent that is killed with SIGKILL cannot end its children; they would wait for ever, or hold a GPU.
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
    """Tell processes that are started from here on which process is their parent."""
    os.environ[_PARENT] = str(os.getpid())


def end_with_parent() -> None:
    """In such a child, end this process when its parent ends; elsewhere do nothing."""
    announced = os.environ.get(_PARENT, "")
    # Lightning Fabric numbers the processes that it starts; the first is their parent.
    if not announced.isdigit() or os.environ.get("LOCAL_RANK", "0") == "0":
        return
    parent = int(announced)
    if sys.platform == "linux":
        # Linux sends the signal even while this process computes.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        # The parent ended before that.
        _end()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    _end()


def _end() -> None:
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
