"""The verdict on the terminal: scores, pairs of losses, and the sentence."""

from rich import box
from rich.markup import escape
from rich.table import Table

from lossarium.cli.console import PlainConsole
from lossarium.evidence.results import Judged, Pair, Score, TrialValues
from lossarium.evidence.wording import WORDS

_HOME = "⌂"
_RELATIONS = {
    "equivalent": "[dim]alike[/]",
    "trade-off": "trade-off",
    "unresolved": "[dim]?[/]",
    "unjudged": "[dim]no judge[/]",
}


def print_verdict(result: Judged) -> None:
    """Print the scores of every loss (or folder), what is known of every pair, the verdict, what went wrong,
    and its limits."""
    console = PlainConsole(highlight=False)
    for task in dict.fromkeys(score.task for score in result.scores):
        console.print(_scores_table(result, task))
    words = WORDS[result.verdict.about]
    several = result.verdict.seeds > 1
    spread = f"mean of its {words.trials}, and from the lowest to the highest of them; " if several else ""
    if result.verdict.about == "losses" or any(result.verdict.home.values()):
        spread += (
            f"{_HOME} home judge: the loss is this measure, or its gradient points the same way (cosine of "
            "at least 0.7), so the measure has no vote on that loss"
        )
    if spread:
        console.print(f"[dim]{spread.removesuffix('; ')}[/]")
    if len(result.losses) > 1:
        console.print(_pairs_table(result))
        console.print(
            f"[dim]a {words.one} beats another where it is better in a score that may vote, beyond luck, "
            "and worse in none; alike: the difference is too small to matter; "
            f"?: {words.luck} could have made it[/]"
        )
    console.print(f"\n[bold]{escape(result.verdict.sentence)}[/]")
    for trouble in result.troubles:
        console.print(f"[yellow]{escape(trouble)}[/]")
    for caveat in result.verdict.caveats:
        console.print(f"[dim]{escape(caveat)}[/]")


def _scores_table(result: Judged, task: str) -> Table:
    verdict = result.verdict
    scores = [score for score in result.scores if score.task == task]
    words = WORDS[verdict.about]
    title = words.title.format(task=task.capitalize())
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(words.one)
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
    text = f"{values.mean:.{score.digits}f} {_HOME if home else ' '}"
    if seeds > 1:
        # On a line of its own: side by side, four scores would leave no room for names in 80 columns.
        text += f"\n{values.lowest:.{score.digits}f}…{values.highest:.{score.digits}f}  "
    return f"[dim]{text}[/]" if home else text


def _pairs_table(result: Judged) -> Table:
    """The matrix of pairs: what the loss of a row does against the loss of a column."""
    losses = result.losses
    table = Table(
        title="Against each other",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column(WORDS[result.verdict.about].one)
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
    if pair.ahead is None:
        return _RELATIONS[pair.relation]
    return "[bold]beats[/]" if pair.ahead == loss else "loses"
