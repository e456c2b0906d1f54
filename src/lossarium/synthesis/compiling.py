"""How kernels are compiled: by Numba, once, and kept on disk."""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile a kernel with Numba, keeping its type for checkers.

    Strict IEEE arithmetic, with no reordering and no fused operations: pictures must not depend on the
    processor. Serial, because frames are rendered in as many processes as there are cores.
    """
    return cast("Function", numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def inlined(function: Function) -> Function:
    """As `compiled`, for the small helpers of kernels: put into each caller, which saves counting
    references."""
    return cast(
        "Function", numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")(function)
    )
