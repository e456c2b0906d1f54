"""The options for where a command computes, and its processes."""

import argparse
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from lossarium.cli.recipe import check_range

if TYPE_CHECKING:
    from lossarium.training.processes import Processes


def add_devices(parser: argparse.ArgumentParser) -> None:
    """Register the options of a command that several processes can share."""
    add_accelerator(parser)
    parser.add_argument(
        "--devices",
        type=int,
        default=1,
        help="number of GPUs, or of processes on the CPU, that share every batch (default: %(default)s)",
    )


def add_accelerator(parser: argparse.ArgumentParser) -> None:
    """Register the option of a command that runs in one process."""
    parser.add_argument(
        "--accelerator",
        choices=("auto", "cpu", "cuda", "mps"),
        default="auto",
        help="where to compute (default: a CUDA GPU if there is one, else the CPU)",
    )


@contextmanager
def computing(arguments: argparse.Namespace) -> Iterator["Processes"]:
    """Run the command in as many processes as `--devices` says; all but the first are silent.

    Raises:
        LossariumError: this machine does not have these devices.
    """
    from lossarium.training.processes import launched

    check_range(arguments, "devices", 64)
    with launched(arguments.accelerator, arguments.devices) as processes, ExitStack() as silence:
        if not processes.is_first:
            silence.enter_context(redirect_stdout(silence.enter_context(Path(os.devnull).open("w"))))
        yield processes
