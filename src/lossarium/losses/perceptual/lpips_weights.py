"""The weights of LPIPS's networks: AlexNet's are bundled, the others are read from a user's folder.

To make a file for that folder, where the packages lpips and torchvision are installed:

    python -m lossarium.losses.perceptual.lpips_weights vgg FOLDER
"""

import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib import import_module
from importlib.resources import as_file, files
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lossarium.errors import LossariumError
from lossarium.losses.perceptual.lpips_networks import LPIPSNet, known_net, network

FOLDER_VARIABLE = "LOSSARIUM_WEIGHTS"

_LARGEST_HEADER = 2**20


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def lpips_weights(net: LPIPSNet, device: torch.device, dtype: torch.dtype) -> Mapping[str, Tensor]:
    """A network's weights, ready for use; they are cached for the next call.

    AlexNet's are bundled. The others are read from `lpips_vgg.safetensors` and `lpips_squeeze.safetensors`
    in the folder that the environment variable LOSSARIUM_WEIGHTS names, or else from the packages
    torchvision (the network) and lpips (the linear layers) where these are installed.

    Raises:
        LossariumError: the weights are missing, or their file is damaged or of another network.
    """
    return _prepared(net, os.environ.get(FOLDER_VARIABLE, ""), device, dtype)


def save_lpips_weights(net: LPIPSNet, folder: Path) -> Path:
    """Write `lpips_NET.safetensors`, with the weights that the installed package lpips uses, into a folder.

    Raises:
        LossariumError: the packages lpips and torchvision are not installed or cannot be used.
    """
    weights = _weights_of_lpips_package(net)
    _check_shapes(net, {name: tuple(tensor.shape) for name, tensor in weights.items()}, "the package lpips")
    path = folder / _file_name(net)
    folder.mkdir(parents=True, exist_ok=True)
    # Written atomically: another process may read it at the same time.
    unfinished = path.with_suffix(f".{os.getpid()}.unfinished")
    save_file(weights, unfinished)
    unfinished.replace(path)
    return path


# Three networks in two precisions and one more; the largest takes 59 MB.
@lru_cache(maxsize=8)
def _prepared(net: LPIPSNet, folder: str, device: torch.device, dtype: torch.dtype) -> Mapping[str, Tensor]:
    def prepared() -> Mapping[str, Tensor]:
        with torch.no_grad():
            return MappingProxyType(network(net).prepared(_weights(net, folder), device, dtype))

    # In a new thread, which has none of torch's modes: the first caller may be a judge in inference mode or
    # `torch.export` while it traces, and training needs real weights from the same cache.
    with ThreadPoolExecutor(max_workers=1) as alone:
        return alone.submit(prepared).result()


def _weights(net: LPIPSNet, folder: str) -> dict[str, Tensor]:
    if net == "alex":
        with as_file(files("lossarium.losses") / "weights" / _file_name(net)) as path:
            return _read(net, path)
    if folder and (path := Path(folder).expanduser() / _file_name(net)).exists():
        return _read(net, path)
    try:
        return _weights_of_lpips_package(net)
    except LossariumError as error:
        raise LossariumError(
            f"there are no weights for lpips(net={net}): set the environment variable {FOLDER_VARIABLE} to a "
            f"folder with {_file_name(net)}, written by "
            f"`python -m lossarium.losses.perceptual.lpips_weights {net} FOLDER` "
            f"wherever lpips and torchvision are installed (here {error})"
        ) from None


def _file_name(net: LPIPSNet) -> str:
    return f"lpips_{net}.safetensors"


def _read(net: LPIPSNet, path: Path) -> dict[str, Tensor]:
    """Read an untrusted weights file: it runs no code, and checks size and shapes before loading tensors."""
    expected = network(net).shapes()
    largest = _LARGEST_HEADER + sum(4 * torch.Size(shape).numel() for shape in expected.values())
    if not path.is_file() or path.stat().st_size > largest:
        raise LossariumError(f"{path} must be a file of at most {largest} bytes with the weights of {net}")
    try:
        with safe_open(path, "pt") as file:
            found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            _check_shapes(net, {name: tuple(part.get_shape()) for name, part in found.items()}, str(path))
            for name in expected:
                if found[name].get_dtype() != "F32":
                    raise LossariumError(f"{name} in {path} must be float32, not {found[name].get_dtype()}")
            weights = {name: file.get_tensor(name) for name in expected}
    except (SafetensorError, OSError) as error:
        raise LossariumError(f"cannot read {path} as a safetensors file: {error}") from None
    for name, tensor in weights.items():
        if not bool(tensor.isfinite().all()):
            raise LossariumError(f"{name} in {path} holds NaN or infinity; get the file again")
    return weights


def _check_shapes(net: LPIPSNet, found: Mapping[str, tuple[int, ...]], where: str) -> None:
    for name, shape in network(net).shapes().items():
        if name not in found:
            raise LossariumError(f"{where} has no tensor {name}, so it does not hold the weights of {net}")
        if found[name] != shape:
            raise LossariumError(
                f"{name} in {where} must have the shape {shape} for {net}, not {found[name]}"
            )


def _weights_of_lpips_package(net: LPIPSNet) -> dict[str, Tensor]:
    """The weights under our names. torchvision downloads the network's when it first builds it."""
    network(net)  # there is one
    try:
        model = import_module("lpips").LPIPS(net=net, verbose=False)
    # Anything may go wrong in two packages and a download; the remedy is the same.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise LossariumError(
            f"the packages lpips and torchvision cannot give the weights of {net}: {reason}"
        ) from None
    return renamed(model.state_dict())


def renamed(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of the lpips package's `LPIPS(...).state_dict()` under the names of a weights file."""
    weights = {}
    for name, tensor in state.items():
        head, _, rest = name.partition(".")
        if head == "net":  # net.slice2.3.squeeze.weight
            weights[f"features.{rest.partition('.')[2]}"] = tensor.contiguous()
        elif head.removeprefix("lin").isdigit():  # lin0.model.1.weight
            weights[f"lin.{head.removeprefix('lin')}.weight"] = tensor.contiguous()
    return weights


def _main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print(
            "usage: python -m lossarium.losses.perceptual.lpips_weights vgg|squeeze|alex FOLDER",
            file=sys.stderr,
        )
        return 2
    try:
        print(save_lpips_weights(known_net(arguments[0]), Path(arguments[1])))
    except (LossariumError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
