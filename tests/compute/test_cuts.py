"""Kernels cut their work by the caches that are found: the result has the same bits whatever these are."""

from functools import partial

import pytest
import torch

from lossarium.compute import tiling
from lossarium.compute.caches import Caches
from lossarium.losses.gradient import gmsd_sweeps_cpu
from lossarium.losses.structure import windows_cpu
from tests.losses.kernel_cases import threads, value_and_gradient
from tests.losses.pictures import random_pair

KIB, MIB = 1 << 10, 1 << 20
L2 = (256 * KIB, 512 * KIB, MIB, 2 * MIB, 32 * MIB)
SIZES = [(70, 66), (300, 530)]
CASES = [
    ("ssim", {}),
    ("ssim", {"window": 7, "sigma": 1.0}),
    ("ssim", {"color": "gray"}),
    ("uqi", {}),
    ("ms_ssim", {"window": 3}),
    ("mix", {"scales": 2}),
    ("gmsd", {}),
    ("ms_gmsd", {"color": "rgb"}),
]


def pretend(monkeypatch, second):
    monkeypatch.setattr(tiling, "caches", lambda: Caches(32 * KIB, second))


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_any_caches_and_any_number_of_threads_give_the_same_bits(
    monkeypatch, name, options, height, width, weighted
):
    input, target = random_pair(height=height, width=width)
    weight = torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(3)) if weighted else None
    results = []
    for second in L2:
        pretend(monkeypatch, second)
        for number in (1, 2):
            with threads(number):
                results.append(value_and_gradient(name, input, target, weight, **options))
    for values, gradient in results[1:]:
        assert torch.equal(values, results[0][0])
        assert torch.equal(gradient, results[0][1])


@pytest.mark.parametrize("rows", [partial(windows_cpu.strip_rows, 11), gmsd_sweeps_cpu.strip_rows])
@pytest.mark.parametrize("width", [32, 128, 512, 1920])
def test_strips_grow_with_the_cache_and_stay_even_and_within_the_scratch(monkeypatch, rows, width):
    heights = []
    for second in (0, *L2):
        pretend(monkeypatch, second)
        heights.append(rows(width))
    assert heights == sorted(heights)
    assert (heights[0], heights[-1]) == (8, 32)
    assert all(height % 2 == 0 for height in heights)


@pytest.mark.parametrize("second", L2)
def test_the_scratch_of_more_than_the_fewest_rows_fits_three_quarters_of_the_cache(monkeypatch, second):
    pretend(monkeypatch, second)
    for row_bytes in (500, 3000, 20_000):
        rows = tiling.rows_that_fit(row_bytes, 10, 32)
        assert rows == 8 or (rows + 10) * row_bytes <= second * 3 // 4
        assert rows == 32 or (rows + 12) * row_bytes > second * 3 // 4


def test_the_cases_are_cut_differently(monkeypatch):
    """Else the test of equal bits would compare equal work."""
    for rows in (partial(windows_cpu.strip_rows, 11), gmsd_sweeps_cpu.strip_rows):
        heights = set()
        for second in L2:
            pretend(monkeypatch, second)
            heights.add(rows(500))
        assert len(heights) >= 3
