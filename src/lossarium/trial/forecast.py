"""Forecast a trial's memory and disk before it begins, and suggest what would fit if memory is too small.

The memory of a step is found by running the model on torch's meta device, which computes shapes and nothing
else, and adding up what autograd keeps for the backward pass. The numbers of the trial are not touched.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from lossarium.errors import LossariumError
from lossarium.facesets.memory import available_memory
from lossarium.models.prediction import predict
from lossarium.models.randomness import seeded
from lossarium.models.registry import info, initial_model, names, parameter_count
from lossarium.own_code import is_own
from lossarium.training.configuration import Recipe
from lossarium.training.options import optimizers

_FLOAT_BYTES = 4
# What the smallest model keeps for the backward pass, in floats per pixel. It is not worth the second that
# torch takes to import what its meta device needs.
_FLOATS_A_PIXEL = {"compact": 79}
# The number of gradient averages that an optimiser keeps; other optimisers are assumed to keep two.
_MOMENTS = {"sgd": 1, "rmsprop": 1}
# How many float32 pictures a loss and a batch hold: input, target, their maps and gradients.
_PICTURES_OF_LOSS = 12
# Workspaces of convolutions and gradients of activations, of the activations that are kept.
_WORKSPACES = 0.1
# Compiled kernels, and memory that judges and libraries allocate at their first use.
_FIXED_BYTES = 60_000_000
# A checkpoint's bytes are in memory twice: safetensors copies each tensor, and then all into one file.
_COPIES_OF_CHECKPOINT = 2
_ROW_BYTES = 400
_SCORE_BYTES = 22
_PREVIEW_ROWS = 8
# How torch, oneDNN and the C++ library report that memory ran out.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "could not create a memory",
    "could not create a primitive",
)


@dataclass(frozen=True)
class Memory:
    """The bytes that training takes, apart from the process itself and the pictures."""

    weights: int
    """Weights, gradients and the optimiser's state."""
    activations: int
    """Activations that are kept for the backward pass of a batch."""
    rest: int
    """An estimate for the rest of a step, or for writing a checkpoint, whichever is more."""

    @property
    def least(self) -> int:
        """A lower bound."""
        return self.weights + self.activations

    @property
    def total(self) -> int:
        return self.least + self.rest


def memory_needed(recipe: Recipe, identities: int = 2) -> Memory:
    """The memory that a step takes.

    >>> memory_needed(Recipe(batch_size=16)).activations == 2 * memory_needed(Recipe()).activations
    True
    """
    parameters = parameter_count(
        recipe.model, size=recipe.size, identities=identities, options=recipe.model_options
    )
    copies = 2 + _MOMENTS.get(optimizers.parse(recipe.optimizer).name, 2)
    # Memory grows linearly with the batch: the second picture shows how much each further one takes.
    one, two = (activation_bytes(recipe, batch, identities) for batch in (1, 2))
    activations = one + (recipe.batch_size - 1) * (two - one)
    if recipe.precision == "bf16":
        # Half the bytes, and a copy of the weights in half theirs.
        activations = activations // 2 + _FLOAT_BYTES * parameters // 2
    picture = 3 * _FLOAT_BYTES * recipe.size**2
    step = int(_WORKSPACES * activations) + _PICTURES_OF_LOSS * picture * recipe.batch_size * identities
    checkpoint = _COPIES_OF_CHECKPOINT * (copies - 1) * _FLOAT_BYTES * parameters
    return Memory(copies * _FLOAT_BYTES * parameters, activations, _FIXED_BYTES + max(step, checkpoint))


def disk_needed(recipe: Recipe, *, held_out: int, trials: int = 1) -> int:
    """The bytes that finished trials keep on disk, plus what one needs in addition while it runs.

    Args:
        recipe: Of all trials.
        held_out: Frames that the last evaluations score, and those before up to `judged_frames`.
        trials: How many are still to be trained.
    """
    parameters = parameter_count(recipe.model, size=recipe.size, identities=2, options=recipe.model_options)
    # Weights and the optimiser's state. While a trial runs there are two of the last, one to go back to, and
    # a new one is written before an old one is removed.
    checkpoint = (1 + _MOMENTS.get(optimizers.parse(recipe.optimizer).name, 2)) * _FLOAT_BYTES * parameters
    evaluations, full = len(recipe.snapshot_steps()), len(recipe.full_evaluation_steps())
    judged = full * held_out + (evaluations - full) * min(held_out, recipe.judged_frames)
    sheet = _PREVIEW_ROWS * 2 * 3 * recipe.size**2
    kept = checkpoint + _ROW_BYTES * recipe.steps + evaluations * sheet + 8 * judged * _SCORE_BYTES
    return trials * kept + 3 * bool(trials) * checkpoint


