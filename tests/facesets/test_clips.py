"""Clips are told apart by the names of their frames."""

import pytest

from lossarium.facesets.clips import clip_starts


def frames(pattern: str, count: int, first: int = 1) -> list[str]:
    return [pattern.format(number) for number in range(first, first + count)]


@pytest.mark.parametrize(
    ("clips"),
    [
        [frames("{:04}.png", 9)],
        [frames("clip1_{:04}.png", 9), frames("clip2_{:04}.png", 4), frames("clip10_{:04}.png", 5)],
        [frames("take1/{:04}.png", 5), frames("take2/{:04}.png", 5)],
        [frames("{}.jpg", 5), frames("holiday_{}.jpg", 5)],
        # faceswap's: the video, the frame, the face in the frame.
        [["a_000001_0.png", "a_000002_0.png", "a_000002_1.png", "a_000003_0.png"]],
        [frames("video1_{:06}_0.png", 7), frames("video2_{:06}_0.png", 7)],
        [frames("movie.mp4_{:06}.png", 5), frames("other.mp4_{:06}.png", 5)],
        # The counter is one of a single clip although frames are missing.
        [["1.png", "2.png", "7.png", "900.png"]],
    ],
)
def test_a_clip_begins_where_more_than_the_counter_changes(clips: list[list[str]]) -> None:
    starts = clip_starts([name for clip in clips for name in clip])
    expected = [place == 0 and number > 0 for number, clip in enumerate(clips) for place in range(len(clip))]
    assert starts.tolist() == expected


def test_names_without_numbers_are_clips_of_their_own() -> None:
    assert clip_starts(["x.png", "y.png", "z.png"]).tolist() == [False, True, True]
    assert clip_starts([]).tolist() == []
    assert clip_starts(["x.png"]).tolist() == [False]
