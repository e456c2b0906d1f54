"""`lossarium set TRIAL learning_rate=1e-5`: change the settings of a running trial."""

import argparse
from pathlib import Path

from lossarium.cli.assignment import assigned
from lossarium.errors import LossariumError

_EXAMPLES = """\
examples:
  lossarium set ada-ben learning_rate=1e-5
  lossarium set ada-ben 'loss=ssim + 0.1*lpips'
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "set",
        help="change learning rate or loss of a trial while it runs",
        description="Write to control.toml in a trial's folder; the trial reads it before its next step.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("trial", metavar="TRIAL", type=Path, help="the folder of `lossarium train`")
    parser.add_argument("settings", metavar="NAME=VALUE", nargs="+", help="learning_rate=..., loss=...")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check the settings and write them."""
    from lossarium.training.control import NAME, write_control

    if not (arguments.trial / "trial.toml").is_file():
        raise LossariumError(f"{arguments.trial} is not a trial's folder; give one of `lossarium train`")
    changes = dict(assigned(text, "settings are") for text in arguments.settings)
    write_control(arguments.trial, changes)
    said = ", ".join(f"{name} = {value}" for name, value in changes.items())
    print(f"Written to {arguments.trial / NAME}: {said}")
    return 0
