"""`lossarium losses`: list the losses and what each costs on this machine."""

import argparse
import csv
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from lossarium.losses.cost import Cost
    from lossarium.losses.declaration import LossInfo

_DESCRIPTION = """\
List the losses, and the measures that can judge but not be minimised: what each is good and bad at, and how
long a forward and backward pass takes on this machine. `lossarium explain NAME` says more about one."""

# After this many seconds the user is told what takes so long.
_PATIENCE_SECONDS = 1.0


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = commands.add_parser("losses", help="list the losses and their cost", description=_DESCRIPTION)
    parser.add_argument(
        "own", nargs="*", metavar="OWN", help="losses of your own to list too, as package.module:function"
    )
    parser.add_argument(
        "--no-cost", action="store_true", help="leave out the cost, whose timing takes seconds"
    )
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument("--json", action="store_true", help="print JSON")
    formats.add_argument("--csv", action="store_true", help="print CSV")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the losses."""
    # Late: torch takes a second to import, and --help should not wait for it.
    from lossarium.losses.cost import costs
    from lossarium.losses.registry import info, names

    own = [info(name).name for name in arguments.own]
    listed = tuple(dict.fromkeys((*names(), *own)))
    declared = [info(name) for name in listed]
    timed: Mapping[str, Cost] | None = None
    if not arguments.no_cost:
        with _timing_progress() as watch:
            timed = {cost.name: cost for cost in costs(listed, watch)}
    if arguments.json:
        print(json.dumps([_record(loss, timed) for loss in declared], indent=2))
    elif arguments.csv:
        _print_csv([_record(loss, timed) for loss in declared])
    else:
        _print_table(declared, timed)
    return 0


@contextmanager
def _timing_progress() -> Iterator[Callable[[int, int], None]]:
    """Show progress: a bar on a terminal, one line elsewhere, and nothing if it ends soon."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from lossarium.cli.console import PlainConsole

    console = PlainConsole(stderr=True)
    began = time.monotonic()
    said = False
    columns = (TextColumn("timing the losses on this machine"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task("", total=None)

    def watch(done: int, total: int) -> None:
        nonlocal said
        bar.update(task, completed=done, total=total)
        if not said and time.monotonic() - began > _PATIENCE_SECONDS:
            said = True
            if console.is_terminal:
                bar.start()
            else:
                print("timing the losses on this machine; --no-cost leaves it out", file=sys.stderr)

    try:
        yield watch
    finally:
        bar.stop()


def _record(loss: "LossInfo", timed: "Mapping[str, Cost] | None") -> dict[str, object]:
    record: dict[str, object] = {
        "name": loss.name,
        "family": loss.family,
        "objective": loss.objective,
        "good_at": loss.good_at,
        "bad_at": loss.bad_at,
    }
    if timed is not None:
        cost = timed[loss.name]
        record["cost"] = None if cost.times_mse is None else round(cost.times_mse, 3)
        record["cost_of"] = "forward and backward" if cost.with_backward else "forward"
        record["milliseconds"] = None if cost.seconds is None else round(1000 * cost.seconds, 4)
    return record


def _print_csv(records: list[dict[str, object]]) -> None:
    writer = csv.DictWriter(sys.stdout, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)


def _print_table(declared: "list[LossInfo]", timed: "Mapping[str, Cost] | None") -> None:

    from lossarium.cli.console import PlainConsole

    console = PlainConsole(highlight=False)
    console.print(_table(declared, timed))
    if timed is not None:
        console.print(_about_costs(timed), style="dim")
    console.print("lossarium explain NAME tells all about one of them.", style="dim")


def _table(declared: "list[LossInfo]", timed: "Mapping[str, Cost] | None") -> "Table":
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("loss", no_wrap=True)
    if timed is not None:
        table.add_column("cost", justify="right", no_wrap=True)
    table.add_column("good at", ratio=1)
    table.add_column("bad at", ratio=1)
    for heading, group in _groups(declared).items():
        table.add_row(f"[bold]{escape(heading)}[/]")
        for loss in group:
            cost = () if timed is None else (_cost_text(timed[loss.name].times_mse),)
            table.add_row(f"  {escape(loss.name)}", *cost, escape(loss.good_at), escape(loss.bad_at))
        table.add_section()
    return table


def _groups(declared: "list[LossInfo]") -> "dict[str, list[LossInfo]]":
    """The losses by family, then the measures that can only judge."""
    groups: dict[str, list[LossInfo]] = {}
    for loss in sorted(declared, key=lambda loss: not loss.objective):
        groups.setdefault(loss.family if loss.objective else f"{loss.family}, only to judge", []).append(loss)
    return groups


def _cost_text(times_mse: float | None) -> str:
    if times_mse is None:
        return "-"
    if times_mse < 0.1:
        return f"{times_mse:.1g}"
    return f"{times_mse:.1f}" if times_mse < 9.95 else f"{times_mse:.0f}"


def _about_costs(timed: "Mapping[str, Cost]") -> str:
    import torch

    from lossarium.losses.cost import SHAPE

    unit = next(cost.seconds / cost.times_mse for cost in timed.values() if cost.seconds and cost.times_mse)
    threads = torch.get_num_threads()
    text = (
        f"cost: time of forward and backward, relative to mse, which takes {1000 * unit:.2f} ms here for "
        f"{'x'.join(map(str, SHAPE))} floats on {threads} thread{'' if threads == 1 else 's'}"
    )
    if any(not cost.with_backward for cost in timed.values()):
        text += "; forward alone for measures that can only judge"
    if any(cost.times_mse is None for cost in timed.values()):
        text += "; -: its weights are missing"
    return text
