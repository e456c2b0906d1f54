"""The option that says where a trial goes whose folder cannot be written at its end."""

import argparse
from pathlib import Path


def add_rescue(parser: argparse.ArgumentParser) -> None:
    """Register `--rescue`."""
    parser.add_argument(
        "--rescue",
        type=Path,
        metavar="FOLDER",
        help="on another disk: where the last checkpoint goes if the disk of --out is full when a trial ends "
        "or is stopped; the same command takes it back from there",
    )
