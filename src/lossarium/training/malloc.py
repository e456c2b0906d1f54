"""How memory is asked for while a model is trained on a CPU."""

import ctypes

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Have malloc keep what is freed for the next who asks, whoever that is; for all of the process.

    Else it gives large blocks back to the system, and whoever asks next waits for their pages to come back,
    one by one: a step of `dfl_sae` took 74 s so, and 57 s without. What a step needs at its peak stays taken.
    On systems without glibc nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_MMAP_THRESHOLD, 2**31 - 1)
