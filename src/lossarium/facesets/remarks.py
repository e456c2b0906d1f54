"""Remarks on pictures that are used, but not exactly as they are stored."""

from enum import Enum


class Remark(Enum):
    """What the user should know about how a picture was read.

    The value is the remark on one picture and on several; `{size}` stands for the frames' size.
    """

    ALPHA = (
        "has transparency; it is composited on mid-grey",
        "have transparency; they are composited on mid-grey",
    )
    ANIMATION = (
        "is an animation; its first frame is used",
        "are animations; the first frame of each is used",
    )
    NOT_SQUARE = (
        "is not square; its centre square is used",
        "are not square; their centre squares are used",
    )
    ENLARGED = (
        "is smaller than {size} x {size} pixels and is enlarged",
        "are smaller than {size} x {size} pixels and are enlarged",
    )
    PROFILE = (
        "carries a colour profile other than sRGB and is converted",
        "carry a colour profile other than sRGB and are converted",
    )
    NOT_UNDERSTOOD = (
        "carries faceswap's header in a form that is not understood, so its landmarks and mask are unknown; "
        "extract it again if you need them",
        "carry faceswap's header in a form that is not understood, so their landmarks and masks are unknown; "
        "extract them again if you need them",
    )
    UNUSABLE_MASK = (
        "carries a mask of faceswap's that cannot be read; it is not used",
        "carry masks of faceswap's that cannot be read; they are not used",
    )
    NO_ALIGNMENTS = (
        "carries faceswap's header without alignments, so its landmarks and mask are unknown",
        "carry faceswap's header without alignments, so their landmarks and masks are unknown",
    )
    NO_LANDMARKS = (
        "carries landmarks of faceswap's that are not 68 points of a face; they are not used",
        "carry landmarks of faceswap's that are not 68 points of a face; they are not used",
    )
    CROPPED = (
        "carries faceswap's landmarks but was cropped since, since it is not square; they are not used",
        "carry faceswap's landmarks but were cropped since, since they are not square; these are not used",
    )
