"""The shape of one head: from an identity's parameters to its vertices, and the poses of its face units."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lossarium.errors import LossariumError
from lossarium.synthesis.head import HeadModel
from lossarium.synthesis.identities import Identity
from lossarium.synthesis.landmarks import LOWER_LIDS, UPPER_LIDS
from lossarium.synthesis.mesh import Floats, read_target
from lossarium.synthesis.phenotype import phenotype_offsets

_OPPOSITES = {"incr": "decr", "up": "down", "forward": "backward", "out": "in", "convex": "concave"}
_TARGET_FOLDERS = {"eyebrows": "eyebrows", "eye": "eyes", "ear": "ears"}
"""Name of a part -> name of its folder, where they differ."""

LARGEST_BLINK = 1.6
"""Face unit weight beyond which lids would pass through each other."""


@dataclass(frozen=True)
class HeadShape:
    """An identity's head at rest."""

    vertices: Floats
    """(C, 3) coarse vertices, scaled and moved so that the eye centres lie where the template's do."""
    eye_centres: Floats
    """(2, 3) left, right."""
    eye_radius: float
    """Metres."""


def _local_target_paths(targets: Path, name: str, value: float) -> list[Path]:
    """The files of a local target: one, or one per side. A negative value means the opposite target."""
    if value < 0:
        stem, _, direction = name.rpartition("-")
        if direction not in _OPPOSITES:
            raise LossariumError(f"The shape target {name!r} has no opposite: give it a value from 0 to 1.")
        name = f"{stem}-{_OPPOSITES[direction]}"
    part = name.split("-")[0]
    folder = targets / _TARGET_FOLDERS.get(part, part)
    whole = folder / f"{name}.target.gz"
    paths = [whole] if whole.is_file() else [folder / f"{side}-{name}.target.gz" for side in ("l", "r")]
    if not all(path.is_file() for path in paths):
        raise LossariumError(f"There is no shape target {name!r} among MakeHuman's targets.")
    return paths


def _eye_centres(head: HeadModel, vertices: Floats) -> Floats:
    return np.stack([vertices[head.left_eye].mean(0), vertices[head.right_eye].mean(0)])


def shape_head(head: HeadModel, identity: Identity, data: Path) -> HeadShape:
    """Build an identity's head from MakeHuman's targets.

    Every identity is moved and scaled so that its eye centres lie where the template's do: the same state
    then gives aligned pictures of all identities.

    Raises:
        LossariumError: a shape target is unknown.
    """
    targets = data / "mpfb2/targets"
    offsets = phenotype_offsets(identity.phenotype, targets, head.base_vertex_count)
    for name, value in identity.shape.items():
        for path in _local_target_paths(targets, name, value):
            offsets += abs(value) * read_target(path, head.base_vertex_count)
    vertices = head.template + offsets[head.base_vertices]

    wanted, found = _eye_centres(head, head.template), _eye_centres(head, vertices)
    scale = (wanted[0, 0] - wanted[1, 0]) / (found[0, 0] - found[1, 0])
    vertices = (vertices - found.mean(0)) * scale + wanted.mean(0)
    centres = _eye_centres(head, vertices)
    radius = np.sqrt(((vertices[head.left_eye] - centres[0]) ** 2).sum(1)).mean()
    return HeadShape(vertices, centres, float(radius))


def _lid_gap(heights: Floats, head: HeadModel, unit: str) -> float:
    """Mean distance of a pair of lids along z."""
    upper, lower = head.landmarks[list(UPPER_LIDS[unit])], head.landmarks[list(LOWER_LIDS[unit])]
    return float((heights[upper] - heights[lower]).mean())


def expression_vertices(head: HeadModel, shape: HeadShape, expression: Mapping[str, float]) -> Floats:
    """The coarse vertices (C, 3) of a head with an expression.

    Every value is the weight of a face unit, except for `eyeBlinkLeft` and `eyeBlinkRight`: these are the
    share of the eye's opening that is closed. A given weight of the face unit closes a narrow eye further
    than a wide one, so that the same state would look different on two identities. Therefore each identity's
    weight is solved from the share.
    """
    vertices = shape.vertices.copy()
    index = {name: number for number, name in enumerate(head.face_unit_names)}
    for name, weight in expression.items():
        if name not in UPPER_LIDS and weight != 0.0:
            vertices += weight * head.face_units[index[name]]
    gaps = {
        name: _lid_gap(vertices[:, 2], head, name) for name in UPPER_LIDS if expression.get(name, 0.0) > 0
    }
    for name, gap in gaps.items():
        unit = head.face_units[index[name]]
        widest = max(gap, _lid_gap(shape.vertices[:, 2], head, name))
        excess = gap - (1.0 - expression[name]) * widest
        weight = np.clip(excess / -_lid_gap(unit[:, 2], head, name), 0.0, LARGEST_BLINK)
        vertices += weight * unit
    return vertices
