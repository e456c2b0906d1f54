"""Which frames judge and which train, and that none does both."""

import hashlib
import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lossarium.facesets.faceset import Faceset


def held_out_blocks(count: int) -> npt.NDArray[np.bool_]:
    """The split of a plain folder: which of `count` frames, in order, are held out.

    Frames of a video resemble their neighbours, so a split frame by frame would judge by what was trained on.
    Blocks of ceil(count / 25) consecutive frames stay together, and of every five blocks the third is held
    out: a fifth of the frames from all over the folder. 8 frames hold out those of index 2 and 7; 300 hold
    out 60.

    Returns:
        (count,), True where held out.
    """
    length = max(1, math.ceil(count / 25))
    return np.equal(np.arange(count) // length % 5, 2)


def without_leaks(faceset: Faceset) -> tuple[Faceset, int]:
    """Leave out the training frames that equal a held-out one pixel by pixel, for they would flatter.

    Returns:
        The faceset without them, and how many they were.
    """
    digests = [hashlib.blake2b(frame, digest_size=16).digest() for frame in faceset.frames]
    held_out = {digest for digest, out in zip(digests, faceset.held_out, strict=True) if out}
    fair = [out or digest not in held_out for digest, out in zip(digests, faceset.held_out, strict=True)]
    copies = fair.count(False)
    if not copies:
        return faceset, 0
    keep = np.flatnonzero(fair)
    reduced = replace(
        faceset,
        frames=faceset.frames[keep],
        frame_names=tuple(faceset.frame_names[index] for index in keep),
        held_out=faceset.held_out[keep],
        face_masks=None if faceset.face_masks is None else faceset.face_masks[keep],
        states=None if faceset.states is None else tuple(faceset.states[index] for index in keep),
        landmarks=None if faceset.landmarks is None else faceset.landmarks[keep],
    )
    return reduced, copies
