"""`--margin JUDGE=VALUE`: what is too small to matter."""

import argparse
import math
from collections.abc import Sequence

from lossarium.cli.assignment import assigned
from lossarium.errors import LossariumError


def add_margins(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    parser.add_argument(
        "--margin",
        dest="margins",
        action="append",
        default=[],
        metavar="JUDGE=VALUE",
        help="a difference of this judge that is too small to matter, such as psnr=0.2; may be repeated",
    )


def margins_of(texts: Sequence[str], judges: Sequence[str]) -> dict[str, float]:
    """Judge -> margin.

    Raises:
        LossariumError: a margin is not JUDGE=VALUE, its judge does not score, or its value is not a number
            from 0 on.
    """
    margins = {}
    for text in texts:
        judge, value = assigned(text, "--margin is")
        if judge not in judges:
            raise LossariumError(f"--margin {judge} is not one of --judges: {', '.join(judges)}")
        try:
            margins[judge] = float(value)
        except (TypeError, ValueError):
            raise LossariumError(f"--margin {judge} must be a number, not {value}") from None
        if not 0 <= margins[judge] < math.inf:
            raise LossariumError(f"--margin {judge} must be 0 or more, not {value}")
    return margins
