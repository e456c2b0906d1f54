"""Symbolic links: which files count as part of a folder."""

import os
from pathlib import Path

from lossarium.text.wording import reason_of


def why_outside(path: Path, folder: Path | None) -> str | None:
    """Why a path is not part of a folder, or None if it is.

    Args:
        path: A file below the folder.
        folder: The folder, resolved; None if links may lead out of it, to any file that exists.
    """
    try:
        resolved = path.resolve(strict=True)
        inside = folder is None or resolved.is_relative_to(folder)
    # Circular links: RuntimeError before Python 3.13, OSError since.
    except (OSError, RuntimeError) as error:
        if os.path.islink(path):  # noqa: PTH114 - never raises, as pathlib's may
            return "is a broken link"
        return f"cannot be opened: {reason_of(error)}"
    return None if inside else "is a link that leads out of the folder"
