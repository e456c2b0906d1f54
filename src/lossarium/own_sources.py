"""The source files of users' own losses, judges and models, and their digests.

They are the file of the module that is named, and the files under the same folder that it imports, directly
or through each other. Imports are read from the source, so one by a computed name is not seen. An installed
package counts by its version instead.
"""

import ast
import hashlib
import inspect
import site
import sys
import sysconfig
from collections import deque
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

from lossarium.own_code import import_own

_DIGITS = 16
# What belongs to one loss is a few files; a folder of thousands is something else.
_MOST_FILES = 500
_LARGEST = 1 << 26
_INSTALLED = "version of "


def source_digests(name: str, what: str) -> dict[str, str]:
    """The digest of each source file of a user's module; empty if it has none.

    Args:
        name: `package.module:attribute`.
        what: Its kind, for messages.

    Returns:
        Path -> the first hex digits of its SHA-256. Paths are relative to the folder that the module is
        imported from. Of an installed package, there is the module's own file and "version of NAME".

    Raises:
        LossariumError: it cannot be imported.
    """
    import_own(name, what)
    module = name.partition(":")[0]
    file = _file_of(module)
    if file is None:
        return {}
    folder = source_folder(module, file)
    if _is_installed(file):
        found = {file: _read(file)}
        about = _version_of(module.partition(".")[0])
    else:
        found, about = _with_imports(module, file, folder), {}
    # The path of a module in a zip archive is not a file.
    digests = {
        path.relative_to(folder).as_posix(): hashlib.sha256(content).hexdigest()[:_DIGITS]
        for path, content in found.items()
        if content is not None
    }
    return digests | about


def changed_sources(recorded: object, name: str, what: str) -> list[str]:
    """The source files that differ from those that `source_digests` gave; they may be new or gone, too.

    Args:
        recorded: What it gave, as it was read from a file; anything else counts as nothing recorded.
        name: As for `source_digests`.
        what: As for `source_digests`.

    Raises:
        LossariumError: it cannot be imported.
    """
    if not isinstance(recorded, dict):
        return []
    now = source_digests(name, what)
    changed = [path for path in {**now, **recorded} if recorded.get(path) != now.get(path)]
    module = name.partition(":")[0]
    file = _file_of(module)
    folder = Path() if file is None else source_folder(module, file)
    return [path if path.startswith(_INSTALLED) else str(folder / path) for path in changed]


def source_folder(module: str, file: Path) -> Path:
    """The folder that a module is imported from: the one that its topmost package lies in."""
    levels = module.count(".") + (file.stem == "__init__")
    folder = file.parents[min(levels, len(file.parents) - 1)]
    inside = file.parent if file.stem == "__init__" else file.with_suffix("")
    return folder if inside.relative_to(folder).parts == tuple(module.split(".")) else file.parent


def _file_of(module: str) -> Path | None:
    try:
        found = inspect.getsourcefile(sys.modules[module])
    except TypeError:
        # A module built into the interpreter.
        return None
    return None if found is None else Path(found)


def _is_installed(file: Path) -> bool:
    """Whether a file is part of Python or of a package that pip installed."""
    folders = {*sysconfig.get_paths().values(), *site.getsitepackages(), site.getusersitepackages()}
    kinds = ("site-packages", "dist-packages")
    return any(part in kinds for part in file.parts) or any(
        file.is_relative_to(folder) for folder in folders if folder and Path(folder).name.startswith("python")
    )


def _version_of(package: str) -> dict[str, str]:
    for distribution in (package, *packages_distributions().get(package, ())):
        try:
            return {f"{_INSTALLED}{distribution}": version(distribution)}
        except PackageNotFoundError:
            continue
    return {}


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes() if path.stat().st_size <= _LARGEST else None
    except OSError:
        return None


def _with_imports(module: str, file: Path, folder: Path) -> dict[Path, bytes | None]:
    """The content of a file and of those under the folder that it imports, breadth first."""
    found: dict[Path, bytes | None] = {}
    waiting = deque([(module, file)])
    for package in _parents(module)[:-1]:
        waiting.extend(_file_in(folder, package))
    while waiting and len(found) < _MOST_FILES:
        name, path = waiting.popleft()
        if path in found:
            continue
        content = found[path] = _read(path)
        if content is None or path.suffix != ".py":
            continue
        for imported in _imports(content, name, is_package=path.stem == "__init__"):
            for each in _parents(imported):
                waiting.extend(_file_in(folder, each))
    return found


def _imports(content: bytes, module: str, *, is_package: bool) -> Iterator[str]:
    """The full names that a file's import statements may name: modules, and what is taken from them."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".") if is_package else module.split(".")[:-1]
            base = parts[: len(parts) + 1 - node.level] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else [])]
            if base:
                yield ".".join(base)
            yield from (".".join([*base, alias.name]) for alias in node.names)


def _parents(name: str) -> list[str]:
    """A module's packages from the topmost one, then the module itself."""
    parts = name.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def _file_in(folder: Path, name: str) -> list[tuple[str, Path]]:
    """The file of a module under a folder, if it is there and not another one of its name is imported."""
    if name.partition(".")[0] == "lossarium":
        # Its own sources are in the environment.
        return []
    base = folder.joinpath(*name.split("."))
    files = [base / "__init__.py", *(base.with_name(base.name + end) for end in (".py", *EXTENSION_SUFFIXES))]
    path = next((path for path in files if path.is_file()), None)
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if path is None or (loaded is not None and not _same(path, Path(loaded))):
        return []
    return [(name, path)]


def _same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False
