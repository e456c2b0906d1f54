"""The fixed sample of held-out frames that evaluations during training judge, so that they stay fast.

The sample depends on the facesets and on its size alone: all trials of a comparison have the same one. An
evaluation of all frames judges the sample first, in the same batches, so that the sample's scores have the
same bits in every evaluation of the same weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from lossarium.judging.held_out import Direction, numbered, score
from lossarium.judging.judges import Judge
from lossarium.judging.tasks import RECONSTRUCTION, SWAP
from lossarium.training.records import Row


@dataclass(frozen=True)
class Sample:
    """The held-out frames of two identities, divided into a sample and the rest."""

    sampled: tuple[Direction, ...]
    rest: tuple[Direction, ...]
    """Empty if everything is sampled."""
    places: Mapping[str, list[int]]
    """Task -> the places of the sampled pictures among all that are scored, in the order of `score`."""


def sample_of(pair: tuple[Direction, ...], most: int) -> Sample:
    """A sample of at most so many held-out frames, spread over all blocks.

    The identities have equal shares, as far as they have frames, and so have the blocks of each; within a
    block the frames are evenly spaced.
    """
    sizes = [len(direction.frames) for direction in pair]
    if sum(sizes) <= most:
        return Sample(pair, (), {})
    chosen = [
        spread_places(numbered(direction.blocks), share)
        for direction, share in zip(pair, equal_shares(sizes, most).tolist(), strict=True)
    ]
    reconstructed = [np.isin(np.arange(size), places) for size, places in zip(sizes, chosen, strict=True)]
    swapped = [
        sampled[direction.known.numpy()] for direction, sampled in zip(pair, reconstructed, strict=True)
    ]
    return Sample(
        sampled=tuple(_part(d, np.flatnonzero(at)) for d, at in zip(pair, reconstructed, strict=True)),
        rest=tuple(_part(d, np.flatnonzero(~at)) for d, at in zip(pair, reconstructed, strict=True)),
        places={
            task: np.flatnonzero(np.concatenate(at)).tolist()
            for task, at in ((RECONSTRUCTION, reconstructed), (SWAP, swapped))
        },
    )


def judged(model: nn.Module, sample: Sample, judges: Sequence[Judge], *, everything: bool) -> Row:
    """Judge a model on the sample, or on everything; returns what its row of `metrics.jsonl` says of it.

    The keys are `held_out` (score key -> one value a picture) and, unless everything is sampled, `judged`
    ("sample" or "all") and `sample` (the sample's `places`).
    """
    scores = score(model, sample.sampled, judges)
    if not sample.rest:
        return {"held_out": scores}
    if everything:
        others = score(model, sample.rest, judges)
        scores = {
            key: _merged(scores.get(key, []), others.get(key, []), sample.places[key.partition("/")[0]])
            for key in {**scores, **others}
        }
    return {
        "held_out": scores,
        "judged": "all" if everything else "sample",
        "sample": dict(sample.places),
    }


def equal_shares(sizes: Sequence[int], count: int) -> npt.NDArray[np.intp]:
    """(sizes,): `count` things shared among holders of these sizes as equally as possible.

    >>> equal_shares([10, 2, 10], 12).tolist()
    [5, 2, 5]
    """
    room = np.asarray(sizes, dtype=np.intp)
    shares = np.zeros_like(room)
    while (left := min(count, int(room.sum())) - int(shares.sum())) > 0:
        open_ = np.flatnonzero(shares < room)
        if left < len(open_):
            open_ = open_[_evenly(len(open_), left)]
        shares[open_] = np.minimum(room[open_], shares[open_] + max(1, left // len(open_)))
    return shares


def spread_places(blocks: npt.NDArray[np.intp], count: int) -> npt.NDArray[np.intp]:
    """(min(count, frames),), rising: frames spread over blocks numbered from 0, evenly within each.

    >>> spread_places(np.array([0, 0, 0, 0, 1, 1, 1, 1]), 2).tolist()
    [2, 6]
    """
    shares = equal_shares(np.bincount(blocks).tolist(), count).tolist()
    members = (np.flatnonzero(blocks == block) for block in range(len(shares)))
    places = [
        of_block[_evenly(len(of_block), share)] for of_block, share in zip(members, shares, strict=True)
    ]
    return np.sort(np.concatenate(places))


def _evenly(length: int, count: int) -> npt.NDArray[np.intp]:
    """(count,), different places of `length` from first to last, each in the middle of its share."""
    return np.asarray((2 * np.arange(count) + 1) * length // (2 * max(count, 1)))


def _part(direction: Direction, places: npt.NDArray[np.intp]) -> Direction:
    """Some of a direction's frames, in order."""
    known = direction.known.numpy()
    kept = np.flatnonzero(np.isin(known, places))
    return replace(
        direction,
        frame_names=tuple(direction.frame_names[place] for place in places),
        blocks=tuple(direction.blocks[place] for place in places),
        frames=direction.frames.part(places),
        known=torch.from_numpy(np.searchsorted(places, known[kept])),
        exact_swaps=direction.exact_swaps.part(kept),
        face=None if direction.face is None else direction.face.part(kept),
    )


def _merged(sampled: list[float], others: list[float], places: Sequence[int]) -> list[float]:
    """All values in their order: those of the sample at their places, the others between them."""
    values = np.empty(len(sampled) + len(others))
    at = np.zeros(len(values), dtype=np.bool_)
    at[places] = True
    values[at], values[~at] = sampled, others
    return [float(value) for value in values]
