"""`metrics.jsonl`: changed and lost rows are named, whatever the damage."""

import json
import random

import pytest

from lossarium.errors import LossariumError
from lossarium.training import records

SAMPLED = '{"step":1,"seconds":1,"held_out":{"a/x":[0.5,0.25]},"judged":%s,"sample":%s}'
ROWS = (
    {"step": 1, "seconds": 0.5, "loss": 0.25, "terms": {"mse": 0.25}},
    {"step": 1, "seconds": 0.5, "held_out": {"reconstruction/psnr": [20.5, 21.5], "swap/psnr": [1.5]}},
    {"step": 2, "seconds": 1.0, "loss": 0.125, "terms": {"mse": 0.125}},
    {"step": 3, "seconds": 1.5, "passed_over": {"mse": None}},
    {"step": 4, "seconds": 2.0, "finished": True, "weights": "ab" * 32},
)


def written(folder, rows=ROWS, keep=0):
    opened = records.Records(folder, keep)
    for row in rows:
        opened.write(row)
    length = opened.flush()
    opened.close()
    assert (folder / records.NAME).stat().st_size == length
    return length


def lines_of(folder):
    return (folder / records.NAME).read_bytes().splitlines(keepends=True)


def test_a_row_is_one_json_object_a_line_and_read_as_it_was_written(tmp_path):
    written(tmp_path)
    assert tuple(records.read(tmp_path)) == ROWS
    assert [json.loads(line)["step"] for line in lines_of(tmp_path)] == [1, 1, 2, 3, 4]
    assert records.is_finished(tmp_path)
    assert list(records.damage(tmp_path)) == []


def test_the_chain_is_the_same_after_interruptions_and_rollbacks(tmp_path):
    written(tmp_path)
    whole = lines_of(tmp_path)
    (tmp_path / "other").mkdir()
    length = written(tmp_path / "other", ROWS[:2])
    written(tmp_path / "other", (*ROWS[3:], *ROWS), keep=length)
    opened = records.Records(tmp_path / "other", length)
    opened.write(ROWS[4])
    opened.flush()
    opened.roll_back(length)
    for row in ROWS[2:]:
        opened.write(row)
    opened.close()
    assert lines_of(tmp_path / "other") == whole


def test_every_changed_digit_is_named_with_its_line(tmp_path):
    written(tmp_path)
    path, content = tmp_path / records.NAME, (tmp_path / records.NAME).read_bytes()
    places = [place for place, byte in enumerate(content) if chr(byte).isdigit()]
    for place in random.Random(0).sample(places, 60):
        changed = bytearray(content)
        changed[place] = ord("7") if content[place] != ord("7") else ord("3")
        path.write_bytes(changed)
        line = 1 + content[:place].count(b"\n")
        with pytest.raises(LossariumError, match=rf"metrics\.jsonl is damaged in line {line} \("):
            list(records.read(tmp_path))
        # A link that was changed is not what the next row was chained to.
        assert {damage.line for damage in records.damage(tmp_path)} <= {line, line + 1}


@pytest.mark.parametrize("lost", [0, 1, 2, 3])
def test_a_lost_row_is_named(tmp_path, lost):
    written(tmp_path)
    lines = lines_of(tmp_path)
    del lines[lost]
    (tmp_path / records.NAME).write_bytes(b"".join(lines))
    (damage,) = records.damage(tmp_path)
    assert damage.line == lost + 1
    assert damage.start == sum(map(len, lines[:lost]))
    assert damage.what == {
        2: "it was changed, or step 2 before it is lost",
        3: "it was changed, or step 3 before it is lost",
    }.get(lost, "it was changed, or the line before it is lost")


def test_all_damaged_lines_are_named(tmp_path):
    written(tmp_path)
    lines = lines_of(tmp_path)
    lines[0] = lines[0].replace(b"0.25", b"0.35")
    lines[3] = b"nonsense\n"
    (tmp_path / records.NAME).write_bytes(b"".join(lines))
    said = r"line 1 \(it was changed.*line 4 \(it is not JSON\).*; put back a copy of it, or move"
    with pytest.raises(LossariumError, match=said):
        list(records.read(tmp_path))


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ('{"step":"one"}', "its step is not a whole number"),
        ('{"step":true}', "its step is not a whole number"),
        ('{"seconds":1}', "its step is missing"),
        ('{"step":1,"held_out":{}}', "its seconds is missing"),
        ('{"step":1,"seconds":1,"held_out":{"a":["high"]}}', "its held_out is not"),
        ('{"step":1,"seconds":1,"held_out":{"a":0.5}}', "its held_out is not"),
        ('{"step":1,"seconds":1,"held_out":[1]}', "its held_out is not"),
        (SAMPLED % ('"some"', '{"a":[0]}'), 'its judged is not "sample" or "all"'),
        (SAMPLED % ('"all"', '{"a":0}'), "its sample is not"),
        (SAMPLED % ('"all"', '{"a":[0.5]}'), "its sample is not"),
        (SAMPLED % ('"all"', '{"a":[0,2]}'), "its sample does not fit its held_out"),
        (SAMPLED % ('"all"', '{"a":[1,0]}'), "its sample does not fit its held_out"),
        (SAMPLED % ('"all"', '{"b":[0]}'), "its sample does not fit its held_out"),
        (SAMPLED % ('"sample"', '{"a":[0]}'), "its sample does not fit its held_out"),
        ('{"step":1,"seconds":1,"held_out":{},"judged":"all"}', "its sample is missing"),
        ('{"step":1,"judged":"all"}', "its held_out is missing"),
        ('{"step":1,"seconds":1,"finished":true}', "its weights is missing"),
        ('{"step":1,"went_back":{"from":2}}', "its went_back is not"),
        ('{"step":1,"loss":1' + "0" * 400 + "}", "its loss is not a number"),
        ('{"step":1' + "0" * 5000 + "}", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[1]", "it is not a JSON object"),
    ],
)
def test_a_row_of_another_kind_is_named_without_a_chain_too(tmp_path, row, what):
    (tmp_path / records.NAME).write_text('{"step":0}\n' + row + "\n")
    with pytest.raises(LossariumError, match=rf"is damaged in line 2 \({what}"):
        list(records.read(tmp_path))


def test_files_without_a_chain_are_read_and_go_on_with_one(tmp_path):
    path = tmp_path / records.NAME
    path.write_bytes(b'{"step":1}\n{"step":2}\n{"st')
    assert [row["step"] for row in records.read(tmp_path)] == [1, 2]
    written(tmp_path, ({"step": 3},), keep=22)
    assert [row["step"] for row in records.read(tmp_path)] == [1, 2, 3]
    with path.open("ab") as file:
        file.write(b'{"step":4}\n')
    with pytest.raises(LossariumError, match=r"line 4 \(its checksum is missing\)"):
        list(records.read(tmp_path))


@pytest.mark.parametrize("left", ["zeros", "half a line at the end"])
def test_a_half_line_is_not_intact_so_that_no_checkpoint_counts_on_it(left, tmp_path):
    length = written(tmp_path)
    path = tmp_path / records.NAME
    last = len(lines_of(tmp_path)[-1])
    assert records.intact_bytes(tmp_path)[0] == length
    content = path.read_bytes()
    path.write_bytes(bytes(length) if left == "zeros" else content[:-3] + bytes(3))
    assert records.intact_bytes(tmp_path) == (
        0 if left == "zeros" else length - last,
        "ends in half a line",
    )
