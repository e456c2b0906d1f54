"""The files that belong to users' own code."""

import sys

import pytest
import torch

from lossarium.own_sources import _MOST_FILES, changed_sources, source_digests


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder on Python's path; what is imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


LOSS = "def loss(input, target):\n    return input\n"


def test_imports_of_every_form_are_followed_under_the_same_folder(folder):
    (folder / "whole" / "deep").mkdir(parents=True)
    (folder / "whole" / "__init__.py").write_text("")
    (folder / "whole" / "mine.py").write_text(
        "import json, numpy, lossarium\n"
        "import beside_one\n"
        "from . import parts\n"
        "from .deep.down import *\n"
        f"{LOSS}    from beside_two import late\n"
    )
    (folder / "whole" / "parts.py").write_text("from whole import more\n")
    (folder / "whole" / "more.py").write_text("from whole import parts\n")
    (folder / "whole" / "deep" / "down.py").write_text("from ..more import parts\n")
    (folder / "beside_one.py").write_text("")
    (folder / "beside_two.py").write_text("late = 1\n")
    (folder / "unrelated.py").write_text("")
    assert sorted(source_digests("whole.mine:loss", "loss")) == [
        "beside_one.py",
        "beside_two.py",
        "whole/__init__.py",
        "whole/deep/down.py",
        "whole/mine.py",
        "whole/more.py",
        "whole/parts.py",
    ]


def test_a_file_that_has_the_name_of_an_installed_module_does_not_count(folder, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path[1:], sys.path[0]])
    (folder / "colorsys.py").write_text("")
    (folder / "shadowed.py").write_text(f"import colorsys\n{LOSS}")
    assert list(source_digests("shadowed:loss", "loss")) == ["shadowed.py"]


def test_what_changed_came_or_went_is_named(folder):
    (folder / "changing.py").write_text(f"import changing_parts\n{LOSS}")
    (folder / "changing_parts.py").write_text("")
    begun = source_digests("changing:loss", "loss")
    assert changed_sources(begun, "changing:loss", "loss") == []
    (folder / "changing_parts.py").write_text("import changing_more\n")
    (folder / "changing_more.py").write_text("")
    assert sorted(changed_sources(begun, "changing:loss", "loss")) == [
        str(folder / "changing_more.py"),
        str(folder / "changing_parts.py"),
    ]
    (folder / "changing_parts.py").unlink()
    assert changed_sources(begun, "changing:loss", "loss") == [str(folder / "changing_parts.py")]
    for nothing in (None, "an older digest", 3):
        assert changed_sources(nothing, "changing:loss", "loss") == []


def test_an_installed_package_counts_by_its_version():
    assert source_digests("torch.nn:L1Loss", "loss").keys() == {"torch/nn/__init__.py", "version of torch"}
    assert source_digests("torch.nn:L1Loss", "loss")["version of torch"] == torch.__version__
    assert list(source_digests("colorsys:rgb_to_hsv", "loss")) == ["colorsys.py"]
    assert source_digests("math:hypot", "loss") == {}


def test_a_source_that_cannot_be_read_as_python_any_more_is_no_error(folder):
    (folder / "broken.py").write_text(LOSS)
    begun = source_digests("broken:loss", "loss")
    (folder / "broken.py").write_text("def (\n")
    assert changed_sources(begun, "broken:loss", "loss") == [str(folder / "broken.py")]


def test_a_chain_of_imports_ends(folder):
    (folder / "chain_0.py").write_text(f"{LOSS}    import chain_1\n")
    for number in range(1, _MOST_FILES + 20):
        (folder / f"chain_{number}.py").write_text(f"import chain_{number + 1}\n")
    assert len(source_digests("chain_0:loss", "loss")) == _MOST_FILES
