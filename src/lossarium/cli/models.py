"""`lossarium models`: list the autoencoders, and check users' own ones."""

import argparse

from lossarium.cli.listing import add_listing, empty_table, print_listing

_DESCRIPTION = """\
List the models that --model names, with the options that --model-option sets and their defaults. A model of
your own that is named here is built and tried, and listed if it keeps the contract (docs/own-models.md)."""

_EXAMPLES = """\
examples:
  lossarium models
  lossarium models mypackage.mine:factory
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    add_listing(
        commands,
        "models",
        help="list the models and their options",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
        own="your own models to check and list, as package.module:factory",
        run=run,
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the models."""
    # Late: torch takes a second to import, and --help should not wait for it.
    from rich.markup import escape

    from lossarium.losses.spec import option_text
    from lossarium.models.registry import all_options, described, parameter_count

    table = empty_table()
    table.add_column("model", no_wrap=True)
    table.add_column("for pictures of", justify="right")
    table.add_column("weights", justify="right")
    table.add_column("what it is", ratio=1)
    table.add_column("options and defaults", no_wrap=True)
    for name, summary, size in described(arguments.own):
        options = "\n".join(f"{key}={option_text(value)}" for key, value in all_options(name).items())
        weights = parameter_count(name, size=size, identities=2)
        table.add_row(
            escape(name), f"{size} px", f"{weights / 1e6:.1f} M", escape(summary), escape(options or "none")
        )
    print_listing(
        table,
        "weights: of two identities at that size, in millions; every model takes other sizes, too.\n"
        "Your own: --model package.module:factory, see docs/own-models.md.",
    )
    return 0
