"""`tomllib` for untrusted text: time and memory are proportional to its length."""

import re
import tomllib
from typing import Any

MOST_KEY_PARTS = 16
"""A dotted key of more parts is refused: for each part tomllib walks the tables above it again."""
MOST_DEPTH = 32
"""Arrays and inline tables nested deeper are refused."""
LONGEST_NUMBER = 400
"""A number, or any other bare word, of more characters is refused."""

# Closing quotes are optional, so that every alternative matches where it begins and no text is scanned twice;
# tomllib refuses what is not closed.
_QUOTED_OR_COMMENT = re.compile(
    r'"""(?:[^"\\]++|\\.|"(?!""))*+(?:"{3,5})?+'
    r"|'''(?:[^']++|'(?!''))*+(?:'{3,5})?+"
    r'|"(?:[^"\\\n]++|\\[^\n])*+"?+'
    r"|'[^'\n]*+'?+"
    r"|\#[^\n]*+",
    re.DOTALL,
)
_BARE = re.compile(r"[\w+-]++", re.ASCII)
_PART = r"[\w+-]++[ \t]*+"
_LONG_KEY = re.compile(rf"(?<![\w+-])(?:{_PART}\.[ \t]*+){{{MOST_KEY_PARTS}}}", re.ASCII)


def parse_toml(text: str) -> dict[str, Any]:
    """`tomllib.loads` for untrusted text.

    Raises:
        ValueError: it is not TOML, or keys, numbers or nesting exceed the limits above.

    Example:
        >>> parse_toml("a.b = [1, 2]")
        {'a': {'b': [1, 2]}}
    """
    # Editors on Windows begin a file with a byte order mark.
    text = text.removeprefix("\ufeff")
    # A quoted part of a key becomes a bare one.
    bare = _QUOTED_OR_COMMENT.sub(lambda found: "" if found[0].startswith("#") else "s", text)
    if max((len(word[0]) for word in _BARE.finditer(bare)), default=0) > LONGEST_NUMBER:
        raise ValueError(f"a number or a name has more than {LONGEST_NUMBER} characters")
    if _LONG_KEY.search(bare):
        raise ValueError(f"a key has more than {MOST_KEY_PARTS} parts")
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", bare):
        depth += 1 if bracket in "[{" else -1
        if depth > MOST_DEPTH:
            raise ValueError(f"it is nested more than {MOST_DEPTH} deep")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
