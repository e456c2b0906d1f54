"""A disk cache of compiled kernels: each is compiled once on a machine and found by every later process.

Numba's own cache distinguishes specialisations of a kernel by a pickle of what they close over. If that is a
compiled function, the pickle contains an identifier of the process, so no later process finds the entry. Here
an entry is named after what the machine code depends on: the kernel, what it closes over (spelled out), the
types of its arguments, the sources, the compiler and the processor. One file is one entry, so processes that
compile at the same time do not overwrite each other's entries, and processors that share a home directory
keep their entries side by side.
"""

import hashlib
import os
import pickle
import secrets
import sys
import tempfile
import time
import types as python_types
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import llvmlite  # type: ignore[import-untyped]
import numba
import numpy as np
from numba.core import config, types
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.dispatcher import Dispatcher
from numba.core.extending import _Intrinsic
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

from lossarium.compute.earlier_entries import remove_earlier_entries

_PACKAGE = Path(__file__).resolve().parent.parent
_SUFFIX = ".kernel"
# The number of entries per kernel (for different processors, or versions of a user's own file); the oldest
# are removed first.
_KEPT = 16
# A temporary file of this age belongs to a process that was killed.
_ABANDONED_AFTER_SECONDS = 3600.0


@dataclass(frozen=True)
class Sources:
    """The files of the package, by patterns, that a family of kernels depends on; `compute/` is always among
    them.

    Its kernels are valid as long as none of these files changes.
    """

    family: str
    patterns: tuple[str, ...]

    def digest(self) -> str:
        return _digest_of_files(self.patterns)


KERNELS = Sources("kernels", ("**/*_cpu.py", "losses/*/constants.py"))
"""The kernels of losses and of augmentation, and the constants that are compiled into them."""


@cache
def _digest_of_files(patterns: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    found = (file for pattern in ("compute/*.py", *patterns) for file in _PACKAGE.glob(pattern))
    for file in sorted(set(found)):
        digest.update(file.relative_to(_PACKAGE).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


class KernelCache(_Cache):
    """The cache that Numba looks into before it compiles a kernel, and saves it to afterwards."""

    def __init__(self, function: Callable[..., object], sources: Sources) -> None:
        self._function = function
        self._sources = sources

    @property
    def cache_path(self) -> str | None:
        place = _places().writable
        return None if place is None else str(place)

    def enable(self) -> None:
        """Do nothing: the cache is always enabled."""

    def disable(self) -> None:
        """Numba never asks for this."""

    def flush(self) -> None:
        """Numba never asks for this."""

    @cached_property
    def identity(self) -> str:
        """The kernel and what it closes over, the same in every process."""
        return describe(self._function)

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """The compiled kernel for these types of arguments; None if no process has compiled it yet."""
        # Two specialisations that different processes compiled may have the same symbol, and a third process
        # would run one instead of the other, so each gets a unique name.
        name = self._function.__code__.co_name
        self._function.__qualname__ = f"{name}_{_short(self.identity)}"
        target_context.refresh()
        entry = self._entry(signature, target_context.codegen())
        if entry is None:
            return None
        for place in _places().readable:
            payload = _read(place / entry)
            if payload is not None:
                return CompileResult._rebuild(target_context, *payload)  # type: ignore[no-untyped-call]
        return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Save a compiled kernel for later processes, if there is a folder to write to."""
        # Code that contains addresses of this process cannot be reused: unoptimised code, with NUMBA_OPT=0.
        if compiled.library.has_dynamic_globals:
            return
        entry, place = self._entry(signature, compiled.codegen), _places().writable
        if entry is None or place is None:
            _places().announce_that_nothing_is_kept()
            return
        try:
            _write(place / entry, dumps(compiled._reduce()))  # type: ignore[no-untyped-call]
            _prune(place, entry)
        except OSError as error:
            _places().announce_that_nothing_is_kept(error)

    def _entry(self, signature: Any, codegen: Any) -> Path | None:
        """Folder and file of an entry; None for a function without a source file."""
        function, own_file = self._function, ""
        path = Path(function.__code__.co_filename)
        if not path.is_relative_to(_PACKAGE):
            try:
                own_file = hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError:
                return None
        kernel = _short(f"{self.identity} {signature}")
        build = _short(repr((*codegen.magic_tuple(), *_settings(), own_file)))
        name = "".join(c for c in function.__code__.co_name if c.isalnum() or c == "_")[:40]
        return _Folder.of(self._sources).path / f"{path.stem}.{name}.{kernel}.{build}{_SUFFIX}"


def _settings() -> tuple[object, ...]:
    """Numba's environment variables that change machine code."""
    names = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "USING_SVML", "DEBUGINFO_DEFAULT")
    return tuple(str(getattr(config, name, None)) for name in names)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def describe(value: object) -> str:
    """A description of a function with what it closes over, or of a constant, that is the same in every
    process.

    Raises:
        TypeError: it is anything else, for which the cache could not tell two kernels apart.
    """
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    if isinstance(value, np.generic | np.dtype):
        return f"{type(value).__name__}({value})" if isinstance(value, np.dtype) else repr(value)
    if isinstance(value, tuple):
        return f"({', '.join(describe(part) for part in value)})"
    if isinstance(value, Dispatcher):
        return describe(value.py_func)
    if isinstance(value, _Intrinsic):
        return describe(value._defn)
    if isinstance(value, types.Type):
        return str(value)
    if isinstance(value, python_types.FunctionType):
        code = value.__code__
        cells = (cell.cell_contents for cell in value.__closure__ or ())
        closed_over = zip(code.co_freevars, cells, strict=True)
        # A function that calls itself closes over itself.
        inner = ", ".join(f"{name}={describe(held)}" for name, held in closed_over if held is not value)
        return f"{value.__module__}.{code.co_qualname}:{code.co_firstlineno}[{inner}]"
    if isinstance(value, type | python_types.BuiltinFunctionType | np.ufunc):
        return f"{getattr(value, '__module__', 'numpy')}.{value.__name__}"
    if isinstance(value, python_types.ModuleType):
        return value.__name__
    raise TypeError(f"a kernel closes over {value!r}; pass it as an argument, or close over numbers instead")


@dataclass(frozen=True)
class _Folder:
    """The name of the folder for the entries of one version of the sources and the compiler."""

    family: str
    sources: str
    python: str
    compiler: str

    @staticmethod
    def of(sources: Sources) -> "_Folder":
        # Compiled kernels are stored as this Python pickles them.
        python = (sys.implementation.cache_tag or sys.implementation.name).replace("-", "")
        compiler = f"{numba.__version__} {llvmlite.__version__} {np.__version__}"
        return _Folder(sources.family, sources.digest()[:16], python, _short(compiler))

    @staticmethod
    def from_name(name: str) -> "_Folder | None":
        parts = name.split("-")
        return _Folder(*parts) if len(parts) == 4 and all(parts) else None

    @property
    def path(self) -> Path:
        return Path(f"{self.family}-{self.sources}-{self.python}-{self.compiler}")

    def is_replaced_by(self, newer: "_Folder") -> bool:
        """Whether its entries are obsolete, now that there are those of `newer`.

        Entries of another Python version are not: both may use the same sources in turn.
        """
        if self.family != newer.family or self == newer:
            return False
        return self.sources != newer.sources or self.python == newer.python


def _prune(place: Path, entry: Path) -> None:
    """Remove the entries of other sources and compilers, and the oldest of this kernel if there are too
    many."""
    _prune_folders_once(place, entry.parent)
    kernel = entry.name.removesuffix(_SUFFIX).rpartition(".")[0]
    alike = sorted((place / entry.parent).glob(f"{kernel}.*{_SUFFIX}"), key=_age)
    for path in alike[_KEPT:]:
        with suppress(OSError):
            path.unlink()


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")


@cache
def _prune_folders_once(place: Path, current: Path) -> None:
    remove_earlier_entries(_PACKAGE, getattr(config, "CACHE_DIR", ""))
    newer = _Folder.from_name(current.name)
    for folder in place.iterdir():
        own = _Folder.from_name(folder.name)
        if newer is None or own is None or folder.is_symlink() or not folder.is_dir():
            continue
        replaced = own.is_replaced_by(newer)
        for path in folder.iterdir():
            abandoned = path.suffix == ".tmp" and _age(path) > _ABANDONED_AFTER_SECONDS
            if abandoned or (replaced and path.suffix == _SUFFIX):
                with suppress(OSError):
                    path.unlink()
        if replaced:
            # Fails, as it should, if the folder holds files that are not ours.
            with suppress(OSError):
                folder.rmdir()


def _read(path: Path) -> Any:
    """The object that `_write` wrote; None if there is none or it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, payload = content[:32], content[32:]
    if hashlib.sha256(payload).digest() != digest:
        return None
    try:
        return pickle.loads(payload)
    except Exception:  # Written by a process that had other modules: recompile it.
        return None


def _write(path: Path, payload: bytes) -> None:
    """Write an entry atomically: readers find a complete entry or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.stem[-16:]}.{secrets.token_hex(8)}.tmp")
    try:
        temporary.write_bytes(hashlib.sha256(payload).digest() + payload)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


