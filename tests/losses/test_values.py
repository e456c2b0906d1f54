"""Values known from other packages or by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from skimage.metrics import structural_similarity

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.losses.perceptual import lpips_weights
from tests.bounds import LONGEST_CHAIN, error_bound, rounding_error
from tests.losses.pictures import random_pair

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pixel_losses_equal_torchs(dtype):
    input, target = random_pair(dtype=dtype)
    near = rounding_error(LONGEST_CHAIN, dtype)
    exact = input.double(), target.double()
    assert losses.mse(input, target).item() == pytest.approx(F.mse_loss(*exact).item(), rel=near)
    assert losses.mae(input, target).item() == pytest.approx(F.l1_loss(*exact).item(), rel=near)


def test_pixel_losses_see_one_wrong_pixel_in_one_channel():
    target = torch.zeros(1, 3, 4, 5)
    input = target.clone()
    input[0, 1, 2, 3] = 1
    # One value that counts: a share, a product and a quotient are rounded.
    near = rounding_error(4, torch.float32)
    assert losses.mse(input, target).item() == pytest.approx(1 / 60, rel=near)
    assert losses.mae(input, target).item() == pytest.approx(1 / 60, rel=near)
    weight = torch.zeros(1, 1, 4, 5)
    weight[0, 0, 2, 3] = 2
    weight[0, 0, 0, 0] = 6
    assert losses.mae(input, target, weight=weight).item() == pytest.approx(2 / 8 / 3, rel=near)


@pytest.mark.parametrize(("height", "width", "channels"), [(24, 20, 3), (11, 40, 1), (64, 64, 4)])
@pytest.mark.parametrize("seed", [0, 1])
def test_ssim_equals_scikit_images_inside_the_picture(height, width, channels, seed):
    input, target = random_pair(height=height, width=width, channels=channels, seed=seed, dtype=torch.float64)

    for place in range(len(input)):
        pair = input[place : place + 1], target[place : place + 1]
        _, theirs = structural_similarity(
            input[place].permute(1, 2, 0).numpy(),
            target[place].permute(1, 2, 0).numpy(),
            channel_axis=2,
            data_range=1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        expected = 1 - theirs[5:-5, 5:-5].mean()
        for dtype in (torch.float64, torch.float32):
            ours = losses.ssim(*(picture.to(dtype) for picture in pair)).item()
            # Theirs, in float64, loses as much once more.
            allowed = 2 * error_bound(losses.ssim, *pair, dtype=dtype).item()
            assert ours == pytest.approx(expected, abs=allowed)
            assert allowed < 1e-5


def test_ssim_counts_a_window_as_its_centre_counts():
    input, target = random_pair(height=15, width=17, dtype=torch.float64)
    weight = torch.zeros(2, 1, 15, 17, dtype=torch.float64)
    weight[:, :, 6, 9] = 3
    pair = input[:, :, 1:12, 4:15], target[:, :, 1:12, 4:15]
    difference = losses.ssim(input, target, weight=weight) - losses.ssim(*pair)
    assert difference.abs() <= 2 * error_bound(losses.ssim, *pair)


def test_ssim_refuses_what_does_not_fit():
    picture = torch.zeros(1, 3, 10, 40)
    with pytest.raises(LossariumError, match="11 pixels does not fit pictures of 40x10"):
        losses.ssim(picture, picture)
    with pytest.raises(LossariumError, match="odd"):
        losses.ssim(picture, picture, window=4)
    with pytest.raises(LossariumError, match="sigma"):
        losses.ssim(picture, picture, sigma=0.0)


@pytest.mark.parametrize(("name", "published"), [("ex_p0.png", 0.722), ("ex_p1.png", 0.138)])
def test_lpips_equals_the_published_example(name, published):
    reference, picture = (_picture(GOLDEN / "lpips" / file) for file in ("ex_ref.png", name))
    # Published to three decimals; float32's rounding is thousands of times smaller.
    assert losses.lpips(picture, reference).item() == pytest.approx(published, abs=5e-4)


def test_lpips_trains_after_it_judged_in_inference_mode():
    lpips_weights._prepared.cache_clear()
    input, target = random_pair(height=32, width=32)
    with torch.inference_mode():
        losses.lpips(input, target)
    input = input.clone().requires_grad_()
    losses.lpips(input, target).backward()
    assert input.grad.abs().max() > 0


def test_lpips_refuses_grey_and_small_pictures_and_unknown_nets():
    with pytest.raises(LossariumError, match="RGB"):
        losses.lpips(torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64))
    with pytest.raises(LossariumError, match="at least 31"):
        losses.lpips(torch.zeros(1, 3, 30, 64), torch.zeros(1, 3, 30, 64))
    with pytest.raises(LossariumError, match="resnet"):
        losses.lpips(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64), net="resnet")


def _picture(path: Path) -> torch.Tensor:
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None] / 255
