"""`lossarium timelapse TRIAL`: the previews of all snapshots as an animation."""

import argparse
from pathlib import Path

from lossarium.errors import LossariumError

_ENDING = ".webp"

_DESCRIPTION = """\
Make an animated WebP of a trial's previews: a few held-out frames at every snapshot, with the step on each.
`lossarium train` does this at its end; this command does it at any time, also for trials of a comparison.

The file is marked as made by a trained model: an XMP packet holds IPTC's DigitalSourceType
trainedAlgorithmicMedia and a SHA-256 of the trial."""

_EXAMPLES = """\
examples:
  lossarium timelapse ada-ben
  lossarium timelapse lossarium-demo/trials/ssim-seed0 ssim.webp
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "timelapse",
        help="an animation of a trial's pictures",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("trial", metavar="TRIAL", type=Path, help="a trial's folder")
    parser.add_argument(
        "out", metavar="OUT", type=Path, nargs="?", help="a file NAME.webp (default: TRIAL/timelapse.webp)"
    )
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the animation and say where it is."""
    # Late: torch takes a second to import, and --help should not wait for it.
    from lossarium.text.wording import counted, printable_name
    from lossarium.trial.timelapse import NAME, write_timelapse

    out = arguments.out or arguments.trial / NAME
    if out.suffix.lower() != _ENDING:
        raise LossariumError(f"{printable_name(out)} does not end in {_ENDING}; give OUT a name that does")
    if arguments.out is not None and out.exists() and not arguments.force:
        raise LossariumError(f"{printable_name(out)} exists; choose another name, or replace it with --force")
    frames = write_timelapse(arguments.trial, out)
    print(f"{counted(frames, 'frame')} marked as made by a trained model: {printable_name(out)}")
    return 0
