"""How kernels are compiled: by Numba, once for each processor, and kept on disk."""

import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import numba
from numba.core import event
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import register_jitable
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., object])
# Numbers and arrays inside kernels. Which ones is for the compiler to infer: most kernels are compiled for
# float32, some for float64, too.
Real = Any
Reals = NDArray[Any]

# Sums may be taken in another order and products fused into them, as vector instructions need it. Infinities
# and NaN keep their meaning: guards look for them.
_REORDERING = {"reassoc", "contract", "nsz", "arcp"}
_PATIENCE = 1.0


def compiled(function: Function) -> Function:
    """Compile a kernel: serial, without the interpreter's lock, open to vector instructions."""
    jit = partial(numba.njit, nogil=True, error_model="numpy", fastmath=_REORDERING)
    try:
        return cast("Function", jit(function, cache=True))
    except RuntimeError:  # Neither the package's folder nor the user's cache can be written.
        return cast("Function", jit(function))


def inlined(function: Function) -> Function:
    """Let kernels call a small function, which becomes part of each that does."""
    return register_jitable(error_model="numpy", fastmath=_REORDERING)(function)


class _Announcement(event.Listener):
    """Says what takes so long when compiling takes longer than a second."""

    def __init__(self) -> None:
        self.depth = 0
        self.timer = threading.Timer(0, _announce)

    def on_start(self, event: Any) -> None:
        if not _is_ours(event):
            return
        self.depth += 1
        if self.depth == 1:
            self.timer = threading.Timer(_PATIENCE, _announce)
            self.timer.daemon = True
            self.timer.start()

    def on_end(self, event: Any) -> None:
        if not _is_ours(event):
            return
        self.depth -= 1
        if self.depth == 0:
            self.timer.cancel()


def _is_ours(event: Any) -> bool:
    return str(event.data["dispatcher"].py_func.__module__).startswith(__package__)


def _announce() -> None:
    print("lossarium: compiling its kernels for this processor, once; this takes seconds", file=sys.stderr)


event.register("numba:compile", _Announcement())  # type: ignore[no-untyped-call]
# A fork while another thread compiles would leave the child with a lock that nobody opens.
os.register_at_fork(
    before=global_compiler_lock.acquire,
    after_in_parent=global_compiler_lock.release,
    after_in_child=global_compiler_lock.release,
)
