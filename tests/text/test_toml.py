"""Untrusted TOML: read as tomllib does, but refused at once where tomllib would hang."""

import tomllib

import pytest
import tomli_w

from lossarium.text import toml
from lossarium.text.toml import LONGEST_NUMBER, MOST_DEPTH, MOST_KEY_PARTS, parse_toml

TEXTS = [
    "",
    "a = 1 # a.b.c.d",
    'text = "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u \\" # [[[ "',
    "literal = 'C:\\a.b' # it's",
    'many = """\na "" b \\""" [[[[ ""\nc"""""\nafter = 1',
    "many = '''\n'' \\'''\nafter = 2",
    "a.'b c'.\"d\" . e = [1.5, 2e-3, 1979-05-27T07:32:00.999]",
    "[table.of.tables]\nx = {y = {z = []}}\n[[list]]\n[[list]]\nq = nan",
    tomli_w.dumps({"provenance": {"text": "x" * 10_000, "list": [{"a": [1, [2]]}]}}),
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_what_tomllib_reads_comes_back(text: str) -> None:
    assert repr(parse_toml(text)) == repr(tomllib.loads(text))


def test_a_byte_order_mark_is_skipped() -> None:
    assert parse_toml("\ufeffa = 1") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (".".join("a" * 50_000) + " = 1", "a key has more than 16 parts"),
        (" . ".join("a" * 50_000) + " = 1", "a key has more than 16 parts"),
        (".".join(['"a"', "'b'"] * 25_000) + " = 1", "a key has more than 16 parts"),
        ("[" + ".".join("a" * 50_000) + "]", "a key has more than 16 parts"),
        ("x = {" + ".".join("a" * 50_000) + " = 1}", "a key has more than 16 parts"),
        ('x = """"""\n' + ".".join("a" * 50_000) + " = 1", "a key has more than 16 parts"),
        ("x = " + "[" * 50_000, "nested more than 32 deep"),
        ("x = " + "{a = " * 50_000, "nested more than 32 deep"),
        ("x = [" + "[], " * 50 + "[" * 32, "nested more than 32 deep"),
        ("x = " + "1" * 50_000, "more than 400 characters"),
        ("x = 0x" + "f" * 50_000, "more than 400 characters"),
        ("x = 1" + "_1" * 50_000, "more than 400 characters"),
        ("x" * 401 + " = 1", "more than 400 characters"),
    ],
    ids=lambda text: text[:24],
)
def test_text_that_would_take_tomllib_long_is_refused_first(
    text: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reached(_: str) -> None:
        raise AssertionError("tomllib was called")

    monkeypatch.setattr(toml.tomllib, "loads", reached)
    with pytest.raises(ValueError, match=reason):
        parse_toml(text)


def test_text_at_the_limits_is_read() -> None:
    assert parse_toml(".".join("a" * MOST_KEY_PARTS) + " = 1")
    assert parse_toml("x = " + "[" * MOST_DEPTH + "]" * MOST_DEPTH)
    assert parse_toml("x" * LONGEST_NUMBER + " = 1")


def test_a_stack_that_is_used_up_is_no_recursion_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def used_up(_: str) -> None:
        raise RecursionError

    monkeypatch.setattr(toml.tomllib, "loads", used_up)
    with pytest.raises(ValueError, match="nested too deep"):
        parse_toml("x = [[1]]")


@pytest.mark.parametrize("text", ['"' * 100_001, "'" * 100_001, '"\\' * 100_000, 'x = """' + '\\"' * 99_999])
def test_quotes_that_are_not_closed_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - tomllib's own words
        parse_toml(text)
