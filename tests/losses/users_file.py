"""A user's file that uses the losses; mypy --strict has to pass it, and where said to refuse it."""

import torch
from torch import Tensor, nn

import lossarium
from lossarium import losses
from lossarium.losses import MS_SSIM, SSIM, Loss, LossInfo, TermReport


class Trainer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.structure = SSIM(window=7, color="gray", reduction="sum")
        self.scales: MS_SSIM = losses.MS_SSIM()
        self.loss: Loss = losses.get("ssim + 0.5*mae")

    def step(self, prediction: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
        value: Tensor = self.structure(prediction, truth, weight) + self.scales(prediction, truth)
        return value + losses.huber(prediction, truth, delta=0.1, weight=weight, reduction="mean")

    def whole(self, prediction: Tensor, truth: Tensor) -> Tensor:
        return self.loss(prediction, truth)


def looked_at(picture: Tensor) -> tuple[Tensor, LossInfo, tuple[TermReport, ...], tuple[str, ...]]:
    with losses.without_kernels():
        error_map = losses.map("mae", picture, picture)
    return error_map, losses.info("ssim"), losses.get("mse").report(picture, picture), losses.names()


def from_the_package(picture: Tensor) -> Tensor:
    return lossarium.losses.mse(picture, picture)


@losses.register
def cubed(input: Tensor, target: Tensor, *, scale: float = 1.0) -> Tensor:
    return scale * (input - target).abs() ** 3


@losses.register(name="squared", good_at="large errors")
def squared_error(input: Tensor, target: Tensor) -> Tensor:
    return (input - target).square()


kept: Tensor = cubed(torch.zeros(1), torch.zeros(1), scale=2.0)
squared_error(1, 2)  # type: ignore[arg-type]
SSIM(windw=7)  # type: ignore[call-arg]
losses.Huber(delta="large")  # type: ignore[arg-type]
losses.mse(torch.zeros(1), torch.zeros(1), reduction="median")  # type: ignore[arg-type]
