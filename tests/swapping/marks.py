"""Read the mark of a written picture by the rules of the formats, not with the code that wrote it."""

import struct
import zlib
from pathlib import Path
from xml.etree import ElementTree

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_SOURCE_TYPE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
_TRIAL = "{urn:lossarium:xmp:1:}Trial"


def packet_of_png(data: bytes) -> bytes:
    """The text of the one iTXt chunk that holds XMP, all checksums checked."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    found, offset = [], 8
    while offset < len(data):
        length, kind = struct.unpack_from(">I4s", data, offset)
        body = data[offset + 8 : offset + 8 + length]
        assert zlib.crc32(kind + body) == int.from_bytes(data[offset + 8 + length : offset + 12 + length])
        offset += 12 + length
        assert kind in (b"IHDR", b"IDAT", b"IEND", b"iTXt")
        if kind == b"iTXt":
            # Keyword, not compressed, no language, no translated keyword.
            prefix = b"XML:com.adobe.xmp\0\0\0\0\0"
            assert body.startswith(prefix)
            found.append(body.removeprefix(prefix))
    (packet,) = found
    return packet


def packet_of_jpeg(data: bytes) -> bytes:
    """The body of the one APP1 segment, which has to come after JFIF's and before any picture data."""
    assert data.startswith(b"\xff\xd8\xff\xe0")
    found, offset = [], 2
    while data[offset + 1] != 0xDA:
        assert data[offset] == 0xFF
        end = offset + 2 + int.from_bytes(data[offset + 2 : offset + 4])
        if data[offset + 1] == 0xE1:
            prefix = b"http://ns.adobe.com/xap/1.0/\0"
            body = data[offset + 4 : end]
            assert body.startswith(prefix)
            found.append(body.removeprefix(prefix))
        offset = end
    (packet,) = found
    return packet


def packet_of_webp(data: bytes) -> bytes:
    """The body of the one XMP chunk, which the header has to announce."""
    assert data[:4] == b"RIFF"
    assert data[8:16] == b"WEBPVP8X"
    assert data[20] & 4
    found, offset = [], 12
    while offset < len(data):
        kind, length = struct.unpack_from("<4sI", data, offset)
        if kind == b"XMP ":
            found.append(data[offset + 8 : offset + 8 + length])
        offset += 8 + length + length % 2
    (packet,) = found
    return packet


_PACKET_OF = {".png": packet_of_png, ".jpg": packet_of_jpeg, ".jpeg": packet_of_jpeg, ".webp": packet_of_webp}


def mark_of(path: Path) -> tuple[str, str]:
    """The digital source type and the trial's digest."""
    data = path.read_bytes()
    description = ElementTree.fromstring(_PACKET_OF[path.suffix](data)).find(f"{_RDF}RDF/{_RDF}Description")
    assert description is not None
    return description.findtext(_SOURCE_TYPE, ""), description.findtext(_TRIAL, "")
