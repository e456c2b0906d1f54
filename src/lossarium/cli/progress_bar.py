"""A progress bar that counts items, on a terminal only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(what: str, *, time_left: bool = True) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar labelled `what`; yields (done, total) -> None, which updates it, or None off a terminal."""
    # Late: --help needs none of it.
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    from lossarium.cli.console import PlainConsole

    console = PlainConsole(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns: list[ProgressColumn] = [TextColumn(what), BarColumn(), MofNCompleteColumn()]
    if time_left:
        columns.append(TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
