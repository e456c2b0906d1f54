"""Every command-line option that the documentation names exists."""

import argparse
import re
from pathlib import Path

import pytest

from lossarium.cli.main import _parser

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Options of other programs, in commands that the pages give for them.
OF_OTHERS = {"--logdir", "--all", "--states"}


def options(parser: argparse.ArgumentParser) -> set[str]:
    """All options of a parser and of its subcommands."""
    found: set[str] = set()
    for action in parser._actions:
        found |= {option for option in action.option_strings if option.startswith("--")}
        if isinstance(action, argparse._SubParsersAction):
            found |= {option for command in action.choices.values() for option in options(command)}
    return found


def named(page: str) -> set[str]:
    """The options that a page names."""
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9]*(?:-[a-z0-9]+)*", page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_that_a_page_names_exists(page):
    there = options(_parser()) | OF_OTHERS
    assert named(page.read_text(encoding="utf-8")) <= there


def test_the_options_of_a_page_are_found_and_dashes_are_none():
    assert named("`--best-by`, --steps 5, a--b, x -- y, ---, [--out]") == {"--best-by", "--steps", "--out"}
