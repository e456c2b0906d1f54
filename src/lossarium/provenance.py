"""Marks every picture that a trained model made with an XMP packet.

Galleries and search engines look for IPTC's Digital Source Type `trainedAlgorithmicMedia`; the digest names
the trial that made the picture. Sources: IPTC Photo Metadata Standard 2023.1 (Digital Source Type) and
its NewsCodes; XMP specification part 3, storage in PNG (iTXt) and JPEG (APP1).
"""

import hashlib
import io
import struct
from collections.abc import Sequence
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

import lossarium

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
IPTC_NAMESPACE = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
LOSSARIUM_NAMESPACE = "urn:lossarium:xmp:1:"
"""Namespace of the property `Trial`."""
PNG, JPEG = ".png", ".jpg"
ENDINGS = (PNG, JPEG, ".jpeg")
"""Endings of the files that can be written."""

_JPEG_QUALITY = 95
_WEBP_QUALITY = 85
_XMP_IN_PNG = "XML:com.adobe.xmp"
_XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_PACKET = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:Iptc4xmpExt="{iptc}"
    xmlns:lossarium="{lossarium}">
   <xmp:CreatorTool>{tool}</xmp:CreatorTool>
   <Iptc4xmpExt:DigitalSourceType>{kind}</Iptc4xmpExt:DigitalSourceType>
   <lossarium:Trial>{trial}</lossarium:Trial>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""


def trial_digest(table: bytes, weights: str) -> str:
    """SHA-256, in hex, that names a trial and the weights that made a picture.

    Args:
        table: The bytes of trial.toml.
        weights: `models.registry.weights_digest`; empty for a picture that shows weights of many steps of a
            trial that is not finished.
    """
    return hashlib.sha256(table + b"\0" + weights.encode()).hexdigest()


def xmp_packet(digest: str) -> str:
    """The packet for the pictures of a trial.

    Args:
        digest: From `trial_digest`.

    Example:
        >>> DIGITAL_SOURCE_TYPE in xmp_packet("ab" * 32)
        True
    """
    return _PACKET.format(
        iptc=IPTC_NAMESPACE,
        lossarium=LOSSARIUM_NAMESPACE,
        tool=escape(f"lossarium {lossarium.__version__}"),
        kind=DIGITAL_SOURCE_TYPE,
        trial=escape(digest),
    )


def encoded(pixels: npt.NDArray[np.uint8], ending: str, packet: str) -> bytes:
    """Encode a picture as a file with the packet and no other metadata.

    Args:
        pixels: (H, W, 3), sRGB.
        ending: One of `ENDINGS`, in any case.
        packet: From `xmp_packet`.
    """
    return _png(pixels, packet) if ending.lower() == PNG else _jpeg(pixels, packet)


def encoded_animation(
    frames: Sequence[npt.NDArray[np.uint8]], milliseconds: Sequence[int], packet: str
) -> bytes:
    """Encode an animated WebP with the packet that loops for ever.

    Args:
        frames: At least two, each (H, W, 3), sRGB.
        milliseconds: Duration of each frame.
        packet: From `xmp_packet`.
    """
    first, *others = map(Image.fromarray, frames)
    file = io.BytesIO()
    first.save(
        file,
        format="WEBP",
        save_all=True,
        append_images=others,
        duration=list(milliseconds),
        loop=0,
        quality=_WEBP_QUALITY,
        xmp=packet.encode(),
    )
    return file.getvalue()


def _png(pixels: npt.NDArray[np.uint8], packet: str) -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_itxt(_XMP_IN_PNG, packet)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", pnginfo=text)
    return file.getvalue()


def _jpeg(pixels: npt.NDArray[np.uint8], packet: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=_JPEG_QUALITY, subsampling=0)
    data = file.getvalue()
    body = _XMP_IN_JPEG + packet.encode()
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(body)) + body
    # JFIF's APP0 has to be the first segment: the packet follows it.
    place = 2
    if data[2:4] == b"\xff\xe0":
        place += 2 + int.from_bytes(data[4:6], "big")
    return data[:place] + segment + data[place:]
