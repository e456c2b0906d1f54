"""Batches: for every step the same pictures, whatever the loss."""

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
    """What one step trains on: a slice of the batch an identity."""

    input: Tensor
    """(identities, batch, 3, size, size) in [0, 1], warped."""
    target: Tensor
    """The same, unwarped."""
    regions: Mapping[str, Tensor] = field(default_factory=dict)
    """Name -> (identities, batch, 1, size, size) in [0, 1], 1 inside: parts of the target."""


class Batches:
    """The batches of one seed: `batches(step)` is a function of (seed, step) and of the facesets.

    Every identity's training frames are gone through in an order of their own, reshuffled each time round.
    Frames stay 8-bit where the faceset has them, in memory or in a memory-mapped cache; only a batch is
    copied and turned to floating point.
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
        """Look at the facesets; nothing is copied.

        Args:
            facesets: One an identity, their frames all of one size.
            batch_size: Pictures of each identity a step.
            seed: Any number.
            augmentation: How much each picture is changed.
            device: Where batches are wanted.
            regions: Name -> one an identity: what is wanted beside the pictures.
            kernels: On a CPU, augment by kernels: many times as fast, alike but for rounding.
            part: Which of how many equal parts of every batch is wanted: every so many-th picture of each
                identity, from this one on.

        Raises:
            LossariumError: the batch has no parts of equal length.
        """
        first, parts = part
        if batch_size % parts:
            raise LossariumError(
                f"a batch of {batch_size} pictures of each identity cannot be shared by {parts} processes; "
                f"take a multiple of {parts}"
            )
        self.batch_size = batch_size
        self.places = np.arange(first, batch_size, parts)
        """Which pictures of an identity's part of a batch are wanted."""
        self.seed = seed
        self.augmentation = augmentation
        self.device = device
        self.frames = [faceset.frames for faceset in facesets]
        self.training = [np.flatnonzero(~faceset.held_out) for faceset in facesets]
        """Of each identity, the frames that are not held out."""
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
        """Which frames are an identity's part of the batch, (batch,)."""
        training = self.training[identity]
        order = frame_order(self.seed, identity, step * self.batch_size, self.batch_size, len(training))
        return training[order[self.places]]


def frame_order(seed: int, identity: int, start: int, count: int, frames: int) -> npt.NDArray[np.intp]:
    """Which frames an identity shows from place `start` of its endless sequence on, (count,).

    The sequence is one shuffling of all frames after the other, so that no frame is seen much more often than
    another.
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
    """The chosen frames of all identities, one after the other, (identities * batch, size, size, 3)."""
    count = sum(len(indices) for indices in chosen)
    taken = np.empty((count, *frames[0].shape[1:]), np.uint8)
    start = 0
    for part, indices in zip(frames, chosen, strict=True):
        # A memory-mapped file is read frame by frame, and nothing but these frames.
        for place, index in enumerate(indices, start):
            taken[place] = part[index]
        start += len(indices)
    return taken


def _masks_of(regions: Sequence[Region], chosen: Sequence[npt.NDArray[np.intp]]) -> npt.NDArray[np.uint8]:
    """One region's masks of the chosen frames of all identities, (identities * batch, size, size)."""
    return np.concatenate([region.masks(indices) for region, indices in zip(regions, chosen, strict=True)])
