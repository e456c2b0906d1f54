"""Comparisons made up for the tests, and real ones."""

from pathlib import Path

import numpy as np

REAL = Path(__file__).parent / "scores"
MARGINS = {"psnr": 0.1, "mae": 0.001, "ssim": 0.005, "lpips": 0.005}


def real(name):
    """Scores, losses, and keyword arguments for `decide`."""
    with np.load(REAL / f"{name}.npz") as file:
        keys = [str(key) for key in file["keys"]]
        scores = dict(zip(keys, file["scores"].astype(float), strict=True))
        losses = [str(loss) for loss in file["losses"]]
        better = dict(zip(keys, file["higher_is_better"].tolist(), strict=True))
        blocks = file["state"]
    margins = {key: MARGINS[key.split("/")[1]] for key in keys}
    return scores, losses, {"higher_is_better": better, "blocks": blocks, "margins": margins}


def luck(losses=3, seeds=5, frames=40, *, trial=0.3, seed=0):
    """(losses, seeds, frames) in which no loss is better: the luck of trials, of seeds, of frames and of each
    value."""
    source = np.random.default_rng(seed)
    return (
        source.normal(0, 1, (1, seeds, 1))
        + source.normal(0, 1, (1, 1, frames))
        + source.normal(0, trial, (losses, seeds, 1))
        + source.normal(0, 0.3, (losses, seeds, frames))
    )


def shifted(values, *by):
    """The same with something added to each loss."""
    return values + np.array(by)[:, None, None]
