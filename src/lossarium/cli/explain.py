"""`lossarium explain LOSS`: describe a loss."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType
    from rich.table import Table

    from lossarium.losses.declaration import LossInfo
    from lossarium.losses.spec import Spec, Term

# Longer lines are hard to read.
_WIDEST = 100

_EXAMPLES = """\
examples:
  lossarium explain ssim
  lossarium explain 'ssim + 0.5*smooth_l1(beta=0.1)'
  lossarium explain mypackage.mine:loss
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "explain",
        help="describe a loss",
        description="Describe what a loss computes, how it behaves, when to use it and how to write it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("loss", metavar="LOSS", help="a name, or a spec, each term of which is explained")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a card per term."""

    from lossarium.cli.console import PlainConsole

    console = PlainConsole(highlight=False)
    console.width = min(console.width, _WIDEST)
    cards = [_card(term) for term in _read(arguments.loss).terms]
    for card in cards:
        console.print(card)
        console.print()
    return 0


def _read(text: str) -> "Spec":
    # Late: torch takes a second to import, and --help should not wait for it.
    from lossarium.losses.registry import info
    from lossarium.losses.spec import parse

    name = text.strip()
    if name.isidentifier():
        # For a bare name, the error need not point to a position in the text.
        info(name)
    return parse(name, measures=True)


def _card(term: "Term") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    from lossarium.losses.card import title
    from lossarium.losses.registry import info

    loss = info(term.name)
    card = Table.grid(padding=(0, 2))
    card.title = f"[bold]{escape(str(term))}[/]  {escape(title(loss))} [dim]({escape(loss.family)})[/]\n"
    card.title_justify = "left"
    card.title_style = ""
    card.add_column(style="dim", no_wrap=True)
    card.add_column(overflow="fold")
    for label, content in _lines(loss, term):
        card.add_row(label, content)
    return card


def _lines(loss: "LossInfo", term: "Term") -> "Iterator[tuple[str, RenderableType]]":
    from rich.markup import escape

    for label, text in (
        ("formula", loss.formula),
        ("", "(x the input, y the target)" if loss.formula else ""),
        ("source", loss.source),
        ("range", loss.range),
        ("good at", loss.good_at),
        ("bad at", loss.bad_at),
        ("gradient", loss.gradient),
        ("artefacts", loss.artefacts),
        ("when to use", loss.when),
        ("map", _map_text(loss)),
        ("minimised", "yes" if loss.objective else f"no: {loss.not_minimised}"),
    ):
        # A user's own loss may declare little.
        if text:
            yield label, escape(text)
    if loss.options:
        yield "options", _options(loss, term)
    yield "to type", _to_type(loss)


def _map_text(loss: "LossInfo") -> str:
    if loss.map is None:
        return "no"
    if loss.pixel_map:
        return "yes, and its mean is the loss, so that region weights are exact"
    return "yes, to look at; the loss is not its mean"


def _options(loss: "LossInfo", term: "Term") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    from lossarium.losses.card import options_explained
    from lossarium.losses.spec import option_text

    given = dict(term.options)
    options = Table.grid(padding=(0, 2))
    options.add_column()
    options.add_column(overflow="fold")
    for option, text in options_explained(loss).items():
        default = option_text(loss.options[option])
        shown = f"{option}={option_text(given.get(option, loss.options[option]))}"
        if option in given:
            shown, text = f"[bold]{escape(shown)}[/]", f"{text} Default: {default}."
        else:
            shown = escape(shown)
        options.add_row(shown, escape(text))
    return options


def _to_type(loss: "LossInfo") -> "RenderableType":
    from rich.console import Group
    from rich.markup import escape

    from lossarium.losses.card import with_all_options

    specs = dict.fromkeys((loss.name, str(with_all_options(loss))))
    if not loss.objective:
        return Group(*(f"lossarium measure REF TEST --losses {_quoted(escape(spec))}" for spec in specs))
    return Group(*map(escape, specs))


def _quoted(spec: str) -> str:
    return f"'{spec}'" if "(" in spec else spec
