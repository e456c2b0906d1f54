"""The split of plain folders into training, held-out and unused frames."""

import numpy as np
import numpy.typing as npt
import pytest

from lossarium.facesets.split import Split, fair_rows, spread_out

SIZES = [*range(8, 420), 500, 999, 1000, 2048, 5100, 7499, 7500, 7501, 10_000, 20_000]


def numbered(count: int) -> list[str]:
    return [f"{number:05}.png" for number in range(count)]


def blocks_of(split: Split) -> list[npt.NDArray[np.intp]]:
    """The held-out frames, block by block."""
    places = np.flatnonzero(split.held_out)
    return np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)


def gap_of(count: int) -> int:
    """The fewest frames that lie between a judged frame and one that is trained on, as the docs say."""
    split = spread_out(numbered(count))
    length = len(blocks_of(split)[0])
    return max(1, round(length / 3))


def test_no_held_out_frame_has_a_neighbour_in_training() -> None:
    for count in SIZES:
        split = spread_out(numbered(count))
        assert split.held_out.shape == split.left_out.shape == (count,)
        assert not (split.held_out & split.left_out).any()
        trained = np.flatnonzero(split.trained)
        judged = np.flatnonzero(split.held_out)
        after = np.searchsorted(trained, judged)
        nearest = np.minimum(
            np.abs(judged - trained[np.minimum(after, len(trained) - 1)]),
            np.abs(judged - trained[np.maximum(after - 1, 0)]),
        )
        assert nearest.min() == gap_of(count) + 1, count


def test_about_a_fifth_is_held_out_and_most_of_the_rest_is_trained_on() -> None:
    for count in SIZES:
        split = spread_out(numbered(count))
        assert 0.15 <= split.held_out.mean() <= 0.25, count
        assert split.trained.mean() >= (0.5 if count < 10 else 0.6), count
        assert split.left_out.mean() <= (0.25 if count < 10 else 0.2 if count < 340 else 0.16), count


def test_there_is_a_block_for_every_ten_frames_up_to_twenty_and_more_for_long_sequences() -> None:
    for count in SIZES:
        blocks = blocks_of(spread_out(numbered(count)))
        assert len(blocks) == (max(1, count // 10) if count < 200 else max(20, count // 375)), count
        assert len({len(block) for block in blocks}) == 1
        assert len(blocks[0]) <= 78, count
        # They are as evenly spread as whole numbers allow.
        assert len(blocks) == 1 or np.ptp(np.diff([block[0] for block in blocks])) <= 2
        first, last = blocks[0][0], count - 1 - blocks[-1][-1]
        assert abs(first - last) <= 2


def test_a_gap_grows_to_a_second_of_video() -> None:
    assert [gap_of(count) for count in (8, 100, 340, 1000, 2000, 5100, 7500, 20_000)] == [
        1, 1, 1, 3, 7, 17, 25, 25,
    ]  # fmt: skip


def test_equal_names_have_equal_splits() -> None:
    one, other = spread_out(numbered(777)), spread_out(numbered(777))
    np.testing.assert_array_equal(one.held_out, other.held_out)
    np.testing.assert_array_equal(one.left_out, other.left_out)


@pytest.mark.parametrize("count", range(8))
def test_fewer_frames_than_a_faceset_needs_are_split_without_an_error(count: int) -> None:
    split = spread_out(numbered(count))
    assert split.held_out.shape == (count,)
    assert not (split.held_out & split.left_out).any()


def clip_of(lengths: list[int]) -> tuple[list[str], npt.NDArray[np.intp]]:
    """Names of clips of these lengths, and the number of each frame's clip."""
    names = [f"clip{clip}_{frame:04}.png" for clip, length in enumerate(lengths) for frame in range(length)]
    return names, np.repeat(np.arange(len(lengths)), lengths)


@pytest.mark.parametrize(
    "lengths",
    [[300, 450, 250], [97, 203, 700], [55, 61, 48, 70, 66] * 4, [9, 11, 10, 12, 8] * 6, [500, 3, 497]],
)
def test_a_block_lies_within_one_clip_where_there_is_room(lengths: list[int]) -> None:
    names, clips = clip_of(lengths)
    split = spread_out(names)
    blocks = blocks_of(split)
    assert len(blocks) == 20 or sum(lengths) < 200
    assert all(len(set(clips[block].tolist())) == 1 for block in blocks)
    # Elsewhere the split does not change: as many frames are held out, and gaps are as long.
    assert split.held_out.sum() == spread_out(numbered(len(names))).held_out.sum()
    assert split.left_out.sum() == spread_out(numbered(len(names))).left_out.sum()


def test_blocks_longer_than_clips_are_of_whole_clips() -> None:
    names, clips = clip_of([5] * 400)
    for block in blocks_of(spread_out(names)):
        assert len(block) == 20
        assert len(set(clips[block].tolist())) == 4


def test_a_training_frame_that_equals_a_held_out_one_is_unfair_and_unused_ones_are_not_asked() -> None:
    held_out = np.array([True, False, False, False, True])
    left_out = np.array([False, True, False, False, False])
    assert fair_rows([b"a", b"a", b"a", b"b", b"a"], Split(held_out, left_out)) == [0, 1, 3, 4]
