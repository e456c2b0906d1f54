"""Small facesets of smooth pictures without faces, for tests that need frames only."""

import numpy as np

from lossarium.facesets.faceset import Faceset


def blobs(
    identity: str = "ada", *, frames: int = 20, size: int = 32, seed: int = 0, states: bool = False
) -> Faceset:
    """Frames of a coloured blob that moves: learnable in a few steps, different from identity to identity."""
    colour = np.random.default_rng([seed, 1]).uniform(0.3, 1, 3)
    places = np.random.default_rng(99).uniform(0.3, 0.7, (frames, 2))
    rows, columns = np.mgrid[0:size, 0:size] / size
    distance = (rows - places[:, 0, None, None]) ** 2 + (columns - places[:, 1, None, None]) ** 2
    light = np.exp(-distance / 0.03)[..., None] * colour
    held_out = np.arange(frames) % 4 == 3
    return Faceset(
        identity=identity,
        frames=(light * 255).round().astype(np.uint8),
        frame_names=tuple(f"{place:04}" for place in range(frames)),
        held_out=held_out,
        face_masks=(distance < 0.05).astype(np.uint8) * 255,
        states=tuple(f"state {place}" for place in range(frames)) if states else None,
    )
