"""Swap pictures with a trained model and write each as a file that is marked as made by a model."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from lossarium.errors import LossariumError
from lossarium.facesets.reading import Picture, UnreadablePicture, read_picture
from lossarium.facesets.remarks import Remark
from lossarium.facesets.whole_pictures import read_whole_picture
from lossarium.files import write_whole
from lossarium.judging.held_out import as_bytes, as_tensor
from lossarium.models.prediction import predict
from lossarium.models.randomness import evaluating
from lossarium.provenance import encoded, xmp_packet
from lossarium.swapping.blending import Pixels, blend, centre_square, feathered, resized_face
from lossarium.swapping.colour_transfer import transfer_colour
from lossarium.swapping.jobs import SwapJob
from lossarium.swapping.masks import face_mask_of
from lossarium.swapping.trained import TrainedModel
from lossarium.swapping.unfinished import Ledger
from lossarium.text.wording import counted, listed, printable_name

# Pictures per forward pass; limits the memory, and the work that is lost on Ctrl-C.
_CHUNK = 16
_NO_MASK = (
    "has no mask to blend by: there is none beside it (a faceset's, or a grey picture of the same name in a "
    "folder masks), and faceswap or DeepFaceLab stored no mask or landmarks in it"
)


@dataclass(frozen=True)
class SwapOptions:
    """How a swapped face is finished before it is written."""

    blend: bool = False
    """Keep the input outside the face; every picture needs a mask, see `lossarium.swapping.masks`."""
    feather: float = 5.0
    """The width over which a blended face fades in, in percent of the side."""
    colour_transfer: Literal["none", "lab"] = "none"
    """lab gives the face the mean and deviation of the input's colours, inside the mask if there is one."""
    full_size: bool = False
    """Paste the face back into the input at the input's size, instead of writing it at the model's size."""


@dataclass(frozen=True)
class Swapped:
    """The outcome of swapping pictures."""

    written: int
    notes: tuple[str, ...]
    """Sentences for the user."""
    finished_before: int = 0
    """How many of them an interrupted swap had written."""


Watch = Callable[[int, int], None]
"""Called with the number of pictures that are done and the number of all pictures."""


def swap_pictures(
    trained: TrainedModel,
    identity: int,
    jobs: Sequence[SwapJob],
    finish: SwapOptions,
    *,
    skip_bad: bool = False,
    watch: Watch | None = None,
    ledger: Ledger | None = None,
) -> Swapped:
    """Swap every picture to an identity and write it, marked as made by a trained model.

    Files are written atomically, so an interruption leaves none half-written. With a ledger, finished
    pictures are not made again.

    Args:
        trained: The model.
        identity: The index of the target identity's decoder, from `identity_index`.
        jobs: From `find_jobs`.
        finish: How the faces are finished.
        skip_bad: Whether to skip pictures and masks that cannot be read, with a note.
        watch: Called after each picture.
        ledger: The output folder's; records finished pictures until all are finished.

    Raises:
        LossariumError: a picture cannot be read or has no mask to blend by, and `skip_bad` is not given or
            there is no other picture.
    """
    packet = xmp_packet(trained.digest)
    finished = 0
    failures: list[UnreadablePicture] = []
    remarks = dict.fromkeys(Remark, 0)
    done = 0
    for start in range(0, len(jobs), _CHUNK):
        chunk = jobs[start : start + _CHUNK]
        finished += sum(_finished_remarks(ledger, job) is not None for job in chunk)
        for outcome in _chunk_swapped(trained, identity, chunk, finish, packet, ledger):
            if isinstance(outcome, UnreadablePicture):
                if not skip_bad:
                    raise LossariumError(
                        f"{str(outcome).removesuffix('.')}; fix or remove it, or skip it with --skip-bad"
                    ) from outcome
                failures.append(outcome)
            else:
                for remark in outcome:
                    remarks[remark] += 1
            done += 1
            if watch is not None:
                watch(done, len(jobs))
    if len(failures) == len(jobs):
        raise LossariumError(f"no picture can be swapped: {_named(failures)}")
    if ledger is not None:
        ledger.finish()
    return Swapped(done - len(failures), tuple(_notes(remarks, failures, trained.size)), finished)


