"""The verdict on the terminal: scores, pairs of losses, and the sentence."""

from rich import box
from rich.markup import escape
from rich.table import Table

from lossarium.cli.console import PlainConsole
from lossarium.comparison.results import ComparisonResult
from lossarium.evidence.results import Pair, Score, TrialValues

_HOME = "⌂"
_RELATIONS = {
    "equivalent": "[dim]alike[/]",
    "trade-off": "trade-off",
    "unresolved": "[dim]?[/]",
    "unjudged": "[dim]no judge[/]",
}


def print_verdict(result: ComparisonResult) -> None:
    """Print the scores of every loss, what is known of every pair, the verdict, what went wrong, and its
    limits."""
    console = PlainConsole(highlight=False)
    for task in dict.fromkeys(score.task for score in result.scores):
        console.print(_scores_table(result, task))
    seeds = result.verdict.seeds
    spread = "mean of its trials, and from the lowest to the highest of them; " if seeds > 1 else ""
    console.print(
        f"[dim]{spread}{_HOME} home judge: the loss was trained on this measure or a close relative, so the "
        "measure has no vote on that loss[/]"
    )
    if len(result.losses) > 1:
        console.print(_pairs_table(result))
        console.print(
            "[dim]a loss beats another where it is better in a score that may vote, beyond luck, and worse "
            "in none; alike: the difference is too small to matter; ?: luck could have made it[/]"
        )
    console.print(f"\n[bold]{escape(result.verdict.sentence)}[/]")
    for trouble in result.troubles:
        console.print(f"[yellow]{escape(trouble)}[/]")
    for caveat in result.verdict.caveats:
        console.print(f"[dim]{escape(caveat)}[/]")


def _scores_table(result: ComparisonResult, task: str) -> Table:
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
            _cell(verdict.values[score.key][loss], score, loss in verdict.home[score.key], verdict.seeds)
            for score in scores
        ]
        table.add_row(escape(loss), *cells, style="bold green" if loss == verdict.winner else "")
    return table


def _cell(values: TrialValues, score: Score, home: bool, seeds: int) -> str:
    text = f"{values.mean:.{score.digits}f}"
    if seeds > 1:
        text += f" ({values.lowest:.{score.digits}f}…{values.highest:.{score.digits}f})"
    return f"[dim]{text} {_HOME}[/]" if home else f"{text}  "


def _pairs_table(result: ComparisonResult) -> Table:
    """The matrix of pairs: what the loss of a row does against the loss of a column."""
    losses = result.losses
    table = Table(
        title="Against each other",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("loss")
    for number in range(len(losses)):
        table.add_column(str(number + 1), justify="center")
    known = {frozenset((pair.first, pair.second)): pair for pair in result.verdict.pairs}
    for number, loss in enumerate(losses):
        cells = [
            "" if other == loss else _relation(known[frozenset((loss, other))], loss) for other in losses
        ]
        table.add_row(f"{number + 1} {escape(loss)}", *cells)
    return table


def _relation(pair: Pair, loss: str) -> str:
    if pair.relation in ("first", "second"):
        ahead = pair.relation == ("first" if pair.first == loss else "second")
        return "[bold]beats[/]" if ahead else "loses"
    return _RELATIONS[pair.relation]
