"""`lossarium compare A B`: from two folders of faces to a verdict on which loss to train with."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lossarium.cli.devices import add_devices, computing
from lossarium.cli.loss_list import add_losses, losses_of
from lossarium.cli.margins import add_margins, margins_of
from lossarium.cli.pair import add_pair, default_out, load_pair
from lossarium.cli.recipe import add_recipe, check_range, recipe_of
from lossarium.cli.rescue import add_rescue

if TYPE_CHECKING:
    from lossarium.comparison.plan import Plan
    from lossarium.training.processes import Processes

_DESCRIPTION = """\
Train the same autoencoder with every loss on an even keel - from the same initial weights, on the same
batches, for the same number of steps - judge the results on held-out frames, and write a verdict and a
report. Run the same command again to continue after an interruption."""

_EXAMPLES = """\
examples:
  lossarium compare demo --steps 300
  lossarium compare faces/ada faces/ben --losses 'mse, ssim + 0.5*mae, smooth_l1(beta=0.1)' --seeds 8
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
    add_pair(parser)
    add_losses(parser)
    parser.add_argument(
        "--seeds",
        type=int,
        default=5,
        help="trials per loss, each with its own seed; a verdict takes 3 at least (default: %(default)s)",
    )
    add_margins(parser)
    add_recipe(parser)
    add_devices(parser)
    add_rescue(parser)
    parser.add_argument("--out", type=Path, help="the comparison's folder (default: lossarium-A-B)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare, print the verdict, write the report."""
    plan = _plan(arguments)
    with computing(arguments) as processes:
        _compare(arguments, plan, processes)
    return 0


def _compare(arguments: argparse.Namespace, plan: "Plan", processes: "Processes") -> None:
    # Late: torch takes a second to import, and --help should not wait for it.
    from lossarium.cli.progress import comparison_progress, writing_report
    from lossarium.cli.verdict_table import print_verdict
    from lossarium.comparison.protocol import compare
    from lossarium.report.html import write
    from lossarium.training.signals import Stopped

    facesets, notes = load_pair(arguments, "lossarium")
    out = arguments.out or default_out("lossarium", arguments, facesets)
    try:
        with comparison_progress(plan, shown=processes.is_first) as (watch, tell):
            result = compare(
                plan,
                facesets,
                out,
                watch=watch,
                tell=tell,
                notes=notes,
                processes=processes,
                rescue=arguments.rescue,
            )
    except (KeyboardInterrupt, Stopped):
        print(f"\nThe trials so far are in {out}; the same command continues from there.", file=sys.stderr)
        raise
    if not processes.is_first:
        return
    report = out / "report.html"
    with writing_report():
        write(result, report)
    print_verdict(result)
    print(f"\nReport: {report}")


def _plan(arguments: argparse.Namespace) -> "Plan":
    from lossarium.comparison.plan import Plan

    recipe = recipe_of(arguments)
    check_range(arguments, "seeds", 1000)
    return Plan(losses_of(arguments), arguments.seeds, recipe, margins_of(arguments.margins, recipe.judges))
