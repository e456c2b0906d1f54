"""How often the verdict claims what is not so, and how often it finds what is: `make calibrate`.

Comparisons are simulated in which no loss is better than another, under many kinds of luck; anything claimed
is false. Then one loss is made better by a multiple of the luck of a trial, and what is found is counted. The
tables go into docs/calibration.md.

    python -m benchmarks.calibrate [REPETITIONS]
"""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lossarium.evidence import decide

PAGE = Path(__file__).parents[1] / "docs" / "calibration.md"
REPETITIONS = 400
FRAMES_A_BLOCK = 5
# Scores as real ones go together: two that say nearly the same, two that say something else.
TOGETHER = np.linalg.cholesky(
    np.array([[1, 0.97, 0.5, 0.3], [0.97, 1, 0.5, 0.3], [0.5, 0.5, 1, 0.7], [0.3, 0.3, 0.7, 1]])
)


@dataclass(frozen=True)
class World:
    """A kind of luck."""

    name: str
    losses: int = 5
    seeds: int = 5
    seed_luck: float = 0.3
    """Standard deviation of a trial's luck; that of a frame is 1."""
    spread: tuple[float, ...] = ()
    """Each loss's luck relative to the others'."""
    taste: float = 0.0
    """Standard deviation of what a loss makes of a block of frames, with every seed."""
    correlation: float = 0.0
    """Of neighbouring frames (an autoregressive process of order 1)."""
    tails: float = np.inf
    """Degrees of freedom of Student's t, which all luck follows; infinity is the normal distribution."""
    missing: int = 0
    """Trials that are missing."""
    blocks: int = 20
    better: float = 0.0
    """How much better the first loss is, in standard deviations of a trial's luck."""


def worlds() -> Iterator[World]:
    """Everything that is simulated with no loss better than another."""
    for losses in (2, 3, 5, 10):
        for seeds in (3, 5, 10):
            yield World("equal luck", losses, seeds)
    yield World("equal luck", losses=20, seeds=5)
    for luck in (0.0, 0.1, 1.0):
        yield World(f"a trial's luck {luck} of a frame's", seed_luck=luck)
    for correlation in (0.5, 0.9, 0.98):
        yield World(f"video, neighbouring frames correlated {correlation}", correlation=correlation)
    for blocks in (3, 8, 20):
        yield World(f"losses suit frames differently, {blocks} blocks", taste=0.5, blocks=blocks)
    for seeds in (3, 5, 8):
        yield World("unequal luck, as seen in swaps", 5, seeds, spread=(1.35, 1.35, 1.5, 0.25, 0.6))
        yield World(
            "one of 10 losses explodes now and then (5 times the luck)", 10, seeds, spread=(1,) * 9 + (5,)
        )
        yield World("8 of 10 losses hardly differ between seeds", 10, seeds, spread=(0.2,) * 8 + (1, 1))
    for seeds in (3, 5, 10):
        yield World("heavy tails (Student's t, 3 degrees of freedom)", 5, seeds, tails=3.0)
    for missing in (1, 5):
        yield World(f"{missing} of 25 trials missing", missing=missing)


def simulate(world: World, source: np.random.Generator) -> dict[str, npt.NDArray[np.float64]]:
    """One comparison's scores."""
    scores, losses, seeds = len(TOGETHER), world.losses, world.seeds

    def draw(*shape: int) -> npt.NDArray[np.float64]:
        normal = source.standard_normal((scores, *shape))
        if np.isfinite(world.tails):
            normal /= np.sqrt(source.chisquare(world.tails, (1, *shape)) / world.tails)
        return np.einsum("kj,j...->k...", TOGETHER, normal)

    frames = world.blocks * FRAMES_A_BLOCK
    luck = draw(losses, seeds) * world.seed_luck
    if world.spread:
        luck *= np.array(world.spread)[:, None]
    noise = draw(losses, seeds, frames)
    if world.correlation:
        for frame in range(1, frames):
            noise[..., frame] *= np.sqrt(1 - world.correlation**2)
            noise[..., frame] += world.correlation * noise[..., frame - 1]
    common = draw(1, seeds, 1) + draw(1, 1, frames)
    taste = np.repeat(draw(losses, 1, world.blocks), FRAMES_A_BLOCK, axis=-1) * world.taste
    values = common + taste + luck[..., None] + noise
    values[:, 0] += world.better * world.seed_luck
    for trial in source.permutation(losses * seeds)[: world.missing]:
        values[:, trial // seeds, trial % seeds] = np.nan
    return {f"score {number}": one for number, one in enumerate(values)}


def claims(world: World, repetition: int) -> tuple[bool, bool]:
    """Whether anything false is claimed, and whether the better loss is found to be the winner."""
    source = np.random.default_rng((repetition, *world.name.encode(), world.losses, world.seeds))
    scores = simulate(world, source)
    losses = [f"loss {number}" for number in range(world.losses)]
    blocks = np.repeat(np.arange(world.blocks), FRAMES_A_BLOCK)
    verdict = decide(scores, losses, higher_is_better=dict.fromkeys(scores, True), blocks=blocks)
    findings = {
        (pair.first, one.finding)
        for pair in verdict.pairs
        for one in pair.differences
        if one.finding in ("first", "second")
    }
    false = findings - {(losses[0], "first")} if world.better else findings
    return bool(false), verdict.winner == losses[0]


def table(repetitions: int) -> str:
    """The page."""
    with ProcessPoolExecutor(initializer=_one_thread) as pool:
        nulls = [
            (world, np.array(list(pool.map(claims, [world] * repetitions, range(repetitions), chunksize=10))))
            for world in worlds()
        ]
        powers = [
            (world, np.array(list(pool.map(claims, [world] * repetitions, range(repetitions), chunksize=10))))
            for seeds in (3, 5, 8)
            for better in (1.0, 2.0, 3.0, 5.0)
            for world in [replace(World("better"), seeds=seeds, better=better)]
        ]
    lines = [
        "# How often the verdict is wrong, and how often it finds what is there",
        "",
        f"Made by `make calibrate`: {repetitions} simulated comparisons a row, 4 scores each. No loss is",
        "better than another in the first table, so that anything claimed of any pair in any score is false;",
        "5% is promised. Half the width of a 95% interval is given beside each figure.",
        "",
        "| luck | losses | seeds | any false claim |",
        "|---|---:|---:|---:|",
    ]
    for world, found in nulls:
        lines.append(f"| {world.name} | {world.losses} | {world.seeds} | {_share(found[:, 0])} |")
    lines += [
        "",
        "Here the first of 5 losses is better than the others, which are alike, by a multiple of the",
        "standard deviation of a trial's luck.",
        "",
        "| better by | seeds | it wins | any false claim |",
        "|---:|---:|---:|---:|",
    ]
    for world, found in powers:
        lines.append(f"| {world.better:g} | {world.seeds} | {_share(found[:, 1])} | {_share(found[:, 0])} |")
    return "\n".join(lines) + "\n"


def _share(found: npt.NDArray[np.bool_]) -> str:
    share = float(found.mean())
    return f"{share:.1%} ± {1.96 * np.sqrt(max(share * (1 - share), 0.01) / len(found)):.1%}"


def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"


if __name__ == "__main__":
    PAGE.write_text(table(int(sys.argv[1]) if len(sys.argv) > 1 else REPETITIONS))
