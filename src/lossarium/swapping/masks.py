"""The face mask of a picture, from a mask file, a stored mask or landmarks; it is never guessed."""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from lossarium.facesets.decoding import jpeg, png
from lossarium.facesets.formats.dfl_format import dfl_face
from lossarium.facesets.formats.faceswap_format import faceswap_face
from lossarium.facesets.formats.stored_face import StoredFace, landmarks_in_frame, mask_in_frame
from lossarium.facesets.reading import UnreadablePicture, refusals_named, stored_bytes
from lossarium.facesets.regions.landmark_masks import face_mask
from lossarium.judging.pairs import MaskFile
from lossarium.swapping.blending import Pixels, resized_mask
from lossarium.swapping.jobs import SwapJob

# The kind of mask made from landmarks: it includes the brows.
_KIND = "extended"

FaceMask = Callable[[int], Pixels]
"""side -> the mask of the picture's centre square, resized: (side, side), 255 where the face is."""


def face_mask_of(job: SwapJob, picture_size: tuple[int, int]) -> FaceMask | None:
    """The face mask of a picture, or None if there is neither a mask nor landmarks.

    Sources, in this order: a mask file; the mask that faceswap or DeepFaceLab stored in the picture;
    landmarks stored in the picture or the faceset, as the hull of the face with raised brows.

    Args:
        job: The picture.
        picture_size: Its width and height as stored.

    Raises:
        UnreadablePicture: the mask or what is stored in the picture is damaged, or has another size.
    """
    if job.mask is not None:
        return partial(resized_mask, _fitting(job.mask, picture_size))
    face = _stored_face(job, picture_size)
    if face is not None and face.mask is not None:
        if not face.mask.pixels.any():
            raise UnreadablePicture(
                job.path, "holds a mask that is black everywhere, so that no pixel counts"
            )
        return partial(mask_in_frame, face.mask, picture_size)
    landmarks = job.landmarks if face is None else face.landmarks
    return None if landmarks is None else partial(_from_landmarks, landmarks, picture_size)


def _fitting(mask: MaskFile, picture_size: tuple[int, int]) -> Pixels:
    pixels = mask.read()
    # EXIF may have rotated either of them, so that width and height are swapped.
    if sorted(pixels.shape) != sorted(picture_size):
        height, width = pixels.shape
        raise UnreadablePicture(
            mask.path,
            f"is a mask of {width} x {height} pixels, but its picture has "
            f"{picture_size[0]} x {picture_size[1]}",
        )
    return pixels


def _stored_face(job: SwapJob, picture_size: tuple[int, int]) -> StoredFace | None:
    with refusals_named(job.path):
        data = stored_bytes(job.path, job.packed)
        if png.is_png(data):
            return faceswap_face(data, picture_size)
        return dfl_face(data, picture_size) if jpeg.is_jpeg(data) else None


def _from_landmarks(landmarks: npt.NDArray[np.float64], picture_size: tuple[int, int], side: int) -> Pixels:
    return face_mask(_KIND, landmarks_in_frame(landmarks, picture_size, side), side)
