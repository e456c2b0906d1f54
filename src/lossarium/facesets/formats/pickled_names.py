"""The names that a pickle may call, and stand-ins for them that check all of their arguments.

numpy's own reconstruction allocates memory before it reads the data, and trusts the state in the pickle.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

import numpy as np
import numpy.typing as npt

from lossarium.facesets.decoding.decoded import RefusedError

_MAX_DIMENSIONS = 4
_DTYPES = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})


@dataclass
class PickledArray:
    """A numpy array of numbers; empty until its state has been read."""

    array: npt.NDArray[np.generic] | None = None

    def build(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise damaged("an array has no state")
        _, shape, dtype, fortran, data = state
        self.array = _array(data, dtype, shape, "F" if fortran is True else "C")


@dataclass
class PickledDtype:
    """The type of an array's numbers."""

    code: str
    order: str = "<"

    def build(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise damaged("an array's type has no byte order")
        self.order = str(state[1])

    def numpy(self) -> np.dtype[np.generic]:
        return np.dtype("|b1" if self.code == "b1" else self.order.replace("|", "<") + self.code)


@dataclass(frozen=True)
class AllowedName:
    """A name on the allow-list, and its stand-in."""

    call: Callable[..., object]


def _empty_array(*_: object) -> PickledArray:
    """numpy's _reconstruct: the array's state follows."""
    return PickledArray()


def _array_from_buffer(data: object, dtype: object, shape: object, order: object) -> PickledArray:
    return PickledArray(_array(data, dtype, shape, "F" if order == "F" else "C"))


def _scalar(dtype: object, data: object) -> object:
    return _array(data, dtype, (), "C").item()


def _dtype(code: object, *_: object) -> PickledDtype:
    if not isinstance(code, str) or code not in _DTYPES:
        raise damaged("an array holds something other than numbers")
    return PickledDtype(code)


def _encoded(text: object, encoding: object) -> bytes:
    """How protocol 2 stores bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise damaged("bytes are stored in an unknown way")
    return text.encode("latin-1")


def _no_bytes() -> bytes:
    """How protocol 2 stores empty bytes."""
    return b""


def _enumeration(value: object) -> int:
    if not isinstance(value, int):
        raise damaged("a kind of sample or face is not a number")
    return value


def _no_call(*_: object) -> object:
    raise damaged("it calls numpy.ndarray")


def _array(data: object, dtype: object, shape: object, order: str) -> npt.NDArray[np.generic]:
    if not isinstance(data, bytes) or not isinstance(dtype, PickledDtype) or not isinstance(shape, tuple):
        raise damaged("an array is not made of numbers")
    if len(shape) > _MAX_DIMENSIONS or not all(isinstance(side, int) and 0 <= side < 2**32 for side in shape):
        raise damaged("an array has an impossible shape")
    values = np.frombuffer(data, dtype.numpy())
    count = 1
    for side in cast("tuple[int, ...]", shape):
        count *= side
    if count != values.size:
        raise damaged("an array has another size than its shape says")
    return values.reshape(shape, order="F" if order == "F" else "C")


ALLOWED_NAMES: Mapping[tuple[str, str], AllowedName] = MappingProxyType(
    {
        ("numpy.core.multiarray", "_reconstruct"): AllowedName(_empty_array),
        ("numpy._core.multiarray", "_reconstruct"): AllowedName(_empty_array),
        ("numpy.core.multiarray", "scalar"): AllowedName(_scalar),
        ("numpy._core.multiarray", "scalar"): AllowedName(_scalar),
        ("numpy.core.numeric", "_frombuffer"): AllowedName(_array_from_buffer),
        ("numpy._core.numeric", "_frombuffer"): AllowedName(_array_from_buffer),
        ("numpy", "ndarray"): AllowedName(_no_call),
        ("numpy", "dtype"): AllowedName(_dtype),
        ("_codecs", "encode"): AllowedName(_encoded),
        ("__builtin__", "bytes"): AllowedName(_no_bytes),
        # What DeepFaceLab's packed facesets name; both are numbers.
        ("samplelib.Sample", "SampleType"): AllowedName(_enumeration),
        ("facelib.FaceType", "FaceType"): AllowedName(_enumeration),
    }
)


def damaged(complaint: str) -> RefusedError:
    """The error for a damaged pickle."""
    return RefusedError(f"carries a damaged pickle: {complaint}; extract it again")
