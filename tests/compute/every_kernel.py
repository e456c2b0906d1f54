"""Compile everything in one process: `python -m tests.compute.every_kernel FOLDER [SPEC ...]`.

Every loss with its options (value alone, with its gradient, weighted, grey, several windows), the
augmentation, and `lossarium measure` on pictures that it makes in FOLDER; or only the losses of some specs.
Prints what was compiled, as JSON.
"""

import contextlib
import io
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numba.core import event
from numba.core.ccallback import CFunc
from PIL import Image
from torch import Tensor

from lossarium import losses
from lossarium.cli.main import main
from lossarium.facesets.batches.amount import FACESWAP, Augmentation
from lossarium.facesets.batches.augmentation import augment_frames, draw
from lossarium.facesets.randomness import Purpose, generator

OPTIONS: dict[str, tuple[dict[str, object], ...]] = {
    "general": tuple({"alpha": alpha} for alpha in (2, 1.97, 1, 0.5, 0, -2, -1e19, 1e19)),
    "imae": ({"temperature": 4},),
    "ssim": ({"window": 3}, {"window": 7}, {"color": "gray"}),
    "uqi": ({"window": 3}, {"color": "gray"}),
    "ms_ssim": ({"window": 3, "scales": 2}, {"color": "gray"}),
    "mix": ({"scales": 2},),
    "gmsd": ({"color": "rgb"},),
    "ms_gmsd": ({"color": "rgb"}, {"scales": 2}),
    "pixel_gradient": ({"second_order": 0},),
    "laplacian": ({"levels": 2},),
    "ffl": (
        {"alpha": 2},
        {"log_matrix": True},
        {"patch_factor": 2},
        {"ave_spectrum": True},
        {"batch_matrix": True},
    ),
    "lpips": ({"spatial": True},),
    "flip": ({"pixels_per_degree": 20},),
}
"""Options beside the defaults, of each loss that has any which lead to another kernel or other arguments."""


def pictures(channels: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    numbers = torch.Generator().manual_seed(0)
    input, target = (torch.rand(2, channels, height, width, generator=numbers) for _ in range(2))
    return input, target, torch.rand(2, 1, height, width, generator=numbers)


def ask_for_loss(name: str, input: Tensor, target: Tensor, weight: Tensor, **options: object) -> None:
    function = losses.info(name).function
    for counts in (None, weight):
        function(input, target, weight=counts, **options)
        sloped = input.clone().requires_grad_()
        value = function(sloped, target, weight=counts, **options)
        if value.requires_grad:
            value.backward()


def ask_for_specs(specs: Sequence[str]) -> None:
    input, target, weight = pictures(3, 48, 48)
    for spec in specs:
        for counts in (None, weight):
            losses.get(spec)(input.clone().requires_grad_(), target, weight=counts).backward()


def ask_for_losses() -> None:
    # The larger one has more than one tile of windows, and is too large to be measured from end to end.
    small, large = pictures(3, 64, 64), pictures(1, 180, 740)
    for name in losses.names():
        with contextlib.suppress(NotImplementedError):
            for options in ({}, *OPTIONS.get(name, ())):
                ask_for_loss(name, *small, **options)
            if name != "lpips":
                ask_for_loss(name, *large)


def ask_for_augmentation() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    draws = np.stack([draw(generator(0, Purpose.AUGMENTATION, 1, sample)) for sample in range(2)])
    for amount in (Augmentation(), FACESWAP, replace(FACESWAP, clahe=0)):
        augment_frames(frames, draws, amount)


def ask_for_measure(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    names = folder / "truth.png", folder / "test.png"
    for seed, name in enumerate(names):
        noise = np.random.default_rng(seed).integers(0, 256, (180, 180, 3), np.uint8)
        Image.fromarray(noise).save(name)
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["measure", *map(str, names), "--losses", "all"]) == 0


@contextlib.contextmanager
def watching() -> Iterator[list[str]]:
    """The names of what is compiled inside this context, by either kind of compiled function."""
    compiled: list[str] = []

    class Listener(event.Listener):
        def on_start(self, event: event.Event) -> None:
            compiled.append(event.data["dispatcher"].py_func.__qualname__)

        def on_end(self, event: event.Event) -> None:
            """Count only the beginnings."""

    uncached = CFunc._compile_uncached

    def counted(callback: CFunc) -> object:
        compiled.append(callback.__qualname__)
        return uncached(callback)

    listener = Listener()
    event.register("numba:compile", listener)
    CFunc._compile_uncached = counted
    try:
        yield compiled
    finally:
        CFunc._compile_uncached = uncached
        event.unregister("numba:compile", listener)


if __name__ == "__main__":
    folder, *specs = sys.argv[1:]
    with watching() as compiled:
        if specs:
            ask_for_specs(specs)
        else:
            ask_for_losses()
            ask_for_augmentation()
            ask_for_measure(Path(folder))
    print(json.dumps(compiled))
