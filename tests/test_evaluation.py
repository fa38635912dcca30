"""Scores of folders: pairing, rows, means, table, CSV."""

import csv
import math
import sys

import numpy as np
import pytest

import rwsa_tutorial as rt
from rwsa_tutorial import audio
from rwsa_tutorial.corpora.corpus import Pair, Recipe
from rwsa_tutorial.scores.evaluation import (
    evaluate,
    pair_folders,
    read_csv,
    summary,
    table,
    write_csv,
)

CHEAP = ("ssnr", "estoi", "si_sdr")


def speechlike(seconds=1.0, pitch=120):
    t = np.arange(round(16_000 * seconds)) / 16_000
    voice = sum(np.sin(2 * np.pi * pitch * k * t) / k for k in range(1, 25))
    return 0.1 * voice * np.clip(np.sin(2 * np.pi * 2.3 * t) + 0.3, 0, None)


def gate(mag, phase):
    """A crude enhancer: what is weaker than the median of its bin is noise."""
    return mag * (mag > mag.median(-1, keepdim=True).values), phase, None


@pytest.fixture
def folders(tmp_path):
    rng = np.random.default_rng(0)
    for i, name in enumerate(["a", "b", "c"]):
        clean = speechlike(pitch=110 + 20 * i)
        for role, wave in (("clean", clean), ("noisy", clean + 0.05 * rng.normal(size=16_000))):
            (tmp_path / role).mkdir(exist_ok=True)
            audio.write(tmp_path / role / f"{name}.flac", wave, 16_000)
    return tmp_path / "clean", tmp_path / "noisy"


def test_files_pair_by_name_whatever_their_type(folders):
    clean, noisy = folders
    (noisy / "b.flac").unlink()
    audio.write(noisy / "b.WAV", speechlike(), 16_000)
    for folder in folders:
        (folder / "more").mkdir()
        audio.write(folder / "more" / "a.wav", speechlike(), 16_000)
        (folder / "notes.txt").write_text("no recording")
        (folder / ".a.123.part.wav").write_bytes(b"left behind")
    names = [(c.relative_to(clean), n.relative_to(noisy)) for c, n in pair_folders(clean, noisy)]
    assert [tuple(map(str, pair)) for pair in names] == [
        ("a.flac", "a.flac"),
        ("b.flac", "b.WAV"),
        ("c.flac", "c.flac"),
        ("more/a.wav", "more/a.wav"),
    ]


def test_files_without_a_partner_are_listed(folders):
    clean, noisy = folders
    (noisy / "b.flac").unlink()
    (clean / "c.flac").unlink()
    with pytest.raises(ValueError, match="2 file.*clean/b.flac .no noisy.*noisy/c.flac .no clean"):
        pair_folders(clean, noisy)


def test_folders_that_cannot_be_paired_are_said(folders, tmp_path):
    clean, noisy = folders
    with pytest.raises(ValueError, match="no folder .*absent"):
        pair_folders(clean, tmp_path / "absent")
    (tmp_path / "bare").mkdir()
    with pytest.raises(ValueError, match="bare holds no .wav"):
        pair_folders(tmp_path / "bare", noisy)
    audio.write(clean / "a.wav", speechlike(), 16_000)
    with pytest.raises(ValueError, match="same name"):
        pair_folders(clean, noisy)


def test_rows_hold_the_scores_before_and_after(folders):
    pairs = pair_folders(*folders)
    rows = evaluate(pairs, gate, metrics=CHEAP)
    assert [(row["file"], row["signal"]) for row in rows] == [
        (name, signal) for name in "abc" for signal in ("noisy", "enhanced")
    ]
    clean, rate = audio.read(pairs[1][0])
    noisy, _ = audio.read(pairs[1][1])
    enhanced = rt.enhance(noisy, rate, gate)
    for row, wave in ((rows[2], noisy), (rows[3], enhanced)):
        wanted = rt.score(clean, wave, rate, CHEAP)
        assert {name: row[name] for name in CHEAP} == pytest.approx(wanted, abs=1e-6)
    assert rows[3]["si_sdr"] != rows[2]["si_sdr"]


