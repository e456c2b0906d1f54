"""`lossarium judges`: list the judges, and check users' own ones."""

import argparse

from lossarium.cli.listing import add_listing, empty_table, print_listing

_DESCRIPTION = """\
List the judges: measures of held-out pictures that say which loss made the better ones. A judge of your own
that is named here is tried on pictures, and listed too if it keeps the contract (docs/own-judges.md)."""

_EXAMPLES = """\
examples:
  lossarium judges
  lossarium judges mypackage.mine:judge
  lossarium compare faces/ada faces/ben --judges 'psnr, ssim, mypackage.mine:judge'
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    add_listing(
        commands,
        "judges",
        help="list the judges, the measures that score held-out frames",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
        own="your own judges to check and list, as package.module:name",
        run=run,
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the judges."""
    # Late: torch takes a second to import, and --help should not wait for it.
    from rich.markup import escape

    from lossarium.judging.home import homes_of
    from lossarium.judging.home import table as shipped
    from lossarium.judging.judges import JUDGES, Judge, judges_of, names
    from lossarium.judging.try_judges import try_judges_on_noise
    from lossarium.losses.registry import info
    from lossarium.losses.registry import names as loss_names

    listed = judges_of([*names(), *(name for name in arguments.own if name not in names())])
    try_judges_on_noise([judge for judge in listed if judge not in JUDGES])
    losses = [name for name in loss_names() if info(name).objective]
    # A judge whose weights are not bundled is not in the table either: what it names is shown.
    measured = [judge for judge in listed if judge not in JUDGES or judge.name in shipped()["mse"]]
    homes = homes_of(losses, measured)

    def is_home(judge: Judge, loss: str) -> bool:
        return homes[loss][judge.name].home if judge in measured else judge.is_home_of(loss)

    table = empty_table()
    table.add_column("judge", no_wrap=True)
    table.add_column("better")
    table.add_column("unit")
    table.add_column("what it measures", ratio=3)
    table.add_column("home judge of", ratio=2)
    for judge in listed:
        table.add_row(
            escape(judge.name),
            "higher" if judge.higher_is_better else "lower",
            escape(judge.unit),
            escape(judge.description),
            escape(", ".join(loss for loss in losses if is_home(judge, loss)) or "none"),
        )
    print_listing(
        table,
        "home judge of: losses that are this measure, or whose gradient points the\n"
        "same way (cosine of at least 0.7); it has no vote on them.\n"
        "Your own: --judges package.module:name, see docs/own-judges.md.",
    )
    return 0
