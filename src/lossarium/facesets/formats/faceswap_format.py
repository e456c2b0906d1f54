"""faceswap's extracted PNGs: an iTXt chunk with a Python literal, read without running anything.

The literal is a dict of `alignments` (the box x, y, w, h; `landmarks_xy` in frame pixels; `mask` by the name
of its masker; `identity`) and `source` (`alignments_version`, the frame's name and size). The structure is
that of lib/align/objects.py and lib/image.py of github.com/deepfakes/faceswap.
"""

import ast
import re
import struct
import zlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from lossarium.facesets.decoding.decoded import CUT_OFF, RefusedError
from lossarium.facesets.decoding.png_container import SIGNATURE
from lossarium.facesets.formats.alignment import Centring, crop_matrix, transform_points
from lossarium.facesets.formats.stored_face import LANDMARKS, StoredFace, StoredMask, is_coordinate

MAX_CHUNK_BYTES = 2**20
"""A larger chunk is refused; a face with six large masks takes a quarter of it."""
MAX_VALUES = 50_000
"""A literal with more values is refused: each takes some 400 bytes while it is parsed."""
MAX_MASK_SIDE = 1024
"""faceswap stores masks of 64 to 1024 pixels a side."""
MASK_PREFERENCE = ("custom", "bisenet", "vgg-clear", "vgg-obstructed", "unet-dfl", "extended", "components")
"""Which of several masks is used: those that see the picture before those that follow the landmarks."""

_KEYWORD = b"faceswap\0"
_MAX_DEPTH = 16
# Masks of parts of the face, which would leave the rest of it out.
_PARTS = ("eye", "mouth")
_STRING = re.compile(r"b?'[^'\\]*(?:\\.[^'\\]*)*'|b?\"[^\"\\]*(?:\\.[^\"\\]*)*\"", re.DOTALL)
_WORD = re.compile(r"(?<!\w)[A-Za-z_]\w*", re.ASCII)
_WORDS = frozenset({"True", "False", "None"})
# Of operators, calls and subscripts towers can be built that overflow a parser's stack; a literal has none.
# A sign may open a number or an exponent.
_NO_LITERAL = re.compile(
    r"""[^\[\](){},:\s\w.+-]            # another character
    | (?<![\[({,:\s])(?<!\d[eE])[+-]    # a sign after a value
    | [\w.)\]}+-]\s+[+-] | [+-]\s+      # the same, or a tower of signs, with spaces
    | [\w.)\]}]\s*[\[({]                # a call or a subscript""",
    re.ASCII | re.VERBOSE,
)


def faceswap_face(data: bytes, picture_size: tuple[int, int]) -> StoredFace | None:
    """What faceswap stored in a PNG, or None where it stored nothing.

    Landmarks are taken to the crop by faceswap's own alignment: centred on the skull, or on the nose where
    the alignments are of version 1.0.

    Args:
        data: The PNG.
        picture_size: Its width and height.

    Raises:
        RefusedError: its data is damaged, too large or not what faceswap writes.
    """
    text = _chunk_text(data)
    if text is None:
        return None
    header = parse_literal(text)
    alignments, source = _table(header, "alignments"), _table(header, "source")
    landmarks = _points(alignments.get("landmarks_xy"))
    if landmarks is None:
        return StoredFace()
    width, height = picture_size
    if width != height:
        raise RefusedError(
            f"is {width} x {height} pixels, but what faceswap extracts is square; extract it again"
        )
    centring: Centring = "legacy" if source.get("alignments_version") == 1.0 else "head"
    try:
        matrix = crop_matrix(landmarks, centring, width)
    except ValueError as error:
        raise _damaged("its landmarks are not those of a face") from error
    mask = _chosen_mask(_table(alignments, "mask") if alignments.get("mask") else {})
    return StoredFace(
        landmarks=transform_points(matrix, landmarks) + 0.5,
        mask=None if mask is None else _stored_mask(*mask, matrix),
    )


def parse_literal(text: str) -> Mapping[object, object]:
    """A dict from its Python literal.

    The text is looked over before the parser sees it, so that neither its nesting nor its number of values
    can take much memory or stack.

    Raises:
        RefusedError: it is no literal of a dict, nested deeper than 16 or of more than `MAX_VALUES` values.
    """
    bare = _STRING.sub("0", text)
    if _NO_LITERAL.search(bare) or not _WORDS.issuperset(_WORD.findall(bare)):
        raise _damaged("it is no Python literal")
    if bare.count(",") + bare.count(":") > MAX_VALUES:
        raise _damaged(f"it holds more than {MAX_VALUES} values")
    depth = 0
    for bracket in re.findall(r"[\[\](){}]", bare):
        depth += 1 if bracket in "[({" else -1
        if depth > _MAX_DEPTH:
            raise _damaged(f"it is nested more than {_MAX_DEPTH} deep")
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise _damaged("it is no Python literal") from error
    if not isinstance(value, dict):
        raise _damaged("it is no dict")
    return value


