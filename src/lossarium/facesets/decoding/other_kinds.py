"""Recognise other files that are named like pictures, so that the message can say what they are."""

import re

_KINDS = (
    (rb"GIF8[79]a", "a GIF"),
    (rb"II[*+]\0|MM\0[*+]", "a TIFF"),
    (rb"BM.{4}\0{4}", "a BMP"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript document"),
    (rb"%PDF-", "a PDF document"),
    (rb".{4}ftypavi[fs]", "an AVIF"),
    (rb".{4}ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1)", "a HEIC"),
    (rb".{4}ftyp|\x1a\x45\xdf\xa3|RIFF.{4}AVI ", "a video"),
    (rb"\0\0\0\x0cJXL |\xff\x0a", "a JPEG XL"),
    (rb"\0\0\0\x0cjP {2}|\xff\x4f\xff\x51", "a JPEG 2000"),
    (rb"8BPS", "a Photoshop document"),
    (rb"PK\x03\x04", "a ZIP archive"),
    (rb"version https://git-lfs", "a Git LFS pointer and not the picture itself"),
    (rb"\s*<(!doctype html|html)", "a web page"),
    (rb"\s*<(\?xml|svg)", "an SVG or XML document"),
)


def other_kind(data: bytes) -> str | None:
    """What a file is that is not a JPEG, PNG or WebP, such as "a GIF"; None if it is not recognised."""
    for pattern, kind in _KINDS:
        if re.match(pattern, data[:512], re.DOTALL | re.IGNORECASE):
            return kind
    return None
