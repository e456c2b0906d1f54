"""JSON that people wrote: a byte order mark is accepted, and mistakes are told in plain words."""

import json

import pytest

from lossarium.text.json_text import parse_json


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ('{"a": }', "in line 1, column 7, a value is missing or misspelt"),
        ('{"a": tru}', "in line 1, column 7, a value is missing or misspelt"),
        ("{\n a: 1}", "in line 2, column 2, a name in double quotes is missing"),
        ('{"a" 1}', "in line 1, column 6, a colon is missing"),
        ('{"a": [1 2]}', "in line 1, column 10, a comma or a closing bracket is missing"),
        ("{} {}", "in line 1, column 4, there is more text after its end"),
        ('{"a', "in line 1, column 2, a text without a closing quote begins"),
        ('["\n"]', "in line 1, column 3, a line break or another control character is inside a text"),
        (
            r'["\x"]',
            "in line 1, column 3, a backslash in a text is followed by something other than a valid escape",
        ),
        ("[" + "1" * 5000 + "]", "a number has too many digits"),
        ("[NaN]", "NaN is not a number"),
        ("[-Infinity]", "-Infinity is not a number"),
        ("[" * 200_000, "it is nested too deep"),
    ],
)
def test_a_mistake_is_told_in_plain_words(text, said):
    with pytest.raises(ValueError, match=r"^[^(]+$") as error:
        parse_json(text)
    assert str(error.value) == said


def test_a_byte_order_mark_is_accepted():
    table = {"frames/0001.webp": [[1, 2.5], None, True]}
    assert parse_json("\ufeff" + json.dumps(table)) == table
