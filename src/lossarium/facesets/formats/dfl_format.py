"""DeepFaceLab's aligned JPEGs: an APP15 segment with a pickle, read by `dfl_pickle`.

The pickle is a dict; its fields are those of DFLIMG/DFLJPG.py of DeepFaceLab.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from lossarium.facesets.decoding import jpeg, png
from lossarium.facesets.decoding.decoded import RefusedError
from lossarium.facesets.formats.dfl_pickle import as_array, unpickled
from lossarium.facesets.formats.stored_face import LANDMARKS, StoredFace, StoredMask, is_coordinate

MAX_MASK_SIDE = 2048
"""DeepFaceLab stores masks of 256 pixels a side; larger ones than this are refused from their header."""

_APP15, _START_OF_SCAN = 0xEF, 0xDA
_MOST_POINTS = 10_000
_POLYGON_MASK_SIDE = 512


@dataclass(frozen=True)
class Polygon:
    """An outline drawn by hand."""

    includes: bool
    """Whether the face is inside; otherwise something that hides it."""
    points: npt.NDArray[np.float64]
    """(N, 2) x, y in the crop's pixels."""


@dataclass(frozen=True)
class DflData:
    """What DeepFaceLab stored in a picture, checked; pixel centres lie at whole numbers, as in OpenCV."""

    landmarks: npt.NDArray[np.float64] | None
    """(68, 2) in the crop."""
    source_landmarks: npt.NDArray[np.float64] | None
    """(68, 2) in the frame that the crop was cut from."""
    image_to_face_mat: npt.NDArray[np.float64] | None
    """(2, 3) from the frame to the crop."""
    face_type: str | None
    """Such as "whole_face"."""
    polygons: tuple[Polygon, ...]
    xseg_mask: npt.NDArray[np.uint8] | None
    """(h, w) over the whole crop, 255 where the face is."""


def dfl_face(data: bytes, picture_size: tuple[int, int]) -> StoredFace | None:
    """Read what DeepFaceLab stored in a JPEG; None if it stored nothing.

    The mask is the learned one (XSeg) if there is one, else the outlines drawn by hand.

    Args:
        data: The JPEG.
        picture_size: Its width and height.

    Raises:
        RefusedError: its data is damaged, or its pickle has a name that is not on the allow-list.
    """
    stored = dfl_data(data)
    if stored is None:
        return None
    mask = stored.xseg_mask
    if mask is None and any(polygon.includes for polygon in stored.polygons):
        mask = _drawn(stored.polygons, picture_size)
    landmarks = stored.landmarks
    return StoredFace(
        landmarks=None if landmarks is None else landmarks + 0.5,
        mask=None if mask is None else StoredMask(mask, _over_the_whole(mask, picture_size)),
    )


def dfl_data(data: bytes) -> DflData | None:
    """The fields of DeepFaceLab's dict in a JPEG; None if it has none.

    Raises:
        RefusedError: as `dfl_face`.
    """
    fields: Mapping[object, object] | None = None
    for segment in _app15_segments(data):
        if _is_pickle(segment):
            value = unpickled(segment)
            if not isinstance(value, dict):
                raise _damaged("it is not a dict")
            fields = value
    if fields is None:
        return None
    face_type = fields.get("face_type")
    return DflData(
        landmarks=_points(fields, "landmarks"),
        source_landmarks=_points(fields, "source_landmarks"),
        image_to_face_mat=_matrix(fields),
        face_type=face_type if isinstance(face_type, str) else None,
        polygons=_polygons(fields.get("seg_ie_polys")),
        xseg_mask=_xseg_mask(fields.get("xseg_mask")),
    )


def _app15_segments(data: bytes) -> Iterator[bytes]:
    """APP15 segments up to the start of scan; the decoder has already refused damage after that."""
    offset = 2
    while offset + 4 <= len(data) and data[offset] == 0xFF:
        marker = data[offset + 1]
        if marker == 0xFF:
            offset += 1
            continue
        if marker == _START_OF_SCAN:
            return
        end = offset + 2 + int.from_bytes(data[offset + 2 : offset + 4], "big")
        if marker == _APP15:
            yield data[offset + 4 : end]
        offset = end


def _is_pickle(segment: bytes) -> bool:
    """Whether a segment is a pickle: protocols 2 and up have a header; older ones, which DeepFaceLab never
    wrote, are guessed."""
    return segment[:1] == b"\x80" or (segment[:1] in (b"c", b"(", b"}", b"]") and segment[-1:] == b".")


