"""Tables as CSV: what a spreadsheet would run is text, and comes back as it was."""

import csv

import pytest
from fuzzing import some
from hypothesis import example, given
from hypothesis import strategies as st

from rwsa_tutorial import bench, tables
from rwsa_tutorial.domains import comparing
from rwsa_tutorial.scores.evaluation import read_csv, write_csv
from rwsa_tutorial.training.sweep import read_results, write_results

EVIL = ["=1+1", "+1", "-1", "@sum", "\t=1", "'=1", "''@", "-", "=cmd|' /C calc'!A0"]
PLAIN = ["", "a", "'", "'a", "a=1", "1e3", 'é, "x"', "a\nb", "\udcff"]


def in_spreadsheet(path):
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def test_text_that_looks_like_a_formula_is_guarded_and_numbers_are_not(tmp_path):
    rows = [{"file": text, "value": -1.5 * i} for i, text in enumerate(EVIL + PLAIN)]
    path = tmp_path / "a.csv"
    tables.write(path, ["file", "value", "nothing"], rows)
    cells = in_spreadsheet(path)
    assert [row["file"] for row in cells] == ["'" + text for text in EVIL] + PLAIN
    assert [float(row["value"]) for row in cells] == [row["value"] for row in rows]
    assert cells[1]["value"] == "-1.5" and {row["nothing"] for row in cells} == {""}
    back = tables.read(path)
    assert [row["file"] for row in back] == EVIL + PLAIN
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@some(100)
@given(st.text(alphabet="'=+-@\t\r\n1a", max_size=6))
@example("''=")
def test_every_text_comes_back(text):
    cell = tables.guarded(text)
    assert tables.plain(cell) == text and cell[:1] not in set("=+-@\t\r\n")


def test_every_table_of_the_project_is_guarded(tmp_path):
    path = tmp_path / "a.csv"
    scores = [{"file": "=1", "signal": "noisy", "si_sdr": -2.0}]
    write_csv(path, scores)
    assert in_spreadsheet(path)[0] == {"file": "'=1", "signal": "noisy", "si_sdr": "-2.0"}
    assert read_csv(path) == scores
    for kind in ("=1", "@", "yes", "1e5", "- a", "{"):
        runs = [
            {"kind": kind, "seed": 0, "lr": 1e-5, "snr_db": [-5, 5], "si_sdr": -2.0, "pesq": None}
        ]
        write_results(path, runs)
        assert not in_spreadsheet(path)[0]["kind"].startswith(("=", "@", "-"))
        assert read_results(path) == runs
    comparing.write_csv(
        path, [comparing.Description("=1", "test", [{"file": "+"}], {}, *[None] * 3)]
    )
    assert [in_spreadsheet(path)[0][name] for name in ("corpus", "file")] == ["'=1", "'+"]
    bench.write_csv(path, [{"table": "scan"}], "=1")
    assert in_spreadsheet(path)[0]["machine"] == "'=1"


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")
    with pytest.raises(ValueError, match="dict contains fields"):
        tables.write(path, ["a"], [{"a": 1}, {"b": 2}])
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("text", ["a,b\n1,2,3\n", 'a,b\n"1,2\n'])
def test_what_is_no_table_is_told(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match="a.csv is no table"):
        tables.read(tmp_path / "a.csv")
