"""The losses by name. To add one: write a plain function in its family's file and one line in `_LOSSES`."""

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses import perceptual, pixel, structure

LossFunction = Callable[..., Tensor]
Option = bool | int | float | str


@dataclass(frozen=True)
class LossInfo:
    """What a loss declares about itself."""

    name: str
    function: LossFunction
    family: str
    """pixel, structure or perceptual."""
    pixel_map: bool
    """Whether its map lives in pixel space, so that a region weight is exact."""
    formula: str
    source: str
    objective: bool = True
    """Whether it can be minimised."""
    options: dict[str, Option] = field(init=False)
    """Option -> default, read from the function's signature."""

    def __post_init__(self) -> None:
        parameters = inspect.signature(self.function).parameters.values()
        shared = {"weight", "reduction"}
        options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in shared}
        object.__setattr__(self, "options", options)


_LOSSES = (
    LossInfo("mse", pixel.mse, "pixel", True, "mean((x - y)^2)", "least squares"),
    LossInfo("mae", pixel.mae, "pixel", True, "mean(|x - y|)", "least absolute deviations"),
    LossInfo(
        "smooth_l1",
        pixel.smooth_l1,
        "pixel",
        True,
        "d^2 / 2b if d < b else d - b / 2",
        "Girshick 2015, eq. 3",
    ),
    LossInfo("ssim", structure.ssim, "structure", True, "1 - mean(SSIM(x, y))", "Wang et al. 2004, eq. 13"),
    LossInfo(
        "lpips",
        perceptual.lpips,
        "perceptual",
        False,
        "sum_l mean(w_l (f_l(x) - f_l(y))^2)",
        "Zhang et al. 2018, eq. 1",
    ),
)


def names() -> tuple[str, ...]:
    """The names of all losses, family by family."""
    return tuple(loss.name for loss in _LOSSES)


def info(name: str) -> LossInfo:
    """What is declared about the loss of this name.

    Raises:
        LossariumError: there is none of this name; the nearest names are told.

    >>> info("ssim").family
    'structure'
    """
    for loss in _LOSSES:
        if loss.name == name:
            return loss
    raise LossariumError(f'there is no loss "{name}"; {nearest(name, names())}')


def nearest(word: str, known: tuple[str, ...]) -> str:
    """Words for an error message: the known names most like `word`, or all of them."""
    close = difflib.get_close_matches(word.lower(), known, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return "there are " + ", ".join(known) if known else "there are none"
