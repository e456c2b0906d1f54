"""How Numba compiles a small function that is inlined into kernels: not into machine code.

By itself Numba turns each such function into machine code of its own, which nothing ever runs: the kernel
that inlines it gets machine code as a whole. Leaving that out changes no bit of a kernel's results.
"""

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler


class _LinkedLibrary(JITCodeLibrary):
    """Optimised LLVM code for kernels to link; it has no machine code, and so no address."""

    @property
    def codegen(self) -> Any:
        return _WithoutAddresses(self._codegen)

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()  # type: ignore[no-untyped-call]
        self._verify_declare_only_symbols()  # type: ignore[no-untyped-call]
        self._finalized = True


class _WithoutAddresses:
    """Numba's code generator, for a library whose symbols have no addresses."""

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def set_env(self, name: str, environment: object) -> None:
        """Numba would write to the address of a global variable, which only the kernel's code has."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)


class LinkedCompiler(Compiler):
    """Numba's compiler, for functions that only kernels call."""

    def __init__(self, typingctx: Any, targetctx: Any, library: Any, *others: Any) -> None:
        if library is None:
            library = _LinkedLibrary(targetctx.codegen(), "inlined")  # type: ignore[no-untyped-call]
            library.enable_object_caching()
        super().__init__(typingctx, targetctx, library, *others)  # type: ignore[no-untyped-call]
