"""`lossarium compare` from folders to report, interrupted and not."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
import tomllib

import pytest

from lossarium.cli.main import main
from lossarium.training import loop
from lossarium.trial.folder import SETTINGS, locked_output
from tests.cli.folders import QUICK, pair

LOSSES = ("mse", "ssim + 0.5*mae", "lpips")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished comparison, and its command."""
    parent = tmp_path_factory.mktemp("finished")
    out = parent / "out"
    command = ["compare", *map(str, pair(parent)), *QUICK]
    command += ["--losses", ",".join(LOSSES), "--seeds", "2", "--out", str(out)]
    assert main(command) == 0
    return out, command


def rows(trial):
    return [json.loads(line) for line in (trial / "metrics.jsonl").read_text().splitlines()]


def trials(out):
    return {
        (table["loss"], table["seed"]): (folder, table)
        for folder in (out / "trials").iterdir()
        if (table := tomllib.loads((folder / "trial.toml").read_text()))
    }


def test_a_comparison_leaves_a_report_a_verdict_and_a_folder_for_each_trial(finished):
    out, _ = finished
    page = (out / "report.html").read_text()
    verdict = json.loads((out / "verdict.json").read_text())
    assert verdict["sentence"] in page
    assert {loss for pair in verdict["pairs"] for loss in (pair["first"], pair["second"])} == set(LOSSES)
    assert set(trials(out)) == {(loss, seed) for loss in LOSSES for seed in (0, 1)}
    for folder, _ in trials(out).values():
        assert sorted(path.name for path in folder.iterdir()) == [
            ".lock",
            ".trial.toml.copy",
            "checkpoints",
            "metrics.jsonl",
            "previews",
            "trial.toml",
        ]


def test_trials_of_a_seed_are_on_an_even_keel(finished):
    """Same initial weights and same batches for losses of very different cost; others for another seed."""
    out, _ = finished
    started = {seed: {trials(out)[loss, seed][1]["initial_weights"] for loss in LOSSES} for seed in (0, 1)}
    chains = {
        seed: {
            tuple(row["batches"] for row in rows(trials(out)[loss, seed][0]) if "batches" in row)
            for loss in LOSSES
        }
        for seed in (0, 1)
    }
    assert len(started[0]) == len(started[1]) == 1
    assert len(chains[0]) == len(chains[1]) == 1
    assert started[0] != started[1]
    assert chains[0] != chains[1]


def test_the_same_command_again_keeps_what_is_finished(finished, capsys):
    out, command = finished
    before = {
        path: path.stat().st_mtime_ns
        for path in out.rglob("*")
        if path.name in ("metrics.jsonl", "trial.toml")
    }
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "report.html" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "value", "difference"),
    [
        ("--steps", "5", "has 6 steps, more than the 5 asked for"),
        (
            "--losses",
            "mse",
            "and --losses leaves out ssim + 0.5*mae, lpips",
        ),
        ("--learning-rate", "0.01", "learning rate: 0.001 there, 0.01 now"),
        ("--seeds", "1", "has 2 seeds, more than the 1 asked for"),
    ],
)
def test_other_settings_are_refused_with_the_difference(finished, capsys, option, value, difference):
    out, command = finished
    before = (out / "report.html").read_bytes()
    assert main([*command, option, value]) == 2
    assert difference in capsys.readouterr().err
    assert (out / "report.html").read_bytes() == before


def test_a_folder_of_other_pictures_is_refused(finished, tmp_path, capsys):
    _, command = finished
    other = [str(folder) for folder in pair(tmp_path)]
    next((tmp_path / "ada").iterdir()).unlink()
    assert main([command[0], *other, *command[3:]]) == 2
    assert "pictures of first" in capsys.readouterr().err


def test_a_second_process_in_the_same_folder_is_refused(finished, capsys):
    out, command = finished
    with locked_output(out, needed_bytes=0):
        assert main(command) == 2
    assert "another process is working" in capsys.readouterr().err


def test_an_unfinished_comparison_does_not_go_on_in_another_environment(finished, tmp_path, capsys):
    _, command = finished
    out = tmp_path / "out"
    begun = [*command[:-1], str(out)]
    out.mkdir()
    settings = (finished[0] / SETTINGS).read_text()
    version = tomllib.loads(settings)["environment"]["torch"]
    (out / SETTINGS).write_text(settings.replace(version, "1.0"))
    assert main(begun) == 2
    assert f"torch: 1.0 there, {version} now" in capsys.readouterr().err


