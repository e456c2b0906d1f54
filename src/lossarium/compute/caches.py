"""The caches of a processor core: kernels cut their work by what fits there, never their sums."""

import os
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_SYSFS = Path("/sys/devices/system/cpu")
_SUFFIXES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_PATIENCE_SECONDS = 2.0


@dataclass(frozen=True)
class Caches:
    """Bytes that one core has to itself, in its first level of data and in its second level."""

    first: int
    second: int


ASSUMED = Caches(first=32 << 10, second=512 << 10)
"""Where the system does not say: what desktop and server cores have had at least since about 2017."""


@cache
def caches() -> Caches:
    """The smallest caches among the cores that this process may run on, found once.

    A tile may run on any of them: on a processor with two kinds of cores, it has to fit the smaller.
    """
    if sys.platform == "darwin":
        return _from_sysctl()
    return from_sysfs(_SYSFS, _allowed())


def _allowed() -> frozenset[int] | None:
    """The numbers of the CPUs that this process may run on; None where the system does not say."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    with suppress(OSError):
        return frozenset(os.sched_getaffinity(0))
    return None


def from_sysfs(root: Path, allowed: frozenset[int] | None) -> Caches:
    """As Linux lists them: a folder `cpuN/cache/indexM` for each cache that a CPU uses.

    A cache that several CPUs share is divided by their number: each may run a kernel. What is missing or
    cannot be read is taken from `ASSUMED`.
    """
    folders = [folder for folder in _listed(root, "cpu") if allowed is None or _number(folder) in allowed]
    first = _smallest((_share(folder, level=1) for folder in folders), ASSUMED.first)
    return Caches(first, _smallest((_share(folder, level=2) for folder in folders), ASSUMED.second))


def _smallest(sizes: Iterable[int | None], otherwise: int) -> int:
    return min((size for size in sizes if size is not None), default=otherwise)


def _share(cpu: Path, level: int) -> int | None:
    """The bytes of a CPU's data cache of a level, divided by the CPUs that share it; None if unknown."""
    for index in _listed(cpu / "cache", "index"):
        if _text(index / "level") == str(level) and _text(index / "type") in ("Data", "Unified"):
            size = _bytes(_text(index / "size"))
            if size:
                return size // _sharing(_text(index / "shared_cpu_map"))
    return None


def _listed(folder: Path, prefix: str) -> list[Path]:
    """The entries of a folder named by a prefix and a number, in the numbers' order."""
    entries: list[Path] = []
    with suppress(OSError):
        entries = [entry for entry in folder.iterdir() if entry.name.removeprefix(prefix).isdecimal()]
    return sorted((entry for entry in entries if entry.name.startswith(prefix)), key=_number)


def _number(folder: Path) -> int:
    return int("".join(filter(str.isdecimal, folder.name)))


def _text(file: Path) -> str:
    try:
        return file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _bytes(text: str) -> int | None:
    """`48K` as 49152; None for what is no size."""
    digits = text.rstrip("KMG")
    suffix = text[len(digits) :]
    return int(digits) * _SUFFIXES[suffix] if digits.isdecimal() and suffix in _SUFFIXES else None


def _sharing(mask: str) -> int:
    """How many CPUs are in a mask such as `00000000,00000003`; at least one."""
    try:
        return max(int(mask.replace(",", ""), 16).bit_count(), 1)
    except ValueError:
        return 1


def _from_sysctl() -> Caches:
    """macOS names the caches of its fastest kind of core (level 0) and of the others (level 1).

    Cores share the second level there; each gets its share.
    """
    names = [
        f"hw.perflevel{kind}.{name}"
        for kind in (0, 1)
        for name in ("l1dcachesize", "l2cachesize", "cpusperl2")
    ]
    try:
        run = subprocess.run(
            ["/usr/sbin/sysctl", *names],
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ASSUMED
    return parse_sysctl(run.stdout)


def parse_sysctl(output: str) -> Caches:
    """`hw.perflevel0.l2cachesize: 12582912` and the like; what is missing is taken from `ASSUMED`."""
    found = {}
    for line in output.splitlines():
        name, _, number = line.partition(":")
        if number.strip().isdecimal() and int(number) > 0:
            found[name.strip()] = int(number)
    kinds = [f"hw.perflevel{kind}" for kind in (0, 1)]
    second = [
        found[f"{kind}.l2cachesize"] // found.get(f"{kind}.cpusperl2", 1)
        for kind in kinds
        if f"{kind}.l2cachesize" in found
    ]
    return Caches(
        _smallest((found.get(f"{kind}.l1dcachesize") for kind in kinds), ASSUMED.first),
        _smallest(second, ASSUMED.second),
    )
