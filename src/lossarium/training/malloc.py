"""Tune glibc's malloc for training on a CPU."""

import ctypes

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Make malloc keep freed memory for later allocations instead of returning it to the system.

    By default malloc returns large blocks, and the next allocation waits for page faults, one per page: a
    step of `dfl_sae` took 74 s that way and 57 s with this setting. In return, the process keeps the peak
    memory of a step. The setting holds for the whole process; without glibc nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_MMAP_THRESHOLD, 2**31 - 1)
