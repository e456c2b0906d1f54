"""Facesets: the aligned frames of one identity, and which frames of two facesets show the same state."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lossarium.text.wording import counted


@dataclass(frozen=True)
class Faceset:
    """Aligned frames of one identity, all of one size, with their masks, landmarks and states if known.

    Frames are 8-bit RGB, so that 10,000 frames of 128 px take 490 MB. Frames and masks may be read-only
    memory-mapped files (`lossarium.facesets.cache`) that are larger than memory: take the frames that are
    needed by their indices, and never copy a whole array.
    """

    identity: str
    """The name that users see: the manifest's, or the folder's."""
    frames: npt.NDArray[np.uint8]
    """(N, size, size, 3), RGB."""
    frame_names: tuple[str, ...]
    """N names: paths relative to the faceset's folder, with forward slashes."""
    held_out: npt.NDArray[np.bool_]
    """(N,), True for held-out frames, which are not trained on but used for judging."""
    face_masks: npt.NDArray[np.uint8] | None = None
    """(N, size, size), 255 where the face is; None if masks are not known."""
    states: tuple[str, ...] | None = None
    """N values of `state_digest`; frames of two facesets with equal digests are an exact swap pair."""
    landmarks: npt.NDArray[np.float32] | None = None
    """(N, 68, 2) x, y in frame pixels, iBUG order, pixel centres at halves; None if they are not known."""
    left_out: npt.NDArray[np.bool_] | None = None
    """(N,), True for frames that are neither trained on nor judged, since they are next to held-out ones;
    None if there are none."""

    @property
    def size(self) -> int:
        """Side of the square frames, in pixels."""
        return int(self.frames.shape[1])

    @property
    def trained(self) -> npt.NDArray[np.bool_]:
        """(N,), True for frames that are trained on."""
        return ~self.held_out if self.left_out is None else ~(self.held_out | self.left_out)

    @property
    def blocks(self) -> tuple[str, ...]:
        """The label of each held-out frame's block, in order: frames of a block are not independent.

        Frames in the same state are a block, where states are known, otherwise consecutive held-out frames.
        """
        if self.states is not None:
            return tuple(self.states[index] for index in np.flatnonzero(self.held_out))
        begins = self.held_out & ~np.concatenate([[False], self.held_out[:-1]])
        return tuple(f"block {number}" for number in np.cumsum(begins)[self.held_out].tolist())


def described_split(faceset: Faceset) -> str:
    """What a faceset's frames are used for.

    For example "240 trained on, 60 held out in 20 blocks, 40 left out beside them".
    """
    judged, blocks = len(faceset.blocks), len(set(faceset.blocks))
    left_out = 0 if faceset.left_out is None else int(faceset.left_out.sum())
    together = f" in {counted(blocks, 'block')}" if blocks < judged else ""
    apart = f", {left_out} left out beside {'it' if blocks == 1 else 'them'}" if left_out else ""
    return f"{int(faceset.trained.sum())} trained on, {judged} held out{together}{apart}"


def state_digest(renderer: str, state: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of everything that a rendered frame shows except whose face it is.

    Args:
        renderer: Program and version; another version may draw the same state differently.
        state: What the renderer drew the frame from, as JSON values.
    """
    return hashlib.sha256(_canonical_json([renderer, state])).hexdigest()


def exact_swaps(a: Faceset, b: Faceset) -> npt.NDArray[np.intp]:
    """For each held-out frame of `a`, in order, the frame of `b` that was rendered in the same state.

    Only held-out frames of `b` count: its decoder would score too well on a frame that it was trained on.

    Returns:
        (number of held-out frames of `a`,): indices into `b.frames`, or -1 where there is none.
    """
    if a.states is None or b.states is None:
        return np.full(int(a.held_out.sum()), -1, np.intp)
    truths: dict[str, int] = {}
    for index in np.flatnonzero(b.held_out):
        truths.setdefault(b.states[index], int(index))
    return np.array([truths.get(a.states[index], -1) for index in np.flatnonzero(a.held_out)], np.intp)


def data_digest(faceset: Faceset) -> str:
    """SHA-256, in hex, of all that can change a trial: size, frames, names, split, masks, states and
    landmarks."""
    digest = hashlib.sha256()
    described = {
        "size": faceset.size,
        "frame_names": faceset.frame_names,
        "held_out": np.flatnonzero(faceset.held_out).tolist(),
        "face_masks": faceset.face_masks is not None,
        "states": faceset.states,
    }
    if faceset.landmarks is not None:
        # Added only if there are any, so that other facesets keep the digest that earlier versions gave.
        described["landmarks"] = True
    if faceset.left_out is not None:
        described["left_out"] = np.flatnonzero(faceset.left_out).tolist()
    digest.update(_canonical_json(described))
    # The description fixes how many bytes follow, so different facesets cannot give the same bytes.
    for array in (faceset.frames, faceset.face_masks, faceset.landmarks):
        for row in () if array is None else array:
            # Row by row: a whole array that is not contiguous would be copied at once.
            digest.update(np.ascontiguousarray(row).data)
    return digest.hexdigest()


def _canonical_json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
