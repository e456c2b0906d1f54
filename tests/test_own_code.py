"""Users' own code: found in the current folder, and one sentence for each mistake."""

import subprocess
import sys
from pathlib import Path

import pytest

from lossarium import losses
from lossarium.errors import LossariumError
from lossarium.own_code import import_own


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder; sys.path and the imported modules are as before afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(Path.cwd()))])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_module_in_the_current_folder_is_found(folder):
    (folder / "beside_me.py").write_text("def double(number): return 2 * number\n")
    assert import_own("beside_me:double", "loss")(4) == 8


def test_a_package_in_the_current_folder_may_import_its_neighbours(folder):
    (folder / "own_package").mkdir()
    (folder / "own_package" / "parts.py").write_text("def triple(number): return 3 * number\n")
    (folder / "neighbour_of_package.py").write_text("FACTOR = 5\n")
    (folder / "own_package" / "mine.py").write_text(
        "from neighbour_of_package import FACTOR\n"
        "from own_package.parts import triple\n"
        "def both(number): return FACTOR * triple(number)\n"
    )
    assert import_own("own_package.mine:both", "judge")(2) == 30


def test_a_file_in_the_current_folder_does_not_take_the_place_of_an_installed_module(folder):
    (folder / "colorsys.py").write_text("raise RuntimeError('the wrong module')\n")
    assert import_own("colorsys:rgb_to_hsv", "loss")(0, 0, 0) == (0, 0, 0)
    with pytest.raises(LossariumError, match=r"the module colorsys \(.*colorsys\.py\) has no function"):
        import_own("colorsys:mine", "loss")


def test_the_folder_is_put_on_the_path_once(folder):
    for _ in range(3):
        with pytest.raises(LossariumError, match=r"no module not_there; .* start lossarium in the folder"):
            import_own("not_there:factory", "model")
    assert sys.path.count(str(folder)) == 1


def test_a_current_folder_that_was_removed_is_no_error(folder):
    gone = folder / "gone"
    gone.mkdir()
    command = (
        "import os, sys; from lossarium.own_code import import_own; os.rmdir(os.getcwd());"
        "sys.path.remove('');"
        "print(import_own('colorsys:rgb_to_hsv', 'loss')(0, 0, 0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=gone, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "(0.0, 0.0, 0)"), done.stderr


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("import sys\nsys.exit(3)\n", "SystemExit: 3"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("import no_such_dependency\n", "there is no module no_such_dependency; install it"),
    ],
)
def test_a_module_that_ends_itself_or_fails_is_one_sentence(folder, content, told):
    (folder / "fails_when_imported.py").write_text(content)
    with pytest.raises(LossariumError, match=told) as caught:
        import_own("fails_when_imported:loss", "loss")
    assert "\n" not in str(caught.value)


def test_what_a_script_or_notebook_defined_is_known_there_and_said_elsewhere_to_be_so(folder):
    script = (
        "from lossarium import losses\n"
        "@losses.register\n"
        "def of_script(input, target, *, k: float = 2.0):\n    return (input - target).abs() ** k\n"
        "class Cell:\n    def __call__(self, input, target):\n        return (input - target).abs()\n"
        "print(losses.get('of_script(k=3) + __main__:Cell + __main__:of_script'))\n"
    )
    (folder / "script.py").write_text(script)
    for command, text in ((["script.py"], ""), (["-"], script)):
        done = subprocess.run(
            [sys.executable, *command], input=text, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.stdout == "Loss(of_script(k=3) + __main__:Cell + __main__:of_script)\n", done.stderr
    with pytest.raises(LossariumError, match=r"defined in a script or notebook, .* name it mine:Cell"):
        import_own("__main__:Cell", "loss")
    with pytest.raises(LossariumError, match="one that a script or notebook registered is known only there"):
        losses.get("of_script")
