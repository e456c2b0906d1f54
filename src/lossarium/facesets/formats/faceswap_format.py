"""faceswap's extracted PNGs: a text chunk with a Python literal, read without running anything.

The literal is a dict of `alignments` (the box x, y, w, h; `landmarks_xy` in frame pixels; `mask` by the name
of its masker; `identity`) and `source` (`alignments_version`, the frame's name and size). The structure is
that of lib/align/objects.py and lib/image.py of github.com/deepfakes/faceswap.
"""

import struct
import zlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from lossarium.facesets.decoding.decoded import CUT_OFF, RefusedError
from lossarium.facesets.decoding.png_container import SIGNATURE
from lossarium.facesets.formats.alignment import Centring, crop_matrix, transform_points
from lossarium.facesets.formats.python_literal import NotLiteralError, parse_literal
from lossarium.facesets.formats.stored_face import LANDMARKS, StoredFace, StoredMask, Unused, is_coordinate

MAX_CHUNK_BYTES = 2**20
"""A larger chunk or text is refused; a face with six large masks takes a quarter of it."""
MAX_MASK_SIDE = 1024
"""faceswap stores masks of 64 to 1024 pixels a side."""
MASK_PREFERENCE = ("custom", "bisenet", "vgg-clear", "vgg-obstructed", "unet-dfl", "extended", "components")
"""Order of preference among several masks: first those made from the picture, then from the landmarks."""

_KEYWORD = b"faceswap\0"
# faceswap writes iTXt; programs that save its pictures again may write any of them.
_TEXT_CHUNKS = frozenset({b"iTXt", b"zTXt", b"tEXt"})
# Masks of parts of the face, which would leave the rest of it out.
_PARTS = ("eye", "mouth")


def faceswap_face(data: bytes, picture_size: tuple[int, int]) -> StoredFace | None:
    """Read what faceswap stored in a PNG; None if it stored nothing.

    Landmarks are taken to the crop by faceswap's own alignment: centred on the skull, or on the nose where
    the alignments are of version 1.0. Data that is whole but is not understood, does not fit the picture or
    describes no face is not used, and `unused` says why: the pixels are good without it.

    Args:
        data: The PNG.
        picture_size: Its width and height.

    Raises:
        RefusedError: the chunk that holds its data is damaged, cut off or too large.
    """
    text = _chunk_text(data)
    if text is None:
        return None
    header = _parsed(text)
    if header is None:
        return StoredFace(unused=Unused.NOT_UNDERSTOOD)
    alignments, source = header.get("alignments"), header.get("source")
    if not isinstance(alignments, dict) or not isinstance(source, dict):
        return StoredFace(unused=Unused.NO_ALIGNMENTS)
    width, height = picture_size
    if width != height:
        return StoredFace(unused=Unused.CROPPED)
    landmarks = _points(alignments.get("landmarks_xy"))
    if landmarks is None:
        return StoredFace(unused=Unused.NO_LANDMARKS)
    centring: Centring = "legacy" if source.get("alignments_version") == 1.0 else "head"
    try:
        matrix = crop_matrix(landmarks, centring, width)
    except ValueError:
        return StoredFace(unused=Unused.NO_LANDMARKS)
    in_crop = transform_points(matrix, landmarks) + 0.5
    masks = alignments.get("mask") or {}
    chosen = _chosen_mask(masks) if isinstance(masks, dict) else None
    mask = None if chosen is None else _stored_mask(chosen, matrix)
    unusable = not isinstance(masks, dict) or (chosen is not None and mask is None)
    return StoredFace(in_crop, mask, Unused.UNUSABLE_MASK if unusable else None)


def _parsed(text: str) -> Mapping[str, object] | None:
    """The header; None if the text is not a readable dict."""
    try:
        value = parse_literal(text)
    except NotLiteralError:
        return None
    return value if isinstance(value, dict) else None


def _chunk_text(data: bytes) -> str | None:
    """The text of the chunk with faceswap's keyword."""
    offset = len(SIGNATURE)
    while offset + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, offset)
        start = offset + 8
        if kind == b"IEND":
            return None
        if kind in _TEXT_CHUNKS and data.startswith(_KEYWORD, start):
            if length > MAX_CHUNK_BYTES:
                raise RefusedError(
                    f"claims {length} bytes of faceswap's data; at most {MAX_CHUNK_BYTES} are read"
                )
            body = data[start : start + length]
            checksum = data[start + length : start + length + 4]
            if len(checksum) < 4:
                raise RefusedError(CUT_OFF)
            if zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(checksum, "big"):
                raise _damaged("its checksum is wrong")
            return _decoded(kind, body[len(_KEYWORD) :])
        offset = start + length + 4
    return None


