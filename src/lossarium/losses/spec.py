"""Losses written as text: `"0.84*ssim + 0.16*mae"`, `"smooth_l1(beta=0.1)"`, `"mypackage.mine:loss(k=3)"`.

spec    = term { "+" term }
term    = [ number "*" ] loss [ "(" [ option { "," option } ] ")" ]
loss    = name | name { "." name } ":" name
option  = name "=" ( [ "-" ] ( number | "inf" ) | name | "true" | "false" )
"""

import math
import re
from dataclasses import dataclass

from lossarium.errors import LossariumError
from lossarium.losses.declaration import LossInfo, Option
from lossarium.losses.registry import info
from lossarium.text.suggestions import nearest

_MAX_LENGTH = 1000
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>(?:[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*:)?[A-Za-z_][A-Za-z0-9_]*)|(?P<mark>[-+*(),=]))"
)


@dataclass(frozen=True)
class Term:
    """One loss of a spec, with its factor and options."""

    name: str
    factor: float = 1.0
    options: tuple[tuple[str, Option], ...] = ()

    def __str__(self) -> str:
        options = ", ".join(f"{key}={option_text(value)}" for key, value in self.options)
        call = f"{self.name}({options})" if options else self.name
        return call if self.factor == 1 else f"{_number_text(self.factor)}*{call}"


@dataclass(frozen=True)
class Spec:
    """A sum of losses. Its text is canonical: equal sums in the same order have equal texts, and reading the
    text gives the same sum again, to the last bit of each number."""

    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return " + ".join(map(str, self.terms))


def parse(text: str, *, measures: bool = False) -> Spec:
    """Read a spec.

    Args:
        text: The spec.
        measures: Whether to allow measures that cannot be minimised, such as psnr: for measuring, not for
            training.

    Raises:
        LossariumError: the text is malformed (the place is shown), a name or an option is unknown (the
            nearest ones are named), a factor is not positive, or (unless `measures`) a measure cannot be
            minimised.

    >>> str(parse("0.84*ssim+.16 * mae"))
    '0.84*ssim + 0.16*mae'
    >>> str(parse("general(c=.1, alpha=-inf)"))
    'general(alpha=-inf, c=0.1)'
    """
    return _Reader(text, measures).spec()


def split(text: str) -> list[str]:
    """Split a list of specs at the commas outside parentheses.

    >>> split("mse, smooth_l1(beta=0.1), ssim + mae")
    ['mse', 'smooth_l1(beta=0.1)', 'ssim + mae']
    """
    pieces, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "," and depth <= 0:
            pieces.append(text[start:place])
            start = place + 1
    return [piece.strip() for piece in (*pieces, text[start:])]


def names_in(text: str) -> list[str]:
    """The losses that a canonical spec names; they need not exist any more.

    >>> names_in("0.5*ssim(window=7) + mypackage.mine:loss(k=3)")
    ['ssim', 'mypackage.mine:loss']
    """
    return [term.partition("(")[0].rpartition("*")[2].strip() for term in text.split(" + ")]


def option_text(value: Option) -> str:
    """The value of an option as written in a spec: true, 0.05, -inf, alex."""
    if isinstance(value, bool):
        return str(value).lower()
    return _number_text(value) if isinstance(value, float) else str(value)


def _number_text(value: float) -> str:
    """The shortest text that reads back to the same number."""
    return repr(float(value)).removesuffix(".0")


@dataclass(frozen=True)
class _Token:
    kind: str
    """number, name, mark or end."""
    text: str
    place: int


