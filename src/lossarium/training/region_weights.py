"""The weight of each pixel in the loss: only the face, or eyes and mouth more than the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.facesets.faceset import Faceset
from lossarium.facesets.regions.landmark_masks import MASK_KINDS
from lossarium.facesets.regions.regions import STORED, Region, region
from lossarium.training.configuration import RegionWeights
from lossarium.training.options.syntax import Call, call_text, read_call

FACE, EYES, MOUTH = "face", "eyes", "mouth"
KINDS = (STORED, *MASK_KINDS)


@dataclass(frozen=True)
class MaskOptions:
    """Which mask marks the face."""

    kind: str
    """One of `KINDS`."""
    dilation: float = 0.0
    """By how many pixels a mask from landmarks grows; if negative, it shrinks."""
    blur: float = 0.0
    """The standard deviation of the mask's blur, in pixels."""

    def __str__(self) -> str:
        given = {name: getattr(self, name) for name in ("dilation", "blur") if getattr(self, name)}
        return call_text(self.kind, given)


def parse_mask(text: str) -> MaskOptions | None:
    """Read "extended(dilation=2, blur=1.5)", or "none".

    Raises:
        LossariumError: there is no such mask or option.

    >>> str(parse_mask("extended(blur=1.50)"))
    'extended(blur=1.5)'
    """
    call = read_call(text, "mask")
    if call.name == "none":
        call.values({})
        return None
    if call.name not in KINDS:
        raise call.error(f"there is no such mask; choose from none, {', '.join(KINDS)}")
    options = call.values({} if call.name == STORED else {"dilation": 0.0, "blur": 0.0})
    _check(call, options)
    return MaskOptions(call.name, **options)


def _check(call: Call, options: Mapping[str, float]) -> None:
    if not 0 <= options.get("blur", 0.0) <= 64 or not abs(options.get("dilation", 0.0)) <= 64:
        raise call.error("blur is a number of pixels from 0 to 64, dilation one from -64 to 64")


def regions_for(
    weights: RegionWeights, mask: MaskOptions | None, facesets: Sequence[Faceset]
) -> dict[str, list[Region]]:
    """The regions that a trial needs to know of each faceset's frames.

    Raises:
        LossariumError: the loss is limited to the mask, and no mask is given; or a faceset has no masks or
            landmarks.
    """
    if weights.mask_loss and mask is None:
        raise LossariumError("a loss on the face alone needs a mask; name one with --mask, such as extended")
    wanted = {} if mask is None else {FACE: mask}
    if weights.eye_multiplier != 1:
        wanted[EYES] = MaskOptions("eyes")
    if weights.mouth_multiplier != 1:
        wanted[MOUTH] = MaskOptions("mouth")
    return {
        name: [
            region(faceset, chosen.kind, dilation=chosen.dilation, blur=chosen.blur) for faceset in facesets
        ]
        for name, chosen in wanted.items()
    }


def pixel_weights(weights: RegionWeights, regions: Mapping[str, Tensor]) -> Tensor | None:
    """Each pixel's weight, in the shape of the regions; None where all pixels count the same.

    A region with the multiplier m has the weight 1 + (m - 1) * mask.
    """
    factors = [
        1 + (multiplier - 1) * regions[name]
        for name, multiplier in ((EYES, weights.eye_multiplier), (MOUTH, weights.mouth_multiplier))
        if multiplier != 1
    ]
    if weights.mask_loss:
        factors.append(regions[FACE])
    if not factors:
        return None
    product, *others = factors
    for factor in others:
        product = product * factor
    return product