def announce_forecast(
    recipe: Recipe,
    tell: Callable[[str], None],
    *,
    disk: int | None = None,
    device: torch.device | None = None,
) -> None:
    """Announce the memory and disk that training takes, and refuse or warn if memory is too small.

    Args:
        recipe: Of the trials.
        tell: Called with a sentence.
        disk: Bytes, from `disk_needed`.
        device: Where it trains; the CPU by default.

    Raises:
        LossariumError: the memory cannot suffice; the message names options that would fit.
    """
    memory = memory_needed(recipe)
    available = _available(device)
    facts = [f"memory about {shown_bytes(memory.total)}"]
    if available is not None:
        facts[0] += f" of {shown_bytes(available)}"
        if memory.least > available:
            raise LossariumError(
                f"{_named(recipe)} needs at least {shown_bytes(memory.least)} of memory, and "
                f"{shown_bytes(available)} are available; {remedies(recipe, available)}"
            )
    if disk is not None:
        facts.append(f"disk about {shown_bytes(disk)}")
    tell(f"{_named(recipe)} takes {', '.join(facts)}")
    if available is not None and memory.total > available:
        tell(f"that may be more memory than is available; {remedies(recipe, available)}")


def remedies(recipe: Recipe, available: int | None) -> str:
    """The command-line options that would fit into this much memory."""
    found = [] if available is None else list(_that_fit(recipe, available))
    return (
        f"this would fit: {'; or '.join(found)}" if found else "close other programs, or use another machine"
    )


@contextmanager
def out_of_memory(recipe: Recipe, folder: Path | None = None) -> Iterator[None]:
    """Turn torch's error when memory runs out into one sentence with options that would fit.

    Args:
        recipe: What is trained.
        folder: The trial's; None if nothing is saved.

    Raises:
        LossariumError: memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        kept = "" if folder is None else f"; the training up to the last checkpoint is in {folder}"
        raise LossariumError(
            f"there is not enough memory for {_named(recipe)}{kept}; {_remedies_afterwards(recipe)}"
        ) from error


def _remedies_afterwards(recipe: Recipe) -> str:
    """Options that would fit, after memory has run out."""
    try:
        total = memory_needed(recipe).total
    # An own model is counted by running it, for which there may be no memory any more.
    except (LossariumError, MemoryError, RuntimeError):
        return remedies(recipe, None)
    # Training needed more memory than there was, whatever the system says now that it is free again.
    smaller = _FIXED_BYTES + int(0.9 * (total - _FIXED_BYTES))
    return remedies(recipe, min(_available(None) or smaller, smaller))


def shown_bytes(count: int) -> str:
    """A number of bytes as text.

    >>> shown_bytes(1_240_000_000), shown_bytes(5_000_000)
    ('1.2 GB', '5 MB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _that_fit(recipe: Recipe, available: int) -> Iterator[str]:
    """At most three options: smaller batches, smaller pictures, a smaller model."""

    def fits(other: Recipe) -> bool:
        try:
            return memory_needed(other).total <= available
        # An own model is counted by running it: it may refuse a size, or find no memory.
        except (LossariumError, MemoryError, RuntimeError):
            return False

    parts = 2
    while recipe.batch_size % parts == 0:
        accumulation = parts * recipe.accumulation
        smaller = replace(recipe, batch_size=recipe.batch_size // parts, accumulation=accumulation)
        if fits(smaller):
            yield f"--batch-size {smaller.batch_size} --accumulation {accumulation}, for the same step"
            break
        parts *= 2
    for size in (size for size in (384, 256, 192, 128, 96, 64, 48, 32) if size < recipe.size):
        if fits(replace(recipe, size=size)):
            yield f"--size {size}"
            break
    for name in reversed(names()):
        other = replace(recipe, model=name, model_options={})
        if name != recipe.model and fits(other):
            yield f"--model {name}"
            break


def _named(recipe: Recipe) -> str:
    return f"{recipe.model} at {recipe.size} px with a batch of {recipe.batch_size}"


def _available(device: torch.device | None) -> int | None:
    if device is not None and device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_memory() if device is None or device.type == "cpu" else None


def activation_bytes(recipe: Recipe, batch: int, identities: int) -> int:
    """The bytes that autograd keeps from a forward pass in float32: each storage once, without the
    weights."""
    if recipe.model in _FLOATS_A_PIXEL:
        return _FLOAT_BYTES * _FLOATS_A_PIXEL[recipe.model] * batch * identities * recipe.size**2
    return counted_activation_bytes(recipe, batch, identities)


def counted_activation_bytes(recipe: Recipe, batch: int, identities: int) -> int:
    """The same, by running the model with a batch of this size.

    Built-in models run on torch's meta device, which takes no memory and next to no time. A user's own model
    may have layers that the meta device does not support, so it runs on the CPU.
    """
    own = is_own(recipe.model)
    with torch.device("cpu" if own else "meta"), seeded(torch.device("cpu"), 0):
        model = _own_model(recipe, identities) if own else _model(recipe, identities)
        pictures = torch.zeros(identities, batch, 3, recipe.size, recipe.size)
        weights = {weight.untyped_storage()._cdata for weight in model.parameters()}
        kept: dict[int, Tensor] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()._cdata
            if storage not in weights:
                kept[storage] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            prediction = predict(model, pictures, range(identities))
    del prediction
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _model(recipe: Recipe, identities: int) -> nn.Module:
    declared = info(recipe.model)
    model: nn.Module = declared.architecture(
        recipe.size, identities, declared.options(**recipe.model_options)
    )
    return model


def _own_model(recipe: Recipe, identities: int) -> nn.Module:
    return initial_model(
        recipe.model, size=recipe.size, identities=identities, seed=0, options=recipe.model_options
    )


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in _OUT_OF_MEMORY)
