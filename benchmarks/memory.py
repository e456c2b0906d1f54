"""Measure the peak memory of a call, beyond what was in use before it."""

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_extra_bytes(run: Callable[[], object]) -> int | None:
    """The rise of the resident set's high-water mark during a call; None on systems other than Linux.

    Freed memory is returned to the system first. Otherwise the call could reuse it, and it would not be seen.
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
