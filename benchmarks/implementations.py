"""The implementations to compare: for each loss, this library's and that of every installed peer library."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.torchvision_beside_cpu import import_torchvision
from lossarium import losses
from lossarium.losses.spec import parse

OURS = "lossarium"
Run = Callable[[], object]
"""Compute a loss of prepared pictures, with its gradient if it has one."""
Prepare = Callable[[Tensor, Tensor], Run]


@dataclass(frozen=True)
class Implementation:
    name: str
    prepare: Prepare
    """(input, target) -> Run; the preparation is not timed."""
    gradient: bool = True
    """Whether the run computes the gradient, too."""


@dataclass(frozen=True)
class Benchmark:
    """The implementations of one loss with the same settings, ours first."""

    name: str
    implementations: tuple[Implementation, ...]
    largest: int = 1 << 30
    """Skip pictures with more values than this, for which the peers' networks would need too much memory."""


def backward(loss: Callable[[Tensor, Tensor], Tensor], input: Tensor, target: Tensor) -> Run:
    """Forward and backward of a loss."""
    leaf = input.clone().requires_grad_()

    def run() -> None:
        loss(leaf, target).mean().backward()
        leaf.grad = None

    return run


def forward(loss: Callable[[Tensor, Tensor], Tensor], input: Tensor, target: Tensor) -> Run:
    def run() -> None:
        with torch.no_grad():
            loss(input, target)

    return run


def differentiated(name: str, loss: Callable[[Tensor, Tensor], Tensor]) -> Implementation:
    return Implementation(name, lambda input, target: backward(loss, input, target))


def measured(name: str, loss: Callable[[Tensor, Tensor], Tensor]) -> Implementation:
    return Implementation(name, lambda input, target: forward(loss, input, target), gradient=False)


def ours(spec: str) -> Implementation:
    """Our plain function, called like those of the peers."""
    term = parse(spec).terms[0]
    return differentiated(f"{OURS} {spec}", partial(losses.info(term.name).function, **dict(term.options)))


def benchmarks() -> tuple[Benchmark, ...]:
    """All benchmarks. Peers that are not installed are left out; `missing_peers` lists them."""
    peers = _peers()
    return (*_structure(peers), *_gradients(peers), *_pixel(peers), *_perceptual(peers), *_forward(peers))


def missing_peers() -> list[str]:
    return [name for name, module in _peers().items() if module is None]


def _peers() -> dict[str, Any]:
    names = (
        "piq", "piqa", "pytorch_msssim", "kornia", "torchmetrics.functional.image",
        "torchmetrics.functional.regression", "torchmetrics.functional.image.lpips", "focal_frequency_loss",
        "lpips", "flip_evaluator", "fast_ssim", "blazediff_ssim",
    )  # fmt: skip
    try:
        import_torchvision()
    except ImportError:
        return dict.fromkeys(names)
    return {name: _import(name) for name in names}


