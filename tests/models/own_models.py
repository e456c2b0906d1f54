"""Users' own models, good and bad, for `package.module:factory`."""

import torch
from torch import nn

from lossarium.models.prediction import Prediction


class Blur(nn.Module):
    """One convolution an identity."""

    def __init__(self, size, identities, kernel=3):
        super().__init__()
        self.size = size
        self.convolutions = nn.ModuleList(
            nn.Conv2d(3, 3, kernel, padding=kernel // 2) for _ in range(identities)
        )

    def forward(self, pictures, identities):
        blurred = [self.convolutions[i](part) for i, part in zip(identities, pictures, strict=True)]
        return torch.stack(blurred).sigmoid()


class WithNorm(Blur):
    def __init__(self, size, identities):
        super().__init__(size, identities)
        self.norm = nn.BatchNorm2d(3)
        self.frozen = nn.BatchNorm2d(3).eval()

    def forward(self, pictures, identities):
        normed = self.frozen(self.norm(pictures.flatten(0, 1))).unflatten(0, pictures.shape[:2])
        return super().forward(normed, identities)


class WithMasks(Blur):
    coarser_height = 1

    def forward(self, pictures, identities):
        blurred = super().forward(pictures, identities)
        coarser = blurred[..., :: 2 * self.coarser_height, ::2]
        return Prediction(blurred, (coarser,), blurred[:, :, :1])


class Oblong(WithMasks):
    coarser_height = 2


class Cropped(Blur):
    def forward(self, pictures, identities):
        return super().forward(pictures, identities)[..., 1:, :]


class ForgetsTheSlices(Blur):
    def forward(self, pictures, identities):
        return super().forward(pictures, identities)[0]


class GivesATuple(Blur):
    def forward(self, pictures, identities):
        return super().forward(pictures, identities), None


class GivesIntegers(Blur):
    def forward(self, pictures, identities):
        return (255 * super().forward(pictures, identities)).int()


class Stumbles(Blur):
    def forward(self, pictures, identities):
        return super().forward(pictures[..., :1], identities) @ torch.zeros(7, 7)


class Frozen(Blur):
    def __init__(self, size, identities):
        super().__init__(size, identities)
        self.requires_grad_(False)


def gives_a_list(size, identities):
    return [size, identities]


def fails(size, identities):
    raise RuntimeError(f"no weights for {identities} at {size}\nand a second line")


NOT_CALLABLE = 3


class WithDropout(nn.Module):
    """Batch normalisation, tied weights and dropout: a model whose training has state and randomness.

    It notes the mode of every call.
    """

    def __init__(self, size, identities):
        super().__init__()
        self.size = size
        self.enter = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.3)
        self.leave = nn.ModuleList(nn.Conv2d(8, 3, 3, padding=1) for _ in range(identities))
        for other in self.leave[1:]:
            other.bias = self.leave[0].bias
        self.calls = []

    def forward(self, pictures, identities):
        self.calls.append(self.training)
        codes = self.dropout(self.norm(self.enter(pictures.flatten(0, 1))).relu()).unflatten(
            0, pictures.shape[:2]
        )
        return torch.stack([self.leave[i](code) for i, code in zip(identities, codes, strict=True)]).sigmoid()


class SamplesAlways(WithDropout):
    """Draws noise in evaluation mode, too."""

    def forward(self, pictures, identities):
        return super().forward(pictures + 0.1 * torch.randn_like(pictures), identities)


def takes_anything(size, identities, width=8, **others):
    del width, others
    return Blur(size, identities)


def takes_no_identities(size):
    return Blur(size, 2)


def wants_more(size, identities, depth):
    del depth
    return Blur(size, identities)
