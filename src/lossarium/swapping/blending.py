"""Put a swapped face back into its frame: the centre square, the soft edge of a mask, the blend."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

Pixels = npt.NDArray[np.uint8]
Share = npt.NDArray[np.float32]
"""(side, side) in [0, 1]: the share of the swap in each pixel."""


def centre_square(pixels: Pixels) -> Pixels:
    """The square of (H, W, ...) that models are trained on: a view, (side, side, ...), side = min(H, W)."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def resized_face(face: Pixels, side: int) -> Pixels:
    """Resize a face (S, S, 3) to `side`: with Lanczos when shrinking, bicubic when growing."""
    if face.shape[0] == side:
        return face
    filter_ = Image.Resampling.LANCZOS if side < face.shape[0] else Image.Resampling.BICUBIC
    return np.array(Image.fromarray(face).resize((side, side), filter_), np.uint8)


def resized_mask(mask: Pixels, side: int) -> Pixels:
    """Resize the centre square of a mask (H, W) to `side`: by area when shrinking, bilinear when growing."""
    square = np.ascontiguousarray(centre_square(mask))
    if square.shape[0] == side:
        return square
    filter_ = Image.Resampling.BOX if side < square.shape[0] else Image.Resampling.BILINEAR
    return np.array(Image.fromarray(square).resize((side, side), filter_), np.uint8)


def feathered(mask: Pixels, feather: float) -> Share:
    """Soften a mask's edge inwards; nothing of the swap shows outside the mask.

    Args:
        mask: (side, side), 255 where the face is.
        feather: The distance inside the edge, in percent of the side, at which the swap's share reaches 95%;
            0 keeps the mask as it is.

    Example:
        >>> feathered(np.full((4, 4), 255, np.uint8), 10.0).min()
        np.float32(1.0)
    """
    hard = mask.astype(np.float32) / np.float32(255)
    if feather <= 0:
        return hard
    # Blurred by a Gaussian, a straight edge is 0.5, and 0.977 two deviations inside; 2x - 1 gives 0 and 0.95.
    deviation = feather / 100 * mask.shape[0] / 2
    blurred = np.asarray(Image.fromarray(mask).filter(ImageFilter.GaussianBlur(deviation)), np.float32)
    share: Share = np.minimum(hard, np.clip(2 * blurred / np.float32(255) - 1, 0, 1))
    return share


def blend(face: Pixels, frame: Pixels, share: Share) -> Pixels:
    """share * face + (1 - share) * frame, (side, side, 3)."""
    part = share[..., None]
    mixed = part * face.astype(np.float32) + (1 - part) * frame.astype(np.float32)
    return np.asarray(mixed.round().clip(0, 255), np.uint8)
