"""How much pictures are augmented: plain numbers, which the command line reads without importing torch."""

import math
from dataclasses import dataclass, fields

from lossarium.errors import LossariumError


@dataclass(frozen=True)
class Augmentation:
    """How much each picture is changed, drawn evenly up to each amount. Lengths are shares of its side."""

    rotation: float = 5.0
    """Largest turn in degrees, either way."""
    zoom: float = 0.04
    """Largest change of scale, up or down."""
    shift: float = 0.03
    """Largest shift, each way."""
    flip: float = 0.5
    """How often a picture is mirrored."""
    warp: float = 0.025
    """Standard deviation of the jitter of the 5x5 warp grid (faceswap's: 5 pixels of 160)."""
    brightness: float = 0.03
    """Largest brightness added or taken away, of 1."""
    contrast: float = 0.06
    """Largest relative change of contrast."""
    tint: float = 0.02
    """Largest relative change of each channel's gain."""
    lightness: float = 0.0
    """Largest share of its way to white or black that CIELAB's L* goes (faceswap's: 0.3)."""
    colour: float = 0.0
    """Largest share of their ways to +-128 that CIELAB's a* and b* go, each its own (faceswap's: 0.08)."""
    clahe: float = 0.0
    """How often L* is equalised, by CLAHE (faceswap's: 0.5)."""
    clahe_clip: float = 2.0
    """The highest level of a histogram that CLAHE does not cut, of the mean level."""
    clahe_tiles_least: int = 2
    """The fewest tiles along each side that CLAHE equalises."""
    clahe_tiles_most: int = 6
    """The most of them; drawn for each picture."""

    def __post_init__(self) -> None:
        """Refuse amounts that mean nothing.

        Raises:
            LossariumError: one is negative, infinite or above its greatest value.
        """
        shares = ("flip", "lightness", "colour", "clahe")
        for name, amount in ((field.name, getattr(self, field.name)) for field in fields(self)):
            most = 1.0 if name in shares else math.inf
            if not (math.isfinite(amount) and 0 <= amount <= most):
                upper = "up" if most == math.inf else f"to {most:g}"
                raise LossariumError(f"The augmentation's {name} is {amount}; give a number from 0 {upper}.")
        if not 1 <= self.clahe_tiles_least <= self.clahe_tiles_most <= 64:
            raise LossariumError(
                f"The augmentation's clahe_tiles_least and clahe_tiles_most are {self.clahe_tiles_least} and "
                f"{self.clahe_tiles_most}; give two whole numbers from 1 to 64, the smaller first."
            )

    @property
    def in_lab(self) -> bool:
        """Whether anything is changed in CIELAB."""
        return self.lightness > 0 or self.colour > 0 or self.clahe > 0


FACESWAP = Augmentation(
    rotation=10,
    zoom=0.05,
    shift=0.05,
    warp=5 / 256,
    brightness=0,
    contrast=0,
    tint=0,
    lightness=0.3,
    colour=0.08,
    clahe=0.5,
)
"""As near to faceswap's defaults as can be: far stronger colour than `Augmentation()`, for long training."""
