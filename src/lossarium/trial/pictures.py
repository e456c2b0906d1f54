"""The held-out frames that a trial's previews and a report show."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pictures = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class PreviewRow:
    """A held-out frame that the report shows, swapped from its own identity to the other one."""

    source: str
    target: str
    frame_name: str
    frame: Pictures
    """(size, size, 3)."""
    exact_swap: Pictures | None
    """(size, size, 3): the target identity rendered in the state (pose, light, ...) of `frame`, if known."""
