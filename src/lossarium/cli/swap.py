"""`lossarium swap TRIAL IN OUT --from A --to B`: apply a trained model to aligned frames."""

import argparse
import math
import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from lossarium.cli.progress_bar import progress_bar
from lossarium.errors import LossariumError

_ENDINGS = {"png": ".png", "jpeg": ".jpg"}

_DESCRIPTION = """\
Swap the faces in aligned frames of one identity for another's, with the newest checkpoint of a trial. IN is a
picture or a folder (JPEG, PNG, WebP), cropped like the trial's training pictures; OUT is a folder, or a file
for one picture.

Run the same command again to continue after an interruption.

Every picture that is written is marked as made by a trained model: an XMP packet holds IPTC's
DigitalSourceType trainedAlgorithmicMedia and the SHA-256 of the trial."""

_EXAMPLES = """\
examples:
  lossarium swap lossarium-demo/trials/ssim-seed0 faces/ada swapped --from ada --to ben
  lossarium swap TRIAL 0007.png swapped.png --from ada --to ben --full-size --colour-transfer lab
  lossarium swap TRIAL faces/ada swapped --from ada --to ben --mask blend --feather 8
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "swap",
        help="apply a trained model to frames",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("trial", metavar="TRIAL", type=Path, help="a trial's folder, OUT/trials/NAME")
    parser.add_argument("input", metavar="IN", type=Path, help="a picture or a folder of them")
    parser.add_argument("output", metavar="OUT", type=Path, help="a folder, or a file for one picture")
    parser.add_argument("--from", dest="source", metavar="A", required=True, help="the identity in IN")
    parser.add_argument("--to", dest="target", metavar="B", required=True, help="the identity to swap to")
    parser.add_argument(
        "--full-size",
        action="store_true",
        help="paste the face back into the full-size input (default: write the face at the model's size)",
    )
    parser.add_argument(
        "--mask",
        choices=("none", "blend"),
        default="none",
        help="blend: keep the input outside the face. The face is marked by the faceset's masks, by grey "
        "pictures of the same names in a folder masks inside or beside the pictures' folder, or by masks or "
        "landmarks that faceswap or DeepFaceLab stored in the pictures (default: %(default)s)",
    )
    parser.add_argument(
        "--feather",
        type=float,
        default=5.0,
        metavar="PERCENT",
        help="width over which a blended face fades in, in percent of the side (default: %(default)s)",
    )
    parser.add_argument(
        "--colour-transfer",
        choices=("none", "lab"),
        default="none",
        help="lab: give the face the mean and deviation of the input's colours in CIE L*a*b*, inside the "
        "mask if there is one (default: %(default)s)",
    )
    parser.add_argument(
        "--format",
        choices=tuple(_ENDINGS),
        help="format of the pictures (default: by the ending of OUT, else png)",
    )
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    parser.add_argument("--skip-bad", action="store_true", help="skip pictures that cannot be read")
    parser.add_argument(
        "--follow-links",
        action="store_true",
        help="enter linked folders, and read linked pictures wherever they lie, each once",
    )
    parser.add_argument(
        "--own-model",
        metavar="MODULE:FACTORY",
        help="trust and run this code, if it is the model that the trial was trained with",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Swap and say what was written."""
    if not (0 <= arguments.feather <= 50 and math.isfinite(arguments.feather)):
        raise LossariumError(f"--feather must be from 0 to 50 percent, not {arguments.feather}")

    # Late: torch takes a second to import, and --help should not wait for it.
    from lossarium.swapping.apply import SwapOptions, swap_pictures
    from lossarium.swapping.jobs import find_jobs
    from lossarium.swapping.trained import identity_index, load_trained
    from lossarium.swapping.unfinished import Ledger, locked_out, swap_digest
    from lossarium.text.wording import counted, printable_name

    trained = load_trained(arguments.trial, own_model=arguments.own_model)
    identity_index(trained, arguments.source)
    target = identity_index(trained, arguments.target)
    notes: list[str] = []
    finish = SwapOptions(
        blend=arguments.mask == "blend",
        feather=arguments.feather,
        colour_transfer=arguments.colour_transfer,
        full_size=arguments.full_size,
    )
    # A folder is written to by one command at a time; a single picture is written whole or not at all.
    is_folder = arguments.input.is_dir()
    with locked_out(arguments.output) if is_folder else nullcontext():
        ledger = None
        if is_folder:
            ledger = Ledger(arguments.output, swap_digest(trained.digest, target, asdict(finish)))
        jobs = find_jobs(
            arguments.input,
            arguments.output,
            ending=_ENDINGS.get(arguments.format),
            force=arguments.force,
            follow_links=arguments.follow_links,
            tell=notes.append,
            is_finished=lambda job: ledger is not None and ledger.remarks_of(job) is not None,
        )
        try:
            with progress_bar("swapping") as watch:
                swapped = swap_pictures(
                    trained, target, jobs, finish, skip_bad=arguments.skip_bad, watch=watch, ledger=ledger
                )
        except KeyboardInterrupt:
            print(
                "\nThe pictures written so far are complete; the same command continues from there.",
                file=sys.stderr,
            )
            raise
    if swapped.finished_before:
        print(f"note: {counted(swapped.finished_before, 'picture')} had been written before.")
    for note in (*trained.notes, *notes, *swapped.notes):
        print(f"note: {note}")
    where = printable_name(jobs[0].output if len(jobs) == 1 else arguments.output)
    print(f"{counted(swapped.written, 'picture')} marked as made by a trained model: {where}")
    return 0