def _import(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        return None


def _only(*candidates: tuple[Any, Callable[[Any], Implementation]]) -> tuple[Implementation, ...]:
    return tuple(make(module) for module, make in candidates if module is not None)


def _structure(peers: dict[str, Any]) -> tuple[Benchmark, ...]:
    piq, piqa, msssim = peers["piq"], peers["piqa"], peers["pytorch_msssim"]
    kornia, metrics = peers["kornia"], peers["torchmetrics.functional.image"]
    return (
        Benchmark("ssim", (ours("ssim"), *_only(
            (msssim, lambda m: differentiated(
                "pytorch-msssim", lambda x, y: 1 - m.ssim(x, y, data_range=1))),
            (piq, lambda m: differentiated(
                "piq", lambda x, y: 1 - m.ssim(x, y, data_range=1, downsample=False))),
            (piqa, lambda m: differentiated("piqa", m.SSIM())),
            (kornia, lambda m: differentiated(
                "kornia", lambda x, y: m.losses.ssim_loss(x, y, 11, padding="valid"))),
            (metrics, lambda m: differentiated(
                "torchmetrics",
                lambda x, y: 1 - m.structural_similarity_index_measure(x, y, data_range=1.0))),
        ))),
        Benchmark("ms_ssim", (ours("ms_ssim"), *_only(
            (msssim, lambda m: differentiated(
                "pytorch-msssim, 7 pixels", lambda x, y: 1 - m.ms_ssim(x, y, data_range=1, win_size=7))),
            (piq, lambda m: differentiated(
                "piq, 7 pixels", lambda x, y: 1 - m.multi_scale_ssim(x, y, data_range=1, kernel_size=7))),
            (piqa, lambda m: differentiated("piqa, 7 pixels", m.MS_SSIM(window_size=7))),
        ))),
        # Without kornia's MS_SSIMLoss: at 7 s per call, 800 times ours, it would take most of the time.
        Benchmark("mix", (ours("mix"),)),
        Benchmark("uqi", (ours("uqi"), *_only(
            (metrics, lambda m: differentiated(
                "torchmetrics", lambda x, y: 1 - m.universal_image_quality_index(x, y))),
        ))),
        Benchmark("gmsd", (ours("gmsd"), *_only(
            (piq, lambda m: differentiated("piq", lambda x, y: m.gmsd(x, y, data_range=1))),
            (piqa, lambda m: differentiated("piqa", m.GMSD())),
        ))),
        Benchmark("ms_gmsd", (ours("ms_gmsd"), *_only(
            (piq, lambda m: differentiated("piq", lambda x, y: m.multi_scale_gmsd(x, y, data_range=1))),
            (piqa, lambda m: differentiated("piqa", m.MS_GMSD())),
        ))),
        Benchmark("mdsi", (ours("mdsi"), *_only(
            (piq, lambda m: differentiated(
                "piq", lambda x, y: m.mdsi(x, y, data_range=1, reduction="none"))),
            (piqa, lambda m: differentiated("piqa", m.MDSI())),
        ))),
        Benchmark("nlpd", (ours("nlpd"),)),
        Benchmark("haarpsi", (ours("haarpsi"), *_only(
            (piq, lambda m: differentiated("piq", lambda x, y: 1 - m.haarpsi(x, y, data_range=1))),
            (piqa, lambda m: differentiated("piqa", m.HaarPSI())),
        ))),
    )  # fmt: skip


def _gradients(peers: dict[str, Any]) -> tuple[Benchmark, ...]:
    return (
        Benchmark("pixel_gradient", (ours("pixel_gradient"),)),
        Benchmark("laplacian", (ours("laplacian"),)),
        Benchmark("wavelet_l1", (ours("wavelet_l1"),)),
        Benchmark("ffl", (ours("ffl"), *_only(
            (peers["focal_frequency_loss"],
             lambda m: differentiated("focal-frequency-loss", m.FocalFrequencyLoss())),
        ))),
    )  # fmt: skip


def _pixel(peers: dict[str, Any]) -> tuple[Benchmark, ...]:
    kornia, metrics = peers["kornia"], peers["torchmetrics.functional.regression"]

    def logcosh(x: Tensor, y: Tensor) -> Tensor:
        error = (x - y) / 0.05
        return (0.05 * (error + F.softplus(-2 * error) - 0.6931471805599453)).mean()

    def barron(x: Tensor, y: Tensor) -> Tensor:
        return ((((x - y) / 0.05).square() + 1).sqrt() - 1).mean()

    return (
        Benchmark("mse", (ours("mse"), differentiated("torch", F.mse_loss))),
        Benchmark("mae", (ours("mae"), differentiated("torch", F.l1_loss))),
        Benchmark("huber", (
            ours("huber"), differentiated("torch", lambda x, y: F.huber_loss(x, y, delta=0.05)),
        )),
        Benchmark("smooth_l1", (
            ours("smooth_l1"), differentiated("torch", lambda x, y: F.smooth_l1_loss(x, y, beta=0.05)),
        )),
        Benchmark("logcosh", (ours("logcosh"), differentiated("torch, plain", logcosh), *_only(
            (metrics, lambda m: differentiated(
                "torchmetrics", lambda x, y: m.log_cosh_error(x.flatten(), y.flatten()))),
        ))),
        Benchmark("charbonnier", (
            ours("charbonnier"),
            differentiated("torch, plain", lambda x, y: ((x - y).square() + 1e-6).sqrt().mean()),
            *_only((kornia, lambda m: differentiated(
                "kornia", lambda x, y: m.losses.charbonnier_loss(x, y, reduction="mean")))),
        )),
        Benchmark("general", (ours("general"), differentiated("torch, plain", barron))),
        Benchmark("general(alpha=0)", (ours("general(alpha=0)"), *_only(
            (kornia, lambda m: differentiated(
                "kornia", lambda x, y: m.losses.cauchy_loss(x, y, reduction="mean"))),
        ))),
        Benchmark("quantile", (ours("quantile"), differentiated(
            "torch, plain", lambda x, y: torch.maximum(0.5 * (y - x), -0.5 * (y - x)).mean()))),
        Benchmark("mape", (ours("mape"), *_only(
            (metrics, lambda m: differentiated("torchmetrics", m.mean_absolute_percentage_error)),
        ))),
        *(Benchmark(name, (ours(name),)) for name in ("rmse", "sse", "linf", "mase", "imae")),
    )  # fmt: skip


# AlexNet and VGG-16 keep the features of every layer in memory: many gigabytes for pictures of 1080p.
_LARGEST_FOR_TRUNKS = 1 << 20


def _perceptual(peers: dict[str, Any]) -> tuple[Benchmark, ...]:
    _provide_vgg_weights()
    return (
        *(_lpips(net, peers) for net in ("alex", "vgg")),
        Benchmark("flip", (ours("flip"), *_only((peers["flip_evaluator"], _flip_evaluator)))),
    )


def _lpips(net: str, peers: dict[str, Any]) -> Benchmark:
    def package(module: Any) -> Implementation:
        peer = module.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
        return differentiated("lpips", lambda x, y: peer(x, y, normalize=True))

    def metric(module: Any) -> Implementation:
        peer = module._LPIPS(pretrained=False, net=net, pnet_rand=True)
        return differentiated("torchmetrics", lambda x, y: peer(x, y, normalize=True))

    return Benchmark(
        f"lpips(net={net})",
        (
            ours(f"lpips(net={net})"),
            ours(f"lpips(net={net}, precision=bfloat16)"),
            *_only((peers["lpips"], package), (peers["torchmetrics.functional.image.lpips"], metric)),
        ),
        largest=_LARGEST_FOR_TRUNKS,
    )


def _provide_vgg_weights() -> None:
    """Make random weights if VGG-16's are not available: convolutions take as long with any weights."""
    from safetensors.torch import save_file

    from lossarium.losses.perceptual.lpips_networks import network

    folder = os.environ.get("LOSSARIUM_WEIGHTS")
    if folder and (Path(folder) / "lpips_vgg.safetensors").exists():
        return
    made = Path(mkdtemp(prefix="lossarium-benchmark-"))
    # Scaled to keep features near 1, since subnormal numbers would be slow.
    weights = {
        name: torch.randn(shape).abs() / 10
        if name.startswith("lin.")
        else torch.randn(shape) * math.sqrt(2 / math.prod(shape[1:]))
        for name, shape in network("vgg").shapes().items()
    }
    save_file(weights, made / "lpips_vgg.safetensors")
    os.environ["LOSSARIUM_WEIGHTS"] = str(made)


def _flip_evaluator(module: Any) -> Implementation:
    def prepare(input: Tensor, target: Tensor) -> Run:
        pairs = [
            tuple(np.ascontiguousarray(picture.permute(1, 2, 0).numpy()) for picture in pair)
            for pair in zip(target, input, strict=True)
        ]
        return lambda: [
            module.evaluate(reference, test, "LDR", applyMagma=False) for reference, test in pairs
        ]

    return Implementation("flip-evaluator, forward alone", prepare, gradient=False)


def _forward(peers: dict[str, Any]) -> tuple[Benchmark, ...]:
    """SSIM without its gradient, against implementations that have none."""
    return (
        Benchmark("ssim forward alone", (measured(f"{OURS} ssim", losses.ssim), *_only(
            (peers["fast_ssim"], _fast_ssim),
        ))),
        Benchmark("ssim of luminance forward alone", (
            measured(f"{OURS} ssim(color=gray)", partial(losses.ssim, color="gray")),
            *_only((peers["blazediff_ssim"], _blazediff)),
        )),
    )  # fmt: skip


def _bytes(pictures: Tensor) -> list[np.ndarray]:
    return [
        np.ascontiguousarray((picture * 255).round().byte().permute(1, 2, 0).numpy()) for picture in pictures
    ]


def _fast_ssim(module: Any) -> Implementation:
    def prepare(input: Tensor, target: Tensor) -> Run:
        pairs = list(zip(_bytes(input), _bytes(target), strict=True))
        return lambda: [module.ssim(*pair) for pair in pairs]

    return Implementation("fast-ssim (bytes, box windows)", prepare, gradient=False)


def _blazediff(module: Any) -> Implementation:
    def prepare(input: Tensor, target: Tensor) -> Run:
        height, width = input.shape[2:]
        opaque = np.full((height, width, 1), 255, np.uint8)
        pairs = [
            tuple(np.dstack((picture, opaque)).tobytes() for picture in pair)
            for pair in zip(_bytes(input), _bytes(target), strict=True)
        ]
        return lambda: [module.compare_rgba(*pair, width, height) for pair in pairs]

    return Implementation("blazediff-ssim (bytes, luminance)", prepare, gradient=False)
