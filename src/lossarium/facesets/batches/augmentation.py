"""Augmentation of whole batches on the device: colour, an affine transform, and face swapping's random warp.

The network gets the warped picture and has to reconstruct the unwarped one. So its encoder describes pose and
expression instead of copying pixels, which makes swapping work.

`augment` runs on any device; `augment_frames` does the same with CPU kernels, in a fraction of the time.
"""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from lossarium.facesets.batches import colour_cpu, resampling_cpu
from lossarium.facesets.batches.amount import Augmentation
from lossarium.facesets.batches.contrast import clahe
from lossarium.facesets.batches.resampling_cpu import WARP_NODES
from lossarium.facesets.colour import lab_to_srgb, srgb_to_lab

# Indices of a picture's random numbers: uniform in [-1, 1), except the warp's, which are standard normal.
_ROTATION, _ZOOM, _SHIFT_X, _SHIFT_Y, _MIRROR, _BRIGHTNESS, _CONTRAST = range(7)
_TINT = slice(7, 10)
_WARP = slice(10, 10 + 2 * WARP_NODES**2)
_LAB = slice(_WARP.stop, _WARP.stop + 3)
_CLAHE, _CLAHE_TILES = _LAB.stop, _LAB.stop + 1
_PLACES = _CLAHE_TILES + 1

# L*, a* and b* are moved towards these limits: the middle of their range, plus or minus this.
_LAB_MIDDLE, _LAB_REACH = (50.0, 0.0, 0.0), (50.0, 128.0, 128.0)


