"""Batches: for every step the same pictures, whatever the loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lossarium.facesets.augmentation import Augmentation, augment, draw
from lossarium.facesets.faceset import Faceset
from lossarium.facesets.randomness import Purpose, generator


@dataclass(frozen=True)
class Batch:
    """What one step trains on: a slice of the batch an identity."""

    input: Tensor
    """(identities, batch, 3, size, size) in [0, 1], warped."""
    target: Tensor
    """The same, unwarped."""


class Batches:
    """The batches of one seed: `batches(step)` is a function of (seed, step) and of the facesets.

    Every identity's training frames are gone through in an order of their own, reshuffled each time round.
    Frames stay 8-bit in memory; only a batch is turned to floating point, on the device.
    """

    def __init__(
        self,
        facesets: Sequence[Faceset],
        *,
        batch_size: int,
        seed: int,
        augmentation: Augmentation,
        device: torch.device,
    ) -> None:
        self.batch_size = batch_size
        self.seed = seed
        self.augmentation = augmentation
        self.frames = [
            torch.from_numpy(faceset.frames[~faceset.held_out]).to(device).permute(0, 3, 1, 2).contiguous()
            for faceset in facesets
        ]

    def __call__(self, step: int) -> Batch:
        frames = torch.cat([self._chosen(identity, step) for identity in range(len(self.frames))])
        drawn = np.stack(
            [draw(generator(self.seed, Purpose.AUGMENTATION, step, s)) for s in range(len(frames))]
        )
        input, target = augment(frames, torch.from_numpy(drawn).to(frames), self.augmentation)
        shape = (len(self.frames), self.batch_size, *frames.shape[1:])
        return Batch(input.view(shape), target.view(shape))

    def _chosen(self, identity: int, step: int) -> Tensor:
        """An identity's part of the batch, (batch, 3, size, size) in [0, 1]."""
        frames = self.frames[identity]
        order = frame_order(self.seed, identity, step * self.batch_size, self.batch_size, len(frames))
        return frames[torch.from_numpy(order).to(frames.device)].float().div_(255)


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
