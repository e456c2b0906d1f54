"""A face of 68 landmarks, and pictures that store it as faceswap and DeepFaceLab do."""

import pickle
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tests.facesets.handmade_pictures import encoded, png, smooth

SIDE = 64

Points = npt.NDArray[np.float64]


def face(size: float = 1.0, *, turn: float = 0.0, shift: tuple[float, float] = (0.0, 0.0)) -> Points:
    """A symmetric face in the unit square, scaled by `size`, turned by radians and shifted."""
    jaw_angles = np.linspace(np.pi, 0, 17)
    jaw = np.stack([0.5 + 0.55 * np.cos(jaw_angles), 0.25 + 0.95 * np.sin(jaw_angles)], axis=1)
    brow = np.array([(0.02, 0.1), (0.09, 0.04), (0.19, 0.02), (0.3, 0.035), (0.4, 0.08)])
    nose = np.array([(0.5, y) for y in (0.2, 0.31, 0.41, 0.52)])
    nostrils = np.array([(0.38, 0.59), (0.44, 0.61), (0.5, 0.63), (0.56, 0.61), (0.62, 0.59)])
    eye = np.array([(0.13, 0.22), (0.2, 0.18), (0.275, 0.18), (0.345, 0.23), (0.27, 0.245), (0.19, 0.244)])
    other_eye = mirrored(eye)[[3, 2, 1, 0, 5, 4]]
    turns = np.linspace(np.pi, 3 * np.pi, 12, endpoint=False)
    lips = np.stack([0.5 + 0.24 * np.cos(turns), 0.81 + 0.09 * np.sin(turns)], axis=1)
    inner_turns = np.linspace(np.pi, 3 * np.pi, 8, endpoint=False)
    inner = np.stack([0.5 + 0.18 * np.cos(inner_turns), 0.8 + 0.03 * np.sin(inner_turns)], axis=1)
    points = np.vstack([jaw, brow, mirrored(brow)[::-1], nose, nostrils, eye, other_eye, lips, inner])
    assert points.shape == (68, 2)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    turned: Points = size * points @ rotation.T + shift
    return turned


def mirrored(points: Points, width: float = 1.0) -> Points:
    return np.array([width, 0.0]) + points * [-1, 1]


def faceswap_header(landmarks: Points, **masks: dict[str, Any]) -> dict[str, Any]:
    return {
        "alignments": {
            "x": 20,
            "w": 110,
            "y": 15,
            "h": 140,
            "landmarks_xy": landmarks.tolist(),
            "mask": masks,
            "identity": {"vggface2": [0.25, -0.5, 1e-07]},
        },
        "source": {
            "alignments_version": 2.4,
            "original_filename": "frame_000001_0.png",
            "face_index": 0,
            "source_filename": "frame_000001.png",
            "source_is_video": False,
            "source_frame_dims": (720, 1280),
        },
    }


def faceswap_mask(pixels: npt.NDArray[np.uint8], matrix: npt.NDArray[np.float64]) -> dict[str, Any]:
    return {
        "mask": zlib.compress(pixels.tobytes()),
        "affine_matrix": matrix.tolist(),
        "interpolator": 1,
        "stored_size": len(pixels),
        "stored_centering": "face",
    }


def faceswap_png(header: object, side: int = SIDE, seed: int = 0) -> bytes:
    """A PNG whose chunk holds an object's repr, or bytes as they are."""
    text = header if isinstance(header, bytes) else repr(header).encode()
    return itxt_png(b"faceswap\0\0\0\0\0" + text, side, seed)


def itxt_png(body: bytes, side: int = SIDE, seed: int = 0) -> bytes:
    return png(side, side, 8, 2, _pixels(side, seed).tobytes(), (b"iTXt", body))


def lying_png(length: int) -> bytes:
    """A PNG that claims this many bytes of faceswap's data and holds few."""
    whole = itxt_png(b"faceswap\0\0\0\0\0{}")
    at = whole.index(b"iTXt") - 4
    return whole[:at] + struct.pack(">I", length) + whole[at + 4 :]


def dfl_fields(landmarks: Points, **more: object) -> dict[str, object]:
    return {
        "face_type": "whole_face",
        "landmarks": landmarks.tolist(),
        "source_filename": "00001.png",
        "source_rect": [10, 20, 110, 160],
        "source_landmarks": (landmarks * 2 + 30).tolist(),
        "image_to_face_mat": np.array([[0.5, 0.0, -15.0], [0.0, 0.5, -15.0]]),
        **more,
    }


def dfl_jpeg(fields: object, side: int = SIDE, seed: int = 0, protocol: int = 4) -> bytes:
    """A JPEG whose APP15 holds an object's pickle, or bytes as they are."""
    body = fields if isinstance(fields, bytes) else pickle.dumps(fields, protocol)
    plain = encoded(Image.fromarray(_pixels(side, seed)), "JPEG", quality=95)
    return plain[:20] + b"\xff\xef" + struct.pack(">H", len(body) + 2) + body + plain[20:]


def faceset_pak(
    pictures: list[bytes], configurations: object, *, version: int = 1, length: int | None = None
) -> bytes:
    packed = configurations if isinstance(configurations, bytes) else pickle.dumps(configurations, 4)
    offsets = [sum(map(len, pictures[:number])) for number in range(len(pictures))]
    size = 16 + len(packed) + 8 * (len(pictures) + 1) + sum(map(len, pictures))
    header = struct.pack("<QQ", version, len(packed) if length is None else length)
    # As DeepFaceLab does, the last offset is the length of the whole file.
    table = struct.pack(f"<{len(pictures) + 1}Q", *offsets, size)
    return header + packed + table + b"".join(pictures)


def on_an_edge(mask: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Where a pixel or one of its eight neighbours has another value, (H, W)."""
    near = np.lib.stride_tricks.sliding_window_view(np.pad(mask, 1, mode="edge"), (3, 3))
    found: npt.NDArray[np.bool_] = near.min(axis=(2, 3)) != near.max(axis=(2, 3))
    return found


def _pixels(side: int, seed: int) -> npt.NDArray[np.uint8]:
    return np.roll(smooth(side, side), 3 * seed, axis=1)
