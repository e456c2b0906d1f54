"""Compile kernels with Numba, once for each processor; `kernel_cache` keeps them on disk."""

import contextlib
import ctypes
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache, wraps
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import numba
from numba.core import event, types
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic, register_jitable
from numpy.typing import NDArray

from lossarium.compute.interrupts import deferred
from lossarium.compute.kernel_cache import KERNELS, KernelCache, Sources

Function = TypeVar("Function", bound=Callable[..., object])
# Numbers and arrays inside kernels. The compiler infers their types: most kernels are compiled for float32,
# some also for float64.
Real = Any
Reals = NDArray[Any]

# LLVM's fast-math flags: vector instructions need sums to be reordered and fused with products. NaN and
# infinity keep their meaning, since the training guards look for them.
_REORDERING = {"reassoc", "contract", "nsz", "arcp"}
_PATIENCE = 1.0


def compiled(function: Function) -> Function:
    """Compile a kernel: serial, without the interpreter's lock (GIL), with vector instructions allowed."""
    # Only the interpreter calls a kernel: Numba need not compile a way for C code to call it.
    options: dict[str, Any] = {
        "nogil": True,
        "no_cfunc_wrapper": True,
        "error_model": "numpy",
        "fastmath": _REORDERING,
    }
    kernel = numba.njit(**options)(function)
    return kept(cast("Function", kernel), KERNELS)


def kept(kernel: Function, sources: Sources) -> Function:
    """Cache Numba's machine code of a function on disk, and defer signals while it compiles.

    Args:
        kernel: The result of `numba.njit` for the function.
        sources: The files of the function and of all functions that it calls.
    """
    dispatcher: Any = kernel
    dispatcher._cache = KernelCache(dispatcher.py_func, sources)
    # Numba asks for these by name: for a call with new types, and for a call from another kernel.
    for name in ("_compile_for_args", "compile"):
        setattr(dispatcher, name, _uninterrupted(getattr(dispatcher, name)))
    return kernel


def _uninterrupted(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        with _undisturbed():
            return function(*arguments, **options)

    return call


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Compile inside this context: signals wait, and so does the garbage collector.

    The compiler makes so many small objects that the collector would go through all objects of the process
    again and again, a tenth of the time.
    """
    collects = gc.isenabled()
    with deferred():
        gc.disable()
        try:
            yield
        finally:
            if collects:
                gc.enable()


def inlined(function: Function) -> Function:
    """Inline a small function into every kernel that calls it.

    Inlining is forced. Otherwise the process that compiles could call a copy that was compiled on its own,
    while later processes call the copy cached with the kernel, and the two may differ in their last bits.
    """
    # What the interpreter or C code would call is left out: nothing but kernels calls the function.
    return register_jitable(
        forceinline=True,
        error_model="numpy",
        fastmath=_REORDERING,
        no_cfunc_wrapper=True,
    )(function)


NATIVE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
"""The C type of a native kernel: takes the address of its int64 arguments, runs without the interpreter."""
NativeKernel = Callable[[], Callable[[int], None]]
"""What `native` returns: calling it compiles the kernel if need be, and returns it as a `NATIVE`."""


def native(function: Callable[[Any], None]) -> NativeKernel:
    """Compile a function of a pointer to int64 arguments for threads to run without the interpreter.

    Returns a function without arguments that compiles at its first call and returns a `NATIVE`.
    """
    options = {"error_model": "numpy", "fastmath": _REORDERING}
    signature = ((types.CPointer(types.int64),), types.void)  # type: ignore[no-untyped-call]
    callback = _NativeFunction(function, signature, {}, options)
    callback._cache = KernelCache(function, KERNELS)  # type: ignore[attr-defined]

    @cache
    def compiled_once() -> Callable[[int], None]:
        with _undisturbed():
            callback.compile()
        return NATIVE(cast("int", callback.address))

    return compiled_once


class _NativeFunction(CFunc):
    """Numba's C callback, which also emits an event when it compiles, as Numba's other functions do."""

    def _compile_uncached(self) -> Any:
        about = {"dispatcher": SimpleNamespace(py_func=self.__wrapped__)}
        with event.trigger_event("numba:compile", data=about):
            return super()._compile_uncached()  # type: ignore[misc]


def _pointer_to(numbers: types.Type) -> Callable[[int], Any]:
    def typed(_typing: Any, address: Any) -> Any:
        def pointer(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(numbers)(address), pointer  # type: ignore[no-untyped-call]

    return cast("Callable[[int], Any]", intrinsic(typed))


floats_at, doubles_at = _pointer_to(types.float32), _pointer_to(types.float64)
"""In a native function: turn an address into a pointer to float32 or float64 numbers."""


def _counted(_typing: Any, counters: Any, place: Any) -> Any:
    def raised(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        counter = builder.gep(arguments[0], [arguments[1]])
        return builder.atomic_rmw("add", counter, counter.type.pointee(1), "seq_cst")

    return types.int64(counters, place), raised


next_of = cast("Callable[[Any, int], int]", intrinsic(_counted))
"""In a native function: atomic fetch-and-add of 1. (pointer to int64, place) -> the count there before.

No two threads get the same count. The memory order is sequentially consistent."""


class _Announcement(event.Listener):
    """Tells the user that kernels are being compiled, once that takes longer than a second."""

    def __init__(self) -> None:
        self.depth = 0
        self.silent = False
        self.timer = threading.Timer(_PATIENCE, self.announce)

    def on_start(self, event: Any) -> None:
        if not _is_ours(event):
            return
        self.depth += 1
        if self.depth == 1 and not self.silent:
            self.timer = threading.Timer(_PATIENCE, self.announce)
            self.timer.daemon = True
            self.timer.start()

    def on_end(self, event: Any) -> None:
        if not _is_ours(event):
            return
        self.depth -= 1
        if self.depth == 0:
            self.timer.cancel()

    def announce(self) -> None:
        self.silent = True
        with contextlib.suppress(OSError, ValueError):
            print(
                "lossarium: compiling kernels for this processor, the first time only; this takes seconds",
                file=sys.stderr,
            )


def _is_ours(event: Any) -> bool:
    return str(event.data["dispatcher"].py_func.__module__).startswith("lossarium.")


event.register("numba:compile", _Announcement())  # type: ignore[no-untyped-call]
if hasattr(os, "register_at_fork"):
    # A fork while another thread compiles would leave the child with a lock that is never released.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )
