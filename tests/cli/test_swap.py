"""`lossarium swap` on a trial that `lossarium compare` trained."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from lossarium.cli.main import main
from tests.cli.folders import QUICK, pair
from tests.swapping.marks import mark_of


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """A trial's folder and the folders that it was trained on."""
    parent = tmp_path_factory.mktemp("trained")
    first, second = pair(parent)
    command = [
        "compare",
        "--seeds",
        "1",
        str(first),
        str(second),
        *QUICK,
        "--losses",
        "mse",
        "--out",
        str(parent / "out"),
    ]
    assert main(command) == 0
    return parent / "out" / "trials" / "mse-seed0", first, second


def swap(*arguments):
    return main(["swap", *map(str, arguments)])


def refused(capsys, *arguments) -> str:
    assert swap(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("lossarium: error: ")
    assert "Traceback" not in printed.err
    return printed.err


ADA_TO_BEN = ("--from", "ada", "--to", "ben")


def test_swaps_a_folder_marks_it_and_refuses_to_replace_it(trial, tmp_path, capsys):
    folder, ada, _ = trial
    out = tmp_path / "out"
    capsys.readouterr()
    assert swap(folder, ada, out, *ADA_TO_BEN) == 0
    assert f"15 pictures marked as made by a trained model: {out}" in capsys.readouterr().out
    written = sorted(out.iterdir())
    assert [path.name for path in written] == sorted(path.name for path in ada.iterdir())
    assert len({mark_of(path) for path in written}) == 1
    for path in written:
        with Image.open(path) as image:
            assert image.size == (32, 32)
    before = {path: path.read_bytes() for path in written}
    assert "15 files would be replaced" in refused(capsys, folder, ada, out, *ADA_TO_BEN)
    assert {path: path.read_bytes() for path in written} == before
    assert swap(folder, ada, out, "--from", "ada", "--to", "ada", "--force") == 0
    assert {path: path.read_bytes() for path in written} != before


def test_a_folder_that_another_process_swaps_to_is_refused_and_left_as_it_is(trial, tmp_path, capsys):
    folder, ada, _ = trial
    out = tmp_path / "new" / "out"
    # In a separate process, which releases the lock when its input ends.
    script = (
        "import sys; from pathlib import Path; from lossarium.swapping.unfinished import locked_out\n"
        "with locked_out(Path(sys.argv[1])):\n"
        "    print('locked', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "locked\n"
        assert f"another process is swapping to {out}" in refused(capsys, folder, ada, out, *ADA_TO_BEN)
        assert [path.name for path in out.iterdir()] == [".lock"]
    # It wrote nothing, so no folder is left.
    assert not out.parent.exists()
    assert swap(folder, ada, out, *ADA_TO_BEN) == 0
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in ada.iterdir())


def test_one_picture_in_its_own_size_with_all_that_can_be_done(trial, tmp_path):
    folder, ada, _ = trial
    (tmp_path / "frames").mkdir()
    (tmp_path / "masks").mkdir()
    source = tmp_path / "frames" / "a.png"
    source.write_bytes((ada / "0000.png").read_bytes())
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 255
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    out = tmp_path / "a.jpg"
    options = ("--full-size", "--mask", "blend", "--feather", "3", "--colour-transfer", "lab")
    assert swap(folder, source, out, *ADA_TO_BEN, *options) == 0
    with Image.open(out) as image:
        assert image.size == (40, 40)
        assert image.format == "JPEG"
    assert mark_of(out)[0].endswith("/trainedAlgorithmicMedia")


def test_invalid_swaps_are_refused(trial, tmp_path, capsys):
    folder, ada, _ = trial
    out = tmp_path / "out"
    said = refused(capsys, folder, ada, out, "--from", "ada", "--to", "chi")
    assert 'no identity "chi"; it knows ada, ben' in said
    assert 'no identity "dev"' in refused(capsys, folder, ada, out, "--from", "dev", "--to", "ben")
    assert "mse-seed0" in refused(capsys, folder.parent.parent, ada, out, *ADA_TO_BEN)
    assert "does not exist" in refused(capsys, folder, tmp_path / "missing", out, *ADA_TO_BEN)
    assert "has no mask to blend by" in refused(capsys, folder, ada, out, *ADA_TO_BEN, "--mask", "blend")
    assert "--feather must be" in refused(capsys, folder, ada, out, *ADA_TO_BEN, "--feather", "nan")
    assert not out.exists()


def test_a_hostile_trial_is_refused(trial, tmp_path, capsys):
    _, ada, _ = trial
    (tmp_path / "trial.toml").write_text('[recipe]\nmodel = "os:getcwd"\nsize = 32\n[data]\nfirst = "ada"\n')
    assert "data.second" in refused(capsys, tmp_path, ada, tmp_path / "out", *ADA_TO_BEN)
    with (tmp_path / "trial.toml").open("a") as file:
        file.write('second = "ben"\n')
    assert "--own-model" in refused(capsys, tmp_path, ada, tmp_path / "out", *ADA_TO_BEN)


def test_help_does_not_wait_for_torch():
    code = (
        "import sys\n"
        "from lossarium.cli.main import main\n"
        "try:\n    main(['swap', '--help'])\n"
        "except SystemExit as end:\n    sys.exit(end.code or 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "trainedAlgorithmicMedia" in done.stdout
