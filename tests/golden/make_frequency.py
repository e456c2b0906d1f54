"""Writes frequency.json: the focal frequency loss by its authors' package.

Run in an environment that has torch and focal-frequency-loss: python tests/golden/make_frequency.py
"""

import json
from pathlib import Path

import torch
from torch import Tensor

# Name -> shape, options.
CASES: dict[str, tuple[tuple[int, int, int, int], dict[str, float]]] = {
    "plain": ((2, 3, 24, 20), {}),
    "odd": ((1, 3, 15, 33), {}),
    "grey": ((3, 1, 9, 8), {}),
    "large": ((1, 3, 64, 96), {}),
    "one row": ((1, 2, 1, 12), {}),
    "alpha 0": ((2, 3, 12, 14), {"alpha": 0.0}),
    "alpha 0.5": ((2, 3, 12, 13), {"alpha": 0.5}),
    "alpha 2": ((2, 3, 13, 12), {"alpha": 2.0}),
    "patches": ((2, 3, 24, 18), {"patch_factor": 3}),
    "average": ((3, 3, 10, 17), {"ave_spectrum": True}),
    "logarithm": ((2, 3, 16, 11), {"log_matrix": True}),
    "batch": ((2, 4, 11, 16), {"batch_matrix": True}),
    "all": (
        (3, 2, 18, 20),
        {"alpha": 1.5, "patch_factor": 2, "ave_spectrum": True, "log_matrix": True, "batch_matrix": True},
    ),
}


def pair(name: str) -> tuple[Tensor, Tensor]:
    """Input and target of a case, float64, the same wherever they are made."""
    shape, _ = CASES[name]
    generator = torch.Generator().manual_seed(sum(name.encode()))
    target = torch.rand(shape, generator=generator, dtype=torch.float64)
    noise = torch.rand(shape, generator=generator, dtype=torch.float64)
    stripes = torch.arange(shape[-1], dtype=torch.float64) % 3
    input = target + 0.3 * (noise - 0.5)
    # Channels and pictures differ in the size of their error, which the options treat differently.
    input[:, 0] += 0.1 * stripes
    input[0] += 0.05
    return input, target


def main() -> None:
    from focal_frequency_loss import FocalFrequencyLoss

    cases = {}
    for name, (_, options) in CASES.items():
        input, target = pair(name)
        input.requires_grad_()
        value = FocalFrequencyLoss(**options)(input, target)
        value.backward()
        assert input.grad is not None
        every = 1 if input.numel() < 200 else 13
        cases[name] = {
            "options": options,
            "value": value.item(),
            "gradient_largest": input.grad.abs().max().item(),
            "gradient_every": every,
            "gradient": [float(f"{slope:.9e}") for slope in input.grad.flatten()[::every]],
        }
    golden = {
        "peer": "focal-frequency-loss 0.3.0 (MIT)",
        "call": "FocalFrequencyLoss(**options)(input, target), in float64, and its gradient by the input",
        "pictures": "pair(name) of make_frequency.py",
        "gradient": "every gradient_every-th entry, flattened",
        "cases": cases,
    }
    text = json.dumps(golden, separators=(",", ":"))
    # One case per line.
    Path(__file__).with_name("frequency.json").write_text(text.replace('{"options', '\n{"options') + "\n")


if __name__ == "__main__":
    main()
