"""Refuse output folders whose pictures would be read as input the next time."""

from pathlib import Path

from lossarium.errors import LossariumError
from lossarium.facesets.formats.manifest import MANIFEST_NAME
from lossarium.text.wording import printable_name

WRITTEN_TO = ("previews", "trials", "checkpoints", "snapshots", "tensorboard", "cache")
"""Folders in the output of a trial or a comparison."""


def refuse_output_in_pictures(out: Path, pictures: Path) -> None:
    """Refuse an output folder that lies in a folder of pictures, or writes into one.

    Args:
        out: The output folder; need not exist. Symbolic links are followed.
        pictures: A folder that is read with its subfolders.

    Raises:
        LossariumError: the folder is such a folder.
    """
    real_out, real_pictures = out.resolve(), pictures.resolve()
    if real_out.is_relative_to(real_pictures):
        raise LossariumError(
            f"the output {printable_name(out)} lies in the input {printable_name(pictures)}, "
            "where it would be taken for input the next time; choose a folder outside"
        )
    inside = next((name for name in WRITTEN_TO if real_pictures.is_relative_to(real_out / name)), None)
    if inside is not None:
        raise LossariumError(
            f"the input {printable_name(pictures)} lies in {printable_name(out / inside)}, which the output "
            f"is written to; choose another output folder, or move the pictures"
        )


def refuse_output_in_faceset(out: Path) -> None:
    """Refuse an output folder inside one of Lossarium's own facesets, whose pictures it would add to.

    Raises:
        LossariumError: the folder is such a folder.
    """
    for folder in out.resolve().parents:
        if (folder / MANIFEST_NAME).is_file():
            refuse_output_in_pictures(out, folder)
