"""Users' own losses, judges and models: named `package.module:attribute`, imported when first asked for."""

import importlib
from typing import Any

from lossarium.errors import LossariumError
from lossarium.text.suggestions import nearest


def is_own(name: str) -> bool:
    """Whether a name is that of a user's own code.

    >>> is_own("mypackage.mine:loss"), is_own("mse")
    (True, False)
    """
    return ":" in name


def import_own(name: str, what: str) -> Any:
    """What a user's module has under a name.

    Args:
        name: `package.module:attribute`.
        what: What it should be, for messages: "model", "loss", "judge".

    Raises:
        LossariumError: the name is malformed, the module cannot be imported, or it has no such function or
            class.
    """
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), attribute)):
        raise LossariumError(f'cannot read the {what} "{name}"; your own is named package.module:name')
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise LossariumError(
            f'cannot import the {what} "{name}": there is no module {error.name}; install it, or put '
            "the folder that it lies in on PYTHONPATH"
        ) from error
    except Exception as error:
        raise LossariumError(f'cannot import the {what} "{name}": {in_short(error)}') from error
    found = getattr(module, attribute, None)
    if not callable(found):
        public = tuple(key for key, value in vars(module).items() if callable(value) and key[0] != "_")
        raise LossariumError(
            f"the module {module_name} has no function or class {attribute}; {nearest(attribute, public)}"
        )
    return found


def in_short(error: Exception) -> str:
    """The first line of an error that a user's code raised, with its kind."""
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0]}"
