"""The verdict as a table on the terminal."""

from rich import box
from rich.markup import escape
from rich.table import Table

from lossarium.cli.console import PlainConsole
from lossarium.comparison.results import ComparisonResult
from lossarium.evidence.results import Estimate, Score

_HOME = "⌂"


def print_verdict(result: ComparisonResult) -> None:
    """Print every score with its interval, the verdict, what went wrong, and the verdict's limits."""
    console = PlainConsole(highlight=False)
    for task in dict.fromkeys(score.task for score in result.scores):
        console.print(_table(result, task))
    console.print(
        f"[dim]± half the 95% interval; {_HOME} home judge: the loss was trained on this measure or a close "
        "relative, so the measure has no vote on that loss[/]"
    )
    for loss in sorted(result.losses, key=lambda loss: -len(result.verdict.wins[loss])):
        beaten = result.verdict.wins[loss]
        console.print(f"{escape(loss)} beats {escape(', '.join(beaten)) or 'none'}")
    console.print(f"\n[bold]{escape(result.verdict.sentence)}[/]")
    for trouble in result.verdict.troubles:
        console.print(f"[yellow]{escape(trouble)}[/]")
    for caveat in result.verdict.caveats:
        console.print(f"[dim]{escape(caveat)}[/]")


def _table(result: ComparisonResult, task: str) -> Table:
    verdict = result.verdict
    scores = [score for score in result.scores if score.task == task]
    title = f"{task.capitalize()} of held-out frames"
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("loss")
    for score in scores:
        table.add_column(
            f"{escape(score.title)} {'↑' if score.higher_is_better else '↓'}", justify="right", no_wrap=True
        )
    for loss in result.losses:
        cells = [
            _cell(verdict.table[score.key][loss], score, loss in verdict.home[score.key]) for score in scores
        ]
        table.add_row(escape(loss), *cells, style="bold green" if loss == verdict.winner else "")
    return table


def _cell(estimate: Estimate, score: Score, home: bool) -> str:
    half = (estimate.high - estimate.low) / 2
    text = f"{estimate.mean:.{score.digits}f} ±{half:.{score.digits}f}"
    return f"[dim]{text} {_HOME}[/]" if home else f"{text}  "
