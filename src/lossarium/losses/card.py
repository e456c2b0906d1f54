"""The card of a loss, for people: its declaration together with its function's docstring."""

import inspect
import re
from collections.abc import Mapping

from lossarium.losses.declaration import LossInfo
from lossarium.losses.spec import Term

# "    alpha: The shape; ..." below "Args:", with the lines that go on from it indented deeper.
_ARGUMENT = re.compile(r"^    (?P<name>\w+): (?P<text>.*(?:\n {8,}.*)*)", re.MULTILINE)
_SECTION = re.compile(r"^Args:\n(?P<body>(?:(?: +.*)?\n)+)", re.MULTILINE)


def title(loss: LossInfo) -> str:
    """The name of the loss in words: the beginning of its docstring, up to a colon or a full stop.

    >>> from lossarium.losses.registry import info
    >>> title(info("mse"))
    'Mean squared error'
    """
    return re.split(r"[:.]\s", _docstring(loss) + "\n", maxsplit=1)[0].replace("\n", " ").strip()


def options_explained(loss: LossInfo) -> Mapping[str, str]:
    """What each option does, from the docstring; "" if that does not say.

    >>> from lossarium.losses.registry import info
    >>> options_explained(info("psnr"))["data_range"]
    "The peak: the distance between the pictures' black and white."
    """
    section = _SECTION.search(_docstring(loss) + "\n")
    found = _ARGUMENT.finditer(section["body"]) if section else ()
    texts = {match["name"]: " ".join(match["text"].split()) for match in found}
    return {option: texts.get(option, "") for option in loss.options}


def with_all_options(loss: LossInfo) -> Term:
    """The loss as a term of a spec with all its defaults, ready to edit."""
    return Term(loss.name, options=tuple(loss.options.items()))


def _docstring(loss: LossInfo) -> str:
    return inspect.getdoc(loss.function) or ""
