"""Scores of a model on held-out frames: reconstruction and, where the truth is known, the swap."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lossarium.facesets.faceset import Faceset, exact_swaps
from lossarium.judging.judges import DEFAULT_JUDGES, Judge
from lossarium.judging.tasks import RECONSTRUCTION, SWAP
from lossarium.models.prediction import predict
from lossarium.models.randomness import evaluating, seeded

# Pictures a forward pass; bounds the memory for facesets of any length.
_CHUNK = 64


def score_key(task: str, judge: Judge) -> str:
    """The key of a score in `metrics.jsonl` and in the report."""
    return f"{task}/{judge.name}"


@dataclass(frozen=True)
class Direction:
    """The held-out frames of one identity, and the exact swap of those where it is known."""

    source: int
    """Identity whose frames these are."""
    target: int
    """Identity that they are swapped to."""
    frame_names: tuple[str, ...]
    blocks: tuple[str, ...]
    """The N frames' blocks: frames of either identity with the same label are not independent."""
    frames: "StoredPictures"
    """The N held-out frames, three channels."""
    known: Tensor
    """(M,), indices of the frames whose exact swap is known."""
    exact_swaps: "StoredPictures"
    """The M exact swaps, three channels."""
    face: "StoredPictures | None"
    """M masks of one channel: the face in the exact swap, where swaps are scored; None without masks."""


class StoredPictures:
    """Some pictures of an array, converted to tensors on access: the array may exceed memory."""

    def __init__(self, stored: npt.NDArray[np.uint8], places: npt.NDArray[np.intp]) -> None:
        """A view of (N, size, size, channels), or (N, size, size) of one channel; copies nothing."""
        self._stored = stored
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def part(self, places: npt.NDArray[np.intp]) -> "StoredPictures":
        """Some of the pictures, in this order."""
        return StoredPictures(self._stored, self._places[places])

    def __getitem__(self, chosen: int | slice | npt.NDArray[np.intp] | Tensor) -> Tensor:
        """One, (channels, size, size), or several, (n, channels, size, size), in [0, 1]."""
        places = self._places[chosen.numpy() if isinstance(chosen, Tensor) else chosen]
        taken = np.asarray(self._stored[np.atleast_1d(places)])
        pictures = as_tensor(taken[..., None] if taken.ndim == 3 else taken)
        return pictures if np.ndim(places) else pictures[0]


def directions(first: Faceset, second: Faceset) -> tuple[Direction, Direction]:
    """The two directions of a pair: first to second, second to first."""
    return _direction(first, second, 0, 1), _direction(second, first, 1, 0)


def _direction(source: Faceset, target: Faceset, source_index: int, target_index: int) -> Direction:
    partners = exact_swaps(source, target)
    known = np.flatnonzero(partners >= 0)
    chosen = partners[known]
    held_out = np.flatnonzero(source.held_out)
    return Direction(
        source=source_index,
        target=target_index,
        frame_names=tuple(source.frame_names[i] for i in held_out),
        blocks=_blocks(source, source_index),
        frames=StoredPictures(source.frames, held_out),
        known=torch.from_numpy(known),
        exact_swaps=StoredPictures(target.frames, chosen),
        face=None if target.face_masks is None else StoredPictures(target.face_masks, chosen),
    )


def _blocks(source: Faceset, identity: int) -> tuple[str, ...]:
    """A state is the same for both identities; runs of consecutive frames are of one of them."""
    if source.states is not None:
        return source.blocks
    return tuple(f"{identity} {block}" for block in source.blocks)


def blocks_of(pair: Sequence[Direction]) -> dict[str, npt.NDArray[np.intp]]:
    """Task -> the number of the block of each scored picture, from 0, in the order of `score`.

    No swap is scored, and has no blocks, where no exact swap is known.
    """
    reconstructed = [label for direction in pair for label in direction.blocks]
    swapped = [direction.blocks[place] for direction in pair for place in direction.known.tolist()]
    return {
        task: numbered(labels)
        for task, labels in ((RECONSTRUCTION, reconstructed), (SWAP, swapped))
        if labels
    }


def numbered(labels: Sequence[str]) -> npt.NDArray[np.intp]:
    """(labels,), each label's number in the order of their first occurrence."""
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    return np.array([numbers[label] for label in labels], dtype=np.intp)


def as_tensor(pictures: npt.NDArray[np.uint8]) -> Tensor:
    """(N, H, W, C) bytes to (N, C, H, W) in [0, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(255)


def as_bytes(pictures: Tensor) -> npt.NDArray[np.uint8]:
    """(N, C, H, W), clipped to [0, 1], to (N, H, W, C) bytes."""
    quantised = pictures.clamp(0, 1).mul(255).round().to(torch.uint8)
    return quantised.permute(0, 2, 3, 1).contiguous().numpy()


@torch.inference_mode()
def decode(model: nn.Module, frames: Tensor, identity: int) -> Tensor:
    """Frames (N, 3, size, size) through the shared encoder and one identity's decoder, on the model's device.

    Runs in evaluation mode, and restores the model's mode and torch's random state afterwards.
    """
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    with evaluating(model):
        return torch.cat(
            [
                predict(model, chunk[None].to(device), (identity,)).pictures[0].float().cpu()
                for chunk in torch.split(frames, _CHUNK)
            ]
        )


def score(
    model: nn.Module, pair: tuple[Direction, ...], judges: Sequence[Judge] = DEFAULT_JUDGES
) -> dict[str, list[float]]:
    """Every score of a model: score key -> one value a held-out picture, direction after direction.

    Reconstruction is judged on the whole picture. A swap is judged inside the face, since hair and outline of
    the exact swap are those of the other identity.
    """
    scores: dict[str, list[float]] = {}
    for direction in pair:
        for places in _chunks(len(direction.frames)):
            frames = direction.frames[places]
            _add(scores, RECONSTRUCTION, decode(model, frames, direction.source), frames, None, judges)
        for places in _chunks(len(direction.known)):
            swapped = decode(model, direction.frames[direction.known[places]], direction.target)
            face = None if direction.face is None else direction.face[places]
            _add(scores, SWAP, swapped, direction.exact_swaps[places], face, judges)
    return scores


def _chunks(count: int) -> list[slice]:
    """Slices of a range, each small enough to be in memory at once."""
    return [slice(start, start + _CHUNK) for start in range(0, count, _CHUNK)]


@torch.inference_mode()
def _add(
    scores: dict[str, list[float]],
    task: str,
    prediction: Tensor,
    truth: Tensor,
    weight: Tensor | None,
    judges: Sequence[Judge],
) -> None:
    for judge in judges:
        with seeded(prediction.device, 0):
            values = judge.measure(prediction, truth, weight).tolist()
        scores.setdefault(score_key(task, judge), []).extend(values)
