"""Help lists the names of models, judges and the like without importing their modules."""

import subprocess
import sys

import pytest

from lossarium.cli.main import main
from lossarium.models import own_models
from lossarium.models.registry import names as models
from lossarium.text import listed_names as listed
from lossarium.training.options import optimizers, schedules


def test_the_listed_names_are_all_that_exist():
    assert models()[: len(listed.MODELS)] == listed.MODELS == own_models.BUILT_IN
    assert listed.OPTIMIZERS == optimizers.NAMES
    assert listed.SCHEDULES == schedules.KINDS


@pytest.mark.parametrize("command", ["compare", "train", "find-lr"])
def test_help_lists_models_optimizers_schedules_and_judges(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    # A range test has no schedule and no judge.
    of_a_trial = () if command == "find-lr" else (listed.SCHEDULES, listed.JUDGES)
    for names in (listed.MODELS, listed.OPTIMIZERS, *of_a_trial):
        assert ", ".join(names) in printed


@pytest.mark.parametrize("command", ["", "compare", "train", "models", "judges", "measure"])
def test_help_imports_neither_torch_nor_numba(command):
    script = (
        "import sys\n"
        "from lossarium.cli.main import main\n"
        "try:\n"
        f"    main({[*command.split(), '--help']!r})\n"
        "except SystemExit:\n"
        "    sys.exit(bool({'torch', 'numba', 'numpy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0


def test_models_and_judges_are_listed(capsys):
    assert main(["models"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "multiscale_decoder=false" in printed
    assert all(name in printed for name in listed.MODELS)
    assert main(["judges"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert all(name in printed for name in listed.JUDGES)
    assert "it has no vote on them" in printed
