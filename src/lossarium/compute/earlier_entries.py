"""Remove what earlier versions of Lossarium left in Numba's own cache; nothing reads it any more."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# Numba's names for an index and for machine code, such as `elementwise.elementwise.locals.tiles-30.py311.nbi`
# and `halving._halve-63.py311.1.nbc`.
_ENTRY = re.compile(r"[\w.]+-\d+\.py3\d+[a-z]*(\.nbi|\.\d+\.nbc)")
# Folders of the package that held kernels, and hold none today or are gone.
_EARLIER = ("kernels", "facesets/synthetic")


def remove_earlier_entries(package: Path, cache_dir: str = "") -> None:
    """Remove Numba's entries for kernels of this package, and no other file.

    Args:
        package: The folder of Lossarium's sources; entries stood in `__pycache__` beside them.
        cache_dir: NUMBA_CACHE_DIR, if set: entries stood in a folder of it for each folder of sources.
    """
    for folder in _folders(package, cache_dir):
        with suppress(OSError):
            for path in folder.iterdir():
                if _ENTRY.fullmatch(path.name) and not path.is_symlink():
                    path.unlink(missing_ok=True)
            if folder.name != "__pycache__":
                # Unless it holds anything else.
                folder.rmdir()


def _folders(package: Path, cache_dir: str) -> Iterator[Path]:
    caches = [*package.rglob("__pycache__")]
    yield from caches
    if not cache_dir:
        return
    sources = {folder.parent for folder in caches} | {package / name for name in _EARLIER}
    for folder in sorted(sources):
        digest = hashlib.sha1(str(folder).encode(), usedforsecurity=False).hexdigest()
        yield Path(cache_dir) / f"{folder.name}_{digest}"
