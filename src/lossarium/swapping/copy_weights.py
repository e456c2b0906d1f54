"""Start from the weights of a trained trial."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from lossarium.errors import LossariumError
from lossarium.models.registry import Option, all_options
from lossarium.swapping.trained import TrainedModel, load_trained
from lossarium.text.wording import listed, printable_name


def copy_trained_weights(
    model: nn.Module, folder: Path, *, identities: Sequence[str] | None = None, own_model: str | None = None
) -> tuple[str, ...]:
    """Load the newest undamaged weights of a trial into a model; returns the identities of the trial.

    Args:
        model: Of the trial's architecture and size.
        folder: The trial's.
        identities: The identities that the trial must have, in the order of its decoders; None for any.
        own_model: As for `load_trained`.

    Raises:
        LossariumError: the trial cannot be read, was trained on other identities, or has another model.
    """
    trained = load_trained(folder, own_model=own_model, option="--model")
    shown = printable_name(folder)
    if identities is not None and trained.identities != tuple(identities):
        raise LossariumError(
            f"the trial {shown} was trained on {listed(trained.identities)}, not on {listed(identities)}; "
            "give its folders of faces, in their order"
        )
    weights = trained.model.state_dict()
    shapes = {name: weight.shape for name, weight in weights.items()}
    if shapes != {name: weight.shape for name, weight in model.state_dict().items()}:
        raise LossariumError(
            f"the trial {shown} has another model; give the options that it was trained with: "
            f"{_options(trained)}"
        )
    model.load_state_dict(weights)
    return trained.identities


def _options(trained: TrainedModel) -> str:
    """The options of the command line for a trial's model, without those that have their defaults."""
    given = [f"--model {trained.model_name}", f"--size {trained.size}"]
    defaults = all_options(trained.model_name, {})
    given += [
        f"--model-option {name}={_as_toml(value)}"
        for name, value in trained.model_options.items()
        if defaults.get(name) != value
    ]
    return printable_name(" ".join(given))


def _as_toml(value: Option) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
