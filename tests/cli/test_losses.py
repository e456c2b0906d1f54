"""`lossarium losses`: the list, with and without cost."""

import csv
import io
import json
from dataclasses import replace

import pytest

from lossarium import losses
from lossarium.cli.main import main
from lossarium.errors import LossariumError
from lossarium.losses import built_in, cost, registry
from tests.cli.terminal_output import printed


@pytest.fixture
def _quick(monkeypatch):
    """Time as few calls as possible."""
    monkeypatch.setattr(cost, "_MOST_RUNS", 1)
    monkeypatch.setattr(cost, "_FEWEST_RUNS", 1)


@pytest.mark.parametrize("width", [80, 120])
def test_every_loss_is_listed_with_what_it_is_good_and_bad_at(capsys, monkeypatch, width):
    lines = printed(["losses", "--no-cost"], capsys, monkeypatch, width)
    words = " ".join(" ".join(lines).split())
    for name in losses.names():
        line = next(line for line in lines if line.split()[:1] == [name])
        # What it is good at starts in its line, and goes on below.
        assert losses.info(name).good_at.split()[0] in line
        assert losses.info(name).family in words
    assert "cost" not in lines[1].split()
    assert max(map(len, lines)) <= width


def test_measures_are_listed_as_such(capsys, monkeypatch):
    lines = [line.strip() for line in printed(["losses", "--no-cost"], capsys, monkeypatch)]
    heading = next(place for place, line in enumerate(lines) if line.endswith("only to judge"))
    for name in losses.names():
        place = next(place for place, line in enumerate(lines) if line.split()[:1] == [name])
        assert (place > heading) == (not losses.info(name).objective)


@pytest.mark.usefixtures("_quick")
def test_cost_is_relative_to_mse_and_of_measures_forward_alone(capsys):
    assert main(["losses", "--json"]) == 0
    records = {record["name"]: record for record in json.loads(capsys.readouterr().out)}
    assert tuple(records) == losses.names()
    assert records["mse"]["cost"] == 1
    assert records["mse"]["cost_of"] == "forward and backward"
    assert records["psnr"]["cost_of"] == "forward"
    assert records["lpips"]["cost"] > records["mse"]["cost"]
    assert not records["psnr"]["objective"]


@pytest.mark.usefixtures("_quick")
def test_a_loss_without_its_weights_has_no_cost(capsys, monkeypatch):
    def weightless(_input, _target, *, weight=None, reduction="mean"):  # noqa: ARG001
        raise LossariumError("there are no weights")

    missing = replace(registry.info("mae"), name="weightless", function=weightless)
    monkeypatch.setattr(built_in, "LOSSES", (registry.info("mse"), missing))
    lines = printed(["losses"], capsys, monkeypatch)
    assert next(line for line in lines if "weightless" in line).split()[1] == "-"
    assert "-: its weights are missing" in " ".join(" ".join(lines).split())


def test_csv_and_json_say_the_same(capsys):
    assert main(["losses", "--no-cost", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert main(["losses", "--no-cost", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows == [{key: str(value) for key, value in record.items()} for record in records]
    assert "cost" not in records[0]


@pytest.mark.usefixtures("_quick")
def test_only_slow_timing_is_announced(capsys, monkeypatch):
    monkeypatch.setattr(built_in, "LOSSES", (registry.info("mse"), registry.info("mae")))
    assert main(["losses", "--json"]) == 0
    assert "timing" not in capsys.readouterr().err
    monkeypatch.setattr("lossarium.cli.losses._PATIENCE_SECONDS", -1.0)
    assert main(["losses", "--json"]) == 0
    assert capsys.readouterr().err.count("--no-cost leaves it out") == 1
