"""How kernels are compiled: by Numba, once, and kept on disk."""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

from lossarium.compute.compiling import kept
from lossarium.compute.kernel_cache import Sources

Function = TypeVar("Function", bound=Callable[..., object])
_RENDERING = Sources("rendering", ("synthesis/*.py",))


def compiled(function: Function) -> Function:
    """Compile a kernel with Numba, keeping its type for checkers.

    Strict IEEE arithmetic, with no reordering and no fused operations: pictures must not depend on the
    processor. Serial, because frames are rendered in as many processes as there are cores.
    """
    return kept(cast("Function", numba.njit(nogil=True, error_model="numpy")(function)), _RENDERING)


def inlined(function: Function) -> Function:
    """As `compiled`, for the small helpers of kernels: put into each caller, which saves counting
    references."""
    inline = numba.njit(nogil=True, error_model="numpy", inline="always")(function)
    return kept(cast("Function", inline), _RENDERING)
