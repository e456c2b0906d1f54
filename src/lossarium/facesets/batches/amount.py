"""The strength of the augmentation: plain numbers, which the command line reads without importing torch."""

import math
from dataclasses import dataclass, fields

from lossarium.errors import LossariumError


@dataclass(frozen=True)
class Augmentation:
    """The strength of the augmentation. Each change is drawn uniformly up to its amount; lengths are shares
    of the side."""

    rotation: float = 5.0
    """Largest rotation in degrees, in either direction."""
    zoom: float = 0.04
    """Largest relative change of scale, up or down."""
    shift: float = 0.03
    """Largest shift, in each direction."""
    flip: float = 0.5
    """Probability that a picture is mirrored."""
    warp: float = 0.025
    """Standard deviation of the jitter of the 5x5 warp grid (faceswap's: 5 pixels of 160)."""
    brightness: float = 0.03
    """Largest brightness added or subtracted, where white is 1."""
    contrast: float = 0.06
    """Largest relative change of contrast."""
    tint: float = 0.02
    """Largest relative change of each channel's gain."""
    lightness: float = 0.0
    """Largest share of the way to white or black by which CIELAB's L* is moved (faceswap's: 0.3)."""
    colour: float = 0.0
    """Largest share of the way to +-128 by which CIELAB's a* and b* are each moved (faceswap's: 0.08)."""
    clahe: float = 0.0
    """Probability that L* is equalised by CLAHE (faceswap's: 0.5)."""
    clahe_clip: float = 2.0
    """CLAHE's clip limit: the largest count of a histogram bin that is not clipped, as a multiple of the mean
    count."""
    clahe_tiles_least: int = 2
    """The smallest number of CLAHE's tiles along each side."""
    clahe_tiles_most: int = 6
    """The largest number; drawn for each picture."""

    def __post_init__(self) -> None:
        """Check the amounts.

        Raises:
            LossariumError: an amount is negative, NaN, infinite or above its limit.
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
"""As close to faceswap's defaults as possible: far stronger colour changes than `Augmentation()`, for long
training."""
