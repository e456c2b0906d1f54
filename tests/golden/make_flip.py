"""Writes flip.json: FLIP by its authors' package. Run in an environment that has torch and flip-evaluator.

python tests/golden/make_flip.py
"""

import json
import math
from pathlib import Path

import torch
from torch import Tensor

_DEFAULT = 0.7 * 3840 / 0.7 * math.pi / 180
# Name -> height, width, pixels per degree.
CASES = {
    "noise": (16, 16, _DEFAULT),
    "smooth": (24, 37, _DEFAULT),
    "large": (96, 130, _DEFAULT),
    "low": (5, 40, _DEFAULT),
    "near": (40, 24, 20.0),
    "far": (33, 48, 120.5),
    "stripes": (48, 32, _DEFAULT),
    "dot": (31, 40, _DEFAULT),
    "offset": (20, 26, _DEFAULT),
    "colors": (24, 24, _DEFAULT),
    "faint": (32, 40, _DEFAULT),
}


def pair(name: str) -> tuple[Tensor, Tensor]:
    """Input and target of a case, (1, 3, H, W) in [0, 1], the same wherever they are made."""
    height, width, _ = CASES[name]
    generator = torch.Generator().manual_seed(sum(name.encode()))
    noise = torch.rand(2, 3, height, width, generator=generator, dtype=torch.float64)
    down = torch.arange(height, dtype=torch.float64).view(1, 1, height, 1)
    across = torch.arange(width, dtype=torch.float64).view(1, 1, 1, width)
    channel = torch.arange(3, dtype=torch.float64).view(1, 3, 1, 1)
    waves = 0.5 + 0.4 * torch.sin(0.31 * down + (0.17 + 0.05 * channel) * across + channel)
    match name:
        case "noise":
            pictures = noise[:1], noise[1:]
        case "stripes":
            pictures = waves, (waves + 0.3 * (torch.floor(across / 2) % 2)).clamp(max=1)
        case "dot":
            input = waves.clone()
            input[0, :, 7, 30] = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
            pictures = input, waves
        case "offset":
            pictures = waves * 0 + 0.3, waves * 0 + 0.45
        case "colors":
            # Green against blue, the furthest apart, then other corners of the cube.
            corners = torch.tensor([[0, 1, 0], [0, 0, 1], [1, 0, 0], [1, 1, 0]], dtype=torch.float64)
            blocks = (torch.floor(across / 12) + 2 * torch.floor(down / 12)).long()[0, 0]
            pictures = tuple(
                corners[order][blocks].permute(2, 0, 1)[None] for order in ([0, 1, 2, 3], [1, 0, 3, 2])
            )
        case "faint":
            pictures = waves, waves + 0.01 * (noise[:1] - 0.5)
        case _:
            pictures = (waves + 0.5 * (noise[:1] - 0.5)).clamp(0, 1), waves
    return pictures


def main() -> None:
    import flip_evaluator

    cases = {}
    for name, (height, width, pixels_per_degree) in CASES.items():
        test, reference = (picture[0].permute(1, 2, 0).float().numpy() for picture in pair(name))
        map, mean, _ = flip_evaluator.evaluate(
            reference, test, "LDR", applyMagma=False, parameters={"ppd": pixels_per_degree}
        )
        every = 1 if height * width < 600 else 7
        cases[name] = {
            "pixels_per_degree": pixels_per_degree,
            "mean": round(float(mean), 8),
            "map_every": every,
            "map": [round(float(value), 6) for value in map.ravel()[::every]],
        }
    golden = {
        "peer": "flip-evaluator 1.7 (BSD-3-Clause)",
        "call": 'evaluate(reference, test, "LDR", applyMagma=False, parameters={"ppd": pixels_per_degree})',
        "pictures": "pair(name) of make_flip.py, as float32",
        "map": "every map_every-th pixel, row by row",
        "cases": cases,
    }
    text = json.dumps(golden, separators=(",", ":"))
    # One case per line.
    Path(__file__).with_name("flip.json").write_text(text.replace('{"pixels', '\n{"pixels') + "\n")


if __name__ == "__main__":
    main()
