"""Masks of the face and its parts from 68 landmarks.

A part is a union of convex hulls of landmarks, in iBUG order. `components` and `extended` have the same hulls
as faceswap's masks of these names, so its users get the masks they know.
"""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from lossarium.errors import LossariumError
from lossarium.facesets.formats.stored_face import LANDMARKS

MaskKind = Literal["components", "extended", "eyes", "mouth"]
MASK_KINDS: tuple[MaskKind, ...] = get_args(MaskKind)

Floats = npt.NDArray[np.float64]

# Samples per pixel along each axis.
_SAMPLES = 4

_NOSE = (*range(31, 36),)
_CHIN = 8
_FACE_PARTS = (
    (*range(9), 17),
    (*range(8, 17), 26),
    (17, 18, 19, _CHIN),
    (24, 25, 26, _CHIN),
    (*range(19, 25), _CHIN),
    (*range(17, 22), 27, *_NOSE, _CHIN),
    (*range(22, 27), 27, *_NOSE, _CHIN),
    (*range(27, 31), *_NOSE),
)
_PARTS = {
    "components": _FACE_PARTS,
    "extended": _FACE_PARTS,
    "eyes": ((*range(36, 42),), (*range(42, 48),)),
    "mouth": ((*range(48, 60),),),
}


def face_mask(
    kind: str,
    landmarks: npt.ArrayLike,
    size: int,
    *,
    dilation: float = 0.0,
    blur: float = 0.0,
) -> npt.NDArray[np.uint8]:
    """The mask of one frame.

    Args:
        kind: "components", the face from brows to chin; "extended", the same with the brows raised up the
            forehead; "eyes", both eyes; or "mouth", with the lips.
        landmarks: (68, 2) x, y in the frame's pixels, pixel centres at halves; they may lie outside.
        size: Side of the frame, in pixels.
        dilation: By how many pixels the mask grows on all sides; it shrinks if this is negative.
        blur: Standard deviation of a Gaussian blur, in pixels, after the dilation.

    Returns:
        (size, size), 255 inside, soft at the edges.

    Raises:
        LossariumError: there is no such kind, the blur is negative, or the dilation is larger than the frame.
        ValueError: the landmarks have another shape or are not finite.

    Example:
        >>> import numpy as np
        >>> turn = np.linspace(0, 2 * np.pi, 68, endpoint=False)
        >>> landmarks = 32 + 20 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        >>> face_mask("mouth", landmarks, 64).shape
        (64, 64)
    """
    if kind not in _PARTS:
        raise LossariumError(f"There is no mask {kind!r}; choose one of {', '.join(MASK_KINDS)}.")
    if not 0 <= blur <= size or not abs(dilation) <= size:
        raise LossariumError(
            f"A mask of {size} pixels cannot be dilated by {dilation} and blurred by {blur} pixels; choose a "
            f"dilation from -{size} to {size} and a blur from 0 to {size}."
        )
    points = np.asarray(landmarks, np.float64)
    if points.shape != (LANDMARKS, 2) or not np.isfinite(points).all():
        raise ValueError(f"landmarks have to be {LANDMARKS} finite points, not an array of {points.shape}")
    if kind == "extended":
        points = raised_brows(points)
    # Parts outside the frame can reach into it by dilation and blur.
    margin = int(np.ceil(max(dilation, 0) + 3 * blur))
    side = size + 2 * margin
    inside = _drawn(_PARTS[kind], points + margin, side)
    if dilation:
        inside = _dilated(inside, dilation * _SAMPLES)
    mask = _reduced(inside)
    if blur:
        mask = np.array(Image.fromarray(mask).filter(ImageFilter.GaussianBlur(blur)), np.uint8)
    return mask[margin : margin + size, margin : margin + size].copy()


def face_masks(
    kind: str,
    landmarks: npt.NDArray[np.floating],
    size: int,
    *,
    dilation: float = 0.0,
    blur: float = 0.0,
) -> npt.NDArray[np.uint8]:
    """The masks (N, size, size) for the landmarks (N, 68, 2) of N frames; see `face_mask`."""
    masks = np.empty((len(landmarks), size, size), np.uint8)
    for mask, points in zip(masks, landmarks, strict=True):
        mask[:] = face_mask(kind, points, size, dilation=dilation, blur=blur)
    return masks


def raised_brows(landmarks: Floats) -> Floats:
    """The landmarks (68, 2) with the brows raised by half their distance from the eyes.

    That distance is measured from a line through the eyelids, which extends beyond the outer corner of each
    eye by a quarter of the way to the side of the face.
    """
    raised = landmarks.copy()
    right_side = 0.75 * landmarks[36] + 0.25 * landmarks[0]
    left_side = 0.75 * landmarks[45] + 0.25 * landmarks[16]
    right_lid = np.vstack([right_side, landmarks[36:40]])
    left_lid = np.vstack([landmarks[42:46], left_side])
    raised[17:22] += (landmarks[17:22] - right_lid) / 2
    raised[22:27] += (landmarks[22:27] - left_lid) / 2
    return raised


