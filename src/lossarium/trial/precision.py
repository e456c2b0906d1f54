"""Measure before the first step, on the model, whether bf16 is slower than float32 on this processor.

Without instructions for bfloat16, a processor emulates them, at a fraction of the speed of float32.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lossarium.models.prediction import predict
from lossarium.models.randomness import seeded
from lossarium.models.registry import initial_model
from lossarium.training.configuration import Recipe

# The whole measurement takes about this long, unless a pass of a single picture takes longer.
_SECONDS = 4.0
# A pass in bf16 is aborted after this time if float32 took a third of it or less.
_PATIENCE = 2.0
# A smaller difference may be noise on a busy machine.
_SLOWER = 1.1
# Linux's names for x86 and ARM.
_INSTRUCTIONS = frozenset({"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16", "svebf16"})
_CPU_FLAGS = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class PassTimes:
    """The seconds of a forward and a backward pass in each precision."""

    batch: int
    """Pictures of each identity."""
    bf16: float
    float32: float
    broken_off: bool = False
    """Whether the pass in bf16 was aborted because it was far slower: it takes longer than `bf16`."""


def warn_of_slow_bf16(
    recipe: Recipe, device: torch.device, tell: Callable[[str], None], identities: int = 2
) -> None:
    """Tell both times if bf16 was chosen for a CPU on which it is slower than float32.

    The random state is left as it was, and the trial's own model is not touched.

    Args:
        recipe: Of the trial.
        device: Where it trains.
        tell: Called with a sentence.
        identities: How many there are.
    """
    if recipe.precision != "bf16" or device.type != "cpu":
        return
    times = pass_times(recipe, identities)
    if times.bf16 <= _SLOWER * times.float32:
        return
    least = "more than " if times.broken_off else ""
    batch = "" if times.batch == recipe.batch_size else f" with a batch of {times.batch}"
    why = "" if _has_instructions() else "this processor has no bfloat16 instructions; "
    tell(
        f"bf16 takes {least}{_shown(times.bf16)} a step here{batch}, float32 {_shown(times.float32)}: "
        f"{why}leave out --precision bf16"
    )


def pass_times(
    recipe: Recipe, identities: int = 2, clock: Callable[[], float] = time.perf_counter
) -> PassTimes:
    """Time a forward and a backward pass of the recipe's model, with its batch or with a smaller one if that
    is too slow.

    Args:
        recipe: Of the trial.
        identities: How many there are.
        clock: Returns seconds.
    """
    cpu = torch.device("cpu")
    with seeded(cpu, 0):
        model = initial_model(
            recipe.model,
            size=recipe.size,
            identities=identities,
            seed=0,
            options=recipe.model_options,
        )

        def seconds(precision: str, batch: int) -> float:
            pictures = torch.rand(identities, batch, 3, recipe.size, recipe.size)
            began = clock()
            _pass(model, pictures, precision)
            return clock() - began

        # float32 first, since it is known to be fast enough.
        float32 = seconds("float32", 1)
        limit = max(_PATIENCE, 3 * float32)
        bf16 = limit
        with _broken_off_after(model, limit, clock) as broken:
            bf16 = seconds("bf16", 1)
        if broken():
            return PassTimes(1, bf16, float32, broken_off=True)
        # The first pass also prepares convolutions, so each further picture takes less.
        slowest = max(bf16, float32)
        if 4 * slowest > _SECONDS:
            return PassTimes(1, bf16, float32)
        batch = max(1, min(recipe.batch_size, int(_SECONDS / (4 * max(slowest, 1e-9)))))
        for precision in ("float32", "bf16"):
            seconds(precision, batch)
        return PassTimes(batch, seconds("bf16", batch), seconds("float32", batch))


def _pass(model: nn.Module, pictures: Tensor, precision: str) -> None:
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        prediction = predict(model, pictures, range(len(pictures)))
    outputs = [prediction.pictures, *prediction.coarser]
    if prediction.masks is not None:
        outputs.append(prediction.masks)
    torch.autograd.backward(torch.stack([output.float().square().mean() for output in outputs]).sum())


class _TooLongError(Exception):
    """A pass was aborted."""


@contextmanager
def _broken_off_after(
    model: nn.Module, limit: float, clock: Callable[[], float]
) -> Iterator[Callable[[], bool]]:
    """Abort a pass between two of its layers, forward or backward, once it has taken too many seconds.

    Yields a function that says whether the pass was aborted.
    """
    began, broken = clock(), False

    def check(*_: object) -> None:
        if clock() - began > limit:
            raise _TooLongError

    def after_layer(_layer: nn.Module, _inputs: object, output: object) -> None:
        check()
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(check)  # type: ignore[no-untyped-call]

    hooks = [layer.register_forward_hook(after_layer) for layer in model.modules()]
    try:
        yield lambda: broken
    except _TooLongError:
        broken = True
    finally:
        for hook in hooks:
            hook.remove()


def _has_instructions() -> bool:
    """Whether this processor has instructions for bfloat16; True if the system does not say."""
    try:
        lines = _CPU_FLAGS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return True
    flags = [
        line.partition(":")[2].split() for line in lines if line.lower().startswith(("flags", "features"))
    ]
    return not flags or not _INSTRUCTIONS.isdisjoint(flags[0])


def _shown(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
