"""A user's file that uses the losses; mypy --strict has to pass it, and where said to refuse it."""

import torch
from torch import Tensor, nn

import lossarium
from lossarium import losses
from lossarium.losses import MS_SSIM, SSIM, Color, Loss, LossInfo, LPIPSNet, Reduction, TermReport


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


def with_words(
    picture: Tensor, color: Color, reduction: Reduction, net: LPIPSNet = "squeeze"
) -> tuple[Tensor, ...]:
    return (
        losses.ssim(picture, picture, color=color, reduction=reduction),
        losses.ms_ssim(picture, picture, color="rgb", reduction="none"),
        losses.uqi(picture, picture, color=color),
        losses.gmsd(picture, picture, color="gray"),
        losses.ms_gmsd(picture, picture, color=SSIM(color=color).color),
        losses.lpips(picture, picture, net=net, precision="bfloat16"),
        losses.LPIPS(net=net, precision="float32")(picture, picture),
        losses.GMSD(color=color, reduction=reduction)(picture, picture),
    )


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
losses.MSE(reduction="average")  # type: ignore[arg-type]
losses.ssim(torch.zeros(1), torch.zeros(1), color="grey")  # type: ignore[arg-type]
losses.ms_ssim(torch.zeros(1), torch.zeros(1), color="grey")  # type: ignore[arg-type]
losses.uqi(torch.zeros(1), torch.zeros(1), color="grey")  # type: ignore[arg-type]
losses.gmsd(torch.zeros(1), torch.zeros(1), color="grey")  # type: ignore[arg-type]
losses.ms_gmsd(torch.zeros(1), torch.zeros(1), color="grey")  # type: ignore[arg-type]
losses.lpips(torch.zeros(1), torch.zeros(1), net="alexnet")  # type: ignore[arg-type]
losses.lpips(torch.zeros(1), torch.zeros(1), precision="half")  # type: ignore[arg-type]
losses.SSIM(color="grey")  # type: ignore[arg-type]
losses.MS_SSIM(color="grey")  # type: ignore[arg-type]
losses.UQI(color="grey")  # type: ignore[arg-type]
losses.GMSD(color="grey")  # type: ignore[arg-type]
losses.MS_GMSD(color="grey")  # type: ignore[arg-type]
losses.LPIPS(net="alexnet")  # type: ignore[arg-type]
losses.LPIPS(precision="half")  # type: ignore[arg-type]


@losses.register(name="cubed_class")
class Cubed:
    def __init__(self, *, scale: float = 1.0) -> None:
        self.scale = scale

    def __call__(self, input: Tensor, target: Tensor) -> Tensor:
        return self.scale * (input - target).abs() ** 3


made: Cubed = Cubed(scale=2.0)
