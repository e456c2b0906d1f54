"""Commands that list built-in things and users' own by name: `lossarium judges` and `lossarium models`."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def add_listing(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    *,
    help: str,  # noqa: A002 - argparse's word
    description: str,
    examples: str,
    own: str,
    run: Callable[[argparse.Namespace], int],
) -> None:
    """Register a command that lists names.

    Args:
        commands: The subcommands of the command line.
        name: The command's name.
        help: Its line in the list of commands.
        description: The beginning of its help.
        examples: The end of its help.
        own: The help of its arguments, `OWN ...`: users' own things to check and list, too.
        run: Prints the list.
    """
    parser = commands.add_parser(
        name,
        help=help,
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("own", metavar="OWN", nargs="*", help=own)
    parser.set_defaults(run=run)


def empty_table() -> "Table":
    """A table without rows and columns, in the style of all listings."""
    # Late: --help needs none of it.
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, pad_edge=False)


def print_listing(table: "Table", legend: str) -> None:
    """Print a table with a legend below it."""
    from lossarium.cli.console import PlainConsole

    console = PlainConsole(highlight=False)
    console.print(table)
    console.print(legend, style="dim")
