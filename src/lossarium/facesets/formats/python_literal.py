"""Python literals as `repr` writes them, and numpy's scalars and arrays, read without running anything.

It makes one pass over the text, so time is proportional to its length; nesting and the number of values are
bounded. The only names allowed are numpy's numeric types, which make plain numbers.
"""

import re
from collections.abc import Mapping

MAX_VALUES = 50_000
"""A literal with more values is refused."""
MAX_DEPTH = 16
"""A literal nested deeper is refused."""
LONGEST_KEY = 255
"""A dict key of more characters is refused."""

_LONGEST_NUMBER = 400
# Possessive quantifiers never backtrack, so no text is scanned twice.
_TOKEN = re.compile(
    r"""\s*+(?:
      (?P<quote>b?['"])
    | (?P<number>[+-]?(?:\d++(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?\d++)?+|[+-]?(?:nan|inf))(?![\w.])
    | (?P<word>[A-Za-z_][\w.]*+)
    | (?P<mark>[\[\](){},:=])
    | (?P<end>\Z))""",
    re.ASCII | re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:[\\'\"abfnrtv]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})", re.ASCII)
_CONSTANTS: Mapping[str, bool | None] = {
    "True": True,
    "False": False,
    "None": None,
    "np.True_": True,
    "np.False_": False,
}
_SCALAR = re.compile(r"(?:np\.|numpy\.)?(?:float(?:16|32|64)|u?int(?:8|16|32|64)|bool_?)", re.ASCII)
_ARRAY = re.compile(r"(?:np\.|numpy\.)?array", re.ASCII)
_CLOSING = {"[": "]", "(": ")", "{": "}"}


class NotLiteralError(ValueError):
    """Why a text is not a literal; the message continues a sentence that begins with "it"."""


def parse_literal(text: str) -> object:
    """The value of a literal: text, bytes, numbers, True, False, None, and lists, tuples and dicts of them.

    Numpy's scalars become the numbers they hold (`np.int64(10)` is 10), its arrays become lists. Keys of
    dicts are text.

    Raises:
        NotLiteralError: the text is anything else, is nested deeper than `MAX_DEPTH`, or holds more than
            `MAX_VALUES` values.

    Example:
        >>> parse_literal("{'x': np.int64(10), 'points': array([[1., nan]], dtype=float32)}")
        {'x': 10, 'points': [[1.0, nan]]}
    """
    reader = _Reader(text)
    value = reader.value(0)
    reader.expect("")
    return value


class _Reader:
    """The text, and the token that comes next."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self.values = 0
        self.advance()

    def advance(self) -> None:
        found = _TOKEN.match(self.text, self.place)
        if found is None:
            raise NotLiteralError("is not a Python literal")
        self.place = found.end()
        self.kind = found.lastgroup or ""
        self.token = found[self.kind]

    def expect(self, mark: str) -> None:
        """Skip a bracket, comma or colon, or the end of the text if `mark` is empty."""
        if self.token != mark or self.kind not in ("mark", "end"):
            raise NotLiteralError("is not a Python literal")
        if mark:
            self.advance()

    def value(self, depth: int) -> object:
        self.values += 1
        if self.values > MAX_VALUES:
            raise NotLiteralError(f"holds more than {MAX_VALUES} values")
        if depth > MAX_DEPTH:
            raise NotLiteralError(f"is nested more than {MAX_DEPTH} deep")
        kind, token = self.kind, self.token
        if kind == "quote":
            content = self._string()
            self.advance()
            return content
        self.advance()
        if kind == "number":
            return _number(token)
        if kind == "word":
            return self._named(token, depth)
        if kind == "mark" and token in _CLOSING:
            return self._dict(depth) if token == "{" else self._sequence(token, depth)
        raise NotLiteralError("is not a Python literal")

    def _sequence(self, bracket: str, depth: int) -> object:
        closing = _CLOSING[bracket]
        items: list[object] = []
        comma = False
        while not self._at(closing):
            items.append(self.value(depth + 1))
            comma = self._at(",")
            if not comma:
                break
            self.advance()
        self.expect(closing)
        if bracket == "[":
            return items
        return items[0] if len(items) == 1 and not comma else tuple(items)

    def _dict(self, depth: int) -> dict[str, object]:
        table: dict[str, object] = {}
        while not self._at("}"):
            key = self.value(depth + 1)
            if not isinstance(key, str) or len(key) > LONGEST_KEY:
                raise NotLiteralError("is not a Python literal with short text for keys")
            self.expect(":")
            table[key] = self.value(depth + 1)
            if not self._at(","):
                break
            self.advance()
        self.expect("}")
        return table

    def _named(self, name: str, depth: int) -> object:
        """A constant, or one of numpy's types called with a value."""
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        is_array = _ARRAY.fullmatch(name) is not None
        if not is_array and not _SCALAR.fullmatch(name):
            raise NotLiteralError("is not a Python literal")
        self.expect("(")
        value = self.value(depth + 1)
        while is_array and self._at(","):
            self._array_option(depth)
        self.expect(")")
        if isinstance(value, list) if is_array else isinstance(value, int | float):
            return value
        raise NotLiteralError("is not a Python literal")

    def _array_option(self, depth: int) -> None:
        """Skip `, dtype=float32` or `, shape=(0, 2)`: the values already have that information."""
        self.advance()
        name = self.token
        self.advance()
        self.expect("=")
        if name == "dtype" and self.kind == "word" and _SCALAR.fullmatch(self.token):
            self.advance()
        elif name in ("dtype", "shape"):
            self.value(depth + 1)
        else:
            raise NotLiteralError("is not a Python literal")

    def _at(self, mark: str) -> bool:
        return self.kind == "mark" and self.token == mark

    def _string(self) -> str | bytes:
        """The text or bytes after an opening quote."""
        start, quote = self.place, self.token[-1]
        end = self.text.find(quote, start)
        while end >= 0 and self._backslashes_before(end, start) % 2:
            end = self.text.find(quote, end + 1)
        if end < 0:
            raise NotLiteralError("is not a Python literal")
        body = self.text[start:end]
        self.place = end + 1
        is_bytes = self.token[0] == "b"
        if "\n" in body or (is_bytes and not body.isascii()):
            raise NotLiteralError("is not a Python literal")
        if "\\" in body:
            # Only what `repr` writes is decoded; for that the codec agrees with Python.
            if "\\" in _ESCAPE.sub("", body):
                raise NotLiteralError("is not a Python literal")
            try:
                body = body.encode("latin-1", "backslashreplace").decode("unicode_escape")
            except UnicodeDecodeError as error:
                raise NotLiteralError("is not a Python literal") from error
        try:
            return body.encode("latin-1") if is_bytes else body
        except UnicodeEncodeError as error:
            raise NotLiteralError("is not a Python literal") from error

    def _backslashes_before(self, end: int, start: int) -> int:
        place = end
        while place > start and self.text[place - 1] == "\\":
            place -= 1
        return end - place


def _number(token: str) -> int | float:
    if len(token) > _LONGEST_NUMBER:
        raise NotLiteralError("is not a Python literal of short numbers")
    try:
        return int(token)
    except ValueError:
        return float(token)
