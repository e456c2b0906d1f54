"""The learning rates that a range test tries."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """The learning rates that a range test tries."""

    lowest: float = 1e-7
    highest: float = 1.0
    steps: int = 100
    """The number of rates, each a constant factor above the one before."""