class _Reader:
    """Reads a spec from left to right, one token ahead."""

    def __init__(self, text: str, measures: bool) -> None:
        self.text = text
        self.measures = measures
        if len(text) > _MAX_LENGTH:
            raise LossariumError(f"a loss spec has at most {_MAX_LENGTH} characters, not {len(text)}")
        self.tokens = self._tokens()
        self.next = 0

    def _tokens(self) -> list[_Token]:
        tokens, place = [], 0
        end = len(self.text.rstrip())
        while place < end:
            match = _TOKEN.match(self.text, place)
            if match is None:
                place += len(self.text[place:]) - len(self.text[place:].lstrip())
                raise self._error(f"{self.text[place]!r} has no meaning here", place)
            kind = str(match.lastgroup)
            tokens.append(_Token(kind, match.group(kind), match.start(kind)))
            place = match.end()
        tokens.append(_Token("end", "", end))
        return tokens

    def _error(self, reason: str, place: int) -> LossariumError:
        return LossariumError(
            f'cannot read the loss "{self.text}" at character {place + 1}: {reason}\n'
            f"    {self.text}\n    {' ' * place}^"
        )

    def _expected(self, what: str) -> LossariumError:
        token = self.tokens[self.next]
        found = "it ends" if token.kind == "end" else f'there is "{token.text}"'
        return self._error(f"{what} is expected but {found}", token.place)

    def _take(self, kind: str, text: str | None = None) -> _Token | None:
        token = self.tokens[self.next]
        if token.kind != kind or (text is not None and token.text != text):
            return None
        self.next += 1
        return token

    def _mark(self, text: str) -> _Token | None:
        return self._take("mark", text)

    def spec(self) -> Spec:
        terms = [self._term()]
        while self._mark("+"):
            terms.append(self._term())
        if minus := self._mark("-"):
            raise self._error(
                "losses can be added only, a negative weight would reward the error", minus.place
            )
        if self._take("end") is None:
            raise self._expected('"+" or the end')
        return Spec(tuple(terms))

    def _term(self) -> Term:
        factor = self._factor()
        name = self._take("name")
        if name is None:
            raise self._expected("the name of a loss")
        try:
            loss = info(name.text)
        except LossariumError as error:
            raise self._error(str(error), name.place) from None
        if not (loss.objective or self.measures):
            raise self._error(
                f"{name.text} is a measure and cannot be minimised, since {loss.not_minimised}", name.place
            )
        return Term(loss.name, factor, self._options(name.text, loss))

    def _factor(self) -> float:
        if minus := self._mark("-"):
            raise self._error(
                "a negative weight would reward the error, a weight must be positive", minus.place
            )
        number = self._take("number")
        if number is None:
            return 1.0
        if not self._mark("*"):
            raise self._expected('"*" after the weight')
        value = float(number.text)
        if value == 0 or math.isinf(value):
            raise self._error("a weight must be positive and finite", number.place)
        return value

    def _options(self, loss: str, declared: LossInfo) -> tuple[tuple[str, Option], ...]:
        known = declared.options
        if not self._mark("("):
            return ()
        options: dict[str, Option] = {}
        while not self._mark(")"):
            if options and not self._mark(","):
                raise self._expected('"," or ")"')
            key = self._take("name")
            if key is None:
                raise self._expected(f"an option of {loss}")
            if key.text not in known:
                hint = nearest(key.text, tuple(known))
                raise self._error(f'{loss} has no option "{key.text}", {hint}', key.place)
            if key.text in options:
                raise self._error(f"{key.text} is given twice", key.place)
            if not self._mark("="):
                raise self._expected(f'"=" after {key.text}')
            options[key.text] = self._value(key.text, known[key.text], declared.words.get(key.text))
        return tuple(sorted(options.items()))

    def _value(self, key: str, default: Option, words: tuple[str, ...] | None) -> Option:
        """A value of the same type as the option's default, and one of the words if there are only a few."""
        sign = -1 if self._mark("-") else 1
        token = self.tokens[self.next]
        infinite = isinstance(default, float) and token.text.lower() == "inf"
        if token.kind != "number" and not infinite and (sign < 0 or token.kind != "name"):
            raise self._expected(f"a value for {key}")
        self.next += 1
        value: Option
        if token.kind == "number" or infinite:
            value = sign * float(token.text)
            if isinstance(default, int) and not isinstance(default, bool) and value.is_integer():
                value = int(value)
        else:
            value = {"true": True, "false": False}.get(token.text.lower(), token.text)
        if type(value) is not type(default):
            wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}[
                type(default)
            ]
            raise self._error(f"{key} is {wanted}", token.place)
        if words is not None and value not in words:
            raise self._error(f"{key} is one of {', '.join(words)}, not {value}", token.place)
        return value
