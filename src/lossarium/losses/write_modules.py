"""Writes `lossarium/losses/modules.py` from the functions: `python -m lossarium.losses.write_modules`."""

import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Literal, get_origin

from lossarium.losses import reduction
from lossarium.losses.built_in import LOSSES
from lossarium.losses.card import title
from lossarium.losses.declaration import LossInfo
from lossarium.losses.perceptual import lpips_networks

FILE = Path(__file__).with_name("modules.py")

# The types of options that are one of a few words, and where each is defined.
_WORDS: dict[str, ModuleType] = {
    "Color": reduction,
    "LPIPSNet": lpips_networks,
    "LPIPSPrecision": lpips_networks,
}

# Names that cannot be split into words.
_IRREGULAR = {"haarpsi": "HaarPSI", "linf": "LInf", "logcosh": "LogCosh"}
_ACRONYMS = frozenset(
    (
        *("ffl", "flip", "gmsd", "imae", "lpips", "mae", "mape", "mase", "mbe", "mdsi", "mpe", "ms", "mse"),
        *("nlpd", "psnr", "rmse", "sse", "ssim", "uqi"),
    )
)
_HEADER = '''"""Every loss as a module that keeps its options. Written by a program, not by hand.

`python -m lossarium.losses.write_modules` rewrites this file after a function's signature has changed.

>>> SSIM(window=7)
SSIM(window=7, sigma=1.5, color='rgb')
"""

# ruff: noqa: N801 - MS_SSIM is what the field calls it.

from torch import Tensor

'''


def class_name(loss: str) -> str:
    """The class name of the module of a loss.

    >>> class_name("ms_ssim"), class_name("smooth_l1"), class_name("mse")
    ('MS_SSIM', 'SmoothL1', 'MSE')
    """
    if loss in _IRREGULAR:
        return _IRREGULAR[loss]
    parts = loss.split("_")
    if _ACRONYMS.issuperset(parts):
        return loss.upper()
    return "".join(part.upper() if part in _ACRONYMS else part.capitalize() for part in parts)


def text() -> str:
    """The text of `modules.py`."""
    losses = sorted(LOSSES, key=lambda loss: loss.function.__module__)
    imports: dict[str, list[str]] = {}
    for loss in losses:
        imports.setdefault(loss.function.__module__, []).append(loss.name)
    imports["lossarium.losses.loss_module"] = ["LossModule"]
    imports["lossarium.losses.reduction"] = ["Reduction"]
    for name, module in _WORDS.items():
        imports.setdefault(module.__name__, []).append(name)
    lines = [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(imports.items())]
    classes = (_class(loss) for loss in sorted(losses, key=lambda loss: class_name(loss.name)))
    return _HEADER + "\n".join(lines) + "\n" + "".join(classes)


def _class(loss: LossInfo) -> str:
    parameters = inspect.signature(loss.function).parameters
    options = {name: parameters[name] for name in loss.options}
    declared = [
        f"        {name}: {_annotation(option)} = {_literal(option.default)},\n"
        for name, option in options.items()
    ]
    kept = [f"        self.{name} = {name}\n" for name in options]
    given = [f"            {name}=self.{name},\n" for name in options]
    if options:
        begin = (
            "    def __init__(\n        self,\n        *,\n"
            + "".join(declared)
            + '        reduction: Reduction = "mean",\n    ) -> None:\n'
        )
        call = (
            f"        return {loss.name}(\n            input,\n            target,\n"
            + "".join(given)
            + "            weight=weight,\n            reduction=self.reduction,\n        )\n"
        )
    else:
        begin = '    def __init__(self, *, reduction: Reduction = "mean") -> None:\n'
        call = f"        return {loss.name}(input, target, weight=weight, reduction=self.reduction)\n"
    return (
        f"\n\nclass {class_name(loss.name)}(LossModule):\n"
        f'    """{title(loss)}.\n\n    The module of `lossarium.losses.{loss.name}`.\n    """\n\n'
        + begin
        + "        super().__init__(reduction)\n"
        + "".join(kept)
        + "\n    def forward(self, input: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:\n"
        + call
    )


def _annotation(option: inspect.Parameter) -> str:
    kind = option.annotation
    if get_origin(kind) is Literal:
        return next(name for name, module in _WORDS.items() if getattr(module, name) == kind)
    return kind if isinstance(kind, str) else kind.__name__


def _literal(value: object) -> str:
    return re.sub(r"^'(.*)'$", r'"\1"', repr(value))


if __name__ == "__main__":
    FILE.write_text(text())
