"""Time a training step and its parts, and augmentation alone, in comparison with faceswap's figures.

    python -m benchmarks.training [--models dfl_sae,original,lightweight] [--steps 3] [--threads 2]
                                  [--folder benchmarks/results]

A step trains two identities with 16 pictures of each, `ssim + mae`, Adam and faceswap's augmentation
settings, in float32 and in bf16. The results are medians over the steps, after one step to warm up. faceswap
is not run: its figures were measured on two shared cores of the same kind, with Keras 3.14 on torch 2.14 in
float32. Writes a JSON and a Markdown file named after the processor and the day.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import date
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.machine import file_name, package_version, processor
from lossarium import losses
from lossarium.facesets.batches.amount import FACESWAP, Augmentation
from lossarium.facesets.batches.augmentation import augment_frames, draw
from lossarium.facesets.batches.batch import Batch
from lossarium.facesets.faceset import Faceset
from lossarium.facesets.folder import load
from lossarium.facesets.randomness import Purpose, generator
from lossarium.losses.module import Loss
from lossarium.models.registry import all_options, initial_model
from lossarium.training.configuration import Recipe
from lossarium.training.malloc import keep_freed_memory
from lossarium.training.options import optimizers
from lossarium.training.step import loss_terms
from lossarium.training.trial_batches import batches_of

SIZES = {"lightweight": 64, "original": 64, "dfl_h128": 128, "dfl_sae": 128}
FACESWAP_MS = {"lightweight": 5005, "original": 6303, "dfl_sae": 71_726}
"""faceswap's own model and losses, for a step with as many pictures."""
FACESWAP_IMAGES = {
    128: {"colour": 1788, "transform": 2884, "warp": 4547, "everything": 579},
    256: {"colour": 636, "transform": 868, "warp": 1401, "everything": 147},
}
"""Augmented images per second and core."""
PARTS = ("data", "forward", "loss", "backward", "optimiser")
_BATCH = 16
_STILL = dict.fromkeys(("rotation", "zoom", "shift", "flip", "warp", "brightness", "contrast", "tint"), 0)
_NOTHING = Augmentation(**_STILL)
AUGMENTATIONS = {
    "colour": replace(_NOTHING, lightness=FACESWAP.lightness, colour=FACESWAP.colour, clahe=FACESWAP.clahe),
    "transform": replace(_NOTHING, rotation=FACESWAP.rotation, zoom=FACESWAP.zoom, shift=FACESWAP.shift),
    "warp": replace(_NOTHING, warp=FACESWAP.warp),
    "everything": FACESWAP,
}


@dataclass(frozen=True)
class Step:
    model: str
    size: int
    precision: str
    parameters: int
    steps: int
    step_ms: float
    """Median over the steps."""
    parts_ms: dict[str, float]
    peak_gib: float
    """The peak of the whole process."""

    @property
    def ours(self) -> float:
        """The share of the step that is not the model's: data and loss."""
        return (self.parts_ms["data"] + self.parts_ms["loss"]) / self.step_ms


@dataclass(frozen=True)
class Images:
    size: int
    part: str
    per_second: float
    """Images per second on one core."""


