"""The option `--rescue`: another folder for the last checkpoint, if the trial's folder cannot be written."""

import argparse
from pathlib import Path


def add_rescue(parser: argparse.ArgumentParser) -> None:
    """Register `--rescue`."""
    parser.add_argument(
        "--rescue",
        type=Path,
        metavar="FOLDER",
        help="folder on another disk for the last checkpoint, if the disk of --out is full when a trial ends "
        "or is stopped; the same command reads it from there again",
    )
