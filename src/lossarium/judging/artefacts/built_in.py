"""The artefacts that are measured."""

from lossarium.judging.artefacts.blotches import BLOTCHES
from lossarium.judging.artefacts.blur import BLUR
from lossarium.judging.artefacts.colour_shift import COLOUR_SHIFT
from lossarium.judging.artefacts.declaration import Artefact
from lossarium.judging.artefacts.grid import GRID
from lossarium.judging.artefacts.ringing import RINGING

ARTEFACTS: tuple[Artefact, ...] = (GRID, COLOUR_SHIFT, BLUR, RINGING, BLOTCHES)
