"""faceset.toml, which makes a folder one of Lossarium's own facesets."""

from dataclasses import dataclass
from pathlib import Path

from lossarium.facesets.formats.tables import refuse_damaged, toml_table

MANIFEST_NAME = "faceset.toml"
"""A folder that holds this file is one of Lossarium's own facesets."""
MANIFEST_FORMAT = "lossarium faceset 1"
MAX_FRAME_SIDE = 4096


@dataclass(frozen=True)
class Manifest:
    """The keys of faceset.toml that reading needs; the others are checked and left in the file."""

    identity: str
    size: int
    """Side of the stored frames, in pixels."""
    frames: int
    """The number of frames."""
    held_out: tuple[str, ...]
    """Names of the frames to judge by."""
    renderer: str
    """Program and version; frames of different renderers are never exact swaps."""


def read_manifest(folder: Path) -> Manifest:
    """Read and check a faceset's manifest.

    Raises:
        LossariumError: it cannot be read, or a key is missing or damaged.
    """
    path = folder / MANIFEST_NAME
    table = toml_table(path)

    def text(key: str) -> str:
        value = table.get(key)
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            refuse_damaged(path, key, "has to be a line of text")
        return value

    def whole_number(key: str, lowest: int, highest: int) -> int:
        value = table.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            refuse_damaged(path, key, f"has to be a whole number from {lowest} to {highest}")
        return value

    if text("format") != MANIFEST_FORMAT:
        refuse_damaged(path, "format", f'has to be "{MANIFEST_FORMAT}", the one that this version reads')
    held_out = table.get("held_out")
    if (
        not isinstance(held_out, list)
        or not held_out
        or not all(isinstance(name, str) for name in held_out)
        or len(set(held_out)) != len(held_out)
    ):
        refuse_damaged(path, "held_out", "has to be a list of different frame names")
    whole_number("seed", -(2**63), 2**63 - 1)
    text("licence")
    if not isinstance(table.get("provenance"), str | dict):
        refuse_damaged(path, "provenance", "has to be text or a table")
    return Manifest(
        identity=text("identity"),
        size=whole_number("size", 1, MAX_FRAME_SIDE),
        frames=whole_number("frames", 1, 1_000_000),
        held_out=tuple(held_out),
        renderer=text("renderer"),
    )
