"""Kernels of pixel losses equal the plain formulas, with any options, sizes and weights."""

import math

import pytest

from tests.losses.kernel_cases import check_against_plain, pairs

CASES = pairs()
LOSSES = [
    ("mse", {}),
    ("mae", {}),
    ("mbe", {}),
    ("linf", {}),
    ("rmse", {}),
    ("sse", {}),
    ("psnr", {}),
    ("mape", {}),
    ("mpe", {}),
    ("mase", {}),
    ("smooth_l1", {}),
    ("huber", {"delta": 0.2}),
    ("logcosh", {}),
    ("logcosh", {"scale": 1.0}),
    ("charbonnier", {}),
    ("quantile", {"q": 0.3}),
    ("imae", {}),
    ("imae", {"temperature": 0.0}),
    ("imae", {"temperature": 16.0}),
    *(
        ("general", {"alpha": alpha})
        for alpha in (1.0, 2.0, 0.0, -2.0, -math.inf, 0.5, 1.999, -5.0, 1e-5, 2.05)
    ),
    ("general", {"alpha": 3.0, "c": 0.2}),
    ("general", {"alpha": math.inf, "c": 0.5}),
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("name", "options"), LOSSES, ids=str)
def test_equals_the_plain_formula(name, options, case):
    check_against_plain(name, *CASES[case], **options)