def _decoded(kind: bytes, rest: bytes) -> str:
    """The text of a chunk after its keyword, as in the PNG specification."""
    if kind == b"iTXt":
        # Is it compressed, how, its language, the keyword in that language, the text.
        parts = rest[2:].split(b"\0", 2)
        if len(parts) != 3:
            raise _damaged("its chunk has no text")
        compressed, text = rest[:1] != b"\0", parts[2]
    else:
        compressed, text = kind == b"zTXt", rest[1:] if kind == b"zTXt" else rest
    if compressed:
        text = _inflated_text(text)
    try:
        return text.decode("utf-8" if kind == b"iTXt" else "latin-1")
    except UnicodeDecodeError as error:
        raise _damaged("it is not UTF-8 text") from error


def _inflated_text(packed: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(packed, MAX_CHUNK_BYTES + 1)
    except zlib.error as error:
        raise _damaged("it cannot be decompressed") from error
    if len(text) > MAX_CHUNK_BYTES:
        raise _damaged(f"it takes more than {MAX_CHUNK_BYTES} bytes once it is decompressed")
    if not stream.eof:
        raise _damaged("it cannot be decompressed")
    return text


def _chosen_mask(masks: Mapping[object, object]) -> Mapping[object, object] | None:
    """The mask to use; None if there is none of the whole face."""
    whole = [
        (str(name), mask)
        for name, mask in masks.items()
        if isinstance(mask, dict) and not str(name).startswith(_PARTS)
    ]

    def rank(named: tuple[str, object]) -> tuple[int, str]:
        places = (i for i, start in enumerate(MASK_PREFERENCE) if named[0].startswith(start))
        return next(places, len(MASK_PREFERENCE)), named[0]

    return min(whole, key=rank)[1] if whole else None


def _stored_mask(mask: Mapping[object, object], crop: npt.NDArray[np.float64]) -> StoredMask | None:
    """A mask with the matrix from the crop by way of the frame; None where it cannot be read."""
    side, packed = mask.get("stored_size"), mask.get("mask")
    if not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= MAX_MASK_SIDE:
        return None
    content = _inflated(packed, side * side) if isinstance(packed, bytes) else None
    to_mask = _matrix(mask.get("affine_matrix"))
    if content is None or to_mask is None:
        return None
    pixels = np.frombuffer(content, np.uint8).reshape(side, side)
    to_frame = np.linalg.inv(np.vstack([crop, (0.0, 0.0, 1.0)]))
    from_picture = to_mask @ to_frame
    # From pixel centres at whole numbers to pixel centres at halves.
    from_picture[:, 2] += 0.5 - from_picture[:, :2] @ (0.5, 0.5)
    return StoredMask(pixels, from_picture)


def _inflated(packed: bytes, wanted: int) -> bytes | None:
    """Inflate to the wanted number of bytes; None if there are more or fewer, or it is not deflated data."""
    try:
        # At most one byte more than wanted, so that a decompression bomb takes no memory.
        data = zlib.decompressobj().decompress(packed, wanted + 1)
    except zlib.error:
        return None
    return data if len(data) == wanted else None


def _points(value: object) -> npt.NDArray[np.float64] | None:
    """68 points, or None for anything else."""
    rows = _numbers(value, 2)
    return np.array(rows) if rows is not None and len(rows) == LANDMARKS else None


def _matrix(value: object) -> npt.NDArray[np.float64] | None:
    """The first two rows of a matrix of two or three."""
    rows = _numbers(value, 3)
    return np.array(rows[:2]) if rows is not None and len(rows) in (2, 3) else None


def _numbers(value: object, columns: int) -> list[list[float]] | None:
    """A list of rows of numbers of bounded size; None for anything else."""
    if not isinstance(value, list | tuple):
        return None
    rows: list[list[float]] = []
    for row in value:
        if not isinstance(row, list | tuple) or len(row) != columns or not all(map(is_coordinate, row)):
            return None
        rows.append([float(number) for number in row])
    return rows


def _damaged(complaint: str) -> RefusedError:
    return RefusedError(f"carries damaged data of faceswap's: {complaint}; extract it again")
