"""`lossarium train A B`: train a single trial."""

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lossarium.cli.devices import add_devices, computing
from lossarium.cli.pair import add_pair, default_out, load_pair
from lossarium.cli.recipe import add_recipe, check_range, recipe_of
from lossarium.cli.rescue import add_rescue
from lossarium.errors import LossariumError
from lossarium.training.keeping import Keeping
from lossarium.trial.view_options import ViewOptions

if TYPE_CHECKING:
    from torch import nn

    from lossarium.facesets.faceset import Faceset
    from lossarium.training.configuration import Trial
    from lossarium.training.processes import Processes
    from lossarium.trial.begin_or_continue import Source

_LOSS = "ssim + mae"
# With --until converged and no --judge-every.
_EVALUATIONS = 50

_DESCRIPTION = """\
Train one autoencoder on two folders of faces. Run the same command again to continue after an interruption,
or with more --steps to continue a finished trial. While it runs, `lossarium set`, or editing control.toml in
the trial's folder, changes learning rate and loss."""

_EXAMPLES = """\
examples:
  lossarium train demo --steps 300
  lossarium train faces/ada faces/ben --loss 'ssim + mae' --steps 100000 --out ada-ben
  lossarium set ada-ben learning_rate=1e-5 loss='ssim + 0.1*lpips'
  lossarium train faces/ada faces/ben --loss 'ssim + mae' --steps 200000 --out ada-ben
  lossarium train faces/ada faces/ben --from lossarium-ada-ben --steps 100000 --out winner
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "train",
        help="train on two folders of faces",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_pair(parser)
    parser.add_argument(
        "--loss", help=f"the spec (default: {_LOSS}, or with --from a comparison the loss that won it)"
    )
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FOLDER",
        help="start from the newest weights of this trial, or of the trial that won this comparison, instead "
        "of new ones; give its --model, --model-option and --size, too",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the weights and batches (default: %(default)s)"
    )
    add_recipe(parser)
    add_devices(parser)
    add_rescue(parser)
    parser.add_argument(
        "--keep-best", action="store_true", help="keep the checkpoint with the best --judge score"
    )
    parser.add_argument(
        "--keep-every",
        type=int,
        default=Keeping.every,
        metavar="STEPS",
        help="keep a checkpoint every so many steps (default: none)",
    )
    parser.add_argument(
        "--keep-last",
        type=int,
        default=Keeping.last,
        metavar="K",
        help="how many of the last checkpoints to keep; at least two during training (default: %(default)s)",
    )
    parser.add_argument(
        "--until",
        choices=("steps", "converged"),
        default="steps",
        help="converged: stop before the last step once the --judge score has stopped improving "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--preview-every",
        type=float,
        default=ViewOptions.preview_every,
        metavar="SECONDS",
        help="seconds between two updates of preview.png, 0 for no preview (default: %(default)g)",
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="write event files to the trial's folder tensorboard"
    )
    parser.add_argument(
        "--any-environment",
        action="store_true",
        help="continue a trial even if versions, CPU instructions, the number of threads or the files of "
        "your own judges and model have changed since it began; its numbers may then differ",
    )
    parser.add_argument("--out", type=Path, help="the trial's folder (default: lossarium-train-A-B)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train, and say where the results are."""
    # Late: torch takes a second to import, and --help should not wait for it.
    from lossarium.losses.spec import parse
    from lossarium.training.configuration import Trial
    from lossarium.trial.event_file import require_tensorboard

    check_range(arguments, "seed", 2**31, least=0)
    check_range(arguments, "keep_every", 10**8, least=0)
    check_range(arguments, "keep_last", 10**6)
    if not 0 <= arguments.preview_every < math.inf:
        raise LossariumError(f"--preview-every must be 0 seconds or more, not {arguments.preview_every:g}")
    if arguments.tensorboard:
        require_tensorboard()
    loss, source = _beginning(arguments)
    trial = Trial(str(parse(loss)), arguments.seed, recipe_of(arguments))
    with computing(arguments) as processes:
        _train(arguments, trial, source, processes)
    return 0


def _beginning(arguments: argparse.Namespace) -> tuple[str, Path | None]:
    """The loss, and the folder of the trial whose weights training starts from, if any."""
    from lossarium.comparison.winner import is_comparison, winner_of

    source: Path | None = arguments.source
    if source is None or not is_comparison(source):
        return arguments.loss or _LOSS, source
    winner = winner_of(source)
    return arguments.loss or winner.loss, winner.trial


def _train(
    arguments: argparse.Namespace, trial: "Trial", source: Path | None, processes: "Processes"
) -> None:
    from lossarium.cli.progress import training_progress
    from lossarium.training.checkpoints import steps_done
    from lossarium.training.signals import Stopped
    from lossarium.trial.run import run_trial
    from lossarium.trial.timelapse import NAME as TIMELAPSE

    facesets, _ = load_pair(arguments, "lossarium-train")
    out = arguments.out or default_out("lossarium-train", arguments, facesets)
    if arguments.until == "converged":
        trial = _evaluated_often(trial, out)
    try:
        with training_progress(trial, shown=processes.is_first) as callbacks:
            run_trial(
                trial,
                facesets,
                out,
                callbacks,
                Keeping(arguments.keep_best, arguments.keep_every, arguments.keep_last, arguments.rescue),
                until_converged=arguments.until == "converged",
                processes=processes,
                views=ViewOptions(arguments.preview_every, arguments.tensorboard),
                source=None if source is None else _source(source, trial, facesets),
                any_environment=arguments.any_environment,
            )
    except (KeyboardInterrupt, Stopped):
        print(f"\nThe trial so far is in {out}; the same command continues from there.", file=sys.stderr)
        raise
    where = f"weights in {out / 'checkpoints'}, pictures in {out / 'previews'}"
    if (out / TIMELAPSE).exists():
        where += f", time-lapse in {out / TIMELAPSE}"
    print(f"Trained {steps_done(out)} steps: {where}")


def _evaluated_often(trial: "Trial", out: Path) -> "Trial":
    """The trial with enough evaluations to converge, where --judge-every does not say how many."""
    from lossarium.training.convergence import WINDOW
    from lossarium.trial.folder import TRIAL, read_toml

    recipe = trial.recipe
    if not recipe.judge_every:
        # A trial that goes on keeps the frequency that it has.
        there = read_toml(out / TRIAL)["recipe"] if (out / TRIAL).is_file() else {}
        every = there.get("judge_every") or max(1, recipe.steps // _EVALUATIONS)
        print(f"note: --until converged evaluates every {every} steps; --judge-every says otherwise.")
        recipe = replace(recipe, judge_every=every)
    count = len(recipe.snapshot_steps())
    if count < WINDOW:
        print(
            f"note: --until converged needs {WINDOW} evaluations, and {recipe.steps} steps with one every "
            f"{recipe.judge_every} have {count}: the trial takes all its steps."
        )
    return replace(trial, recipe=recipe)


def _source(folder: Path, trial: "Trial", facesets: tuple["Faceset", "Faceset"]) -> "Source":
    from lossarium.swapping.copy_weights import copy_trained_weights
    from lossarium.trial.begin_or_continue import Source

    def load(model: "nn.Module") -> None:
        trained_on = copy_trained_weights(model, folder, own_model=trial.recipe.model)
        now = tuple(faceset.identity for faceset in facesets)
        if trained_on != now:
            # Allowed: weights trained on other faces are a better start than random ones.
            print(f"note: {folder} was trained on {' and '.join(trained_on)}, not on {' and '.join(now)}.")

    return Source(str(folder), load)
