"""One trial for its own sake: what `lossarium train` runs, with every comparison's loop and judges."""

from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from lossarium.comparison import archive
from lossarium.comparison.environment import environment
from lossarium.comparison.previews import Previews
from lossarium.facesets.faceset import Faceset, data_digest
from lossarium.files import write_whole
from lossarium.judging.held_out import RECONSTRUCTION, Direction, directions, score, score_key
from lossarium.judging.judges import Judge, judge
from lossarium.models.registry import initial_model, weights_digest
from lossarium.training import control, records
from lossarium.training.configuration import Trial
from lossarium.training.loop import HeldOutScores, Keeping, Watcher, train


def run_trial(
    trial: Trial,
    facesets: tuple[Faceset, Faceset],
    folder: Path,
    watcher: Watcher,
    *,
    best_by: str = "",
    keep_every: int = 0,
) -> None:
    """Train a trial to its end, judged and photographed at every snapshot, steered by `control.toml`.

    Args:
        trial: What to train.
        facesets: The two identities.
        folder: The trial's; made if need be.
        watcher: Who looks on; `keep_pictures` is seen to here.
        best_by: A judge's name; the checkpoint whose reconstructions it likes best is kept. "" for none.
        keep_every: Every so many steps a checkpoint is kept for all time; 0 for none.

    Raises:
        LossariumError: the folder belongs to another trial or process, or the loss exploded time and again.
        Stopped: it was asked to stop.
    """
    folder.mkdir(parents=True, exist_ok=True)
    archive.agree(folder / archive.TRIAL, trial_table(trial, data_table(facesets)))
    if not (folder / control.NAME).exists():
        write_whole(folder / control.NAME, control.TEMPLATE.encode())
    if not records.is_finished(folder):
        keeping = Keeping(partial(_goodness, judge(best_by)) if best_by else None, keep_every)
        train_judged(trial, facesets, directions(*facesets), folder, watcher, keeping, by_hand=True)


def train_judged(
    trial: Trial,
    facesets: tuple[Faceset, Faceset],
    pair: tuple[Direction, ...],
    folder: Path,
    watcher: Watcher,
    keeping: Keeping | None = None,
    *,
    by_hand: bool = False,
) -> None:
    """Train in a folder that is there, with scores and pictures of held-out frames at every snapshot."""
    previews = Previews(pair, folder)

    def look(model: nn.Module, step: int) -> HeldOutScores:
        previews.take(model, step)
        return score(model, pair)

    looking_on = Watcher(watcher.progress, watcher.tell, previews.write)
    train(trial, facesets, folder, look, looking_on, keeping=keeping, by_hand=by_hand)


def _goodness(judge: Judge, scores: HeldOutScores) -> float:
    """The judge's mean over the held-out frames' reconstructions, the more the better."""
    values = scores[score_key(RECONSTRUCTION, judge)]
    return (1 if judge.higher_is_better else -1) * sum(values) / len(values)


def trial_table(trial: Trial, data: dict[str, str]) -> dict[str, Any]:
    """For `trial.toml`: the configuration, and hashes of the initial weights and the data."""
    recipe = trial.recipe
    model = initial_model(recipe.model, size=recipe.size, identities=2, seed=trial.seed)
    return {
        **trial.as_table(),
        "initial_weights": weights_digest(model),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "data": data,
        "environment": environment(),
    }


def data_table(facesets: tuple[Faceset, Faceset]) -> dict[str, str]:
    """Names and hashes of two facesets."""
    table = {}
    for label, faceset in zip(("first", "second"), facesets, strict=True):
        table[label] = faceset.identity
        table[f"pictures_of_{label}"] = data_digest(faceset)
    return table
