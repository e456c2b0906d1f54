"""How much memory is available for frames."""

import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class _Controller(NamedTuple):
    """The files in which a version of Linux's control groups reports a group's memory."""

    line: str
    """How its line of /proc/self/cgroup begins, after the number."""
    root: str
    limit: str
    used: str
    idle: str
    """Key in memory.stat: file cache not used lately, which the kernel frees when memory is needed."""


_CONTROLLERS = (
    _Controller(":", "", "memory.max", "memory.current", "inactive_file"),
    _Controller("memory:", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that this process can allocate without swapping, or None if the system does not say.

    On Linux, the available memory of the machine or, if that is less, what the process's control groups (such
    as a container's limit) leave; on Windows, the available physical memory; on macOS, all physical memory.

    Args:
        root: The folder of Linux's `proc` and `sys`.
    """
    if sys.platform == "win32":
        return _of_windows()
    found = [*_of_machine(root), *_of_groups(root)]
    return min(found) if found else _physical()


def _of_machine(root: Path) -> Iterator[int]:
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _of_groups(root: Path) -> Iterator[int]:
    """The memory that each of the process's control groups leaves."""
    groups = [line.partition(":")[2] for line in _lines(root / "proc/self/cgroup")]
    for controller in _CONTROLLERS:
        top = root / "sys/fs/cgroup" / controller.root
        for group in groups:
            if group.startswith(controller.line):
                folder = top / group.removeprefix(controller.line).strip("/")
                # Inside a container this may be the path as seen from outside: then only the top exists.
                for level in (folder, *folder.parents):
                    if level.is_relative_to(top):
                        yield from _left_in(level, controller)


def _left_in(folder: Path, controller: _Controller) -> Iterator[int]:
    limit, used = ("".join(_lines(folder / name)) for name in (controller.limit, controller.used))
    if limit.isdecimal() and used.isdecimal():
        idle = sum(
            int(line.split()[1])
            for line in _lines(folder / "memory.stat")
            if line.startswith(f"{controller.idle} ")
        )
        yield max(int(limit) - int(used) + idle, 0)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _physical() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _of_windows() -> int | None:
    """MEMORYSTATUSEX.ullAvailPhys of GlobalMemoryStatusEx."""

    class Status(ctypes.Structure):
        _fields_ = [("length", ctypes.c_uint32), ("load", ctypes.c_uint32), ("sizes", ctypes.c_uint64 * 7)]

    status = Status(length=ctypes.sizeof(Status))
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):  # type: ignore[attr-defined,unused-ignore]
        return None
    return int(status.sizes[1])
