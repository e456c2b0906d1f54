"""Pictures of held-out frames, as a trial keeps them and a report shows them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pictures = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class PreviewRow:
    """A held-out frame that the report shows, from its identity to the other one."""

    source: str
    target: str
    frame_name: str
    frame: Pictures
    """(size, size, 3)."""
    exact_swap: Pictures | None
    """(size, size, 3): the target identity in the very state of `frame`, where it is known."""
