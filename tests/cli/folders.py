"""Folders of small pictures for the command line to work on."""

from pathlib import Path

from PIL import Image

from tests.facesets.examples import blobs


def picture_folder(folder: Path, *, frames: int = 15, size: int = 40, seed: int = 0) -> Path:
    """A folder of PNGs."""
    folder.mkdir(parents=True)
    faceset = blobs(frames=frames, size=size, seed=seed)
    for name, frame in zip(faceset.frame_names, faceset.frames, strict=True):
        Image.fromarray(frame).save(folder / f"{name}.png")
    return folder


def pair(parent: Path) -> tuple[Path, Path]:
    """Two identities."""
    return picture_folder(parent / "ada"), picture_folder(parent / "ben", seed=5)


# The cheapest comparison that still has all its parts.
QUICK = ("--size", "32", "--steps", "6", "--batch-size", "2")
