"""numpy's array files, written row by row, and memory-mapped instead of read."""

import os
import threading
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

_Number = TypeVar("_Number", np.uint8, np.float32)


class ArrayFile:
    """An array of bytes written row by row; its file does not exist until it is finished."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        """Begin one of at most this shape."""
        self.path = path
        self.shape = shape
        self.rows = 0
        # Unique within the process, too: threads may write arrays side by side.
        self.temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
        self.file = self.temporary.open("w+b")
        self.start = self._write_header(shape)

    def add(self, rows: npt.NDArray[np.uint8]) -> None:
        """Write the next rows."""
        self.file.write(np.ascontiguousarray(rows).data)
        self.rows += len(rows)

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only these of the added rows, given in ascending order."""
        length = prod(self.shape[1:])
        for place, row in enumerate(rows):
            if place != row:
                self.file.seek(self.start + row * length)
                content = self.file.read(length)
                self.file.seek(self.start + place * length)
                self.file.write(content)
        self.rows = len(rows)
        self.file.truncate(self.start + self.rows * length)

    def finish(self) -> None:
        """Move the finished array to its path, with the number of rows added so far."""
        self.file.seek(0)
        # numpy leaves room in the header for the number of rows to change.
        if self._write_header((self.rows, *self.shape[1:])) != self.start:
            raise OSError("its header changed its length")
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        self.temporary.replace(self.path)

    def close(self) -> None:
        """Remove an unfinished file."""
        try:
            # On a full disk there may be bytes left that cannot be written.
            self.file.close()
        finally:
            self.temporary.unlink(missing_ok=True)

    def _write_header(self, shape: tuple[int, ...]) -> int:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self.file, header)
        return self.file.tell()


def mapped(path: Path, dtype: type[_Number], shape: tuple[int, ...]) -> npt.NDArray[_Number]:
    """Map a file of exactly this type and shape into memory, read-only.

    Raises:
        ValueError: it has another type or shape, or is too short or too long.
    """
    with path.open("rb") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("another version")
        found, fortran_order, kind = np.lib.format.read_array_header_1_0(file)
        start = file.tell()
    if found != shape or fortran_order or kind != dtype:
        raise ValueError("another array")
    if path.stat().st_size != start + prod(shape) * kind.itemsize:
        raise ValueError("not whole")
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", offset=start, shape=shape)
