"""faceswap's alignment: the crop's matrix and the head's pose."""

import json
from importlib.resources import files

import numpy as np
import pytest
import torch

from lossarium.facesets.formats import alignment
from lossarium.facesets.formats.alignment import (
    CENTRINGS,
    Centring,
    Floats,
    centre_offset,
    crop_matrix,
    head_pose,
    similarity,
    transform_points,
)
from tests.bounds import rounding_error
from tests.facesets.handmade_faces import face

# A similarity is made of sums over points in float64, of a product and of a shift.
SUMMED = rounding_error(2 * 68 + 16, torch.float64)
# A pose is settled when a step is below 1e-10 of its distance, here some 55 units, or of a turn in radians.
# Near the minimum a step is at most half the one before, so all further ones together are no longer than it.
SETTLED = 1e-10 * (1 + 60)


def test_a_similarity_is_found_again() -> None:
    points = np.random.default_rng(0).normal(size=(20, 2))
    turned = points @ np.array([[0.3, -1.2], [1.2, 0.3]]).T + (4, -5)
    matrix = similarity(points, turned)
    allowed = SUMMED * np.abs(turned).max()
    np.testing.assert_allclose(matrix, [[0.3, -1.2, 4], [1.2, 0.3, -5]], rtol=0, atol=allowed)


def test_a_similarity_is_the_least_squares_one() -> None:
    random = np.random.default_rng(1)
    source, target = random.normal(size=(30, 2)), random.normal(size=(30, 2))
    best = similarity(source, target)
    error = np.sum((transform_points(best, source) - target) ** 2)
    for _ in range(50):
        a, b = best[0, 0] + random.normal(0, 0.05), best[1, 0] + random.normal(0, 0.05)
        other = np.array([[a, -b, best[0, 2]], [b, a, best[1, 2]]])
        other[:, 2] += random.normal(0, 0.05, 2)
        assert np.sum((transform_points(other, source) - target) ** 2) > error


def test_legacy_crops_put_the_mean_face_inside_their_padding() -> None:
    landmarks = face(100)
    landmarks[17:] = alignment._MEAN_FACE * 200 + (30, 40)
    placed = transform_points(crop_matrix(landmarks, "legacy", 256), landmarks)
    allowed = 4 * SUMMED * landmarks.max()
    np.testing.assert_allclose(placed[17:], alignment._MEAN_FACE * 160 + 48, rtol=0, atol=allowed)


@pytest.mark.parametrize("centring", CENTRINGS)
def test_a_crop_does_not_depend_on_where_in_the_frame_the_face_is(centring: alignment.Centring) -> None:
    there, here = face(90, shift=(10, 20)), face(333, turn=0.4, shift=(500, -70))
    # Two poses, by which a point 5 units from the head's origin is seen at a distance of 50 or more.
    by_pose = 0 if centring == "legacy" else 2 * 512 * alignment._FOCAL_LENGTH * SETTLED * (1 + 5) / 50
    allowed = 4 * SUMMED * np.abs(here).max() + by_pose
    np.testing.assert_allclose(
        transform_points(crop_matrix(there, centring, 512), there),
        transform_points(crop_matrix(here, centring, 512), here),
        rtol=0,
        atol=allowed,
    )


@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (0.3, 0.0, 0.0), (-0.2, 0.5, 0.1), (0.1, -0.8, -0.2)])
def test_a_pose_is_found_again(turn: tuple[float, float, float]) -> None:
    rotation = alignment._rotation(np.array(turn))
    # As faces are seen with this model: behind the camera, so that x and y are not turned round.
    translation = np.array([0.3, -5.0, -55.0])
    seen = alignment._MODEL @ rotation.T + translation
    landmarks = np.zeros((68, 2))
    landmarks[alignment._MODEL_LANDMARKS] = 4 * seen[:, :2] / seen[:, 2:] + 0.5
    found_rotation, found_translation = head_pose(landmarks)
    np.testing.assert_allclose(found_rotation, rotation, rtol=0, atol=SETTLED)
    np.testing.assert_allclose(found_translation, translation, rtol=0, atol=SETTLED)


