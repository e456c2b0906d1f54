"""The 68 landmarks in iBUG order, as vertices of the head.

Points 0-16 follow the jaw from the person's right ear to the left, 17-26 the brows, 27-35 the nose, 36-47 the
eyes, 48-59 the outer and 60-67 the inner lips. Source: Sagonas et al., "300 Faces in-the-Wild Challenge",
2013.
"""

from dataclasses import dataclass

import numpy as np

from lossarium.synthesis.mesh import Floats, Indices

LANDMARK_COUNT = 68
RIGHT_EYE = slice(36, 42)
LEFT_EYE = slice(42, 48)
RIGHT_MOUTH_CORNER, LEFT_MOUTH_CORNER = 48, 54
UPPER_LIDS = {"eyeBlinkRight": (37, 38), "eyeBlinkLeft": (43, 44)}
LOWER_LIDS = {"eyeBlinkRight": (41, 40), "eyeBlinkLeft": (47, 46)}
"""Face unit that closes an eye -> landmarks on its lids, in the same order on both lids."""

# Left half of the jaw on the template, (x, y, z) in metres from the chin to the front of the ear.
_JAW = (
    (0.0000, -0.150, 0.6110),
    (0.0160, -0.142, 0.6125),
    (0.0310, -0.122, 0.6190),
    (0.0440, -0.097, 0.6310),
    (0.0530, -0.080, 0.6460),
    (0.0590, -0.073, 0.6650),
    (0.0630, -0.070, 0.6850),
    (0.0655, -0.068, 0.7050),
    (0.0670, -0.067, 0.7230),
)
# Brows, nose and outer lips on the template, (x, z) in metres, projected onto the front of the face.
_LEFT_BROW = ((0.014, 0.746), (0.024, 0.752), (0.036, 0.7555), (0.047, 0.754), (0.057, 0.747))
_NOSE = (
    *((0.0, 0.732), (0.0, 0.718), (0.0, 0.704), (0.0, 0.690)),
    *((-0.013, 0.684), (-0.007, 0.681), (0.0, 0.679), (0.007, 0.681), (0.013, 0.684)),
)
_UPPER_LIP = ((-0.0265, 0.6605), (-0.017, 0.6665), (-0.006, 0.6690), (0.0, 0.668))
_LOWER_LIP = ((0.016, 0.652), (0.007, 0.6495), (0.0, 0.649), (-0.007, 0.6495), (-0.016, 0.652))


@dataclass(frozen=True)
class EyeSeams:
    """Vertices where skin meets the cavities: the margins of the lids and the inner line of the lips."""

    right_eye: Indices
    left_eye: Indices
    mouth: Indices


def _mirrored(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    return tuple((-x, z) for x, z in reversed(points))


def _eye(template: Floats, seam: Indices, side: int) -> dict[str, int]:
    """The six vertices of an eye: corners and two points on each lid, `side` -1 for the right eye and 1 for
    the left."""
    points = template[seam]
    outward = points[:, 0] * side
    outer, inner = int(seam[np.argmax(outward)]), int(seam[np.argmin(outward)])
    middle = (template[outer, 2] + template[inner, 2]) / 2

    def lid(share: float, upper: bool) -> int:
        candidates = seam[(points[:, 2] > middle) == upper]
        wanted = outward.min() + share * (outward.max() - outward.min())
        return int(candidates[np.argmin(np.abs(template[candidates, 0] * side - wanted))])

    return {
        "outer": outer,
        "inner": inner,
        "upper_outer": lid(0.67, True),
        "upper_inner": lid(0.33, True),
        "lower_inner": lid(0.33, False),
        "lower_outer": lid(0.67, False),
    }


def _inner_lips(template: Floats, seam: Indices) -> list[int]:
    points = template[seam]
    upper = points[:, 2] > np.median(points[:, 2])
    half_width = np.abs(points[:, 0]).max()

    def lip(share: float, is_upper: bool) -> int:
        candidates = seam[upper == is_upper]
        return int(candidates[np.argmin(np.abs(template[candidates, 0] - share * half_width))])

    return [
        int(seam[np.argmin(points[:, 0])]),
        *(lip(share, True) for share in (-0.5, 0.0, 0.5)),
        int(seam[np.argmax(points[:, 0])]),
        *(lip(share, False) for share in (0.5, 0.0, -0.5)),
    ]


def template_landmarks(template: Floats, head: Indices, seams: EyeSeams) -> Indices:
    """Choose the vertex of each landmark on the template.

    Args:
        template: (C, 3) coarse vertices in metres.
        head: vertices of the head's skin.
        seams: see `EyeSeams`.

    Returns:
        (68,) vertex indices.
    """
    face = head[template[head, 1] < -0.07]

    def front(points: tuple[tuple[float, float], ...]) -> list[int]:
        return [
            int(face[np.argmin((template[face, 0] - x) ** 2 + (template[face, 2] - z) ** 2)])
            for x, z in points
        ]

    def nearest(point: tuple[float, float, float]) -> int:
        return int(head[np.argmin(((template[head] - np.asarray(point)) ** 2).sum(1))])

    left_jaw = [nearest(point) for point in _JAW]
    right_jaw = [nearest((-x, y, z)) for x, y, z in _JAW[:0:-1]]
    right, left = _eye(template, seams.right_eye, -1), _eye(template, seams.left_eye, 1)
    right_eye = [
        right[name] for name in ("outer", "upper_outer", "upper_inner", "inner", "lower_inner", "lower_outer")
    ]
    left_eye = [
        left[name] for name in ("inner", "upper_inner", "upper_outer", "outer", "lower_outer", "lower_inner")
    ]
    outer_lips = front(_UPPER_LIP) + front(_mirrored(_UPPER_LIP[:3])) + front(_LOWER_LIP)
    return np.asarray(
        right_jaw
        + left_jaw
        + front(_mirrored(_LEFT_BROW))
        + front(_LEFT_BROW)
        + front(_NOSE)
        + right_eye
        + left_eye
        + outer_lips
        + _inner_lips(template, seams.mouth),
        dtype=np.int64,
    )
