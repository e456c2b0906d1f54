"""A model on held-out frames: how well it reconstructs them and, where the truth is known, swaps them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lossarium.facesets.faceset import Faceset, exact_swaps
from lossarium.judging.judges import JUDGES, Judge
from lossarium.models.prediction import predict

RECONSTRUCTION, SWAP = "reconstruction", "swap"

# Pictures a forward pass; bounds the memory whatever the faceset's length.
_CHUNK = 64


def score_key(task: str, judge: Judge) -> str:
    """The key of a score in `metrics.jsonl` and in the report."""
    return f"{task}/{judge.name}"


@dataclass(frozen=True)
class Direction:
    """The held-out frames of one identity, and what a perfect swap of them would be."""

    source: int
    """Identity whose frames these are."""
    target: int
    """Identity that they are swapped to."""
    frame_names: tuple[str, ...]
    frames: Tensor
    """(N, 3, size, size) in [0, 1]."""
    known: Tensor
    """(M,), indices of the frames whose exact swap is known."""
    exact_swaps: Tensor
    """(M, 3, size, size)."""
    face: Tensor | None
    """(M, 1, size, size), the face in the exact swap, where swaps are scored; None without a mask."""


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
        frames=as_tensor(source.frames[held_out]),
        known=torch.from_numpy(known),
        exact_swaps=as_tensor(target.frames[chosen]),
        face=None if target.face_masks is None else as_tensor(target.face_masks[chosen][..., None]),
    )


def as_tensor(pictures: npt.NDArray[np.uint8]) -> Tensor:
    """(N, H, W, C) bytes to (N, C, H, W) in [0, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(255)


def as_bytes(pictures: Tensor) -> npt.NDArray[np.uint8]:
    """(N, C, H, W), clipped to [0, 1], to (N, H, W, C) bytes."""
    quantised = pictures.clamp(0, 1).mul(255).round().to(torch.uint8)
    return quantised.permute(0, 2, 3, 1).contiguous().numpy()


@torch.inference_mode()
def decode(model: nn.Module, frames: Tensor, identity: int) -> Tensor:
    """Frames (N, 3, size, size) through the shared encoder and one identity's decoder, wherever that is."""
    device = next(model.parameters()).device
    return torch.cat(
        [
            predict(model, chunk[None].to(device), (identity,)).pictures[0].float().cpu()
            for chunk in torch.split(frames, _CHUNK)
        ]
    )


def score(model: nn.Module, pair: tuple[Direction, ...]) -> dict[str, list[float]]:
    """Every score of a model: score key -> one value a held-out picture, direction after direction.

    Reconstruction is judged on the whole picture, a swap inside the face, since the exact swap's surroundings
    follow its own hair and outline.
    """
    scores: dict[str, list[float]] = {}
    for direction in pair:
        reconstructed = decode(model, direction.frames, direction.source)
        _add(scores, RECONSTRUCTION, reconstructed, direction.frames, None)
        if len(direction.known):
            swapped = decode(model, direction.frames[direction.known], direction.target)
            _add(scores, SWAP, swapped, direction.exact_swaps, direction.face)
    return scores


@torch.inference_mode()
def _add(
    scores: dict[str, list[float]], task: str, prediction: Tensor, truth: Tensor, weight: Tensor | None
) -> None:
    for judge in JUDGES:
        values: list[float] = []
        for chunk in torch.split(torch.arange(len(truth)), _CHUNK):
            region = None if weight is None else weight[chunk]
            values += judge.measure(prediction[chunk], truth[chunk], region).tolist()
        scores.setdefault(score_key(task, judge), []).extend(values)
