"""Sampling of states, and their conversion to JSON."""

import json
import math

import numpy as np

from lossarium.synthesis.states import sample_state, state_from_json, state_to_json


def test_state_is_a_function_of_seed_and_frame() -> None:
    assert sample_state(7, 12) == sample_state(7, 12)
    assert sample_state(7, 12) != sample_state(7, 13)
    assert sample_state(7, 12) != sample_state(8, 12)


def test_state_survives_json_unchanged() -> None:
    for frame in range(50):
        state = sample_state(7, frame)
        text = json.dumps(state_to_json(state))
        again = state_from_json(json.loads(text))
        assert again == state
        assert json.dumps(state_to_json(again)) == text


def test_numbers_are_rounded_so_that_digests_agree_between_machines() -> None:
    def numbers(value: object) -> list[float]:
        if isinstance(value, dict):
            return [number for part in value.values() for number in numbers(part)]
        if isinstance(value, list):
            return [number for part in value for number in numbers(part)]
        return [value] if isinstance(value, float) else []

    for frame in range(20):
        assert all(number == round(number, 6) for number in numbers(state_to_json(sample_state(1, frame))))


def test_ranges() -> None:
    states = [sample_state(7, frame) for frame in range(400)]
    assert all(0 <= weight <= 1 for state in states for weight in state.expression.values())
    assert max(abs(state.yaw) for state in states) <= 25
    assert max(abs(state.pitch) for state in states) <= 14
    keys = np.array([state.light.key_direction for state in states])
    # Each of three numbers is rounded to six places, by 5e-7 at most; together they are at most sqrt(3).
    np.testing.assert_allclose((keys**2).sum(1), 1, rtol=0, atol=2 * math.sqrt(3) * 5e-7 + 1e-12)
    assert (keys[:, 1] < 0).all(), "a key light behind the head leaves the face dark"
    assert keys[:, 2].max() < 0.6, "a steep key light leaves the eyes dark"
    assert len({state.mood for state in states}) == 9
