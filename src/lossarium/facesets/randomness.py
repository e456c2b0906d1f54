"""Counter-based random numbers: a function of (seed, purpose, step, sample).

They do not depend on the loss, the number of workers or earlier draws. So all trials of a seed see the same
batches, and a resumed trial continues exactly.
"""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """The purpose of a stream of random numbers, so that no two uses share one."""

    FRAME_ORDER = 1
    AUGMENTATION = 2
    INITIAL_WEIGHTS = 3
    BOOTSTRAP = 4
    TRAINING = 5


def generator(seed: int, purpose: Purpose, step: int = 0, sample: int = 0) -> np.random.Generator:
    """A generator for one sample of one step (Philox, keyed by seed and purpose, started at the counter)."""
    return np.random.Generator(np.random.Philox(key=[seed, purpose], counter=[0, 0, sample, step]))
