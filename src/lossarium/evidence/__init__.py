"""From scores to a verdict, without files, models or torch: anyone can simulate it.

>>> from lossarium.evidence import decide
"""

from lossarium.evidence.decision import decide
from lossarium.evidence.results import Verdict

__all__ = ["Verdict", "decide"]