def convex_hull(points: Floats) -> Floats:
    """The corners (M, 2) of the convex hull of points (N, 2), in order, by Andrew's monotone chain."""
    ordered = sorted(map(tuple, points.tolist()))
    if len(ordered) < 3:
        return np.array(ordered)

    def chain(places: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
        corners: list[tuple[float, ...]] = []
        for x, y in places:
            while len(corners) > 1:
                (x0, y0), (x1, y1) = corners[-2:]
                if (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) > 0:
                    break
                corners.pop()
            corners.append((x, y))
        return corners[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1])) if ordered[0] != ordered[-1] else points[:1]


def _drawn(parts: tuple[tuple[int, ...], ...], points: Floats, size: int) -> npt.NDArray[np.bool_]:
    """The hulls of the parts as a bitmap with `_SAMPLES` samples per pixel along each axis."""
    # Not by Pillow: its polygons are too wide, and their position differs from version to version.
    side = _SAMPLES * size
    middles: Floats = np.arange(side, dtype=np.float64) + 0.5
    # For each sample of a row: how many hulls begin there minus how many end there.
    begun = np.zeros((side, side + 1), np.int8)
    for part in parts:
        left, right = _extent_in_rows(convex_hull(points[list(part)] * _SAMPLES), middles)
        rows = np.flatnonzero(left <= right)
        begun[rows, _sample_at(left[rows], side)] += 1
        begun[rows, _sample_at(right[rows], side)] -= 1
    return np.cumsum(begun[:, :-1], axis=1, dtype=np.int8) > 0


def _sample_at(places: Floats, side: int) -> npt.NDArray[np.intp]:
    """The index of the first sample whose centre lies at or beyond a position."""
    return np.clip(np.ceil(places - 0.5), 0, side).astype(np.intp)


def _extent_in_rows(hull: Floats, rows: Floats) -> tuple[Floats, Floats]:
    """Where a convex hull (M, 2) begins and ends in each row (R,); in rows without it, inf and -inf."""
    (x0, y0), (x1, y1) = hull.T, np.roll(hull, -1, axis=0).T
    crosses = (rows[:, None] >= np.minimum(y0, y1)) & (rows[:, None] < np.maximum(y0, y1))
    rise = np.where(y0 == y1, 1.0, y1 - y0)
    places = x0 + (rows[:, None] - y0) / rise * (x1 - x0)
    return np.where(crosses, places, np.inf).min(axis=1), np.where(crosses, places, -np.inf).max(axis=1)


def _reduced(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """The share of each pixel's samples that is inside, from 0 to 255."""
    # Sums of whole rows, then of columns: a mean over two axes of a 4-D view takes 15 times as long.
    rows = sum(inside[first::_SAMPLES].astype(np.uint8) for first in range(_SAMPLES))
    counts = sum(np.asarray(rows)[:, first::_SAMPLES] for first in range(_SAMPLES))
    shares: npt.NDArray[np.uint8] = (np.asarray(counts) * (255 / _SAMPLES**2)).round().astype(np.uint8)
    return shares


def _dilated(inside: npt.NDArray[np.bool_], radius: float) -> npt.NDArray[np.bool_]:
    """Dilate by a disc of this radius, or erode if it is negative."""
    dilated = np.zeros_like(inside)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if len(rows):
        # Only pixels near the mask can change.
        reach = int(np.ceil(max(radius, 0))) + 1
        window = tuple(slice(max(at[0] - reach, 0), at[-1] + reach + 1) for at in (rows, columns))
        near = inside[window]
        dilated[window] = _grown(near, radius) if radius > 0 else ~_grown(~near, -radius)
    return dilated


def _grown(inside: npt.NDArray[np.bool_], radius: float) -> npt.NDArray[np.bool_]:
    """All samples within the radius of a sample inside: distances along rows, then combined over columns."""
    across = _distance_in_row(inside)
    grown = np.zeros_like(inside)
    rows = len(inside)
    for shift in range(min(int(radius), rows - 1) + 1):
        reached = across <= np.sqrt(radius**2 - shift**2)
        grown[shift:] |= reached[: rows - shift]
        grown[: rows - shift] |= reached[shift:]
    return grown


def _distance_in_row(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """The distance to the nearest sample inside in the same row; infinity if there is none."""
    columns = np.arange(inside.shape[1], dtype=np.float32)
    last = np.maximum.accumulate(np.where(inside, columns, -np.inf), axis=1)
    following = np.minimum.accumulate(np.where(inside, columns, np.inf)[:, ::-1], axis=1)[:, ::-1]
    nearest: npt.NDArray[np.float32] = np.minimum(columns - last, following - columns)
    return nearest
