"""Many models on many corpora: in processes as in one, resumed, and told in words."""

import os

import numpy as np
import pytest
import torch

import rwsa_tutorial as rt
from rwsa_tutorial import audio, scoreboard
from rwsa_tutorial.corpora.corpus import Pair
from rwsa_tutorial.evaluation import evaluate, read_csv
from rwsa_tutorial.scoreboard import Task, score_all

CHEAP = ("ssnr", "si_sdr")


class Louder(torch.nn.Module):
    """A network small enough to be sent about: the magnitude times a weight."""

    def __init__(self, gain):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(gain))

    def forward(self, mag, phase):
        return self.gain * mag, phase, None


class Deadly(Louder):
    def forward(self, mag, phase):
        os._exit(3)


@pytest.fixture
def pairs(tmp_path):
    rng = np.random.default_rng(0)
    made = []
    for name in "abc":
        clean = rng.normal(size=8000).clip(-3, 3) / 10
        for role, wave in (("clean", clean), ("noisy", clean + 0.02 * rng.normal(size=8000))):
            audio.write(tmp_path / f"{name}_{role}.wav", wave, 16_000)
        made.append(Pair(name, *(tmp_path / f"{name}_{role}.wav" for role in ("clean", "noisy"))))
    return tuple(made)


def tasks(folder, pairs):
    folder.mkdir(exist_ok=True)
    loud, quiet = Louder(1.5), Louder(0.5)
    return [
        Task(folder / "loud.csv", "loud", loud, pairs, CHEAP),
        Task(folder / "quiet.csv", "quiet", quiet, pairs[:2], CHEAP),
        Task(folder / "none.csv", "none", None, pairs[1:], CHEAP),
    ]


def test_processes_score_as_one_does(tmp_path, pairs):
    alone, nothing = score_all(tasks(tmp_path / "one", pairs), progress=False)
    others, nothing_either = score_all(tasks(tmp_path / "two", pairs), jobs=2, progress=False)
    assert alone == others and nothing == nothing_either == []
    assert alone[0] == evaluate(pairs, Louder(1.5), CHEAP, progress=False)
    assert [len(rows) for rows in alone] == [6, 4, 2]
    assert alone[0][1]["ssnr"] != alone[1][1]["ssnr"]
    for folder in ("one", "two"):
        found = sorted(path.name for path in (tmp_path / folder).iterdir())
        assert found == ["loud.csv", "none.csv", "quiet.csv"]
    assert read_csv(tmp_path / "two" / "quiet.csv") == alone[1]


def test_what_is_scored_is_not_scored_again(tmp_path, pairs, monkeypatch):
    asked = []

    def until_the_third(some, *more, **words):
        asked.append(some[0].name)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return evaluate(some, *more, **words)

    monkeypatch.setattr(scoreboard, "evaluate", until_the_third)
    with pytest.raises(KeyboardInterrupt):
        score_all(tasks(tmp_path / "out", pairs), progress=False)
    (part,) = (tmp_path / "out").iterdir()
    with open(part, "a") as file:
        file.write('["c", [{"file": "c", "sig')  # as a kill in the middle of writing leaves it
    results, _ = score_all(tasks(tmp_path / "out", pairs), progress=False)
    assert asked == ["a", "b", "c", "c", "a", "b", "b", "c"]
    assert results == score_all(tasks(tmp_path / "new", pairs), progress=False)[0]


def test_other_weights_begin_anew(tmp_path, pairs):
    task = Task(tmp_path / "out.csv", "mine", Louder(1.5), pairs, CHEAP)
    kept = scoreboard._Kept(task)
    kept.add("a", [{"file": "a", "signal": "noisy", "ssnr": 99.0, "si_sdr": 99.0}])
    changed = Task(tmp_path / "out.csv", "mine", Louder(1.6), pairs, CHEAP)
    assert score_all([changed], progress=False)[0][0][0]["ssnr"] < 50
    assert score_all([task], progress=False)[0][0][0]["ssnr"] == 99.0


def test_a_bad_pair_is_told_and_the_others_are_done(tmp_path, pairs):
    pairs[1].noisy.write_bytes(b"no sound")
    for jobs in (1, 2):
        task = Task(tmp_path / "out.csv", "none", None, pairs, CHEAP)
        (rows,), problems = score_all([task], jobs, progress=False)
        assert [row["file"] for row in rows] == ["a", "c"]
        assert len(problems) == 1 and "b_noisy.wav" in problems[0]


def test_a_process_that_is_killed_is_told_in_words(tmp_path, pairs):
    task = Task(tmp_path / "out.csv", "deadly", Deadly(1.0), pairs, CHEAP)
    with pytest.raises(ValueError, match="a process that scores ended by itself"):
        score_all([task], jobs=2, progress=False)


def test_the_shipped_network_can_be_sent_to_processes(tmp_path, pairs):
    task = Task(tmp_path / "out.csv", "nano", rt.load_pretrained("nano"), pairs[:2], CHEAP)
    rows = [score_all([task], jobs, progress=False)[0][0] for jobs in (1, 2)]
    for one, other in zip(*rows, strict=True):
        assert {k: one[k] for k in CHEAP} == pytest.approx({k: other[k] for k in CHEAP}, abs=1e-3)
