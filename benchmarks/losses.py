"""Losses against their peers: forward and backward, side by side in one run.

    python -m benchmarks.losses [--only ssim,gmsd] [--rounds 11] [--threads 2] [--folder benchmarks/results]

Each round runs every implementation once, in turn, so that slow moments of the machine affect all of them.
Each round begins with a different implementation, since the one before decides what the caches hold. The
result is the median over rounds, with the floor (reading two pictures and writing one, the least that value
and gradient can cost) and the peak extra memory in pictures. Writes a JSON and a Markdown file named after
the processor and the day.
"""

import argparse
import json
import platform
import statistics
import time
import warnings
from collections import deque
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.demands import Demand, judged
from benchmarks.implementations import OURS, Benchmark, benchmarks, missing_peers
from benchmarks.machine import file_name, package_version, processor
from benchmarks.memory import peak_extra_bytes
from lossarium.training.malloc import keep_freed_memory

SHAPES = ((16, 3, 128, 128), (4, 3, 256, 256), (1, 3, 1080, 1920))
# Short runs are repeated more often than `--rounds`, since their medians are the noisiest.
_MOST_ROUNDS, _ENOUGH_SECONDS = 101, 2.0
_PACKAGES = (
    "torch", "numba", "numpy", "piq", "piqa", "pytorch-msssim", "kornia", "torchmetrics",
    "focal-frequency-loss", "lpips", "flip-evaluator", "blazediff-ssim", "fast-ssim",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    benchmark: str
    shape: tuple[int, ...]
    implementation: str
    gradient: bool
    median_ms: float
    fastest_ms: float
    rounds: int
    floor_ms: float
    extra_pictures: float | None
    """Peak extra memory, as a multiple of one picture's size."""


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    warnings.filterwarnings("ignore")
    wanted = set(options.only.split(",")) if options.only else None
    results = []
    for benchmark in benchmarks():
        if wanted is None or benchmark.name in wanted:
            for shape in SHAPES:
                results += run_benchmark(benchmark, shape, options.rounds)
    write(results, options.folder, options.threads)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="", help="benchmarks by name, separated by commas")
    parser.add_argument("--rounds", type=int, default=11, help="at least this many; more for short runs")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/results"))
    return parser.parse_args()


def pictures(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """A smooth target with texture, and a noisy prediction of it, both in [0, 1]."""
    source = torch.Generator().manual_seed(0)
    n, channels, height, width = shape
    coarse = torch.rand(n, channels, height // 8, width // 8, generator=source)
    target = F.interpolate(coarse, size=(height, width), mode="bicubic")
    target = (target + 0.05 * torch.randn(shape, generator=source)).clamp(0, 1)
    return (target + 0.1 * torch.randn(shape, generator=source)).clamp(0, 1), target


def run_benchmark(benchmark: Benchmark, shape: tuple[int, ...], rounds: int) -> list[Result]:
    input, target = pictures(shape)
    if input.numel() > benchmark.largest:
        return []
    runs = {}
    for implementation in benchmark.implementations:
        try:
            run = implementation.prepare(input, target)
            run()
        except Exception as error:
            if implementation.name.startswith(OURS):
                raise
            print(
                f"{benchmark.name} {shape}: {implementation.name} fails: {error}".splitlines()[0], flush=True
            )
            continue
        runs[implementation] = run
    output = torch.empty_like(input)
    floor: list[float] = []
    times: dict[str, list[float]] = {implementation.name: [] for implementation in runs}
    order = deque(runs.items())
    rounds = max(rounds, min(_MOST_ROUNDS, int(_ENOUGH_SECONDS / sum(map(_seconds, runs.values())))))
    for _ in range(rounds):
        floor.append(_seconds(lambda: torch.add(input, target, out=output)))
        for implementation, run in order:
            times[implementation.name].append(_seconds(run))
        order.rotate(1)
    results = []
    for implementation, run in runs.items():
        taken = times[implementation.name]
        extra = peak_extra_bytes(run)
        results.append(
            Result(
                benchmark.name,
                shape,
                implementation.name,
                implementation.gradient,
                1000 * statistics.median(taken),
                1000 * min(taken),
                rounds,
                1000 * statistics.median(floor),
                None if extra is None else extra / (4 * input.numel()),
            )
        )
        print(_line(results[-1]), flush=True)
    return results


def _seconds(run: object) -> float:
    start = time.perf_counter()
    run()  # type: ignore[operator]
    return time.perf_counter() - start


def _line(result: Result) -> str:
    shape = "x".join(map(str, result.shape))
    return f"{result.benchmark:20} {shape:14} {result.implementation:36} {result.median_ms:9.2f} ms"


def write(results: list[Result], folder: Path, threads: int) -> None:
    hardware = processor()
    about = {
        "date": date.today().isoformat(),
        "processor": hardware,
        "threads": threads,
        "python": platform.python_version(),
        "packages": {name: package_version(name) for name in _PACKAGES},
        "missing peers": missing_peers(),
    }
    demands = judged({(r.benchmark, r.shape, r.implementation): r for r in results})
    folder.mkdir(parents=True, exist_ok=True)
    name = file_name("losses", str(about["date"]))
    record = {**about, "results": [asdict(r) for r in results], "demands": [asdict(d) for d in demands]}
    (folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    (folder / f"{name}.md").write_text(_markdown(about, results, demands))
    print(f"written: {folder / name}.json and .md")
    for demand in demands:
        print(f"{'met   ' if demand.met else 'NOT MET'} {demand.text}: {demand.measured}")


def _markdown(about: dict[str, object], results: list[Result], demands: list[Demand]) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in about["packages"].items() if number)  # type: ignore[attr-defined]
    lines = [
        f"# Losses, {about['processor']}, {about['threads']} threads, {about['date']}",
        "",
        f"Python {about['python']}; {packages}.",
        "Milliseconds of forward and backward unless stated otherwise, medians of interleaved runs. Floor: "
        "reading two pictures and writing one. Memory: peak extra memory, as a multiple of one picture.",
        "",
        "## Requirements",
        "",
        "| demand | measured | met |",
        "|---|---|---|",
        *(f"| {d.text} | {d.measured} | {'yes' if d.met else 'no'} |" for d in demands),
    ]
    for shape in SHAPES:
        lines += [
            "",
            f"## {'x'.join(map(str, shape))}",
            "",
            "| loss | library | median | fastest | floor | memory |",
            "|---|---|---|---|---|---|",
        ]
        for r in results:
            if r.shape == shape:
                memory = "" if r.extra_pictures is None else f"{r.extra_pictures:.1f}"
                who = f"**{r.implementation}**" if r.implementation.startswith(OURS) else r.implementation
                figures = " | ".join(f"{ms:.2f}" for ms in (r.median_ms, r.fastest_ms, r.floor_ms))
                lines.append(f"| {r.benchmark} | {who} | {figures} | {memory} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
