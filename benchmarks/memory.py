"""How much memory a call needs at its peak, beyond what was there before it."""

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


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
