"""Each option of augmentation, and the kernels against plain torch operations."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lossarium.errors import LossariumError
from lossarium.facesets.batches import augmentation
from lossarium.facesets.batches.amount import FACESWAP, Augmentation
from lossarium.facesets.batches.augmentation import (
    augment,
    augment_frames,
    augment_regions,
    draw,
)
from lossarium.facesets.batches.contrast import LEVELS
from lossarium.facesets.colour import srgb_to_lab
from lossarium.facesets.randomness import Purpose, generator
from tests.bounds import resampling_error, rounding_error
from tests.losses.kernel_cases import threads

STILL = Augmentation(rotation=0, zoom=0, shift=0, flip=0, warp=0, brightness=0, contrast=0, tint=0)
LAB = replace(STILL, lightness=0.3, colour=0.08)
# A colour loses little in itself; from CIELAB, its cubes and its curve's steep foot magnify that.
COLOUR = 3 * 12.92 * rounding_error(32, torch.float32)


def draws(count, seed=0):
    return np.stack([draw(generator(seed, Purpose.AUGMENTATION, 1, sample)) for sample in range(count)])


def photographs(count, height, width, seed=0):
    """8-bit pictures with smooth places, edges and noise, (N, H, W, 3)."""
    numbers = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
    waves = numbers.uniform(1, 9, (count, 3, 2, 1, 1))
    light = np.sin(waves[:, :, 0] * rows + waves[:, :, 1] * columns) * 0.4 + 0.5
    light[:, :, rows > columns] *= 0.7
    noisy = light + numbers.normal(0, 0.02, light.shape)
    return (noisy.clip(0, 1) * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)


def planar(frames):
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).contiguous().float() / 255


def both_ways(frames, amount, seed=0):
    drawn = draws(len(frames), seed)
    plain = augment(planar(frames), torch.from_numpy(drawn).float(), amount)
    return augment_frames(frames, drawn, amount), plain


@pytest.mark.parametrize(
    "amount",
    [
        STILL,
        Augmentation(),
        replace(STILL, flip=1),
        replace(STILL, warp=0.1),
        LAB,
        replace(FACESWAP, clahe=0),
        Augmentation(rotation=180, zoom=0.7, shift=1.5, warp=0.5, lightness=1, colour=1),
    ],
    ids=["still", "default", "flip", "warp", "Lab", "faceswap", "wild"],
)
@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47)])
def test_kernels_agree_with_plain_operations(amount, height, width):
    for fast, plain in zip(*both_ways(photographs(6, height, width), amount), strict=True):
        assert fast.shape == plain.shape
        assert (fast - plain).abs().max() <= resampling_error(max(height, width)) + COLOUR


def on_levels(frames):
    """The same frames without the colours whose lightness is near an edge between two of CLAHE's levels.

    There rounding decides in which level a pixel is counted, and one pixel moves the curve of its tile by its
    whole share. A tenth of a level is more than resampling loses. Such pixels become the nearest grey that is
    far enough from an edge.
    """

    def is_safe(colours):
        level = srgb_to_lab(planar(colours).double())[:, 0] * (LEVELS / 100) % 1
        return ((level > 0.1) & (level < 0.9)).numpy()

    greys = np.arange(256, dtype=np.uint8)
    greys = greys[is_safe(np.stack([greys] * 3, axis=1)[None, None])[0, 0]]
    means = frames.mean(axis=3, keepdims=True)
    nearest = greys[np.abs(greys.astype(float) - means).argmin(axis=3)][..., None]
    return np.where(is_safe(frames)[..., None], frames, nearest)


def check_clahe(frames, amount):
    """Kernels against float64, as far as what is lost before CLAHE moves the plain operations."""
    drawn = draws(len(frames))

    def exact(error):
        pictures = (planar(frames).double() + error).clamp(0, 1)
        return augment(pictures, torch.from_numpy(drawn).float().double(), amount)

    lost = resampling_error(max(frames.shape[1:3]))
    signs = [np.random.default_rng(seed).choice([-lost, lost], frames.shape) for seed in range(3)]
    errors = [torch.from_numpy(error).permute(0, 3, 1, 2) for error in signs]
    plain, changed = exact(0), [exact(error) for error in errors]
    for place, fast in enumerate(augment_frames(frames, drawn, amount)):
        change = max((other[place] - plain[place]).abs().max() for other in changed)
        assert (fast - plain[place]).abs().max() <= change


@pytest.mark.parametrize("tiles", [1, 2, 5])
def test_kernels_agree_with_plain_clahe_but_where_levels_meet(tiles):
    # Lightness unchanged, so that it stays between the levels' edges.
    amount = replace(STILL, colour=0.08, clahe=1, clahe_tiles_least=tiles, clahe_tiles_most=tiles)
    check_clahe(on_levels(photographs(4, 40, 56)), amount)


def test_bits_depend_neither_on_threads_nor_on_the_rest_of_the_batch():
    frames, drawn = photographs(5, 24, 24), draws(5)
    with threads(1):
        alone = augment_frames(frames, drawn, FACESWAP)
        one = augment_frames(frames[3:4], drawn[3:4], FACESWAP)
    with threads(3):
        together = augment_frames(frames, drawn, FACESWAP)
    for first, second, third in zip(alone, together, one, strict=True):
        assert torch.equal(first, second)
        assert torch.equal(first[3:4], third)


def test_without_changes_a_frame_is_unchanged_also_through_lab():
    frames = photographs(2, 24, 30)
    for amount in (STILL, replace(STILL, lightness=1e-9)):
        for picture in augment_frames(frames, draws(2), amount):
            assert (picture - planar(frames)).abs().max() <= resampling_error(30) + COLOUR


def moved_lab(pictures, error):
    """How far CIELAB moves where every channel of sRGB is off by so much, (N, 3, H, W)."""
    exact = pictures.double()
    moved = torch.zeros_like(exact)
    for channel in torch.eye(3, dtype=torch.float64):
        moved += (srgb_to_lab(exact + error * channel.view(3, 1, 1)) - srgb_to_lab(exact)).abs()
    return moved


@pytest.mark.parametrize("way", [0, 1], ids=["kernels", "plain"])
def test_lightness_goes_towards_white_or_black_by_the_share_drawn(way):
    grey = np.full((64, 8, 8, 3), 119, np.uint8)
    target = both_ways(grey, replace(STILL, lightness=0.4))[way][1]
    shares = torch.from_numpy(0.4 * draws(64)[:, augmentation._LAB.start]).view(-1, 1, 1)
    assert shares.min() < 0 < shares.max()
    expected = srgb_to_lab(planar(grey).double())
    ends = torch.where(shares > 0, 100.0, 0.0).double()
    expected[:, 0] = torch.lerp(expected[:, 0], ends, shares.abs())
    found = srgb_to_lab(target.double())
    # A flat picture loses nothing more in resampling.
    assert ((found - expected).abs() <= moved_lab(target, COLOUR)).all()


@pytest.mark.parametrize("way", [0, 1], ids=["kernels", "plain"])
def test_colour_goes_towards_its_ends_by_the_shares_drawn_and_leaves_the_lightness_alone(way):
    frames = photographs(16, 12, 12) // 4 + 96
    target = both_ways(frames, replace(STILL, colour=0.08))[way][1]
    shares = torch.from_numpy(0.08 * draws(16)[:, augmentation._LAB][:, 1:]).view(-1, 2, 1, 1)
    assert shares.min() < 0 < shares.max()
    expected = srgb_to_lab(planar(frames).double())
    expected[:, 1:] = torch.lerp(expected[:, 1:], 128 * shares.sign(), shares.abs())
    found = srgb_to_lab(target.double())
    assert ((found - expected).abs() <= moved_lab(target, resampling_error(12) + COLOUR)).all()


@pytest.mark.parametrize("way", [0, 1], ids=["kernels", "plain"])
def test_clahe_has_its_probability_and_raises_contrast(way):
    frames = photographs(64, 24, 24) // 4 + 96
    target = both_ways(frames, replace(STILL, clahe=0.5))[way][1]
    before, after = planar(frames).std(dim=(1, 2, 3)), target.std(dim=(1, 2, 3))
    changed = (target - planar(frames)).abs().amax(dim=(1, 2, 3)) > resampling_error(24) + COLOUR
    # Of uniform numbers in [-1, 1), as many are nearer to 0 as the probability says.
    assert changed.tolist() == (np.abs(draws(64)[:, augmentation._CLAHE]) < 0.5).tolist()
    assert 0 < changed.sum() < 64
    assert (after[changed] > before[changed]).all()


def test_more_tiles_than_pixels_are_clamped():
    check_clahe(on_levels(photographs(3, 4, 3)), replace(STILL, clahe=1, clahe_tiles_least=6))


def test_new_options_do_not_change_the_numbers_of_old_ones():
    # The first sixty numbers are those of version 0.1.0, before CIELAB and CLAHE were added.
    drawn = draw(generator(0, Purpose.AUGMENTATION, 1, 0))
    old = generator(0, Purpose.AUGMENTATION, 1, 0)
    assert np.array_equal(drawn[:10], old.uniform(-1, 1, 10))
    assert np.array_equal(drawn[10:60], old.standard_normal(50))
    assert drawn.shape == (65,)


def test_a_region_moves_with_the_target_and_is_not_warped():
    frames = photographs(8, 40, 40)
    frames[:] = 0
    frames[:, 8:30, 12:20] = 255
    drawn = torch.from_numpy(draws(8)).float()
    amount = replace(STILL, rotation=15, zoom=0.1, shift=0.1, flip=0.5, warp=0.05)
    target = augment(planar(frames), drawn, amount)[1]
    region = augment_regions(planar(frames)[:, :1], drawn, amount)
    assert region.min() >= 0
    # The frame is a product of a profile down and one across, sampled linearly for the region and cubically
    # for the target: on either axis they differ by what they do on a step, on which cubics go beyond 1, too.
    step = (torch.arange(16.0) >= 8).expand(1, 1, 4, 16).float()
    across = torch.linspace(-0.5, 0.5, 1001)
    grid = torch.stack((across, torch.zeros(1001)), dim=1).view(1, 1, 1001, 2)
    linear, cubic = (augmentation._sampled(step, grid, mode) for mode in ("bilinear", "bicubic"))
    apart = (cubic - linear).abs().max() * (1 + cubic.max()) + resampling_error(40)
    assert apart < 0.3
    assert (region - target[:, :1]).abs().max() <= apart
    assert ((region - planar(frames)[:, :1]).abs().amax(dim=(1, 2, 3)) > 2 * apart).all()


@pytest.mark.parametrize("name", ["rotation", "flip", "lightness", "clahe", "clahe_clip"])
@pytest.mark.parametrize("amount", [-0.1, math.nan, math.inf])
def test_meaningless_amounts_are_refused_by_name(name, amount):
    with pytest.raises(LossariumError, match=name):
        Augmentation(**{name: amount})


@pytest.mark.parametrize(("least", "most"), [(0, 2), (4, 3), (1, 1000)])
def test_meaningless_tiles_are_refused(least, most):
    with pytest.raises(LossariumError, match="clahe_tiles"):
        Augmentation(clahe_tiles_least=least, clahe_tiles_most=most)


def test_a_share_above_one_is_refused():
    with pytest.raises(LossariumError, match="from 0 to 1"):
        Augmentation(flip=1.5)
