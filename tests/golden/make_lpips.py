"""Writes lpips_nets.json: LPIPS by the package lpips, with weights and pictures that tests can make again.

Run where torch, lpips, torchvision and lossarium are installed:

    python -m tests.golden.make_lpips
"""

import json
from importlib.metadata import version
from pathlib import Path

import torch
from tests.losses.perceptual.test_lpips import CASES, golden_pair, random_weights

PLACE = Path(__file__).parent / "lpips_nets.json"


def main() -> None:
    import lpips

    values = []
    for case in CASES:
        model = lpips.LPIPS(
            net=case["net"], pretrained=False, pnet_rand=True, spatial=case["spatial"], verbose=False
        )
        weights = random_weights(case["net"])
        _load(model, weights)
        dtype = getattr(torch, case["dtype"])
        input, target = (
            picture.to(dtype) for picture in golden_pair(case["height"], case["width"], case["seed"])
        )
        input.requires_grad_()
        each = model.to(dtype)(input, target, normalize=True).mean(dim=(1, 2, 3))
        (gradient,) = torch.autograd.grad(each.sum(), input)
        values.append({**case, "each": each.tolist(), "gradient_norm": gradient.norm().item()})
    PLACE.write_text(
        json.dumps(
            {
                "peer": "lpips",
                "version": version("lpips"),
                "torch": torch.__version__,
                "call": "LPIPS(net, pretrained=False, pnet_rand=True, spatial)(input, target, "
                "normalize=True), mean over each picture, with test_lpips.random_weights",
                "values": values,
            },
            indent=1,
        )
        + "\n"
    )


def _load(model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    state = dict(model.state_dict())
    for name in state:
        head, _, rest = name.partition(".")
        if head == "net":
            state[name] = weights["features." + rest.partition(".")[2]]
        elif head == "lins":  # lins.0.model.1.weight, the same tensor as lin0.model.1.weight
            layer = rest.partition(".")[0]
            state[name] = state[f"lin{layer}.model.1.weight"] = weights[f"lin.{layer}.weight"]
    model.load_state_dict(state)


if __name__ == "__main__":
    main()