def test_equal_names_in_different_folders_stay_apart(folders):
    for folder in folders:
        (folder / "more").mkdir()
        audio.write(folder / "more" / "a.wav", speechlike(), 16_000)
    rows = evaluate(pair_folders(*folders), metrics=("si_sdr",))
    assert [row["file"] for row in rows] == ["a", "b", "c", "more/a"]


def test_without_a_model_the_recordings_are_scored_as_they_are(folders):
    rows = evaluate(pair_folders(*folders))
    assert {row["signal"] for row in rows} == {"noisy"}
    assert set(rows[0]) == {"file", "signal", "pesq", "ssnr", "estoi", "si_sdr"}


ROWS = [
    {"file": "a", "signal": "noisy", "pesq": 1.5, "si_sdr": 2.0},
    {"file": "a", "signal": "enhanced", "pesq": None, "si_sdr": 8.0},
    {"file": "b", "signal": "noisy", "pesq": None, "si_sdr": 4.0},
    {"file": "b", "signal": "enhanced", "pesq": None, "si_sdr": 10.0},
]


def test_missing_scores_are_left_out_of_the_means():
    assert summary(ROWS) == {
        "noisy": {"files": 2, "pesq": (1.5, 1), "si_sdr": (3.0, 0)},
        "enhanced": {"files": 2, "pesq": (None, 2), "si_sdr": (9.0, 0)},
    }
    assert summary([]) == {}


def test_the_table_says_what_is_missing():
    lines = table(ROWS).splitlines()
    assert [line.split() for line in lines[:5]] == [
        ["file", "signal", "pesq", "si_sdr"],
        ["a", "noisy", "1.500", "2.000"],
        ["a", "enhanced", "–", "8.000"],
        ["b", "noisy", "–", "4.000"],
        ["b", "enhanced", "–", "10.000"],
    ]
    assert lines[5].split() == ["mean", "of", "2", "noisy", "1.500", "3.000"]
    assert len({len(line) for line in lines[:7]}) == 1
    assert lines[7:] == [
        "pesq is missing for 1 of 2 noisy files, left out of the mean.",
        "pesq is missing for 2 of 2 enhanced files, left out of the mean.",
    ]
    assert table(ROWS, files=False).splitlines()[1].startswith("mean of 2")


def test_infinite_scores_are_told_and_left_out_of_the_means():
    scores = [math.inf, -math.inf, 6.0, None]
    rows = [{"file": str(i), "signal": "noisy", "si_sdr": s} for i, s in enumerate(scores)]
    assert summary(rows) == {"noisy": {"files": 4, "si_sdr": (6.0, 3)}}
    lines = table(rows).splitlines()
    assert [line.split()[2] for line in lines[1:5]] == ["inf", "-inf", "6.000", "–"]
    assert lines[5].split() == ["mean", "of", "4", "noisy", "6.000"]
    assert lines[6:] == [
        "si_sdr is missing for 1 of 4 noisy files, left out of the mean.",
        "si_sdr is infinite for 2 of 4 noisy files, left out of the mean.",
    ]


def test_a_recording_that_equals_the_clean_one_leaves_a_mean(folders):
    clean, noisy = folders
    audio.write(noisy / "b.flac", audio.read(clean / "b.flac")[0], 16_000)
    rows = evaluate(pair_folders(clean, noisy), metrics=("si_sdr",))
    assert rows[1]["si_sdr"] == math.inf
    expected = (rows[0]["si_sdr"] + rows[2]["si_sdr"]) / 2
    assert summary(rows)["noisy"]["si_sdr"] == (pytest.approx(expected), 1)


