"""Lossarium: which loss function makes the best pictures from your data, with evidence.

>>> import lossarium
>>> lossarium.losses.get("ssim + 0.5*mae")
Loss(ssim + 0.5*mae)
"""

import importlib

from lossarium.errors import LossariumError

__all__ = ["LossariumError", "losses"]
__version__ = "0.1.0"

# Type checkers take this constant as true, like typing's. Importing typing itself would triple the time until
# the command line can handle Ctrl-C.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from lossarium import losses
else:
    # Hidden from type checkers, which would otherwise accept any attribute of this module.
    def __getattr__(name: str) -> object:
        # Imported late: the losses need torch, which takes a second to import.
        if name == "losses":
            return importlib.import_module("lossarium.losses")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
