"""Counter-based randomness: what is drawn depends on (seed, purpose, step, sample) alone.

Neither the loss, nor the number of workers, nor anything drawn before can change it. That is what lets every
trial of a seed see the same batches, and a resumed trial go on as if it had never stopped.
"""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream of random numbers is for, so that no two uses share one."""

    FRAME_ORDER = 1
    AUGMENTATION = 2
    INITIAL_WEIGHTS = 3
    BOOTSTRAP = 4
    TRAINING = 5


def generator(seed: int, purpose: Purpose, step: int = 0, sample: int = 0) -> np.random.Generator:
    """A generator for one sample of one step (Philox, keyed by seed and purpose, started at the counter)."""
    return np.random.Generator(np.random.Philox(key=[seed, purpose], counter=[0, 0, sample, step]))