def draw(generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """All random numbers that one picture's augmentation needs, (numbers,)."""
    uniform = generator.uniform(-1, 1, _WARP.start)
    normal = generator.standard_normal(_WARP.stop - _WARP.start)
    # Drawn last, so that the numbers above stay as in earlier versions.
    return np.concatenate([uniform, normal, generator.uniform(-1, 1, _PLACES - _WARP.stop)])


def augment(frames: Tensor, drawn: Tensor, amount: Augmentation) -> tuple[Tensor, Tensor]:
    """The network's input and its target.

    Args:
        frames: (N, 3, H, W) in [0, 1].
        drawn: (N, numbers), from `draw`, one row for each picture.
        amount: The strength.

    Returns:
        The warped and the unwarped picture, both (N, 3, H, W) in [0, 1]; all other changes are the same.
    """
    coloured = _coloured(frames, drawn, amount)
    if amount.in_lab:
        coloured = _coloured_in_lab(coloured, drawn, amount)
    affine = _affine(drawn, amount)
    grid = F.affine_grid(affine, list(frames.shape), align_corners=False)
    # Bicubic: a target blurred by bilinear sampling would make every loss train for blur.
    target = _sampled(coloured, grid, "bicubic").clamp(0, 1)
    return _sampled(coloured, grid + _warp(drawn, affine, frames.shape[2:], amount), "bilinear"), target


def augment_regions(regions: Tensor, drawn: Tensor, amount: Augmentation) -> Tensor:
    """Transform regions of the target in the same way: rotation, scale, shift and mirroring.

    Args:
        regions: (N, regions, H, W) in [0, 1].
        drawn: (N, numbers), those of the frames.
        amount: The strength.

    Returns:
        (N, regions, H, W) in [0, 1].
    """
    grid = F.affine_grid(_affine(drawn, amount), list(regions.shape), align_corners=False)
    return _sampled(regions, grid, "bilinear")


def augment_frames(
    frames: npt.NDArray[np.uint8], drawn: npt.NDArray[np.float64], amount: Augmentation
) -> tuple[Tensor, Tensor]:
    """Like `augment`, but from 8-bit frames with CPU kernels; results agree to about 1e-4.

    CLAHE is the exception: rounding may put a pixel at the edge of a histogram bin into the next one, which
    changes results by some thousandths.

    Args:
        frames: (N, H, W, 3), RGB.
        drawn: (N, numbers), from `draw`, one row for each picture.
        amount: The strength.
    """
    rows = torch.from_numpy(drawn).float()
    frames = np.ascontiguousarray(frames)
    _, height, width, _ = frames.shape
    affine = _affine(rows, amount)
    tiles = _clahe_tiles(rows, amount, height, width).numpy() if amount.in_lab else None
    places, nodes = _in_pixels(affine, height, width), _nodes_in_pixels(rows, affine, amount, height, width)
    return resampling_cpu.augmented(
        frames, _colour_changes(rows, amount), tiles, amount.clahe_clip, places, nodes
    )


def _sampled(frames: Tensor, grid: Tensor, mode: str) -> Tensor:
    return F.grid_sample(frames, grid, mode=mode, padding_mode="reflection", align_corners=False)


def _coloured(frames: Tensor, drawn: Tensor, amount: Augmentation) -> Tensor:
    def column(index: int) -> Tensor:
        return drawn[:, index].view(-1, 1, 1, 1)

    tint = 1 + amount.tint * drawn[:, _TINT].view(-1, 3, 1, 1)
    gain = 1 + amount.contrast * column(_CONTRAST)
    middle = frames.mean(dim=(1, 2, 3), keepdim=True)
    contrasted = torch.addcmul(middle + amount.brightness * column(_BRIGHTNESS), frames - middle, gain)
    return (contrasted * tint).clamp(0, 1)


def _coloured_in_lab(frames: Tensor, drawn: Tensor, amount: Augmentation) -> Tensor:
    kept, added = (change.view(-1, 3, 1, 1) for change in _lab_changes(drawn, amount))
    lab = srgb_to_lab(frames) * kept + added
    tiles = _clahe_tiles(drawn, amount, *frames.shape[2:])
    for number in sorted(set(tiles.tolist())):
        if number:
            chosen = tiles == number
            lab[chosen, 0] = 100 * clahe(lab[chosen, 0] / 100, number, amount.clahe_clip)
    return lab_to_srgb(lab)


def _lab_changes(drawn: Tensor, amount: Augmentation) -> tuple[Tensor, Tensor]:
    """The factors and the offsets of L*, a* and b*, both (N, 3)."""
    moves = drawn[:, _LAB] * drawn.new_tensor([amount.lightness, amount.colour, amount.colour])
    ends = drawn.new_tensor(_LAB_MIDDLE) + moves.sign() * drawn.new_tensor(_LAB_REACH)
    return 1 - moves.abs(), moves.abs() * ends


def _clahe_tiles(drawn: Tensor, amount: Augmentation, height: int, width: int) -> Tensor:
    """The number of CLAHE's tiles along each side, (N,); 0 where CLAHE is not applied."""
    choices = amount.clahe_tiles_most - amount.clahe_tiles_least + 1
    tiles = amount.clahe_tiles_least + ((drawn[:, _CLAHE_TILES] + 1) / 2 * choices).long()
    # Rounding to float32 can turn a number below 1 into 1.
    tiles = tiles.clamp(max=min(amount.clahe_tiles_most, height, width))
    return torch.where(drawn[:, _CLAHE].abs() < amount.clahe, tiles, 0)


def _affine(drawn: Tensor, amount: Augmentation) -> Tensor:
    """The transforms (N, 2, 3) from coordinates in the result to coordinates in the frame, in units of half a
    side."""
    angle = torch.deg2rad(amount.rotation * drawn[:, _ROTATION])
    scale = torch.exp(amount.zoom * drawn[:, _ZOOM])
    mirror = torch.where(drawn[:, _MIRROR].abs() < amount.flip, -1.0, 1.0)
    cosine, sine = scale * torch.cos(angle), scale * torch.sin(angle)
    shift_x, shift_y = 2 * amount.shift * drawn[:, _SHIFT_X], 2 * amount.shift * drawn[:, _SHIFT_Y]
    rows = [cosine * mirror, -sine, shift_x, sine * mirror, cosine, shift_y]
    return torch.stack(rows, dim=1).view(-1, 2, 3)


def _nodes(drawn: Tensor, amount: Augmentation) -> Tensor:
    """The jitter of the 5x5 nodes, (N, 2, nodes, nodes), in units of half a side."""
    return 2 * amount.warp * drawn[:, _WARP].view(-1, 2, WARP_NODES, WARP_NODES)


def _warp(drawn: Tensor, affine: Tensor, shape: torch.Size, amount: Augmentation) -> Tensor:
    """The jitter interpolated over the picture and transformed like the picture, (N, H, W, 2)."""
    nodes = _nodes(drawn, amount)
    field = F.interpolate(nodes, size=list(shape), mode="bilinear", align_corners=True)
    return torch.einsum("nij,njhw->nhwi", affine[:, :, :2], field)


def _colour_changes(drawn: Tensor, amount: Augmentation) -> npt.NDArray[np.float32]:
    """The colour changes by the indices of `colour_cpu`, (N, changes)."""
    kept, added = _lab_changes(drawn, amount)
    # The kernel's L* is in [0, 1].
    added = added / added.new_tensor([100, 1, 1])
    brightness = amount.brightness * drawn[:, _BRIGHTNESS, None]
    contrast = 1 + amount.contrast * drawn[:, _CONTRAST, None]
    tint = 1 + amount.tint * drawn[:, _TINT]
    changes = torch.cat([brightness, contrast, tint, kept, added], dim=1)
    assert changes.shape[1] == colour_cpu.CHANGES
    return changes.numpy()


def _in_pixels(affine: Tensor, height: int, width: int) -> npt.NDArray[np.float32]:
    """The transforms in pixels, as `resampling_cpu` takes them, (N, 6)."""
    by_halves = affine.double().numpy()
    sides = np.array([width, height], np.float64)
    # The centre of pixel j is at (2 j + 1) / side - 1.
    steps = by_halves[:, :, :2] * sides[:, None] / sides
    corner = by_halves[:, :, :2] @ (1 / sides - 1) + by_halves[:, :, 2]
    start = ((corner + 1) * sides - 1) / 2
    places: npt.NDArray[np.float64] = np.concatenate([start[:, :, None], steps], axis=2)
    return places.reshape(-1, 6).astype(np.float32)


def _nodes_in_pixels(
    drawn: Tensor, affine: Tensor, amount: Augmentation, height: int, width: int
) -> npt.NDArray[np.float32]:
    turned = torch.einsum("nij,njhw->nihw", affine[:, :, :2], _nodes(drawn, amount))
    return (turned * turned.new_tensor([width / 2, height / 2]).view(2, 1, 1)).numpy()
