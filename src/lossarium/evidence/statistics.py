"""Confidence intervals of means: the bootstrap over held-out frames and seeds."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lossarium.evidence.results import Estimate
from lossarium.facesets.randomness import Purpose, generator

_RESAMPLES = 20_000
# The largest arrays in memory: a block of resamplings, of values, and of means have at most so many numbers.
_LARGEST_BLOCK = 2_000_000
_MOST_VALUES = 4_000_000
_MOST_MEANS = 4_000_000
# Above this number of units, drawing units is faster than drawing how often each occurs (multinomial).
_MANY_UNITS = 5_000


class Bootstrap:
    """Bootstrap resamplings of frames and of seeds, the same for every loss, so that differences are paired.

    The scores of frames in the same state (A's and B's) are correlated, so these frames form a unit that is
    resampled as a whole. Seeds are drawn independently of frames. With one seed the intervals cover only the
    chance in frames.

    Every call draws the resamplings again, block by block, so that memory does not grow with frames times
    resamplings.

    Args:
        units: (pictures,), the number of the unit of each held-out picture, from 0.
        seeds: The number of seeds.
    """

    def __init__(self, units: npt.NDArray[np.intp], seeds: int) -> None:
        self._units = units
        self._count = int(units.max()) + 1
        self._sizes = np.bincount(units, minlength=self._count).astype(np.float64)
        self._seeds = seeds

    def estimate(self, values: npt.NDArray[np.float64], alpha: float = 0.05) -> Estimate:
        """The mean of (seeds, pictures) values with its percentile interval.

        Args:
            values: One value per seed and picture.
            alpha: The share of intervals that may miss the mean: 0.05 for a 95% interval.
        """
        return interval(float(values.mean()), self.means([values])[0], alpha)

    def means(self, several: list[npt.NDArray[np.float64]]) -> list[npt.NDArray[np.float64]]:
        """The means of several (seeds, pictures) arrays in every resampling, (resamplings,) each.

        Equal arrays have bit-identical means, at any position; NaN or infinity in an array makes all of its
        means NaN.
        """
        places: dict[bytes, int] = {}
        different: list[npt.NDArray[np.float64]] = []
        place_of = []
        for values in several:
            # A matrix product may round equal columns differently, so equal arrays share one column.
            place = places.setdefault(values.tobytes(), len(places))
            if place == len(different):
                different.append(values)
            place_of.append(place)
        at_once = max(1, min(_MOST_VALUES // self._count, _MOST_MEANS // _RESAMPLES) // self._seeds)
        means = [
            row
            for start in range(0, len(different), at_once)
            for row in self._means(different[start : start + at_once])
        ]
        return [means[place] for place in place_of]

    def _means(self, several: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        """(values, resamplings)."""
        finite = np.array([bool(np.isfinite(values).all()) for values in several])
        sums = np.empty((len(several) * self._seeds, self._count))
        rows = (row for values in several for row in values)
        for place, row in enumerate(rows):
            known = row if finite[place // self._seeds] else np.zeros_like(row)
            sums[place] = np.bincount(self._units, weights=known, minlength=self._count)
        source = generator(0, Purpose.BOOTSTRAP)
        per_seed = np.empty((len(sums), _RESAMPLES))
        done = 0
        for draws in self._unit_draws(source):
            weighted = (draws @ sums.T) / (draws @ self._sizes)[:, None]
            per_seed[:, done : done + len(draws)] = weighted.T
            done += len(draws)
        seed_draws = source.multinomial(self._seeds, np.full(self._seeds, 1 / self._seeds), size=_RESAMPLES)
        means = np.asarray(
            (per_seed.reshape(len(several), self._seeds, -1) * (seed_draws.T / self._seeds)).sum(axis=1)
        )
        means[~finite] = np.nan
        return means

    def _unit_draws(self, source: np.random.Generator) -> Iterator[npt.NDArray[np.float64]]:
        """Draw how often each unit occurs, in blocks of (some resamplings, units)."""
        at_once = max(1, _LARGEST_BLOCK // self._count)
        evenly = np.full(self._count, 1 / self._count)
        for start in range(0, _RESAMPLES, at_once):
            size = min(at_once, _RESAMPLES - start)
            if self._count <= _MANY_UNITS:
                yield source.multinomial(self._count, evenly, size=size).astype(np.float64)
            else:
                drawn = source.integers(self._count, size=(size, self._count), dtype=np.int32)
                yield np.stack([np.bincount(row, minlength=self._count) for row in drawn]).astype(np.float64)


def interval(mean: float, resampled: npt.NDArray[np.float64], alpha: float) -> Estimate:
    """A mean with the percentile interval of its resamplings.

    Args:
        mean: Mean of the values themselves.
        resampled: Their mean in every resampling.
        alpha: The share of intervals that may miss the mean.
    """
    low, high = np.quantile(resampled, [alpha / 2, 1 - alpha / 2])
    return Estimate(mean, float(low), float(high))