@pytest.mark.parametrize(
    ("identity", "frame", "head", "face_centre"),
    [
        # cv2.solvePnP with SOLVEPNP_ITERATIVE, then cv2.projectPoints, of opencv-python-headless 5.0.0, as in
        # faceswap's lib/align/pose.py.
        ("ada", "0000", (0.21681, -0.263376), (0.036197, -0.173871)),
        ("ada", "0100", (0.083608, -0.191441), (0.014671, -0.158465)),
        ("ben", "0050", (0.038213, -0.324894), (0.00653, -0.179645)),
    ],
)
def test_offsets_are_those_of_opencv(
    identity: str, frame: str, head: tuple[float, float], face_centre: tuple[float, float]
) -> None:
    path = files("lossarium.facesets") / "bundled" / identity / "landmarks.json"
    landmarks = np.array(json.loads(path.read_text())[frame])
    aligned = transform_points(similarity(landmarks[17:], alignment._MEAN_FACE), landmarks)
    for centring, theirs in (("head", head), ("face", face_centre)):
        # `head_pose` promises the second; they are given to six places.
        allowed = np.minimum(moved_by_an_early_end(aligned, centring), 0.00018) + 0.5e-6
        assert (np.abs(centre_offset(aligned, centring) - theirs) <= allowed).all()


def moved_by_an_early_end(aligned: Floats, centring: Centring) -> Floats:
    """How far from ours the offset (x, y) of OpenCV's pose can be.

    OpenCV's LevMarq ends with the first step that lowers the squared error by less than 1e-6 of it, its
    default (modules/3d/src/levmarq.cpp of OpenCV 5), and steps lower it less and less: the pose's error is
    within about that share of the least. Around the least error E, of residuals with the derivatives J, a
    step d adds d' J'J d to it; of all d that add at most 1e-6 E, none moves an offset whose derivative is g
    by more than the root of 1e-6 E g' (J'J)^-1 g.
    """
    rotation, translation = alignment.head_pose(aligned)
    points = (aligned[alignment._MODEL_LANDMARKS] - alignment._PRINCIPAL_POINT) / alignment._FOCAL_LENGTH
    residual, jacobian = alignment._reprojection(points, rotation, translation)

    def offset(step: Floats) -> Floats:
        turned = alignment._rotation(step[:3]) @ rotation @ alignment._CENTRES[centring]
        x, y, z = turned + translation + step[3:]
        return alignment._FOCAL_LENGTH * np.array([x, y]) / z

    slopes = np.array([(offset(step) - offset(-step)) / 2e-6 for step in 1e-6 * np.eye(6)])
    spread = (slopes * np.linalg.solve(jacobian.T @ jacobian, slopes)).sum(axis=0)
    return np.sqrt(1e-6 * (residual @ residual) * spread)


def test_the_derivatives_of_the_reprojection() -> None:
    random = np.random.default_rng(2)
    rotation, translation = alignment._rotation(random.normal(size=3)), np.array([1.0, 2.0, -50.0])
    points = random.normal(size=(26, 2))
    _, jacobian = alignment._reprojection(points, rotation, translation)
    for column, step in enumerate(1e-6 * np.eye(6)):
        there = alignment._reprojection(
            points, alignment._rotation(step[:3]) @ rotation, translation + step[3:]
        )
        back = alignment._reprojection(
            points, alignment._rotation(-step[:3]) @ rotation, translation - step[3:]
        )
        # A difference of two residuals, each of some eight roundings, divided by twice the step; what its
        # third derivative does at this step, 1e-12 / 6 times numbers below 1, is less.
        allowed = rounding_error(8, torch.float64) * np.abs(points).max() / 1e-6 + 1e-12
        np.testing.assert_allclose(jacobian[:, column], (there[0] - back[0]) / 2e-6, rtol=0, atol=allowed)


@pytest.mark.parametrize("centring", CENTRINGS)
def test_landmarks_of_no_face_are_refused(centring: alignment.Centring) -> None:
    for landmarks in (np.zeros((68, 2)), np.full((68, 2), np.nan)):
        with pytest.raises(ValueError, match="points have no spread"):
            crop_matrix(landmarks, centring, 256)
