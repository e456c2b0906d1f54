"""Start from the weights of a trained trial."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from lossarium.errors import LossariumError
from lossarium.swapping.trained import load_trained
from lossarium.text.wording import listed, printable_name


def copy_trained_weights(
    model: nn.Module, folder: Path, *, identities: Sequence[str], own_model: str | None = None
) -> None:
    """Copy the newest undamaged weights of a trial into a model.

    Args:
        model: Of the trial's architecture and size.
        folder: The trial's.
        identities: The identities of the model's decoders, in order.
        own_model: As for `load_trained`.

    Raises:
        LossariumError: the trial cannot be read, was trained on other identities, or has another model.
    """
    trained = load_trained(folder, own_model=own_model)
    shown = printable_name(folder)
    if trained.identities != tuple(identities):
        raise LossariumError(
            f"the trial {shown} was trained on {listed(trained.identities)}, not on {listed(identities)}; "
            "give its folders of faces, in their order"
        )
    weights = trained.model.state_dict()
    shapes = {name: weight.shape for name, weight in weights.items()}
    if shapes != {name: weight.shape for name, weight in model.state_dict().items()}:
        raise LossariumError(
            f"the trial {shown} has another model, for pictures of {trained.size} pixels; give the --model, "
            "--model-option and --size that it was trained with"
        )
    model.load_state_dict(weights)