def _chunk_text(data: bytes) -> str | None:
    """The text of the iTXt chunk with faceswap's keyword."""
    offset = len(SIGNATURE)
    while offset + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, offset)
        start = offset + 8
        if kind == b"IEND":
            return None
        if kind == b"iTXt" and data.startswith(_KEYWORD, start):
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
            return _itxt_text(body[len(_KEYWORD) :])
        offset = start + length + 4
    return None


def _itxt_text(rest: bytes) -> str:
    """After the keyword: is it compressed, how, its language, the keyword in that language, the text."""
    if rest[:1] != b"\0":
        raise _damaged("it is compressed, which faceswap does not do")
    parts = rest[2:].split(b"\0", 2)
    if len(parts) != 3:
        raise _damaged("its chunk has no text")
    try:
        return parts[2].decode("utf-8")
    except UnicodeDecodeError as error:
        raise _damaged("it is not UTF-8 text") from error


def _chosen_mask(masks: Mapping[object, object]) -> tuple[str, Mapping[object, object]] | None:
    """The mask to use, and its name."""
    whole = [
        (str(name), mask)
        for name, mask in masks.items()
        if isinstance(mask, dict) and not str(name).startswith(_PARTS)
    ]

    def rank(named: tuple[str, object]) -> tuple[int, str]:
        places = (i for i, start in enumerate(MASK_PREFERENCE) if named[0].startswith(start))
        return next(places, len(MASK_PREFERENCE)), named[0]

    return min(whole, key=rank, default=None)


def _stored_mask(name: str, mask: Mapping[object, object], crop: npt.NDArray[np.float64]) -> StoredMask:
    """A mask with the matrix from the crop by way of the frame."""
    shown = name if name.isprintable() and len(name) <= 40 else "one"
    side, packed = mask.get("stored_size"), mask.get("mask")
    if not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= MAX_MASK_SIDE:
        raise _damaged(f"the size of its mask {shown} is not from 1 to {MAX_MASK_SIDE}")
    if not isinstance(packed, bytes):
        raise _damaged(f"its mask {shown} is no bytes")
    pixels = np.frombuffer(_inflated(packed, side * side, shown), np.uint8).reshape(side, side)
    to_mask = _matrix(mask.get("affine_matrix"))
    if to_mask is None:
        raise _damaged(f"its mask {shown} has no matrix of two rows of three numbers")
    to_frame = np.linalg.inv(np.vstack([crop, (0.0, 0.0, 1.0)]))
    from_picture = to_mask @ to_frame
    # From pixel centres at whole numbers to pixel centres at halves.
    from_picture[:, 2] += 0.5 - from_picture[:, :2] @ (0.5, 0.5)
    return StoredMask(pixels, from_picture)


def _inflated(packed: bytes, wanted: int, name: str) -> bytes:
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(packed, wanted + 1)
    except zlib.error as error:
        raise _damaged(f"its mask {name} cannot be decompressed") from error
    if len(data) != wanted:
        raise _damaged(f"its mask {name} has {'more' if len(data) > wanted else 'fewer'} pixels than it says")
    return data


def _table(parent: Mapping[object, object], key: str) -> Mapping[object, object]:
    value = parent.get(key)
    if not isinstance(value, dict):
        raise _damaged(f"it has no table {key}")
    return value


def _points(value: object) -> npt.NDArray[np.float64] | None:
    """68 points, or None for another number of them, which faceswap knows too."""
    rows = _numbers(value, 2)
    if rows is None:
        raise _damaged("its landmarks_xy is no list of points")
    return np.array(rows) if len(rows) == LANDMARKS else None


def _matrix(value: object) -> npt.NDArray[np.float64] | None:
    """The first two rows of a matrix of two or three."""
    rows = _numbers(value, 3)
    return np.array(rows[:2]) if rows is not None and len(rows) in (2, 3) else None


def _numbers(value: object, columns: int) -> list[list[float]] | None:
    """A list of rows of numbers of bounded size, or None where it is something else."""
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
