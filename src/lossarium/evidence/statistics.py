"""How sure a mean is: the bootstrap over held-out frames and seeds."""

import numpy as np
import numpy.typing as npt

from lossarium.evidence.results import Estimate
from lossarium.facesets.randomness import Purpose, generator

_RESAMPLES = 20_000


class Bootstrap:
    """Resamplings of frames and of seeds, the same for every loss, so that differences are paired.

    Frames in the same state (A's and B's) rise and fall together; they are one unit and are drawn together.
    Seeds are drawn independently of frames. With one seed the intervals speak of frames alone.

    Args:
        units: (pictures,), which unit each held-out picture belongs to, numbered from 0.
        seeds: How many seeds there are.
    """

    def __init__(self, units: npt.NDArray[np.intp], seeds: int) -> None:
        self._units = units
        self._count = int(units.max()) + 1
        self._sizes = np.bincount(units, minlength=self._count).astype(np.float64)
        source = generator(0, Purpose.BOOTSTRAP)
        self._unit_draws = source.multinomial(
            self._count, np.full(self._count, 1 / self._count), size=_RESAMPLES
        ).astype(np.float64)
        self._seed_draws = source.multinomial(seeds, np.full(seeds, 1 / seeds), size=_RESAMPLES) / seeds

    def estimate(self, values: npt.NDArray[np.float64], doubt: float = 0.05) -> Estimate:
        """The mean of (seeds, pictures) values with its percentile interval.

        Args:
            values: One value a seed and a picture.
            doubt: The share of intervals that may miss the mean: 0.05 for a 95% interval.
        """
        sums = np.stack([np.bincount(self._units, weights=row, minlength=self._count) for row in values])
        per_seed = (self._unit_draws @ sums.T) / (self._unit_draws @ self._sizes)[:, None]
        means = (per_seed * self._seed_draws).sum(axis=1)
        low, high = np.quantile(means, [doubt / 2, 1 - doubt / 2])
        return Estimate(float(values.mean()), float(low), float(high))
