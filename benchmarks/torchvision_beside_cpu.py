"""Import torchvision with a CPU build of torch.

PyPI's torchvision has operators that are compiled for another build of torch and fail to load, so that
importing it fails. Peers need only its models and transforms, which are plain Python. Declaring the missing
operators by name makes the import succeed.
"""

import re

import torch

_MISSING = re.compile(r"operator torchvision::(\w+) does not exist")


def import_torchvision() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")
    while True:
        try:
            import torchvision  # noqa: F401
        except RuntimeError as error:
            missing = _MISSING.search(str(error))
            if missing is None:
                raise
            library.define(f"{missing[1]}(Tensor pictures) -> Tensor")
        else:
            return
