"""The declaration of an artefact."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from lossarium.judging.declaration import Judge

Figure = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(prediction, truth, weight) -> a tensor: two pictures (N, C, H, W), and a weight (N, 1, H, W) or None."""


@dataclass(frozen=True)
class Artefact:
    """A fault of pictures that people recognise, measured against the truth."""

    name: str
    title: str
    unit: str
    """Of the figure, for people."""
    digits: int
    """Decimals worth showing."""
    figure: Figure
    """How strong it is, (N,); 0 where there is none."""
    picture: Figure
    """Where it is, (N, 1, H, W), or for `grid` at which frequencies; larger is stronger."""
    seen: float
    """The figure from which on it is called an artefact: at most one in a hundred clean pictures reaches it
    (counted in `tests/judging/artefacts`)."""
    margin: float
    """A difference of figures that is too small to matter."""
    description: str
    """One sentence."""

    @property
    def judge(self) -> Judge:
        """The judge that prefers pictures without it."""
        return Judge(
            self.name,
            self.title,
            self.unit,
            False,
            self.digits,
            self.figure,
            frozenset(),
            self.description,
            margin=self.margin,
        )