def test_the_table_says_once_that_pesq_is_not_installed(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "pesq", None)
    with pytest.warns(UserWarning, match="pip install pesq"):
        rows = evaluate(pair_folders(*folders), metrics=("pesq", "si_sdr"))
    assert table(rows).count("PESQ is not installed") == 1
    assert summary(rows)["noisy"]["pesq"] == (None, 3)
    monkeypatch.undo()
    assert "not installed" not in table(rows)  # it is: so they are missing for another reason


def test_the_csv_holds_every_row_and_empty_cells_where_a_score_is_missing(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("old")
    write_csv(path, ROWS)
    with open(path, newline="") as file:
        back = list(csv.DictReader(file))
    assert [row["pesq"] for row in back] == ["1.5", "", "", ""]
    assert [float(row["si_sdr"]) for row in back] == [2, 8, 4, 10]
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]
    assert read_csv(path) == ROWS


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "file,signal,pesq\na,noisy,much\n", "file\na,b\n"])
def test_another_table_is_refused_in_words(tmp_path, text):
    path = tmp_path / "scores.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match="scores.csv"):
        read_csv(path)


def test_pairs_of_a_corpus_are_scored_as_their_files_are(folders):
    clean, noisy = folders
    pairs = [Pair(f"pair {n}", clean / f"{n}.flac", noisy / f"{n}.flac") for n in "ba"]
    rows = evaluate(pairs, metrics=CHEAP)
    assert [row["file"] for row in rows] == ["pair b", "pair a"]
    by_files = {row["file"]: row for row in evaluate(pair_folders(clean, noisy), metrics=CHEAP)}
    for row, name in zip(rows, "ba", strict=True):
        same = by_files[name]
        assert row["signal"] == same["signal"]
        # pystoi adds a little chance of its own
        assert [row[m] for m in CHEAP] == pytest.approx([same[m] for m in CHEAP], abs=1e-6)
    mixed = Pair("mixed", clean / "a.flac", Recipe(clean / "b.flac", 0, snr_db=3.0))
    (row,) = evaluate([mixed], metrics=("si_sdr",))
    assert row["si_sdr"] == pytest.approx(3.0, abs=0.5)  # two voices, hardly correlated


def test_a_bad_pair_is_named_and_the_others_are_done(folders):
    clean, noisy = folders
    audio.write(noisy / "b.flac", speechlike(0.5), 16_000)
    pairs = pair_folders(clean, noisy)
    problems = []
    rows = evaluate(pairs, metrics=CHEAP, problems=problems)
    assert [row["file"] for row in rows] == ["a", "c"]
    assert len(problems) == 1
    assert "noisy/b.flac has 8000 samples" in problems[0] and "clean/b.flac 16000" in problems[0]
    with pytest.raises(ValueError, match="noisy/b.flac.*8000"):
        evaluate(pairs, metrics=CHEAP)
    audio.write(noisy / "b.flac", speechlike(2.0), 8_000)
    with pytest.raises(ValueError, match="b.flac has 8000 Hz"):
        evaluate(pairs, metrics=CHEAP)


@pytest.mark.parametrize(
    "error",
    [MemoryError("Unable to allocate 256. GiB"), MemoryError(), RuntimeError("not enough memory")],
)
def test_a_pair_too_long_for_the_memory_is_named_and_the_others_are_done(
    folders, monkeypatch, error
):
    def read(self):
        if self.name == "b":
            raise error
        return audio.read(self.clean)[0], audio.read(self.noisy)[0], 16_000

    monkeypatch.setattr(Pair, "read", read)
    problems = []
    rows = evaluate(pair_folders(*folders), metrics=("si_sdr",), problems=problems)
    assert [row["file"] for row in rows] == ["a", "c"]
    (words,) = problems
    assert "noisy/b.flac: too long for the memory there is" in words and str(error) in words


def test_an_error_that_is_no_fault_of_the_pair_is_raised(folders):
    def broken(mag, phase):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        evaluate(pair_folders(*folders), broken, CHEAP, problems=[])