class _Places:
    """The folders that may hold compiled kernels.

    In this order: NUMBA_CACHE_DIR, beside the sources, the user's cache. Entries are written to the first
    writable folder, and read from it and those before it, so kernels that came with a read-only installation
    are found, too.
    """

    def __init__(self, candidates: Iterable[Path]) -> None:
        self.candidates = tuple(candidates)
        self.readable: tuple[Path, ...] = self.candidates
        self.writable: Path | None = None
        self.reason: OSError | None = None
        self.announced = False
        for number, place in enumerate(self.candidates):
            try:
                place.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=place):
                    pass
            except OSError as error:
                self.reason = self.reason or error
                continue
            self.writable, self.readable = place, self.candidates[: number + 1]
            return

    def announce_that_nothing_is_kept(self, error: OSError | None = None) -> None:
        """Say once why nothing can be cached, and how to fix it."""
        if self.announced:
            return
        self.announced = True
        reason = error or self.reason
        where = "" if reason is None or reason.filename is None else f" ({reason.filename})"
        why = "there is no folder for it" if reason is None else f"{reason.strerror or reason}{where}"
        with suppress(OSError, ValueError):
            print(
                f"lossarium: compiled kernels cannot be kept, so every process compiles them again: {why}; "
                "set NUMBA_CACHE_DIR to a folder that can be written to",
                file=sys.stderr,
            )


@cache
def _places() -> _Places:
    own = _short(str(_PACKAGE))
    candidates = [_PACKAGE / "compute" / "__pycache__" / "compiled"]
    user = Path(AppDirs(appname="lossarium", appauthor=False).user_cache_dir)  # type: ignore[no-untyped-call]
    # Without a home directory it would be below the current one.
    if user.is_absolute():
        candidates.append(user / f"compiled-{own}")
    # From the environment, or set by a program.
    if chosen := getattr(config, "CACHE_DIR", ""):
        candidates.insert(0, Path(chosen) / f"lossarium-{own}")
    return _Places(candidates)


if hasattr(os, "register_at_fork"):
    # A child may run as another user.
    os.register_at_fork(after_in_child=_places.cache_clear)
