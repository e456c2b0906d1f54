"""Draw sheets of labelled pictures, for previews and time-lapses."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lossarium.text.wording import printable_name
from lossarium.trial.pictures import Pictures

_GROUND, _TEXT, _DIM, _ACCENT = (23, 25, 28), (240, 240, 240), (165, 170, 178), (86, 180, 233)
_MARGIN, _GAP, _BETWEEN_BLOCKS = 14, 4, 22
_HEADER, _BAR, _TITLE, _NAME = 30, 4, 24, 20
_HEADER_FONT, _TITLE_FONT, _NAME_FONT = 17, 15, 13

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Column:
    """A column of pictures of one kind, such as swaps."""

    name: str
    pictures: Pictures
    """(rows, side, side, 3)."""


@dataclass(frozen=True)
class Block:
    """Columns that belong together, all with the same number of rows."""

    title: str
    columns: tuple[Column, ...]


def picture_side(size: int, *, least: int, most: int) -> int:
    """The side at which a picture of `size` pixels is shown: a multiple, so that pixels become squares.

    >>> [picture_side(size, least=128, most=256) for size in (32, 64, 80, 128, 512)]
    [128, 128, 160, 128, 256]
    """
    return min(most, size * -(-least // size))


def draw_sheet(header: str, blocks: Sequence[Block], side: int, *, share: float) -> Pictures:
    """Blocks side by side under a header.

    Args:
        header: One line; cut off where it does not fit.
        blocks: From left to right.
        side: The side of a picture on the sheet, in pixels.
        share: The share of the training that is done, in [0, 1]; shown as a bar.

    Returns:
        (H, W, 3).
    """
    widths = [_span(len(block.columns), side) for block in blocks]
    heights = [_span(len(block.columns[0].pictures), side) for block in blocks]
    width = 2 * _MARGIN + sum(widths) + (len(blocks) - 1) * _BETWEEN_BLOCKS
    top = _MARGIN + _HEADER + _BAR + _MARGIN
    image = Image.new("RGB", (width, top + _TITLE + _NAME + max(heights) + _MARGIN), _GROUND)
    draw = ImageDraw.Draw(image)
    inside = width - 2 * _MARGIN
    _write(draw, (_MARGIN, _MARGIN), header, inside, ImageFont.load_default(_HEADER_FONT), _TEXT)
    _bar(draw, _MARGIN + _HEADER, inside, share)
    left = _MARGIN
    for block, block_width in zip(blocks, widths, strict=True):
        title_font = ImageFont.load_default(_TITLE_FONT)
        _write(draw, (left, top), block.title, block_width, title_font, _TEXT)
        for place, column in enumerate(block.columns):
            x = left + place * (side + _GAP)
            name_font = ImageFont.load_default(_NAME_FONT)
            _write(draw, (x, top + _TITLE), column.name, side, name_font, _DIM)
            _paste(image, (x, top + _TITLE + _NAME), column.pictures, side)
        left += block_width + _BETWEEN_BLOCKS
    return np.asarray(image)


def _span(number: int, side: int) -> int:
    return number * (side + _GAP) - _GAP


def _bar(draw: ImageDraw.ImageDraw, y: int, width: int, share: float) -> None:
    for fill, length in ((_DIM, 1.0), (_ACCENT, min(1.0, max(0.0, share)))):
        draw.rectangle((_MARGIN, y, _MARGIN + round(length * (width - 1)), y + _BAR - 1), fill)


def _paste(image: Image.Image, corner: tuple[int, int], pictures: Pictures, side: int) -> None:
    for row, pixels in enumerate(pictures):
        picture = Image.fromarray(pixels)
        # Enlarged without interpolation, which would hide the artefacts of a loss.
        larger = side > picture.width and side % picture.width == 0
        method = Image.Resampling.NEAREST if larger else Image.Resampling.LANCZOS
        if side != picture.width:
            picture = picture.resize((side, side), method)
        image.paste(picture, (corner[0], corner[1] + row * (side + _GAP)))


def _write(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    text: str,
    width: int,
    font: Font,
    fill: tuple[int, int, int],
) -> None:
    """Write one line, cut off at `width`. Names may come from other people's folders, so they are cleaned."""
    # Pillow's built-in font has no accented letters: "ä" is shown as "a".
    plain = "".join(c for c in unicodedata.normalize("NFKD", text[:width]) if not unicodedata.combining(c))
    # No letter is narrower than two pixels, and names may be of any length.
    shown = printable_name(plain)[: width // 2]
    if font.getlength(shown) > width:
        while shown and font.getlength(f"{shown}...") > width:
            shown = shown[:-1]
        shown += "..."
    draw.text(corner, shown, fill, font)
