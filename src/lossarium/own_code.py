"""Users' own losses, judges and models: named `package.module:attribute`, imported when first asked for."""

import hashlib
import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from lossarium.errors import LossariumError
from lossarium.text.suggestions import nearest

_DIGITS = 16


def is_own(name: str) -> bool:
    """Whether a name is that of a user's own code.

    >>> is_own("mypackage.mine:loss"), is_own("mse")
    (True, False)
    """
    return ":" in name


def import_own(name: str, what: str) -> Any:
    """What a user's module has under a name.

    Modules are looked for where Python finds every module and, after those, in the current folder.

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
    module = _imported(module_name, f'cannot import the {what} "{name}"')
    found = getattr(module, attribute, None)
    if not callable(found):
        public = tuple(key for key, value in vars(module).items() if callable(value) and key[0] != "_")
        where = getattr(module, "__file__", None) or "no file"
        raise LossariumError(
            f"the module {module_name} ({where}) has no function or class {attribute}; "
            f"{nearest(attribute, public)}"
        )
    return found


def own_source(name: str, what: str) -> Path | None:
    """The file that a user's module was imported from; None for one without a source file.

    Args:
        name: `package.module:attribute`.
        what: What it should be, for messages.

    Raises:
        LossariumError: as `import_own`.
    """
    import_own(name, what)
    try:
        found = inspect.getsourcefile(sys.modules[name.partition(":")[0]])
    except TypeError:
        # Built into the interpreter.
        return None
    return None if found is None else Path(found)


def source_digest(name: str, what: str) -> str:
    """The beginning of the SHA-256, in hex, of the file of `own_source`; empty if there is none to read."""
    path = own_source(name, what)
    try:
        return "" if path is None else hashlib.sha256(path.read_bytes()).hexdigest()[:_DIGITS]
    except OSError:
        # A module in a zip archive has a path that is no file.
        return ""


def _imported(name: str, failure: str) -> ModuleType:
    _search_current_folder()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise LossariumError(
            f"{failure}: there is no module {error.name}; install it, start lossarium in the folder that it "
            "lies in, or put that folder on PYTHONPATH"
        ) from error
    # A script that was not written to be imported may end itself.
    except (Exception, SystemExit) as error:
        raise LossariumError(f"{failure}: {in_short(error)}") from error


def _search_current_folder() -> None:
    """Let Python find modules of the current folder, as `python -m` does; the script `lossarium` does not.

    Last, so that a file with the name of a package that Lossarium uses does not take its place.
    """
    try:
        here = str(Path.cwd())
    except OSError:
        # The folder was removed.
        return
    if not {"", here} & set(sys.path):
        sys.path.append(here)
        importlib.invalidate_caches()


def in_short(error: BaseException) -> str:
    """The first line of an error that a user's code raised, with its kind."""
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0]}"