class _Clock(nn.Module):
    """A loss that records the time it takes."""

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.spec, self.loss, self.spent = loss.spec, loss, 0.0

    def terms(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        start = time.perf_counter()
        terms = self.loss.terms(input, target, weight)
        self.spent += time.perf_counter() - start
        return terms


def main() -> None:
    options = _options()
    if options.one:
        _measure_one(options)
        return
    steps = [
        _in_a_process_of_its_own(model, precision, options)
        for model in options.models.split(",")
        for precision in ("float32", "bf16")
    ]
    images = [measured_images(size, part) for size in FACESWAP_IMAGES for part in AUGMENTATIONS]
    write(steps, images, options.folder, options.threads)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", default="dfl_sae,original,lightweight", help="by name, with commas")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def _in_a_process_of_its_own(model: str, precision: str, options: argparse.Namespace) -> Step:
    """Run a model in a process of its own, so that the peak memory is that of the model."""
    command = [sys.executable, "-m", "benchmarks.training", "--one", f"{model},{precision}"]
    command += ["--steps", str(options.steps), "--threads", str(options.threads)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    step = Step(**json.loads(found.stdout.splitlines()[-1]))
    print(_line(step), flush=True)
    return step


def _measure_one(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    model, precision = options.one.split(",")
    print(json.dumps(asdict(measured_step(model, precision, options.steps))))


def measured_step(name: str, precision: str, steps: int) -> Step:
    """One model's step, its parts timed one after the other."""
    size = SIZES[name]
    facesets = bundled_pair(size)
    recipe = Recipe(
        size=size,
        model=name,
        model_options=all_options(name, {}),
        batch_size=_BATCH,
        learning_rate=5e-5,
        precision=precision,
        augmentation=FACESWAP,
    )
    model = initial_model(name, size=size, identities=2, seed=0, options=recipe.model_options)
    optimizer = optimizers.make(optimizers.parse("adam"), model.parameters(), recipe.learning_rate)
    batches = batches_of(0, recipe, facesets, torch.device("cpu"))
    clock = _Clock(losses.get("ssim + mae"))
    parts = [_step(model, optimizer, clock, batches, recipe, number) for number in range(steps + 1)][1:]
    return Step(
        name,
        size,
        precision,
        sum(parameter.numel() for parameter in model.parameters()),
        steps,
        1000 * statistics.median(sum(part.values()) for part in parts),
        {part: 1000 * statistics.median(times[part] for times in parts) for part in PARTS},
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    )


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    clock: _Clock,
    batches: Callable[[int], Batch],
    recipe: Recipe,
    number: int,
) -> dict[str, float]:
    """Seconds of each part."""
    marks = [time.perf_counter()]
    batch = batches(number)
    marks.append(time.perf_counter())
    clock.spent = 0.0
    optimizer.zero_grad()
    terms = loss_terms(model, clock, batch, identities=2, precision=recipe.precision)  # type: ignore[arg-type]
    marks.append(time.perf_counter())
    terms.sum().backward()
    marks.append(time.perf_counter())
    optimizer.step()
    marks.append(time.perf_counter())
    data, forward, backward, update = np.diff(marks).tolist()
    return dict(zip(PARTS, (data, forward - clock.spent, clock.spent, backward, update), strict=True))


def measured_images(size: int, part: str, seconds: float = 3.0) -> Images:
    """Images per second of one kind of augmentation on one core, from frames to float input and target."""
    torch.set_num_threads(1)
    faceset = bundled_pair(size)[0]
    amount, rates = AUGMENTATIONS[part], []
    began, step = time.perf_counter(), 0
    while step < 4 or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        chosen = faceset.frames[(np.arange(_BATCH) + _BATCH * step) % len(faceset.frames)]
        drawn = np.stack([draw(generator(0, Purpose.AUGMENTATION, step, s)) for s in range(_BATCH)])
        augment_frames(chosen, drawn, amount)
        rates.append(_BATCH / (time.perf_counter() - start))
        step += 1
    found = Images(size, part, statistics.median(rates[1:]))
    theirs = FACESWAP_IMAGES[size][part]
    print(
        f"augmentation {size:4} px {part:11} {found.per_second:8.0f} images/s, faceswap {theirs}", flush=True
    )
    return found


def bundled_pair(size: int) -> tuple[Faceset, Faceset]:
    """The demo's facesets."""
    bundled = Path(str(files("lossarium.facesets"))) / "bundled"
    return load(bundled / "ada", size).faceset, load(bundled / "ben", size).faceset


def judged(steps: list[Step], images: list[Images]) -> list[tuple[str, str, bool]]:
    """The requirements: (demand, measured, whether it is met)."""
    found = []
    for step in steps:
        if step.model == "dfl_sae":
            demand = f"data and loss at most 3% of a {step.precision} step of {step.model}"
            found.append((demand, f"{step.ours:.1%}", step.ours <= 0.03))
        if step.model in FACESWAP_MS:
            times, least = FACESWAP_MS[step.model] / step.step_ms, 1.3 if step.precision == "float32" else 2.0
            demand = f"a {step.precision} step of {step.model} {least:g}x faster than faceswap's float32"
            found.append((demand, f"{times:.1f}x", times >= least))
    for image in images:
        if image.part == "everything":
            times = image.per_second / FACESWAP_IMAGES[image.size][image.part]
            demand = f"all of augmentation at {image.size} px 3x faceswap's images per second and core"
            found.append((demand, f"{times:.1f}x", times >= 3))
    return found


def _line(step: Step) -> str:
    parts = ", ".join(f"{part} {step.parts_ms[part]:.0f}" for part in PARTS)
    name = f"{step.model} {step.size} px {step.precision}"
    return f"{name}: {step.step_ms:.0f} ms ({parts}), {step.peak_gib:.1f} GiB"


def write(steps: list[Step], images: list[Images], folder: Path, threads: int) -> None:
    about = {
        "date": date.today().isoformat(),
        "processor": processor(),
        "threads": threads,
        "python": platform.python_version(),
        "packages": {name: package_version(name) for name in ("torch", "numba", "numpy")},
    }
    demands = judged(steps, images)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name("training", str(about["date"]))
    record = {
        **about,
        "steps": [asdict(step) for step in steps],
        "augmentation": [asdict(image) for image in images],
        "demands": demands,
    }
    path.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    path.with_suffix(".md").write_text(_markdown(about, steps, images, demands))
    print(f"written: {path}.json and .md")
    for text, measured, met in demands:
        print(f"{'met   ' if met else 'NOT MET'} {text}: {measured}")


def _markdown(
    about: dict[str, object],
    steps: list[Step],
    images: list[Images],
    demands: list[tuple[str, str, bool]],
) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in about["packages"].items())  # type: ignore[attr-defined]
    lines = [
        f"# Training, {about['processor']}, {about['threads']} threads, {about['date']}",
        "",
        f"Python {about['python']}; {packages}.",
        "Steps of two identities, 16 pictures of each, `ssim + mae`, Adam: medians, in milliseconds. "
        "faceswap's figures: two shared cores of this kind, Keras 3.14 on torch 2.14, float32.",
        "",
        "## Requirements",
        "",
        "| demand | measured | met |",
        "|---|---|---|",
        *(f"| {text} | {measured} | {'yes' if met else 'no'} |" for text, measured, met in demands),
        "",
        "## A step",
        "",
        f"| model | parameters | precision | step | {' | '.join(PARTS)} | peak memory | faceswap |",
        f"|---|---|---|---|{'---|' * len(PARTS)}---|---|",
    ]
    for step in steps:
        parts = " | ".join(f"{step.parts_ms[part]:.0f}" for part in PARTS)
        theirs = f"{FACESWAP_MS[step.model]:,}" if step.model in FACESWAP_MS else ""
        name = f"`{step.model}` {step.size} px | {step.parameters:,} | {step.precision}"
        lines.append(f"| {name} | {step.step_ms:,.0f} | {parts} | {step.peak_gib:.1f} GiB | {theirs} |")
    lines += [
        "",
        "## Augmentation alone, images per second and core",
        "",
        "| side | what | here | faceswap |",
        "|---|---|---|---|",
    ]
    for image in images:
        theirs = f"{FACESWAP_IMAGES[image.size][image.part]:,}"
        lines.append(f"| {image.size} px | {image.part} | {image.per_second:,.0f} | {theirs} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
