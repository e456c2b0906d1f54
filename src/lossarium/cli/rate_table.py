"""Suggested learning rates as a table on the terminal."""

from rich import box
from rich.markup import escape
from rich.table import Table

from lossarium.cli.console import PlainConsole
from lossarium.report.find_lr import RateSearch, advice, rate_text


def print_rates(search: RateSearch) -> None:
    """Print the suggestion for each loss, the rate for all losses, and advice."""
    console = PlainConsole(highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("loss")
    table.add_column("suggested learning rate", justify="right")
    table.add_column("lowest at", justify="right")
    table.add_column("exploded at", justify="right")
    for one in search.found:
        rates = map(rate_text, (one.suggested, one.lowest_at, one.exploded_at))
        table.add_row(escape(one.loss), *rates)
    console.print(table)
    if search.shared is None:
        console.print("[bold]No loss fell at any of these learning rates.[/]")
    else:
        heading = "One rate for all" if len(search.found) > 1 else "Suggestion"
        console.print(f"[bold]{heading}: --learning-rate {rate_text(search.shared.rate)}[/]")
    for sentence in advice(search):
        console.print(f"[dim]{escape(sentence)}[/]")
