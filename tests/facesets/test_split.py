"""The split of plain folders into training and held-out frames."""

import numpy as np

from lossarium.facesets.split import held_out_blocks


def test_held_out_blocks() -> None:
    np.testing.assert_array_equal(np.flatnonzero(held_out_blocks(8)), [2, 7])
    large = held_out_blocks(300)
    assert large.dtype == np.bool_
    assert large.sum() == 60
    np.testing.assert_array_equal(np.flatnonzero(large)[:12], range(24, 36))
    assert held_out_blocks(0).shape == (0,)
    for count in range(8, 400):
        held_out = held_out_blocks(count)
        assert held_out.shape == (count,)
        assert 0.1 <= held_out.mean() <= 0.3, count
        # There are few borders at which a neighbour of a held-out frame is trained on.
        assert np.count_nonzero(np.diff(held_out)) <= 10