def _points(fields: Mapping[object, object], key: str) -> npt.NDArray[np.float64] | None:
    value = fields.get(key)
    if value is None:
        return None
    rows = number_rows(value, 2, LANDMARKS)
    if rows is None or len(rows) != LANDMARKS:
        raise _damaged(f"its {key} are not {LANDMARKS} points")
    return rows


def _matrix(fields: Mapping[object, object]) -> npt.NDArray[np.float64] | None:
    value = fields.get("image_to_face_mat")
    if value is None:
        return None
    rows = number_rows(value, 3, 3)
    if rows is None or len(rows) not in (2, 3):
        raise _damaged("its image_to_face_mat is not two rows of three numbers")
    return rows[:2]


def number_rows(value: object, columns: int, most: int) -> npt.NDArray[np.float64] | None:
    """Rows of numbers of bounded size from a list or an array; None for anything else."""
    array = as_array(value)
    if array is not None:
        if array.ndim != 2 or array.shape[1] != columns or len(array) > most or array.dtype.kind not in "iuf":
            return None
        return array.astype(np.float64) if all(map(is_coordinate, array.ravel().tolist())) else None
    if not isinstance(value, list | tuple) or len(value) > most:
        return None
    rows: list[list[float]] = []
    for row in value:
        inner = as_array(row)
        items = inner.ravel().tolist() if inner is not None and inner.size == columns else row
        if not isinstance(items, list | tuple) or len(items) != columns or not all(map(is_coordinate, items)):
            return None
        rows.append([float(item) for item in items])
    return np.array(rows, np.float64).reshape(-1, columns)


def _polygons(value: object) -> tuple[Polygon, ...]:
    """The outlines in DeepFaceLab's drawing order: those that include the face come first.

    They are a dict of `polys`, each of `type` and `pts`, or, in older files, a list of such pairs.
    """
    entries = value.get("polys") if isinstance(value, dict) else value
    if entries is None:
        return ()
    if not isinstance(entries, list | tuple):
        raise _damaged("its seg_ie_polys is not a list of outlines")
    polygons: list[Polygon] = []
    room = _MOST_POINTS
    for entry in entries:
        pair = (entry.get("type"), entry.get("pts")) if isinstance(entry, dict) else entry
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise _damaged("its seg_ie_polys is not a list of outlines")
        points = number_rows(pair[1], 2, room)
        if points is None:
            raise _damaged("an outline in its seg_ie_polys is not a list of points")
        # Empty outlines count too, so that millions of them cannot take for ever.
        room -= len(points) + 1
        if room < 0:
            raise _damaged("its seg_ie_polys has too many points")
        polygons.append(Polygon(includes=pair[0] == 1, points=points))
    return tuple(sorted(polygons, key=lambda polygon: not polygon.includes))


def _drawn(polygons: tuple[Polygon, ...], picture_size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    image = Image.new("L", (_POLYGON_MASK_SIDE, _POLYGON_MASK_SIDE))
    draw = ImageDraw.Draw(image)
    for polygon in polygons:
        if len(polygon.points) >= 3:
            places = (polygon.points + 0.5) * _POLYGON_MASK_SIDE / np.array(picture_size)
            draw.polygon([(x, y) for x, y in places.tolist()], fill=255 if polygon.includes else 0)
    return np.array(image, np.uint8)


def _xseg_mask(value: object) -> npt.NDArray[np.uint8] | None:
    """A PNG or JPEG, as bytes or as an array of bytes."""
    if value is None:
        return None
    array = as_array(value)
    if array is not None and array.dtype == np.uint8:
        value = array.tobytes()
    if not isinstance(value, bytes) or not (png.is_png(value) or jpeg.is_jpeg(value)):
        raise _damaged("its xseg_mask is neither a PNG nor a JPEG")
    try:
        width, height = png.stored_size(value) if png.is_png(value) else jpeg.stored_size(value)
    except RefusedError as error:
        raise _damaged("its xseg_mask cannot be decoded") from error
    if max(width, height) > MAX_MASK_SIDE:
        raise _damaged(f"its xseg_mask is {width} x {height} pixels; at most {MAX_MASK_SIDE} a side are read")
    decoded = png.decode(value) if png.is_png(value) else jpeg.decode(value, MAX_MASK_SIDE)
    return np.array(decoded.image.convert("L"), np.uint8)


def _over_the_whole(mask: npt.NDArray[np.uint8], picture_size: tuple[int, int]) -> npt.NDArray[np.float64]:
    width, height = picture_size
    return np.array([[mask.shape[1] / width, 0, 0], [0, mask.shape[0] / height, 0]], np.float64)


def _damaged(complaint: str) -> RefusedError:
    return RefusedError(f"carries damaged data of DeepFaceLab's: {complaint}; extract it again")
