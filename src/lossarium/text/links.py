"""Links: what counts as part of a folder."""

import os
from pathlib import Path

from lossarium.text.wording import reason_of


def why_outside(path: Path, folder: Path | None) -> str | None:
    """Why a link does not count as part of a folder, or None where the path is fine.

    Args:
        path: A file below the folder.
        folder: The folder, resolved; None where links may lead anywhere, as long as something is there.
    """
    try:
        resolved = path.resolve(strict=True)
        inside = folder is None or resolved.is_relative_to(folder)
    # Links that go in circles: RuntimeError before Python 3.13, OSError since.
    except (OSError, RuntimeError) as error:
        if os.path.islink(path):  # noqa: PTH114 - never raises, as pathlib's may
            return "is a link that leads nowhere"
        return f"cannot be opened: {reason_of(error)}"
    return None if inside else "is a link that leads out of the folder"
