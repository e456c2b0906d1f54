"""Where faceswap's crops lie in their frames: the mean face, the head's pose, the centrings.

faceswap stores landmarks in the coordinates of the frame and the crop as a picture; the matrix between them
is computed from the landmarks (lib/align/aligned_face.py, lib/align/pose.py and
lib/align/constants.py of github.com/deepfakes/faceswap). Pixel centres lie at whole numbers there, as in
OpenCV, and so they do here.
"""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

Centring = Literal["legacy", "face", "head"]
"""The centre of a crop: the nose, the face, or the skull."""
CENTRINGS: tuple[Centring, ...] = get_args(Centring)

Floats = npt.NDArray[np.float64]

# Share of a crop that lies outside the unit square of the mean face, both sides together.
_PADDING = {"legacy": 0.375, "face": 0.5, "head": 0.625}
# Points of the head model, in its own units, that become the centre of the crop.
_CENTRES = {"face": (0.0, -1.5, 4.2), "head": (0.0, 0.0, -2.3)}
_FOCAL_LENGTH = 4.0
_PRINCIPAL_POINT = 0.5
_MOST_POSE_STEPS = 100

# fmt: off
_MEAN_FACE = np.array([
    (.010086, .106454), (.085135, .038915), (.191003, .018748), (.300643, .034489), (.403270, .077391),
    (.596729, .077391), (.699356, .034489), (.808997, .018748), (.914864, .038915), (.989913, .106454),
    (.500000, .203352), (.500000, .307009), (.500000, .409805), (.500000, .515625), (.376753, .587326),
    (.435909, .609345), (.500000, .628106), (.564090, .609345), (.623246, .587326), (.131610, .216423),
    (.196995, .178758), (.275698, .179852), (.344479, .231733), (.270791, .245099), (.192616, .244077),
    (.655520, .231733), (.724301, .179852), (.803005, .178758), (.868389, .216423), (.807383, .244077),
    (.729208, .245099), (.264022, .780233), (.350858, .745405), (.438731, .727388), (.500000, .742578),
    (.561268, .727388), (.649141, .745405), (.735977, .780233), (.652032, .864805), (.566594, .902192),
    (.500000, .909281), (.433405, .902192), (.347967, .864805), (.300252, .784792), (.437969, .778746),
    (.500000, .785343), (.562030, .778746), (.699747, .784792), (.563237, .824182), (.500000, .831803),
    (.436763, .824182),
])
_MODEL_LANDMARKS = [6, 7, 8, 9, 10, 17, 21, 22, 26, 31, 32, 33, 34, 35, 36, 39, 42, 45, 48, 50, 51, 52, 54,
                    56, 57, 58]
_MODEL = np.array([
    (4.056931, -11.432347, 1.636229), (1.833492, -12.542305, 4.061275), (0.0, -12.901019, 4.070434),
    (-1.833492, -12.542305, 4.061275), (-4.056931, -11.432347, 1.636229), (6.825897, 1.275284, 4.402142),
    (1.330353, 1.636816, 6.903745), (-1.330353, 1.636816, 6.903745), (-6.825897, 1.275284, 4.402142),
    (1.930245, -5.060977, 5.914376), (0.746313, -5.136947, 6.263227), (0.0, -5.485328, 6.76343),
    (-0.746313, -5.136947, 6.263227), (-1.930245, -5.060977, 5.914376), (5.311432, 0.0, 3.987654),
    (1.78993, -0.091703, 4.413414), (-1.78993, -0.091703, 4.413414), (-5.311432, 0.0, 3.987654),
    (2.774015, -7.566103, 5.048531), (0.509714, -7.056507, 6.566167), (0.0, -7.131772, 6.704956),
    (-0.509714, -7.056507, 6.566167), (-2.774015, -7.566103, 5.048531), (-0.589441, -8.443925, 6.109526),
    (0.0, -8.601736, 6.097667), (0.589441, -8.443925, 6.109526),
])
# fmt: on


def crop_matrix(landmarks: Floats, centring: Centring, size: int) -> Floats:
    """The matrix (2, 3) by which faceswap maps frame pixels to pixels of a crop.

    Args:
        landmarks: (68, 2) in frame pixels.
        centring: The crop's.
        size: Side of the crop, in pixels.

    Raises:
        ValueError: the landmarks are not those of a face: they coincide, or are NaN or infinite.

    Example:
        >>> import numpy as np
        >>> square = np.random.default_rng(0).uniform(100, 200, (68, 2))
        >>> crop_matrix(square, "legacy", 256).shape
        (2, 3)
    """
    matrix = similarity(landmarks[17:], _MEAN_FACE)
    matrix[:, 2] -= centre_offset(transform_points(matrix, landmarks), centring)
    padding = round(size * _PADDING[centring] / 2)
    matrix *= size - 2 * padding
    matrix[:, 2] += padding
    if not np.isfinite(matrix).all():
        raise ValueError("no crop fits these landmarks")
    return matrix


def similarity(source: Floats, target: Floats) -> Floats:
    """The matrix (2, 3) of the rotation, scale and shift that maps points (N, 2) closest to others (N, 2).

    The least squares of Umeyama (1991), in closed form: in the plane a rotation with a scale is one complex
    factor.

    Raises:
        ValueError: the points coincide, or are NaN or infinite.
    """
    centre, goal = source.mean(axis=0), target.mean(axis=0)
    z, w = _complex(source - centre), _complex(target - goal)
    spread = float(np.vdot(z, z).real)
    if not 0 < spread < np.inf:
        raise ValueError("these points have no spread")
    factor = np.vdot(z, w) / spread
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([linear, goal - linear @ centre])


