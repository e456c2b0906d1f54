"""Names with options: read, written, and refused in a sentence."""

import doctest
import math

import pytest

from lossarium.errors import LossariumError
from lossarium.training.options import syntax
from lossarium.training.options.syntax import call_text, read_call


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("adam", "adam", {}),
        (" adam ( ) ", "adam", {}),
        ("norm(2)", "norm", {"": 2}),
        ("step(every=1000, factor=.5)", "step", {"every": 1000, "factor": 0.5}),
        ("step( every = 1e3 ,factor=5.)", "step", {"every": 1000, "factor": 5.0}),
        ("a(b=[1, 2.5], c=[])", "a", {"b": (1, 2.5), "c": ()}),
        ("a(b=true, c=False, d=gray)", "a", {"b": True, "c": False, "d": "gray"}),
        ("a(b=-inf, c=1e-3, d=1e400)", "a", {"b": -math.inf, "c": 0.001, "d": math.inf}),
        ("a(b=123456789012345, c=1234567890123456)", "a", {"b": 123456789012345, "c": 1234567890123456.0}),
    ],
)
def test_reads(text, name, options):
    call = read_call(text, "thing")
    assert call.name == name
    assert call.options == options
    assert [type(value) for value in call.options.values()] == [type(value) for value in options.values()]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"": 0.1},
        {"a": 1 / 3, "b": 5e-324, "c": 1e16, "d": 1.7976931348623157e308, "e": -2.5, "f": 2.0},
        {"a": (1, 0.1, 1e22), "b": True, "c": False, "d": 7, "e": "gray", "f": ()},
    ],
)
def test_what_is_written_is_read_to_the_last_bit(options):
    call = read_call(call_text("name", options), "thing")
    assert call.name == "name"
    read = call.values(options)
    # Equal floats have equal bits, but for the sign of 0.
    assert read == options
    assert {key: type(value) for key, value in read.items()} == {
        key: type(value) for key, value in options.items()
    }


def test_options_are_written_in_the_order_of_their_names():
    assert call_text("a", {"c": 1.0, "b": 2}) == "a(b=2, c=1)"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a(b=1, b=2)", "b is given twice"),
        ("a(1, 2)", "a value without a name is given twice"),
        ("a(b=[1, x])", r"a list holds numbers, not \[1, x\]"),
        ("a(b=x-y)", '"x-y" is no value'),
        ("a(b=1 c=2)", 'an option is written option=value, not "b=1 c=2"'),
        ("1a", "written as a name with options"),
        ("a(b", "it is written as a name with options"),
        ("a" * 1001, "a thing has at most 1000 characters, not 1001"),
    ],
)
def test_what_cannot_be_read_is_refused(text, reason):
    with pytest.raises(LossariumError, match=reason):
        read_call(text, "thing")


def test_the_longest_that_is_allowed_is_read():
    assert read_call("a" * 1000, "thing").name == "a" * 1000


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a(lenght=3)", 'a has no option "lenght", did you mean length'),
        ("a(3)", "a has no value without a name"),
        ("a(length=2.5)", "length is a whole number"),
        ("a(length=true)", "length is a whole number"),
        ("a(share=true)", "share is a number"),
        ("a(on=1)", "on is true or false"),
        ("a(word=1)", "word is a word"),
        ("a(at=1)", r"at is a list such as \[1, 2\]"),
        ("a(length=[1])", "length is a whole number"),
    ],
)
def test_options_of_another_type_are_refused(text, reason):
    examples = {"length": 1, "share": 0.5, "on": True, "word": "gray", "at": (1,)}
    with pytest.raises(LossariumError, match=reason) as caught:
        read_call(text, "thing").values(examples)
    assert str(caught.value).startswith(f'cannot read the thing "{text}": ')


def test_whole_numbers_are_taken_for_others_and_lists_become_what_their_example_holds():
    values = read_call("a(share=1, at=[1, 2])", "thing").values({"share": 0.5, "at": (0.5,)})
    assert values == {"share": 1.0, "at": (1.0, 2.0)}
    assert [type(values["share"]), *map(type, values["at"])] == [float, float, float]


def test_examples_in_docstrings():
    assert doctest.testmod(syntax).attempted > 0
    assert doctest.testmod(syntax).failed == 0
