"""Several processes that train one model together, each on a part of every batch, by Lightning Fabric.

All of them take the same steps: gradients are averaged as they are computed, and what one process finds out
(a change of settings, the judge's scores, a request to stop) is broadcast. Only the first writes files.
"""

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lossarium.errors import LossariumError
from lossarium.training.malloc import keep_freed_memory
from lossarium.training.parent import announce_parent, end_with_parent

ACCELERATORS = ("auto", "cpu", "cuda", "mps")

# How long a process with an error waits for the first one's error message, which ends them all.
_SECONDS_FOR_THE_FIRST = 3.0

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes that train together, as one of them sees it."""

    device: torch.device
    """The device of this process."""
    rank: int = 0
    """The number of this process, from 0."""
    count: int = 1
    fabric: Any = None
    """Lightning Fabric; None for a single process."""

    @property
    def is_first(self) -> bool:
        """Whether this is the first process, which writes files."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """Wrap the model so that its gradients are averaged over all processes."""
        return model if self.fabric is None else self.fabric.setup_module(model)

    def backward(self, total: Tensor) -> None:
        """Backpropagate a loss to the weights."""
        if self.fabric is None:
            torch.autograd.backward(total)
        else:
            self.fabric.backward(total)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes."""
        return values if self.fabric is None else self.fabric.all_reduce(values, reduce_op="mean")

    def gather(self, digest: bytes) -> bytes:
        """Concatenate the bytes of all processes, which have equal lengths."""
        if self.fabric is None:
            return digest
        own = torch.frombuffer(bytearray(digest), dtype=torch.uint8).to(self.device)
        of_all = [torch.empty_like(own) for _ in range(self.count)]
        torch.distributed.all_gather(of_all, own)
        return bytes(torch.cat(of_all).tolist())

    def broadcast_from_first(self, find: Callable[[], T]) -> T:
        """Call `find` on the first process only, and return its result on all."""
        found = find() if self.is_first else None
        if self.fabric is not None:
            found = self.fabric.broadcast(found, src=0)
        return found  # type: ignore[return-value]

    def max_over(self, number: int) -> int:
        """The maximum of a number over all processes."""
        if self.fabric is None:
            return number
        return int(self.fabric.all_reduce(torch.tensor(number, device=self.device), reduce_op="max"))


def single_process(accelerator: str = "cpu") -> Processes:
    """A single process.

    Raises:
        LossariumError: this machine has no such accelerator.
    """
    return Processes(torch.device(_found(accelerator)))


@contextmanager
def launched(accelerator: str, devices: int) -> Iterator[Processes]:
    """Run a command in one process per device: the others are started with the same command line.

    Args:
        accelerator: One of `ACCELERATORS`; "auto" is a CUDA GPU if there is one, else the CPU.
        devices: How many; on CPUs these are processes.

    Raises:
        LossariumError: this machine has no such accelerator, or Lightning Fabric is not installed.
    """
    end_with_parent()
    announce_parent()
    kind = _found(accelerator)
    keep_freed_memory()
    if devices == 1:
        yield Processes(torch.device(kind))
        return
    fabric = _fabric(kind, devices)
    processes = Processes(fabric.device, fabric.global_rank, fabric.world_size, fabric)
    try:
        yield processes
    except BaseException:
        # The other processes might wait for this one for ever.
        if processes.is_first:
            for other in fabric.strategy.launcher.procs:
                other.kill()
        else:
            time.sleep(_SECONDS_FOR_THE_FIRST)
        raise
    fabric.barrier()
    torch.distributed.destroy_process_group()


def _found(accelerator: str) -> str:
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if accelerator == "auto":
        return "cuda" if there["cuda"] else "cpu"
    if not there[accelerator]:
        raise LossariumError(f"torch finds no {accelerator} on this machine; use --accelerator auto or cpu")
    return accelerator


def _fabric(kind: str, devices: int) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from lightning_fabric import Fabric
    except ImportError:
        raise LossariumError(
            "several devices need Lightning Fabric; install it with pip install 'lossarium[devices]'"
        ) from None
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    try:
        fabric = Fabric(accelerator=kind, devices=devices, strategy="ddp")
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        raise LossariumError(f"cannot train on {devices} {kind} devices: {error}") from None
    return fabric
