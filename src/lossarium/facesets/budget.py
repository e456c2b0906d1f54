"""A limit on the work of reading a file, proportional to the file's size."""

from lossarium.facesets.decoding.decoded import RefusedError

# The budget of an empty file: small files are mostly overhead.
_SPARE = 4096


class Budget:
    """Steps, values or bytes that reading one file may cost.

    Formats with references (a pickle's memo, say) let a few bytes stand for the same large value again and
    again. Code that copies, builds or scans such a value spends budget for it, so that the total stays
    proportional to the file.
    """

    def __init__(self, size: int, *, per_byte: float = 1.0) -> None:
        """Allow `per_byte` units for each of the `size` bytes of the file, and a few thousand besides."""
        self.left = int(per_byte * size) + _SPARE

    def spend(self, units: int) -> None:
        """Pay for work before doing it.

        Raises:
            RefusedError: the file has used up its budget.
        """
        self.left -= units
        if self.left < 0:
            raise RefusedError(
                "makes its reader do far more work than a file of its size can need; make it again"
            )