def _killed_at_random(command, out, when):
    """Run the command and kill it with SIGKILL once it has a checkpoint and wrote some rows more."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if any(out.glob("trials/*/checkpoints/*.safetensors")):
            time.sleep(when)
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"


def test_killed_and_resumed_ends_with_the_same_numbers_and_weights(tmp_path):
    folders = list(map(str, pair(tmp_path)))
    command = [
        sys.executable,
        "-m",
        "lossarium",
        "compare",
        "--seeds",
        "1",
        *folders,
        "--size",
        "32",
        "--batch-size",
        "2",
    ]
    command += ["--steps", "120", "--losses", "mse,ssim"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run([*command, "--out", whole], check=True, capture_output=True)
    source = random.Random(os.getpid())
    for _ in range(2):
        if not any(broken.glob("report.html")):
            _killed_at_random([*command, "--out", str(broken)], broken, when=source.uniform(0, 1))
    subprocess.run([*command, "--out", broken], check=True, capture_output=True)

    assert set(trials(whole)) == set(trials(broken)) == {("mse", 0), ("ssim", 0)}
    for key, (folder, table) in trials(whole).items():
        other, other_table = trials(broken)[key]
        assert other_table == table
        assert _timeless(other) == _timeless(folder)
        for name in ("checkpoints", "previews"):
            assert [path.name for path in sorted((other / name).iterdir())] == [
                path.name for path in sorted((folder / name).iterdir())
            ]
        assert rows(other)[-1]["weights"] == rows(folder)[-1]["weights"]


def _timeless(trial):
    return [
        {key: value for key, value in row.items() if key not in ("seconds", "chain")} for row in rows(trial)
    ]


def test_folders_with_the_same_name_get_different_identities(tmp_path):
    first, second = pair(tmp_path)
    for folder in (first, second):
        inner = folder / "aligned"
        inner.mkdir()
        for picture in list(folder.glob("*.png")):
            picture.rename(inner / picture.name)
    out = tmp_path / "out"
    command = [
        "compare",
        "--seeds",
        "1",
        str(first / "aligned"),
        str(second / "aligned"),
        *QUICK,
        "--losses",
        "mse,mae",
    ]
    assert main([*command, "--out", str(out)]) == 0
    page = (out / "report.html").read_text()
    assert "aligned A" in page
    assert "aligned B" in page


def test_help_and_version_do_not_wait_for_torch():
    code = (
        "import sys; from lossarium.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "compare losses" in ended.stdout


def test_without_a_command_the_usage_is_shown(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_the_bundled_pair_is_judged_on_exact_swaps(tmp_path, capsys):
    out = tmp_path / "out"
    assert (
        main(["compare", "--seeds", "1", "demo", *QUICK, "--losses", "mse,ssim + mae", "--out", str(out)])
        == 0
    )
    printed = capsys.readouterr().out
    assert "Swap of held-out frames" in printed
    assert "nobody's likeness" in printed
    verdict = json.loads((out / "verdict.json").read_text())
    assert {"reconstruction/psnr", "swap/psnr", "swap/lpips"} <= set(verdict["values"])
    last = next(row for row in reversed(rows(trials(out)["mse", 0][0])) if "held_out" in row)
    assert {len(values) for values in last["held_out"].values()} == {120}
    assert "exact swap" in (out / "report.html").read_text()


def test_a_trial_whose_loss_exploded_is_named_by_the_verdict_everywhere(tmp_path, capsys, monkeypatch):
    """Five steps of one trial are infinite: it is rolled back, and trains to its end."""
    right, calls = loop.loss_terms, 0

    def loss_terms(model, loss, batch, **options):
        nonlocal calls
        terms = right(model, loss, batch, **options)
        if str(loss.spec) != "mae":
            return terms
        calls += 1
        return terms * math.inf if 4 <= calls <= 8 else terms

    monkeypatch.setattr(loop, "loss_terms", loss_terms)
    out = tmp_path / "out"
    command = [
        "compare",
        "--seeds",
        "1",
        *map(str, pair(tmp_path)),
        *QUICK,
        "--steps",
        "10",
        "--judge-every",
        "2",
    ]
    assert main([*command, "--losses", "mse, mae", "--out", str(out)]) == 0
    folder, _ = trials(out)["mae", 0]
    (went_back,) = [row for row in rows(folder) if "went_back" in row]
    assert went_back["went_back"]["term"] == "mae"
    assert went_back["went_back"]["learning_rate_factor"] == 0.5
    assert [row["step"] for row in rows(folder) if "terms" in row][-1] == 10
    sentence = "The loss of mae (seed 0) exploded: it was rolled back to an earlier checkpoint once"
    printed = " ".join(capsys.readouterr().out.split())
    assert sentence in printed
    assert "The loss of mse" not in printed
    troubles = json.loads((out / "verdict.json").read_text())["troubles"]
    assert [trouble.startswith(sentence) for trouble in troubles].count(True) == 1
    assert sentence in (out / "report.html").read_text()
    # Also from the folder's content alone.
    assert main([*command, "--losses", "mse, mae", "--out", str(out)]) == 0
    assert sentence in " ".join(capsys.readouterr().out.split())