def transform_points(matrix: Floats, points: Floats) -> Floats:
    """Apply a matrix (2, 3) to points (N, 2)."""
    moved: Floats = points @ matrix[:, :2].T + matrix[:, 2]
    return moved


def centre_offset(landmarks: Floats, centring: Centring) -> Floats:
    """How far (x, y) the middle of a crop lies from the middle of the mean face, (0.5, 0.5).

    Args:
        landmarks: (68, 2), aligned to the mean face by `similarity`.
        centring: The crop's.
    """
    if centring == "legacy":
        return np.zeros(2)
    rotation, translation = head_pose(landmarks)
    x, y, z = rotation @ _CENTRES[centring] + translation
    offset: Floats = _FOCAL_LENGTH * np.array([x, y]) / z
    return offset


def head_pose(landmarks: Floats) -> tuple[Floats, Floats]:
    """The rotation (3, 3) and translation (3,) that project the head model onto landmarks.

    Starts from the direct linear transform and minimises the reprojection error by Levenberg and Marquardt's
    method, as OpenCV's `solvePnP` does with SOLVEPNP_ITERATIVE, so that both end in the same minimum: over
    the landmarks of the bundled facesets, with and without noise, `centre_offset` differs from OpenCV 5.0's
    by 0.00018 at most, which is 0.03 pixels of a crop of 512.

    Args:
        landmarks: (68, 2), aligned to the mean face.

    Raises:
        ValueError: no pose projects the model near the landmarks.
    """
    points = (landmarks[_MODEL_LANDMARKS] - _PRINCIPAL_POINT) / _FOCAL_LENGTH
    try:
        rotation, translation = _linear_pose(points)
        return _refined_pose(points, rotation, translation)
    except np.linalg.LinAlgError as error:
        raise ValueError("no pose of a head fits these landmarks") from error


def _linear_pose(points: Floats) -> tuple[Floats, Floats]:
    """The direct linear transform, its left three columns made a rotation."""
    model = np.column_stack([_MODEL, np.ones(len(_MODEL))])
    nothing = np.zeros_like(model)
    equations = np.vstack(
        [
            np.hstack([model, nothing, -points[:, :1] * model]),
            np.hstack([nothing, model, -points[:, 1:] * model]),
        ]
    )
    pose = np.linalg.svd(equations)[2][-1].reshape(3, 4)
    if np.linalg.det(pose[:, :3]) < 0:
        pose = -pose
    left, stretch, right = np.linalg.svd(pose[:, :3])
    length = float(np.linalg.norm(stretch))
    if not length > 0:
        raise ValueError("no pose of a head fits these landmarks")
    return left @ right, pose[:, 3] * (np.sqrt(3) / length)


def _refined_pose(points: Floats, rotation: Floats, translation: Floats) -> tuple[Floats, Floats]:
    damping = 1e-3
    residual, jacobian = _reprojection(points, rotation, translation)
    error = float(residual @ residual)
    for _ in range(_MOST_POSE_STEPS):
        normal = jacobian.T @ jacobian
        damped = normal + damping * np.diag(np.diag(normal))
        step: Floats = np.linalg.solve(damped, -jacobian.T @ residual).astype(np.float64)
        turned, moved = _rotation(step[:3]) @ rotation, translation + step[3:]
        new_residual, new_jacobian = _reprojection(points, turned, moved)
        new_error = float(new_residual @ new_residual)
        if new_error <= error:
            rotation, translation = turned, moved
            settled = float(np.linalg.norm(step)) <= 1e-10 * (1 + float(np.linalg.norm(translation)))
            residual, jacobian, error = new_residual, new_jacobian, new_error
            if settled:
                break
            damping = max(damping / 10, 1e-12)
        else:
            damping *= 10
            if damping > 1e12:
                break
    return rotation, translation


def _reprojection(points: Floats, rotation: Floats, translation: Floats) -> tuple[Floats, Floats]:
    """Residuals (2 N,) and their derivatives (2 N, 6) by a small turn after the rotation and a shift."""
    turned = _MODEL @ rotation.T
    x, y, z = (turned + translation).T
    residual = np.stack([x / z, y / z], axis=1) - points
    zero = np.zeros_like(z)
    by_place = np.stack([1 / z, zero, -x / z**2, zero, 1 / z, -y / z**2], axis=1).reshape(-1, 2, 3)
    a, b, c = turned.T
    by_turn = np.stack([zero, c, -b, -c, zero, a, b, -a, zero], axis=1).reshape(-1, 3, 3)
    jacobian = np.concatenate([by_place @ by_turn, by_place], axis=2)
    return residual.ravel(), jacobian.reshape(-1, 6)


def _rotation(turn: Floats) -> Floats:
    """The rotation matrix of an axis times its angle (Rodrigues' formula)."""
    angle = float(np.linalg.norm(turn))
    if angle < 1e-300:
        return np.eye(3)
    x, y, z = turn / angle
    cross: Floats = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation: Floats = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    return rotation


def _complex(points: Floats) -> npt.NDArray[np.complex128]:
    return points[:, 0] + 1j * points[:, 1]
