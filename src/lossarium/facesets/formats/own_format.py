"""Lossarium's own facesets: the files beside the manifest.

faceset.toml     who it is, how large and how many, the split
frames/NNNN.webp
masks/NNNN.png   optional, but for all frames or none
landmarks.json   optional; 68 points for each frame
states.json      optional; the state that each frame shows, from which exact swaps are found
"""

import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lossarium.errors import LossariumError
from lossarium.facesets.faceset import state_digest
from lossarium.facesets.formats.manifest import MANIFEST_NAME, read_manifest
from lossarium.facesets.formats.stored_face import LANDMARKS
from lossarium.facesets.formats.tables import json_table, refuse_damaged
from lossarium.facesets.listing import FrameFile, Listing, names_in
from lossarium.text.wording import listed, printable_name


def own_listing(folder: Path) -> Listing:
    """List a folder with a manifest, and check all data of its frames.

    Raises:
        LossariumError: a file is missing, damaged or does not match the others.
    """
    manifest = read_manifest(folder)
    frames = _files_by_frame(folder / "frames", ".webp")
    if len(frames) != manifest.frames:
        complaint = f"says {manifest.frames}, but frames/ holds {len(frames)} .webp files"
        refuse_damaged(folder / MANIFEST_NAME, "frames", complaint)
    missing = [name for name in manifest.held_out if name not in frames]
    if missing:
        complaint = f"names frames that frames/ does not hold: {listed(missing)}"
        refuse_damaged(folder / MANIFEST_NAME, "held_out", complaint)
    masks = _masks(folder, frames)
    landmarks = _landmarks(folder / "landmarks.json", frames)
    return Listing(
        folder=folder,
        identity=manifest.identity,
        frames=[
            FrameFile(name, path, masks.get(name), landmarks=landmarks.get(name))
            for name, path in frames.items()
        ],
        source_size=manifest.size,
        held_out=frozenset(manifest.held_out),
        states=_states(folder / "states.json", frames, manifest.renderer),
    )


def _files_by_frame(folder: Path, ending: str) -> Mapping[str, Path]:
    """Frame names such as "0240" to files, in order."""
    files = [folder / name for name in names_in(folder) if name.lower().endswith(ending)]
    odd = sorted(path.stem for path in files if not re.fullmatch(r"[0-9]{4,18}", path.stem))
    if odd:
        raise LossariumError(
            f"{printable_name(folder)} holds {printable_name(odd[0])}{ending}, which is no frame's name "
            f"such as 0240{ending}; remove it."
        )
    return {path.stem: path for path in sorted(files, key=lambda path: (int(path.stem), path.name))}


def _masks(folder: Path, frames: Iterable[str]) -> Mapping[str, Path]:
    if not (folder / "masks").is_dir():
        return {}
    masks = _files_by_frame(folder / "masks", ".png")
    without = [f"masks/{name}.png" for name in frames if name not in masks]
    if without:
        raise LossariumError(
            f"The faceset {printable_name(folder)} lacks {listed(without)}, though its other frames "
            "have masks; render or copy it again."
        )
    return masks


def _landmarks(path: Path, frames: Iterable[str]) -> Mapping[str, npt.NDArray[np.float64]]:
    if not os.path.lexists(path):
        return {}
    table = json_table(path)
    for name in frames:
        if not _is_matrix(table.get(name), LANDMARKS, 2):
            refuse_damaged(path, name, f"has to be {LANDMARKS} points of two numbers")
    return {name: np.array(table[name], np.float64) for name in frames}


def _states(path: Path, frames: Iterable[str], renderer: str) -> list[str] | None:
    if not os.path.lexists(path):
        return None
    table = json_table(path)
    digests = []
    for name in frames:
        entry = table.get(name)
        if not isinstance(entry, dict) or not isinstance(entry.get("state"), dict):
            refuse_damaged(path, name, "has to hold a state")
        if not _is_matrix(entry.get("alignment"), 2, 3):
            refuse_damaged(path, f"{name}.alignment", "has to be two rows of three numbers")
        try:
            digests.append(state_digest(renderer, entry["state"]))
        except RecursionError:
            refuse_damaged(path, f"{name}.state", "is nested too deep")
    return digests


def _is_matrix(value: object, rows: int, columns: int) -> bool:
    """Whether a value from JSON is a list of lists of finite numbers."""
    return (
        isinstance(value, list)
        and len(value) == rows
        and all(isinstance(row, list) and len(row) == columns and all(map(_is_number, row)) for row in value)
    )


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # 1e999 is JSON for infinity, and so is a whole number that no float can hold.
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
