"""How much memory a call needs at its peak, beyond what was there before it."""

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Have malloc keep what is freed for the next who asks, whoever that is.

    Else it gives large blocks back to the system as the heap happens to lie, and whoever asks next waits a
    millisecond for the pages to come back: three times as long as a plain loss takes.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_M_MMAP_THRESHOLD, 2**31 - 1)


def peak_extra_bytes(run: Callable[[], object]) -> int | None:
    """The rise of the resident set's high-water mark during a call; None where Linux is not there to ask.

    Freed memory is given back first, or what an earlier call left would hide what this one takes.
    """
    if not _CLEAR.exists():
        return None
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = _kilobytes("VmRSS")
    _CLEAR.write_text("5")
    run()
    return max(_kilobytes("VmHWM") - before, 0) * 1024


def _kilobytes(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"{_STATUS} has no {field}")
