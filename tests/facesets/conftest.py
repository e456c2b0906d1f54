"""Fixtures for the tests of several modules."""

from pathlib import Path

import pytest

from tests.facesets.handmade_pictures import Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write bytes to a file, picture.png by default, and return its path."""

    def write_file(data: bytes, name: str = "picture.png") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write_file
