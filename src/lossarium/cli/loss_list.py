"""The option `--losses`."""

import argparse

from lossarium.errors import LossariumError

_LOSSES = "mse,mae,smooth_l1,ssim,ssim + mae"


def add_losses(parser: argparse.ArgumentParser) -> None:
    """Register `--losses`."""
    parser.add_argument(
        "--losses", default=_LOSSES, help="the losses, separated by commas (default: %(default)s)"
    )


def losses_of(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The canonical specs of `--losses`.

    Raises:
        LossariumError: a spec cannot be read, or is given twice.
    """
    from lossarium.losses.spec import parse, split

    losses = tuple(str(parse(spec)) for spec in split(arguments.losses))
    twice = next((spec for place, spec in enumerate(losses) if spec in losses[:place]), None)
    if twice is not None:
        raise LossariumError(f'the loss "{twice}" is given twice in --losses; give it once')
    return losses
