"""The warning of pictures in another range."""

import subprocess
import sys
import warnings

import pytest
import torch

from lossarium import losses
from lossarium.losses import value_range
from tests.losses.pictures import checkerboard, extremes, random_pair


@pytest.fixture(autouse=True)
def _as_in_a_new_process(monkeypatch):
    monkeypatch.setattr(value_range, "_WATCH", value_range._Watch())


@pytest.mark.parametrize(
    ("factor", "offset", "remedy"), [(255, 0, "divide input and target by 255"), (2, -1, "(x + 1) / 2")]
)
def test_bytes_and_centred_pictures_cause_one_warning_with_the_remedy(factor, offset, remedy):
    input, target = random_pair(height=64, width=48)
    input, target = input * factor + offset, target * factor + offset
    with pytest.warns(losses.RangeWarning) as caught:
        losses.mse(input, target)
    assert remedy in str(caught[0].message)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses.ssim(input, target)


@pytest.mark.parametrize(
    "target",
    [
        random_pair()[0],
        checkerboard(),
        random_pair()[1] - 0.2,
        torch.zeros(1, 3, 24, 20),
        torch.full((1, 3, 24, 20), 30.0),
        torch.randn(1, 3, 24, 20, generator=torch.Generator().manual_seed(0)),
        *(target for _, target in extremes().values()),
    ],
)
def test_ordinary_values_cause_no_warning(target):
    losses.mse(target.roll(1, dims=3), target)


def picture_of(low, high, *, negative=0):
    """100 pixels: one of each of these values, others of 0.5 and as many below 0 as said."""
    values = torch.full((100,), 0.5)
    values[:negative] = low / 2
    values[0], values[-1] = low, high
    return values.view(1, 1, 10, 10)


@pytest.mark.parametrize(
    ("warned_of", "ordinary"),
    [
        # Bytes: from 0 to 256, and more than 16 from the darkest to the lightest.
        (picture_of(0, 16.01), picture_of(0, 15.99)),
        (picture_of(0, 256), picture_of(0, 256.1)),
        (picture_of(0, 100), picture_of(-0.01, 100)),
        (picture_of(0.25, 16.5), picture_of(0.75, 16.5)),
        # Centred: from -1 to 1 with a rounding, well below 0, and at more than a tenth of the pixels.
        (picture_of(-1, 1.0009, negative=11), picture_of(-1, 1.0011, negative=11)),
        (picture_of(-1.0009, 1, negative=11), picture_of(-1.0011, 1, negative=11)),
        (picture_of(-0.301, 1, negative=11), picture_of(-0.299, 1, negative=11)),
        (picture_of(-1, 1, negative=11), picture_of(-1, 1, negative=9)),
    ],
)
def test_where_ordinary_values_end(warned_of, ordinary):
    losses.mse(ordinary, ordinary)
    with pytest.warns(losses.RangeWarning):
        losses.mse(warned_of, warned_of)


def test_predictions_may_have_any_values():
    _, target = random_pair()
    losses.mse(target * 255, target)


def test_compilers_see_no_warning():
    _, target = random_pair()
    compiled = torch.compile(losses.mse, fullgraph=True, backend="eager")
    compiled(target * 255, target * 255)
    torch.func.vmap(losses.mse)(target[:, None] * 255, target[:, None] * 255)


def test_calls_are_checked_again_after_a_while(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(value_range.time, "monotonic", lambda: now[0])
    _, target = random_pair()
    for _ in range(value_range._FIRST_CALLS):
        losses.mse(target, target)
    losses.mse(target * 255, target * 255)
    now[0] += 2 * value_range._SECONDS
    with pytest.warns(losses.RangeWarning):
        losses.mse(target * 255, target * 255)


def test_importing_the_package_imports_no_torch():
    imported = "print('torch' in sys.modules)"
    script = f"import sys, lossarium; {imported}; lossarium.losses.mse; {imported}"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]
