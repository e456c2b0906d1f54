"""`lossarium find-lr A B`: find a learning rate for each loss, and one for all of them."""

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lossarium.cli.devices import add_accelerator
from lossarium.cli.loss_list import add_losses, losses_of
from lossarium.cli.pair import add_pair, default_out, load_pair
from lossarium.cli.recipe import add_recipe, check_range, recipe_of
from lossarium.errors import LossariumError
from lossarium.training.span import Span

if TYPE_CHECKING:
    from torch import nn

    from lossarium.facesets.faceset import Faceset
    from lossarium.training.configuration import Recipe
    from lossarium.training.rate_finder import Found

_PAGE = "find-lr.html"

_DESCRIPTION = """\
Learning-rate range test: train every loss for some steps at a learning rate that rises from tiny to huge, and
see at which rate it is lowest. Only a page with the curves is kept. Options are those of `lossarium compare`
but for those of a whole trial: its steps, schedule and judges."""

_EXAMPLES = """\
examples:
  lossarium find-lr demo
  lossarium find-lr faces/ada faces/ben --losses 'mse, ssim + mae' --model lightweight --out find-lr-ada-ben
  lossarium find-lr faces/ada faces/ben --losses 'ssim + mae' --from ada-ben
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "find-lr",
        help="find a learning rate for losses",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_pair(parser)
    add_losses(parser)
    parser.add_argument(
        "--lowest",
        type=float,
        default=Span.lowest,
        metavar="RATE",
        help="the first rate tried (default: %(default)s)",
    )
    parser.add_argument(
        "--highest",
        type=float,
        default=Span.highest,
        metavar="RATE",
        help="the last rate tried (default: %(default)s)",
    )
    parser.add_argument(
        "--test-steps",
        type=int,
        default=Span.steps,
        metavar="STEPS",
        help="steps from the lowest rate to the highest (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the weights and batches (default: %(default)s)"
    )
    parser.add_argument(
        "--from",
        dest="trial",
        type=Path,
        metavar="TRIAL",
        help="start from the newest weights of this trial instead of new ones; give its --model and --size, "
        "too",
    )
    add_recipe(parser, of_whole_trial=False)
    add_accelerator(parser)
    parser.add_argument("--out", type=Path, help="folder of the page (default: lossarium-find-lr-A-B)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the tests, print the suggestions, write the page."""
    check_range(arguments, "seed", 2**31, least=0)
    span = _span(arguments)
    out: Path | None = arguments.out
    if out is not None and out.exists() and not out.is_dir():
        raise LossariumError(f"--out {out} is not a folder; give one to write {_PAGE} to")

    # Late: torch takes a second to import, and --help should not wait for it.
    from lossarium.cli.rate_table import print_rates
    from lossarium.report.find_lr import RateSearch, write
    from lossarium.training.malloc import keep_freed_memory
    from lossarium.training.processes import single_process
    from lossarium.training.rate_finder import shared_rate
    from lossarium.trial.environment import environment
    from lossarium.trial.forecast import announce_forecast, out_of_memory
    from lossarium.trial.precision import warn_of_slow_bf16

    keep_freed_memory()
    losses, recipe = losses_of(arguments), recipe_of(arguments)
    facesets, _ = load_pair(arguments)
    device = single_process(arguments.accelerator).device
    announce_forecast(recipe, _note, device=device)
    warn_of_slow_bf16(recipe, device, _note)
    with out_of_memory(recipe):
        model = _model(arguments, recipe, facesets)
        found = _found(model, losses, arguments.seed, recipe, facesets, span)
    search = RateSearch(
        found,
        shared_rate(found),
        span,
        (facesets[0].identity, facesets[1].identity),
        _facts(arguments, recipe),
        environment(),
        None if arguments.trial is None else str(arguments.trial),
    )
    print_rates(search)
    folder = out or default_out("lossarium-find-lr", arguments, facesets)
    folder.mkdir(parents=True, exist_ok=True)
    write(search, folder / _PAGE)
    print(f"\nCurves: {folder / _PAGE}")
    return 0


def _note(sentence: str) -> None:
    print(f"note: {sentence}")


def _span(arguments: argparse.Namespace) -> Span:
    check_range(arguments, "test_steps", 10_000, least=10)
    if not 0 < arguments.lowest < arguments.highest < math.inf:
        raise LossariumError(
            "--lowest must be a learning rate above 0 and --highest one above that, not "
            f"{arguments.lowest:g} and {arguments.highest:g}"
        )
    return Span(arguments.lowest, arguments.highest, arguments.test_steps)


def _model(
    arguments: argparse.Namespace, recipe: "Recipe", facesets: tuple["Faceset", "Faceset"]
) -> "nn.Module":
    """The model with initial weights, or those of `--from`."""
    from lossarium.models.registry import initial_model
    from lossarium.training.processes import single_process

    model = initial_model(
        recipe.model,
        size=recipe.size,
        identities=len(facesets),
        seed=arguments.seed,
        options=recipe.model_options,
    )
    if arguments.trial is not None:
        from lossarium.swapping.copy_weights import copy_trained_weights

        copy_trained_weights(
            model,
            arguments.trial,
            identities=tuple(faceset.identity for faceset in facesets),
            own_model=recipe.model,
        )
    return model.to(single_process(arguments.accelerator).device)


def _found(
    model: "nn.Module",
    losses: tuple[str, ...],
    seed: int,
    recipe: "Recipe",
    facesets: tuple["Faceset", "Faceset"],
    span: Span,
) -> tuple["Found", ...]:
    from lossarium.cli.progress import comparison_progress
    from lossarium.comparison.plan import Plan
    from lossarium.comparison.protocol import TrialProgress
    from lossarium.training.callbacks import Progress
    from lossarium.training.configuration import Trial
    from lossarium.training.rate_finder import find_rates

    # For the time left: as many steps as a test has at most.
    plan = Plan(losses, 1, replace(recipe, steps=span.steps))
    with comparison_progress(plan) as (show, _):

        def watch(number: int, progress: Progress) -> None:
            trial = Trial(losses[number - 1], seed, recipe)
            show(TrialProgress(trial, number, len(losses), progress))

        return find_rates(model, losses, seed, recipe, facesets, span, watch=watch)


def _facts(arguments: argparse.Namespace, recipe: "Recipe") -> dict[str, str]:
    options = ", ".join(f"{name}={value}" for name, value in recipe.model_options.items())
    return {
        "model": f"{recipe.model} ({options})" if options else recipe.model,
        "weights": "initial" if arguments.trial is None else f"newest of {arguments.trial}",
        "size": f"{recipe.size} px",
        "optimiser": recipe.optimizer,
        "batch": f"{recipe.batch_size} frames of each identity",
        "accumulation": str(recipe.accumulation),
        "clipping": recipe.clipping,
        "precision": recipe.precision,
        "mask": f"{recipe.mask}, the loss inside it alone" if recipe.mask_loss else recipe.mask,
        "multipliers": f"eyes {recipe.eye_multiplier:g}, mouth {recipe.mouth_multiplier:g}",
        "seed": str(arguments.seed),
    }