def _chunk_swapped(
    trained: TrainedModel,
    identity: int,
    jobs: Sequence[SwapJob],
    finish: SwapOptions,
    packet: str,
    ledger: Ledger | None,
) -> Iterator[frozenset[Remark] | UnreadablePicture]:
    """The remarks on each picture, or why it is not swapped.

    A picture's last bits depend on the others in its batch, so a partly finished chunk is recomputed as a
    whole.
    """
    before = [_finished_remarks(ledger, job) for job in jobs]
    if None not in before:
        yield from (remarks for remarks in before if remarks is not None)
        return
    readings = [_read(job, trained.size) for job in jobs]
    frames = [reading.pixels for reading in readings if isinstance(reading, Picture)]
    faces: Iterator[Pixels] = iter(_swap(trained, identity, np.stack(frames)) if frames else ())
    for job, reading, known in zip(jobs, readings, before, strict=True):
        if not isinstance(reading, Picture):
            yield reading
            continue
        face = next(faces)
        if known is not None:
            yield known
            continue
        try:
            pixels = _finished(job, reading, face, finish)
        except UnreadablePicture as failure:
            yield _without_traceback(failure)
            continue
        job.output.parent.mkdir(parents=True, exist_ok=True)
        content = encoded(pixels, job.output.suffix, packet)
        if ledger is not None:
            ledger.will_write(job, content, reading.remarks)
        write_whole(job.output, content)
        yield reading.remarks


def _finished_remarks(ledger: Ledger | None, job: SwapJob) -> frozenset[Remark] | None:
    return None if ledger is None else ledger.remarks_of(job)


def _read(job: SwapJob, size: int) -> Picture | UnreadablePicture:
    try:
        return read_picture(job.path, size, job.packed)
    except UnreadablePicture as failure:
        return _without_traceback(failure)


def _without_traceback(failure: UnreadablePicture) -> UnreadablePicture:
    """The same error without its traceback, which would keep the whole file in memory."""
    return UnreadablePicture(failure.path, failure.reason)


@torch.inference_mode()
def _swap(trained: TrainedModel, identity: int, frames: Pixels) -> Pixels:
    """Run frames (N, size, size, 3) through the encoder and the identity's decoder."""
    with evaluating(trained.model):
        prediction = predict(trained.model, as_tensor(frames)[None], (identity,))
    return as_bytes(prediction.pictures[0].float())


def _finished(job: SwapJob, reading: Picture, face: Pixels, finish: SwapOptions) -> Pixels:
    """The finished picture, ready to be written.

    Raises:
        UnreadablePicture: there is no mask to blend by, or the mask or the picture cannot be read.
    """
    frame = reading.pixels
    needs_mask = finish.blend or finish.colour_transfer != "none"
    mask = face_mask_of(job, reading.source_size) if needs_mask else None
    if finish.blend and mask is None:
        raise UnreadablePicture(job.path, _NO_MASK)
    if finish.colour_transfer == "lab":
        weight = None if mask is None else _as_real(mask(frame.shape[0]))
        moved = transfer_colour(_as_real(face), _as_real(frame), weight)
        face = np.asarray((moved * 255).round(), np.uint8)
    canvas = read_whole_picture(job.path, job.packed).pixels if finish.full_size else frame
    square = centre_square(canvas)
    side = square.shape[0]
    face = resized_face(face, side)
    if finish.blend and mask is not None:
        face = blend(face, square, feathered(mask(side), finish.feather))
    square[:] = face
    return canvas


def _as_real(pixels: Pixels) -> npt.NDArray[np.float32]:
    return pixels.astype(np.float32) / np.float32(255)


def _notes(remarks: dict[Remark, int], failures: Sequence[UnreadablePicture], size: int) -> Iterator[str]:
    for remark, count in remarks.items():
        if count:
            of_one, of_many = remark.value
            yield f"{counted(count, 'picture')} {of_one if count == 1 else of_many}.".format(size=size)
    if failures:
        are = "is" if len(failures) == 1 else "are"
        yield f"{counted(len(failures), 'picture')} {are} skipped: {_named(failures)}."


def _named(failures: Sequence[UnreadablePicture]) -> str:
    return listed([f"{printable_name(failure.path)} ({failure.reason})" for failure in failures])
