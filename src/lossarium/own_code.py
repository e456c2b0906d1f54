"""Imports users' own losses, judges and models, named `package.module:attribute`."""

import importlib
import sys
from pathlib import Path
from types import ModuleType
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
    """Import a user's function or class.

    Modules are searched on Python's path and, last, in the current folder.

    Args:
        name: `package.module:attribute`.
        what: Its kind, for messages: "model", "loss", "judge".

    Raises:
        LossariumError: the name is malformed, the module cannot be imported, or it has no such function or
            class.
    """
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), attribute)):
        raise LossariumError(f'cannot read the {what} "{name}"; your own is named package.module:name')
    module = _imported(module_name, f'cannot import the {what} "{name}"')
    found = getattr(module, attribute, None)
    if not callable(found) and module_name == "__main__":
        raise LossariumError(
            f"the {what} {attribute} was defined in a script or notebook, which no other process can import; "
            f"save it in a file, such as mine.py, and name it mine:{attribute}"
        )
    if not callable(found):
        public = tuple(key for key, value in vars(module).items() if callable(value) and key[0] != "_")
        where = getattr(module, "__file__", None) or "no file"
        raise LossariumError(
            f"the module {module_name} ({where}) has no function or class {attribute}; "
            f"{nearest(attribute, public)}"
        )
    return found


def _imported(name: str, failure: str) -> ModuleType:
    _search_current_folder()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise LossariumError(
            f"{failure}: there is no module {error.name}; install it, start lossarium in the folder that it "
            "lies in, or put that folder on PYTHONPATH"
        ) from error
    # A script that is not meant to be imported may call sys.exit.
    except (Exception, SystemExit) as error:
        raise LossariumError(f"{failure}: {in_short(error)}") from error


def _search_current_folder() -> None:
    """Add the current folder to Python's path, as `python -m` does and the script `lossarium` does not.

    It comes last, so that a file there does not shadow a package of the same name that Lossarium uses.
    """
    try:
        here = str(Path.cwd())
    except OSError:
        # The current folder was removed.
        return
    if not {"", here} & set(sys.path):
        sys.path.append(here)
        importlib.invalidate_caches()


def in_short(error: BaseException) -> str:
    """The type and the first line of an error that a user's code raised."""
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0]}"
