"""A comparison made up for the tests: plausible numbers, pictures from small synthetic arrays."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lossarium.comparison.results import ComparisonResult, Snapshot, TrialResult
from lossarium.evidence import Verdict, decide
from lossarium.evidence.results import Score, Scores
from lossarium.judging.home import Home
from lossarium.trial.pictures import Pictures, PreviewRow

LOSSES = (
    "mse",
    "mae",
    "ssim",
    "0.84*ms_ssim + 0.16*mae",
    "0.84*ms_ssim + 0.16*mae + 0.1*lpips(net=alex)",
)
HELD_OUT = 24

JUDGES = {
    "psnr": ("PSNR", "dB", True, 2, (24.0, 8.0), "Peak signal-to-noise ratio over all pixels."),
    "ssim": ("SSIM", "", True, 3, (0.86, 0.5), "Structural similarity of the two pictures."),
    "lpips": ("LPIPS", "", False, 3, (0.12, -0.5), "Distance between the features of an AlexNet."),
    "identity": ("Identity", "", True, 3, (0.82, 0.6), "Cosine between face descriptors."),
}
"""Judge -> title, unit, higher is better, digits, (value at the end, how far below it training starts)."""


QUALITY = (0.45, 0.44, 0.1, -0.35, -0.5)
"""How good the last loss is, the one before it and so on: the last two can hardly be told apart."""
AHEAD = 0.5
"""What the last loss gets on top when the comparison is to be decided."""


def synthetic_face(size: int, identity: int, state: int) -> Pictures:
    """A face of a few ellipses, (size, size, 3), different in each state."""
    rows, columns = np.mgrid[0:size, 0:size] / size - 0.5
    turn = 0.12 * np.sin(2.4 * state)
    skin = np.array([(0.55, 0.36, 0.27), (0.93, 0.74, 0.65)][identity % 2])
    hair = np.array([(0.12, 0.1, 0.1), (0.55, 0.27, 0.12)][identity % 2])
    picture = np.empty((size, size, 3))
    picture[:] = np.array([0.55, 0.6, 0.7]) + 0.15 * rows[..., None]

    def ellipse(row: float, column: float, height: float, width: float) -> np.ndarray:
        return np.asarray(((rows - row) / height) ** 2 + ((columns - column) / width) ** 2 < 1)

    picture[ellipse(-0.08, turn, 0.42, 0.36)] = hair
    picture[ellipse(0.02, turn, 0.38, 0.3)] = skin
    for side in (-0.12, 0.12):
        picture[ellipse(-0.06, 1.3 * turn + side, 0.03, 0.06)] = 0.95
        picture[ellipse(-0.06, 1.5 * turn + side, 0.03, 0.025)] = 0.1
    picture[ellipse(0.2, 1.2 * turn, 0.02 + 0.05 * (state % 3), 0.11)] = (0.5, 0.15, 0.18)
    return (255 * picture.clip(0, 1)).astype(np.uint8)


def blurred(pictures: Pictures, radius: int) -> Pictures:
    """Box-blurred (N, size, size, 3), as an early autoencoder would draw them."""
    values = pictures.astype(np.float64)
    for axis in (1, 2):
        values = np.mean([np.roll(values, shift, axis=axis) for shift in range(-radius, radius + 1)], axis=0)
    return values.round().astype(np.uint8)


def preview_rows(count: int, size: int, exact_swaps: bool, names: tuple[str, str]) -> tuple[PreviewRow, ...]:
    """Rows from either identity in turn."""
    return tuple(
        PreviewRow(
            source=names[index % 2],
            target=names[1 - index % 2],
            frame_name=f"{17 * index + 3:04d}",
            frame=synthetic_face(size, index % 2, index),
            exact_swap=synthetic_face(size, 1 - index % 2, index) if exact_swaps else None,
        )
        for index in range(count)
    )


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def example_scores(tasks: Sequence[str]) -> tuple[Score, ...]:
    return tuple(
        Score(f"{task}/{judge}", task, judge, title, unit, higher, digits, description, 0.002 * abs(end))
        for task in tasks
        for judge, (title, unit, higher, digits, (end, _), description) in JUDGES.items()
    )


def example_result(
    *,
    losses: tuple[str, ...] = LOSSES,
    seeds: int = 3,
    moments: int = 4,
    size: int = 32,
    rows: int = 4,
    exact_swaps: bool = True,
    identities: tuple[str, str] = ("ada", "ben"),
    decided: bool = False,
    preview: tuple[PreviewRow, ...] | None = None,
) -> ComparisonResult:
    """A whole comparison, the same at every call with the same options."""
    random = np.random.default_rng(7)
    tasks = ("reconstruction", "swap") if exact_swaps else ("reconstruction",)
    scores = example_scores(tasks)
    shown = preview if preview is not None else preview_rows(rows, size, exact_swaps, identities)
    frames = np.stack([row.frame for row in shown])
    swaps = np.stack([row.frame if row.exact_swap is None else row.exact_swap for row in shown])
    difficulty = random.normal(0, 1, HELD_OUT)
    qualities = [QUALITY[index % len(QUALITY)] for index in reversed(range(len(losses)))]
    qualities[-1] += AHEAD if decided else 0.0
    trials = tuple(
        _trial(index, loss, seed, moments, scores, difficulty, frames, swaps, quality)
        for seed in range(1, seeds + 1)
        for index, (loss, quality) in enumerate(zip(losses, qualities, strict=True))
    )
    return ComparisonResult(
        identities=identities,
        losses=losses,
        scores=scores,
        trials=trials,
        verdict=_verdict(losses, scores, trials),
        troubles=(),
        preview_rows=shown,
        settings={
            "Faces": "synthetic pair, rendered from CC0 data",
            "Steps": "500",
            "Seeds": str(seeds),
            "Picture size": f"{frames.shape[1]} x {frames.shape[1]}",
            "Model": "shared encoder, 2 decoders, ae_dims 128",
            "Batch": "16 from each identity",
            "Learning rate": "0.0005, Adam",
            "Precision": "float32",
            "Frames": f"276 for training, {HELD_OUT} held out",
        },
        environment={
            "Lossarium": "0.1.0",
            "Python": "3.11.2",
            "PyTorch": "2.13.0+cpu",
            "Processor": "x86-64, 2 cores",
        },
        homes={
            loss: {
                score.judge: Home(score.judge in loss, 0.98 if score.judge in loss else 0.1)
                for score in scores
            }
            for loss in losses
        },
        notes=("2 animations: their first frame is used.",),
    )


def _trial(
    index: int,
    loss: str,
    seed: int,
    moments: int,
    scores: tuple[Score, ...],
    difficulty: Scores,
    frames: Pictures,
    swaps: Pictures,
    quality: float,
) -> TrialResult:
    random = np.random.default_rng([index, seed])
    snapshots = []
    for moment in range(1, moments + 1):
        step = 500 * moment // moments
        remaining = float(np.exp(-4 * moment / moments))
        radius = 1 + round(8 * remaining) + index % 2
        noise = random.integers(-6, 7, frames.shape)
        values = {}
        for score in scores:
            end, fall = JUDGES[score.judge][4]
            size = abs(end) * 0.05
            better = size * (quality + 0.03 * random.normal())
            turned = better if score.higher_is_better else -better
            values[score.key] = (
                end
                - fall * remaining
                + turned
                + size * (0.5 * difficulty + 0.2 * random.normal(0, 1, HELD_OUT))
            )
        snapshots.append(
            Snapshot(
                step=step,
                seconds=round(step * (0.045 + 0.006 * index), 2),
                scores=values,
                reconstructions=(blurred(frames, radius) + noise).clip(0, 255).astype(np.uint8),
                swaps=(blurred(swaps, radius + 1) + noise).clip(0, 255).astype(np.uint8),
            )
        )
    last = snapshots[-1]
    name = f"{index:02d}-seed-{seed}"
    initial, batches = sha(f"initial {seed}"), sha(f"batches {seed}")
    final = sha(f"{loss} {seed}")
    return TrialResult(name, loss, seed, initial, final, batches, last.step, last.seconds, tuple(snapshots))


def _verdict(losses: tuple[str, ...], scores: tuple[Score, ...], trials: tuple[TrialResult, ...]) -> Verdict:
    verdict = decide(
        {
            score.key: np.array(
                [[t.snapshots[-1].scores[score.key] for t in trials if t.loss == loss] for loss in losses]
            )
            for score in scores
        },
        losses,
        higher_is_better={score.key: score.higher_is_better for score in scores},
        home={score.key: tuple(loss for loss in losses if score.judge in loss) for score in scores},
        margins={score.key: score.margin for score in scores},
    )
    return replace(verdict, caveats=("The verdict holds for this pair, this model and this budget.",))


def uneven(result: ComparisonResult) -> ComparisonResult:
    """The same comparison, but its last trial started from other weights."""
    spoilt = replace(result.trials[-1], initial_weights=sha("other weights"))
    return replace(result, trials=(*result.trials[:-1], spoilt))
