"""Python literals: the output of repr is read back, and anything else is refused, in linear time."""

import math
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest

from lossarium.facesets.formats import python_literal
from lossarium.facesets.formats.python_literal import MAX_VALUES, NotLiteralError, parse_literal

VALUES = [
    {
        "a": [-1.5e-07, 2, 1e16, (True, None), [], (), {}, (1,)],
        'b"': b"\x00'\"\\\xff\n",
        "c": {"d": -3},
        "e - f": "(x)(y) + 1 \\ 'ß\u4e2d\U0001f600\x7f\t",
        "g": [True, False],
    },
    [[[1.0, -0.0]], "", b"", "'", '"', "\\'", "'\"\\\"'", "\\" * 7],
    -5,
    "x",
]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_what_repr_writes_comes_back(value: object) -> None:
    assert parse_literal(repr(value)) == value


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int8", "int64", "uint8", "uint64"])
def test_numpys_scalars_are_the_numbers_they_hold(kind: str) -> None:
    value = np.dtype(kind).type(10)
    for text in (f"np.{kind}(10)", f"numpy.{kind}(10)", f"{kind}(10)", f"np.{kind}( 10 )", repr(value)):
        assert parse_literal(text) == 10
    assert parse_literal("np.float32(-1.5e-07)") == -1.5e-07
    assert parse_literal("[np.True_, np.bool_(False)]") == [True, False]
    assert parse_literal("np.float64(-inf)") == -math.inf
    nan = parse_literal("np.float64(nan)")
    assert isinstance(nan, float)
    assert math.isnan(nan)


@pytest.mark.parametrize(
    "array",
    [
        np.array([[1.0, -2.5], [3, 4]]),
        np.array([1, 2], np.uint8),
        np.zeros((0, 2), np.float32),
        np.array([[0.5]], np.float32),
    ],
    ids=lambda array: str(array.dtype),
)
def test_numpys_arrays_are_lists(array: "np.ndarray") -> None:  # type: ignore[type-arg]
    for prefix in ("", "np.", "numpy."):
        assert np.array_equal(np.array(parse_literal(prefix + repr(array))).reshape(array.shape), array)
    assert parse_literal("np.array([1], dtype=np.float32)") == [1]
    assert parse_literal("array([1], dtype='<f4')") == [1]


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch ran')",
        "{'a': open('x')}",
        "{'a': (lambda: 1)()}",
        "np.float64",
        "np.float64()",
        "np.float64('1')",
        "np.float64(1, 2)",
        "np.float64([1])",
        "np.load('x')",
        "np.array(1)",
        "np.array([1], order='C')",
        "np.array([1], dtype=object)",
        "{**{}}",
        "1 + 1",
        "1+1",
        "{'a': 1 -1}",
        "1e5+1e5",
        "e+e+e",
        "- 1",
        "- - 1",
        "--1",
        "f'{1}'",
        "'b'.c",
        "'a' 'b'",
        "b'ß'",
        "'\\d'",
        "'\\N{DASH}'",
        "'\\",
        "'a\nb'",
        "()()()",
        "[0][0][0]",
        "not not 1",
        "{[]: 1}",
        "{1: 1}",
        "{b'a': 1}",
        "{'a': 1",
        "{'a' 1}",
        "[1 2]",
        "[,]",
        "[1,,2]",
        "",
        " ",
        "{1, 2}",
        "{'a': 1}\0",
        "1.5.2",
        "1_000",
        "0x10",
        "1j",
        "...",
        "[1, ..., 2]",
        "nano",
        "-" * 100_000 + "1",
        "not " * 100_000 + "1",
        "()" * 100_000,
        "1" * 5_000,
        "'\\'" * 100_000,
        "\\" * 100_000,
        "'" + "\\" * 99_999,
        "'" + "\\x00" * 10,
        "{'" + "k" * 256 + "': 1}",
    ],
    ids=lambda text: text[:20],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(NotLiteralError, match=r"^is not a Python literal"):
        parse_literal(text)


def test_depth_and_number_of_values_are_bounded() -> None:
    deep = python_literal.MAX_DEPTH
    assert parse_literal("[" * deep + "]" * deep) is not None
    for text in ("[" * (deep + 2) + "]" * (deep + 2), "[" * 500_000, "{'a': " * 100_000, "(" * 500_000):
        with pytest.raises(NotLiteralError, match="nested more than 16 deep"):
            parse_literal(text)
    with pytest.raises(NotLiteralError, match="more than 50000 values"):
        parse_literal("[" + "1," * MAX_VALUES + "]")


def test_every_token_is_scanned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # Text in which an expression that searches for a closing quote from each quote takes quadratic time.
    scanned = 0
    original = python_literal._Reader._backslashes_before

    def counted(self: python_literal._Reader, end: int, start: int) -> int:
        nonlocal scanned
        found = original(self, end, start)
        scanned += found + 1
        return found

    monkeypatch.setattr(python_literal._Reader, "_backslashes_before", counted)
    for unit in ("\\'", "'\\", "\\\\'", '"\\', "'"):
        text = "'" + unit * 100_000
        scanned = 0
        with pytest.raises(NotLiteralError):
            parse_literal(text)
        assert scanned <= len(text)


def test_memory_is_in_proportion_to_the_text() -> None:
    tracemalloc.start()
    try:
        for text in (
            "[" + "1," * 500_000,
            "'" + "\\x00" * 250_000 + "'",
            "[" * 500_000,
            "[" + "''," * 300_000,
        ):
            tracemalloc.reset_peak()
            with suppress(NotLiteralError):
                parse_literal(text)
            assert tracemalloc.get_traced_memory()[1] < 16 * len(text)
    finally:
        tracemalloc.stop()
