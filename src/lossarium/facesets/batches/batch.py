"""Batches: the pictures of a step are the same for every loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.facesets.batches.amount import Augmentation
from lossarium.facesets.batches.augmentation import (
    augment,
    augment_frames,
    augment_regions,
    draw,
)
from lossarium.facesets.faceset import Faceset
from lossarium.facesets.randomness import Purpose, generator
from lossarium.facesets.regions.regions import Region


@dataclass(frozen=True)
class Batch:
    """The data of one training step; the first dimension is the identity."""

    input: Tensor
    """(identities, batch, 3, size, size) in [0, 1], warped: the network's input."""
    target: Tensor
    """The same pictures unwarped: the target."""
    regions: Mapping[str, Tensor] = field(default_factory=dict)
    """Name -> (identities, batch, 1, size, size) in [0, 1], 1 inside: regions of the target."""


class Batches:
    """The batches of one seed: `batches(step)` is a function of (seed, step) and of the facesets.

    Each identity's training frames are reshuffled for every epoch, independently of the other identity's.
    Frames stay in the faceset as 8-bit numbers, in memory or in a memory-mapped cache; only the frames of a
    batch are copied and converted to floating point.
    """

    def __init__(
        self,
        facesets: Sequence[Faceset],
        *,
        batch_size: int,
        seed: int,
        augmentation: Augmentation,
        device: torch.device,
        regions: Mapping[str, Sequence[Region]] | None = None,
        kernels: bool = False,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        """Prepare batches; no frame is copied.

        Args:
            facesets: One for each identity, with frames of one size.
            batch_size: Pictures of each identity in a step.
            seed: Any number.
            augmentation: The strength of the augmentation.
            device: The batches' device.
            regions: Name -> the region of each identity, to be returned with the pictures.
            kernels: On a CPU, augment with kernels: many times as fast; results differ by rounding only.
            part: (index, parts): return only every `parts`-th picture of each identity, from `index` on. For
                training by several processes.

        Raises:
            LossariumError: the batch cannot be split into parts of equal length.
        """
        first, parts = part
        if batch_size % parts:
            raise LossariumError(
                f"a batch of {batch_size} pictures of each identity cannot be shared by {parts} processes; "
                f"take a multiple of {parts}"
            )
        self.batch_size = batch_size
        self.places = np.arange(first, batch_size, parts)
        """The indices of the returned pictures in an identity's batch."""
        self.seed = seed
        self.augmentation = augmentation
        self.device = device
        self.frames = [faceset.frames for faceset in facesets]
        self.training = [np.flatnonzero(faceset.trained) for faceset in facesets]
        """The training frames of each identity."""
        self.regions = regions or {}
        self.kernels = kernels and device.type == "cpu"

    def __call__(self, step: int) -> Batch:
        chosen = [self._chosen(identity, step) for identity in range(len(self.frames))]
        frames = _taken(self.frames, chosen)
        samples = (np.arange(len(chosen))[:, None] * self.batch_size + self.places).flatten()
        drawn = np.stack(
            [draw(generator(self.seed, Purpose.AUGMENTATION, step, s)) for s in samples.tolist()]
        )
        if self.kernels:
            input, target = augment_frames(frames, drawn, self.augmentation)
        else:
            pictures = torch.from_numpy(frames).to(self.device).permute(0, 3, 1, 2).contiguous()
            pictures = pictures.float().div_(255)
            input, target = augment(pictures, torch.from_numpy(drawn).to(pictures), self.augmentation)
        shape = (len(self.frames), len(self.places), *input.shape[1:])
        return Batch(input.view(shape), target.view(shape), self._regions(chosen, drawn))

    def _regions(
        self, chosen: Sequence[npt.NDArray[np.intp]], drawn: npt.NDArray[np.float64]
    ) -> dict[str, Tensor]:
        if not self.regions:
            return {}
        masks = np.stack([_masks_of(part, chosen) for part in self.regions.values()], axis=1)
        inside = torch.from_numpy(masks).to(self.device).float().div_(255)
        moved = augment_regions(inside, torch.from_numpy(drawn).to(inside), self.augmentation)
        shape = (len(self.frames), len(self.places), 1, *moved.shape[2:])
        return {name: moved[:, place].reshape(shape) for place, name in enumerate(self.regions)}

    def _chosen(self, identity: int, step: int) -> npt.NDArray[np.intp]:
        """The indices of an identity's frames in the batch, (batch,)."""
        training = self.training[identity]
        order = frame_order(self.seed, identity, step * self.batch_size, self.batch_size, len(training))
        return training[order[self.places]]


def frame_order(seed: int, identity: int, start: int, count: int, frames: int) -> npt.NDArray[np.intp]:
    """The frames at positions `start` to `start + count` of an identity's endless sequence, (count,).

    The sequence is one shuffled pass over all frames after another, so all frames are used about equally
    often.
    """
    epochs, places = np.divmod(np.arange(start, start + count), frames)
    shuffled = {
        epoch: generator(seed, Purpose.FRAME_ORDER, step=epoch, sample=identity).permutation(frames)
        for epoch in np.unique(epochs).tolist()
    }
    return np.array([shuffled[epoch][place] for epoch, place in zip(epochs.tolist(), places, strict=True)])


def _taken(
    frames: Sequence[npt.NDArray[np.uint8]], chosen: Sequence[npt.NDArray[np.intp]]
) -> npt.NDArray[np.uint8]:
    """The chosen frames of all identities in order, (identities * batch, size, size, 3)."""
    count = sum(len(indices) for indices in chosen)
    taken = np.empty((count, *frames[0].shape[1:]), np.uint8)
    start = 0
    for part, indices in zip(frames, chosen, strict=True):
        # Of a memory-mapped file only these frames are read, one by one.
        for place, index in enumerate(indices, start):
            taken[place] = part[index]
        start += len(indices)
    return taken


def _masks_of(regions: Sequence[Region], chosen: Sequence[npt.NDArray[np.intp]]) -> npt.NDArray[np.uint8]:
    """One region's masks of the chosen frames of all identities, (identities * batch, size, size)."""
    return np.concatenate([region.masks(indices) for region, indices in zip(regions, chosen, strict=True)])
