"""The winner of a finished comparison: its loss, and a trial of it to go on from."""

import json
from dataclasses import dataclass
from pathlib import Path

from lossarium.errors import LossariumError
from lossarium.text.wording import listed, printable_name
from lossarium.trial.folder import SETTINGS, trial_name

VERDICT = "verdict.json"
_LARGEST_VERDICT = 1 << 28


@dataclass(frozen=True)
class Winner:
    """The loss that won, and its trial to train on from."""

    loss: str
    """The spec."""
    trial: Path
    """The folder of the loss's first seed."""


def is_comparison(folder: Path) -> bool:
    return (folder / SETTINGS).is_file()


def winner_of(folder: Path) -> Winner:
    """Read the verdict of a comparison.

    Raises:
        LossariumError: it is not finished, its verdict is damaged, or no loss won; the message then names the
            contenders and their trials.
    """
    shown = printable_name(folder)
    path = folder / VERDICT
    if not path.is_file():
        raise LossariumError(f"the comparison {shown} has no verdict yet; finish it with lossarium compare")
    try:
        if path.stat().st_size > _LARGEST_VERDICT:
            raise ValueError("it is too large")
        table = json.loads(path.read_bytes())
        winner, contenders = table["winner"], [str(loss) for loss in table["contenders"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise LossariumError(
            f"{printable_name(path)} is damaged; run lossarium compare again to rewrite it"
        ) from None
    if not isinstance(winner, str):
        trials = [printable_name(_first_trial(folder, loss)) for loss in contenders]
        raise LossariumError(
            f"the comparison {shown} is undecided between {listed(contenders)}; choose one of their trials "
            f"with --from: {listed(trials)}"
        )
    return Winner(winner, _first_trial(folder, winner))


def _first_trial(folder: Path, loss: str) -> Path:
    return folder / "trials" / trial_name(loss, 0)
