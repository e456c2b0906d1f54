"""Write structure.json, the values of other libraries for the structure losses.

Run it from the repository's root, in an environment that has them: python -m tests.golden.make_structure
"""

import json
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tests.losses.pictures import random_pair
from torch import Tensor

GOLDEN = Path(__file__).parent / "structure.json"
_MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_MS_GMSD_WEIGHTS = (0.096, 0.596, 0.289, 0.019)


def pair(kind: str, height: int, width: int, channels: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Two pictures in [0, 1], the same wherever this runs."""
    if kind == "noise":
        input, target = random_pair(height=height, width=width, channels=channels, dtype=torch.float64)
        return input.clamp(0, 1).to(dtype), target.to(dtype)
    target = _waves(height, width, channels)
    if kind == "blurred":
        input = (target + target.roll(1, 2) + target.roll(2, 3) + target.roll((1, 2), (2, 3))) / 4
    elif kind == "one channel darker":
        input = target.clone()
        input[:, 0] *= 0.6
    elif kind == "one wrong pixel":
        input = target.clone()
        input[0, -1, height // 3, width // 4] = 1 - input[0, -1, height // 3, width // 4].round()
    else:
        raise ValueError(kind)
    return input.to(dtype), target.to(dtype)


def _waves(height: int, width: int, channels: int) -> Tensor:
    """Waves of a few pixels to a hundred, of another phase in each channel, (1, C, H, W)."""
    rows = torch.arange(height, dtype=torch.float64)[:, None]
    columns = torch.arange(width, dtype=torch.float64)
    planes = [
        0.5
        + 0.2 * torch.sin(0.05 * rows + 0.11 * columns + channel)
        + 0.15 * torch.sin(0.31 * columns - 0.23 * rows + 2 * channel)
        + 0.1 / (1 + channel) * torch.sin(1.9 * rows + channel) * torch.cos(2.3 * columns)
        for channel in range(channels)
    ]
    return torch.stack(planes)[None].clamp(0, 1)


def _measured(
    loss: str,
    peer: str,
    call: str,
    pictures: tuple[str, int, int, int],
    options: dict[str, Any],
    measure: Callable[[Tensor, Tensor], Tensor],
) -> dict[str, Any]:
    values = {
        str(dtype).removeprefix("torch."): measure(*pair(*pictures, dtype)).item()
        for dtype in (torch.float64, torch.float32)
    }
    provenance = f"{peer} {version(peer)}: {call}"
    return {"loss": loss, "options": options, "pictures": pictures, "values": values, "from": provenance}


def _ssim_values() -> Iterator[dict[str, Any]]:
    from pytorch_msssim import ms_ssim, ssim

    for pictures in (("noise", 24, 20, 3), ("blurred", 64, 48, 3), ("one channel darker", 31, 45, 1)):
        for window in (11, 7):
            yield _measured(
                "ssim",
                "pytorch-msssim",
                f"1 - ssim(input, target, data_range=1, win_size={window})",
                pictures,
                {"window": window},
                lambda x, y, window=window: 1 - ssim(x, y, data_range=1, win_size=window),
            )
    for pictures in (
        ("noise", 176, 192, 3),
        ("blurred", 161, 177, 3),
        ("blurred", 192, 208, 1),
        ("one channel darker", 200, 171, 3),
        ("one wrong pixel", 163, 180, 4),
    ):
        for scales in (5, 3, 1):
            weights = _MS_SSIM_WEIGHTS[:scales]
            normalised = [w / sum(weights) for w in weights] if scales < 5 else None
            yield _measured(
                "ms_ssim",
                "pytorch-msssim",
                f"1 - ms_ssim(input, target, data_range=1, weights={normalised})",
                pictures,
                {"scales": scales},
                lambda x, y, weights=normalised: 1 - ms_ssim(x, y, data_range=1, weights=weights),
            )
    for pictures in (("noise", 97, 113, 3), ("blurred", 128, 100, 3)):
        yield _measured(
            "ms_ssim",
            "pytorch-msssim",
            "1 - ms_ssim(input, target, data_range=1, win_size=7)",
            pictures,
            {"window": 7},
            lambda x, y: 1 - ms_ssim(x, y, data_range=1, win_size=7),
        )


_ODD_AND_EVEN = (
    ("noise", 64, 48, 3),
    ("blurred", 33, 47, 3),
    ("blurred", 32, 45, 1),
    ("one channel darker", 21, 30, 3),
    ("one wrong pixel", 17, 19, 3),
)


@cache
def _piq() -> Any:
    # piq imports torchvision, whose operators are missing beside this torch; none of them is called.
    operators = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(f"{name}(Tensor boxes) -> Tensor")
    import piq

    return piq


def _gmsd_values() -> Iterator[dict[str, Any]]:
    piq = _piq()
    for pictures in _ODD_AND_EVEN:
        yield _measured(
            "gmsd", "piq", "gmsd(input, target, data_range=1)", pictures, {}, lambda x, y: piq.gmsd(x, y)
        )
        for scales in (4, 2):
            weights = torch.tensor(_MS_GMSD_WEIGHTS[:scales], dtype=torch.float64)
            yield _measured(
                "ms_gmsd",
                "piq",
                f"multi_scale_gmsd(input, target, data_range=1, scale_weights={weights.tolist()})",
                pictures,
                {"scales": scales},
                lambda x, y, weights=weights: piq.multi_scale_gmsd(x, y, scale_weights=weights.to(x)),
            )


def _haarpsi_values() -> Iterator[dict[str, Any]]:
    # Its YIQ is that of the authors; piq's and piqa's are not.
    import frame_analytics

    piq = _piq()
    for pictures in _ODD_AND_EVEN:
        yield _measured(
            "haarpsi",
            "frame-analytics",
            "1 - haarpsi(input, target)",
            pictures,
            {},
            lambda x, y: 1 - frame_analytics.haarpsi(x, y),
        )
    for pictures in (("noise", 64, 48, 1), ("blurred", 32, 45, 1)):
        for subsample in (True, False):
            yield _measured(
                "haarpsi",
                "piq",
                f"1 - haarpsi(input, target, data_range=1, subsample={subsample})",
                pictures,
                {"subsample": subsample},
                lambda x, y, subsample=subsample: 1 - piq.haarpsi(x, y, subsample=subsample),
            )


def _mdsi_values() -> Iterator[dict[str, Any]]:
    piq = _piq()
    for pictures in (*_ODD_AND_EVEN, ("blurred", 515, 530, 3), ("noise", 770, 800, 3)):
        for alpha in (0.6, 0.3) if pictures == _ODD_AND_EVEN[0] else (0.6,):
            yield _measured(
                "mdsi",
                "piq",
                f"mdsi(input, target, data_range=1, alpha={alpha}, reduction='none').mean()",
                pictures,
                {"alpha": alpha},
                lambda x, y, alpha=alpha: piq.mdsi(x, y, alpha=alpha, reduction="none").mean(),
            )


if __name__ == "__main__":
    values = [*_ssim_values(), *_gmsd_values(), *_haarpsi_values(), *_mdsi_values()]
    GOLDEN.write_text("[\n" + ",\n".join(map(json.dumps, values)) + "\n]\n")
