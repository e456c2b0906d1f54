"""`lossarium compare A B`: from two folders of faces to a verdict on which loss to train with."""

import argparse
import math
import re
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from lossarium.errors import LossariumError

if TYPE_CHECKING:
    from lossarium.comparison.plan import Plan
    from lossarium.facesets.faceset import Faceset

_LOSSES = "mse,mae,smooth_l1,ssim,ssim + mae"
_DEMO = "demo"

_DESCRIPTION = """\
Train the same autoencoder under every loss from the same initial weights on the same batches, judge the
results on held-out frames, and write a verdict and a report. Run the same command again to go on after an
interruption."""

_EXAMPLES = """\
examples:
  lossarium compare demo --steps 300
  lossarium compare faces/ada faces/ben --losses 'mse, ssim + 0.5*mae, smooth_l1(beta=0.1)' --seeds 3
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "compare",
        help="compare losses on two folders of faces",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "a", metavar="A", help='folder of one identity\'s frames (JPEG, PNG, WebP), or "demo"'
    )
    parser.add_argument("b", metavar="B", nargs="?", help="folder of the other identity's frames")
    parser.add_argument("--losses", default=_LOSSES, help="specs, separated by commas (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=1000, help="steps a trial (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="trials a loss (default: %(default)s)")
    parser.add_argument(
        "--size", type=int, default=64, help="pictures' side in pixels (default: %(default)s)"
    )
    parser.add_argument("--model", default="compact", help="the autoencoder (default: %(default)s)")
    parser.add_argument(
        "--batch-size", type=int, default=8, help="frames of each identity a step (default: 8)"
    )
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="Adam's (default: %(default)s)")
    parser.add_argument(
        "--precision",
        choices=("float32", "bf16"),
        default="float32",
        help="of the model (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, help="the comparison's folder (default: lossarium-A-B)")
    parser.add_argument("--skip-bad", action="store_true", help="leave out pictures that cannot be read")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare, print the verdict, write the report."""
    # Late: torch takes a second to import, and --help should not wait for it.
    from lossarium.cli.progress import comparison_progress, reading_progress, writing_report
    from lossarium.cli.verdict_table import print_verdict
    from lossarium.comparison.protocol import compare
    from lossarium.facesets.folder import load
    from lossarium.report.html import write

    plan = _plan(arguments)
    folders = _folders(arguments)
    with reading_progress() as watch:
        loaded = [
            load(folder, arguments.size, skip_bad=arguments.skip_bad, progress=watch) for folder in folders
        ]
    notes = tuple(note for faceset in loaded for note in faceset.notes)
    if arguments.a == _DEMO:
        notes += ("The bundled faces are synthetic: rendered from made-up identities, nobody's likeness.",)
    for note in notes:
        print(f"note: {note}")
    facesets = _told_apart(loaded[0].faceset, loaded[1].faceset)
    out = arguments.out or _default_out(arguments, facesets)
    try:
        with comparison_progress(plan) as watch_training:
            result = compare(plan, facesets, out, watch=watch_training, notes=notes)
    except KeyboardInterrupt:
        print(f"\nThe trials so far are in {out}; the same command goes on from there.", file=sys.stderr)
        raise
    report = out / "report.html"
    with writing_report():
        write(result, report)
    print_verdict(result)
    print(f"\nReport: {report}")
    return 0


def _plan(arguments: argparse.Namespace) -> "Plan":
    from lossarium.comparison.plan import Plan
    from lossarium.losses.spec import parse, split
    from lossarium.training.configuration import Recipe

    _check_numbers(arguments)
    losses = tuple(str(parse(spec)) for spec in split(arguments.losses))
    twice = next((spec for place, spec in enumerate(losses) if spec in losses[:place]), None)
    if twice is not None:
        raise LossariumError(f'the loss "{twice}" is given twice in --losses; give it once')
    recipe = Recipe(
        steps=arguments.steps,
        size=arguments.size,
        model=arguments.model,
        batch_size=arguments.batch_size,
        learning_rate=arguments.learning_rate,
        precision=arguments.precision,
    )
    return Plan(losses, arguments.seeds, recipe)


def _check_numbers(arguments: argparse.Namespace) -> None:
    for option, most in (("steps", 10**8), ("seeds", 1000), ("batch_size", 1024)):
        value = getattr(arguments, option)
        if not 1 <= value <= most:
            raise LossariumError(f"--{option.replace('_', '-')} must be from 1 to {most:,}, not {value}")
    if not 32 <= arguments.size <= 512 or arguments.size % 16:
        raise LossariumError(f"--size must be a multiple of 16 from 32 to 512, not {arguments.size}")
    if not 0 < arguments.learning_rate < math.inf:
        raise LossariumError(f"--learning-rate must be positive, not {arguments.learning_rate}")


def _folders(arguments: argparse.Namespace) -> tuple[Path, Path]:
    if arguments.a == _DEMO and arguments.b in (None, _DEMO):
        bundled = Path(str(files("lossarium.facesets"))) / "bundled"
        return bundled / "ada", bundled / "ben"
    if arguments.b is None:
        raise LossariumError('two folders are needed, A and B, or the word "demo" for the bundled pair')
    first, second = Path(arguments.a), Path(arguments.b)
    if first.is_dir() and second.is_dir() and first.samefile(second):
        raise LossariumError(f"A and B are the same folder, {first}; give each identity a folder of its own")
    return first, second


def _told_apart(first: "Faceset", second: "Faceset") -> tuple["Faceset", "Faceset"]:
    """Folders may share a name (ada/aligned and ben/aligned); a report has to tell them apart."""
    if first.identity != second.identity:
        return first, second
    return replace(first, identity=f"{first.identity} A"), replace(second, identity=f"{second.identity} B")


def _default_out(arguments: argparse.Namespace, facesets: tuple["Faceset", "Faceset"]) -> Path:
    if arguments.a == _DEMO:
        return Path(f"lossarium-{_DEMO}")
    names = "-".join(re.sub(r"[^\w.-]+", "_", faceset.identity) for faceset in facesets)
    return Path(f"lossarium-{names}")
