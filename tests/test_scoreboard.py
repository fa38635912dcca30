"""Many models on many corpora: in processes as in one, resumed, and told in words."""

import os
import sys

import numpy as np
import pytest
import torch
from small_runs import refuse_shared_memory

import rwsa_tutorial as rt
from rwsa_tutorial import audio
from rwsa_tutorial.corpora.corpus import Pair, Recipe
from rwsa_tutorial.scores import digests, many
from rwsa_tutorial.scores.evaluation import evaluate, read_csv
from rwsa_tutorial.scores.many import Task, score_all
from rwsa_tutorial.training.scorer import Scorer

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
    for path in (pairs[1].clean, pairs[1].noisy):
        path.write_bytes(path.read_bytes()[:-2000])
    told, told_too = [], []
    with audio.notes_to(told.append):
        alone, nothing = score_all(tasks(tmp_path / "one", pairs), progress=False)
    with audio.notes_to(told_too.append):
        others, nothing_either = score_all(tasks(tmp_path / "two", pairs), jobs=2, progress=False)
    assert alone == others and nothing == nothing_either == []
    assert sorted(told) == sorted(told_too) and ["ends early" in words for words in told] == 2 * [1]
    with audio.notes_to(told.append):
        scores = evaluate(pairs, Louder(1.5), CHEAP, progress=False)
    assert [{name: row[name] for name in scores[0]} for row in alone[0]] == scores
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

    monkeypatch.setattr(many, "evaluate", until_the_third)
    with pytest.raises(KeyboardInterrupt):
        score_all(tasks(tmp_path / "out", pairs), progress=False)
    (part,) = (tmp_path / "out").iterdir()
    with open(part, "a") as file:
        file.write('[{"file": "c", "sig')  # as a kill in the middle of writing leaves it
    results, _ = score_all(tasks(tmp_path / "out", pairs), progress=False)
    assert asked == ["a", "b", "c", "c", "a", "b", "b", "c"]
    assert results == score_all(tasks(tmp_path / "new", pairs), progress=False)[0]


def keep(task, **changes):
    """Rows of the task's first pair, with scores that no recording has, kept as if scored."""
    pair = task.pairs[0]
    recordings = digests.of_pairs([pair])[pair.name]
    noisy = {"file": pair.name, "signal": "noisy"} | dict.fromkeys(CHEAP, 99.0)
    noisy |= {"recordings": recordings, "network": None}
    rows = [noisy, noisy | {"signal": "enhanced", "network": task.network}]
    many._Kept(task).add(pair.name, [row | changes for row in rows])


def first_score(task):
    (rows,), _ = score_all([task], progress=False)
    return rows[0]["ssnr"]


def test_other_weights_and_other_contents_begin_anew(tmp_path, pairs):
    def task(gain=1.5):
        return Task(tmp_path / "out.csv", "mine", Louder(gain), pairs, CHEAP)

    keep(task())
    assert first_score(task()) == 99.0
    keep(task())
    assert first_score(task(1.6)) < 50
    keep(task())
    audio.write(pairs[0].noisy, audio.read(pairs[0].noisy)[0] / 2, 16_000)  # under the same name
    assert first_score(task()) < 50
    keep(task())
    audio.write(pairs[0].clean, audio.read(pairs[0].clean)[0] / 2, 16_000)
    assert first_score(task()) < 50
    for path in tmp_path.glob("a_*.wav"):  # another name for the same
        path.rename(path.with_name("z" + path.name))
    moved = Pair("a", tmp_path / "za_clean.wav", tmp_path / "za_noisy.wav")
    task = Task(tmp_path / "out.csv", "mine", Louder(1.5), (moved,), CHEAP)
    keep(task)
    assert first_score(task) == 99.0


@pytest.mark.parametrize(
    "line",
    [
        "null",
        "[null, null]",
        '[["a"]]',
        "[[]]",
        '[{"file": "a"}, {"file": "a"}]',
        '{"file": 1}',
        "\xff\x00",
        "[" * 5000,
        '[{"file": ["a"]}]',
    ],
)
def test_what_is_garbled_in_the_kept_rows_is_scored_again(tmp_path, pairs, line):
    task = Task(tmp_path / "out.csv", "mine", Louder(1.5), pairs[:1], CHEAP)
    keep(task)
    (path,) = tmp_path.glob(".*.scored")
    good = path.read_text()
    path.write_bytes((line + "\n" + good).encode("latin-1"))
    assert many._Kept(task).rows["a"][0]["ssnr"] == 99.0  # the good line is still one
    path.write_bytes((good + line + "\n").encode("latin-1"))
    assert set(many._Kept(task).rows) <= {"a"}
    path.write_bytes(line.encode("latin-1"))  # cut short
    assert first_score(task) < 50
    keep(task, ssnr="99")
    assert first_score(task) < 50
    keep(task, ssnr=None, si_sdr=None)  # missing scores are scores
    assert first_score(task) is None


def test_kept_rows_without_pesq_are_scored_again_once_it_is_installed(tmp_path, pairs, monkeypatch):
    task = Task(tmp_path / "out.csv", "none", None, pairs[:1], ("pesq",))
    monkeypatch.setitem(sys.modules, "pesq", None)
    (rows,), _ = score_all([task], progress=False)
    recordings = digests.of_pairs(task.pairs)
    assert rows[0]["pesq"] is None and many.is_done(task, recordings)
    many._Kept(task).add("a", rows)
    assert many._Kept(task).rows == {"a": rows}
    monkeypatch.undo()
    assert many._Kept(task).rows == {} and not many.is_done(task, recordings)


def test_scores_are_done_only_if_they_are_of_what_is_there(tmp_path, pairs):
    task = Task(tmp_path / "out.csv", "mine", Louder(1.5), pairs[:2], CHEAP)

    def done(task):
        return many.is_done(task, digests.of_pairs(task.pairs))

    assert not done(task)
    score_all([task], progress=False)
    assert done(task)
    assert not done(Task(task.csv, "mine", Louder(1.6), pairs[:2], CHEAP))
    assert not done(Task(task.csv, "mine", Louder(1.5), pairs[:1], CHEAP))
    assert not done(Task(task.csv, "mine", Louder(1.5), pairs, CHEAP))
    assert not done(Task(task.csv, "mine", Louder(1.5), pairs[1::-1], CHEAP))
    assert not done(Task(task.csv, "mine", None, pairs[:2], CHEAP))
    text = task.csv.read_text()
    for garbled in ("", "\0", text[: len(text) // 2], text.replace("noisy", "nosy"), "file\n1,2\n"):
        task.csv.write_text(garbled)
        assert not done(task)
    task.csv.write_text(text)
    pairs[1].clean.write_bytes(b"other")
    assert not done(task)
    pairs[1].clean.unlink()
    assert not done(task)


def test_digests_are_of_contents_and_of_how_they_are_mixed(tmp_path, pairs):
    first, second, _ = pairs
    recipes = [
        Recipe(second.noisy, 0, 5.0),
        Recipe(second.noisy, 1, 5.0),
        Recipe(second.noisy, 0, 4),
    ]
    made = [first, *(Pair(str(i), first.clean, recipe) for i, recipe in enumerate(recipes))]
    assert len(set(digests.of_pairs([*made, second]).values())) == 5
    same = Pair("another name", first.clean, first.noisy, {"voice": "x"})
    assert set(digests.of_pairs([first, same]).values()) == {digests.of_pairs([first])["a"]}
    assert digests.of_network(Louder(1.5)) == digests.of_network(Louder(1.5))
    networks = [rt.build_model("nano") for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    assert digests.of_network(networks[0]) == digests.of_network(networks[1])
    with torch.no_grad():
        next(networks[1].parameters()).flatten()[0] += 1e-3
    assert digests.of_network(networks[0]) != digests.of_network(networks[1])
    assert digests.of_value({"a": 1, "b": 2}) == digests.of_value({"b": 2, "a": 1})
    assert digests.of_value([1, 2]) != digests.of_value([2, 1])


def test_a_bad_pair_is_told_and_the_others_are_done(tmp_path, pairs):
    pairs[1].noisy.write_bytes(b"no sound")
    for jobs in (1, 2):
        task = Task(tmp_path / "out.csv", "none", None, pairs, CHEAP)
        (rows,), problems = score_all([task], jobs, progress=False)
        assert [row["file"] for row in rows] == ["a", "c"]
        assert len(problems) == 1 and "b_noisy.wav" in problems[0]


def test_a_process_that_is_killed_is_told_in_words(tmp_path, pairs):
    task = Task(tmp_path / "out.csv", "deadly", Deadly(1.0), pairs, CHEAP)
    words = "a process that scores ended by itself.* kept.* probably at [abc], [abc]"
    with pytest.raises(ValueError, match=words):
        score_all([task], jobs=2, progress=False)


def test_a_system_without_shared_memory_is_told_what_it_is_for(tmp_path, pairs, monkeypatch):
    refuse_shared_memory(monkeypatch)
    task = Task(tmp_path / "out.csv", "none", None, pairs, CHEAP)
    with pytest.raises(ValueError, match="processes that score cannot be started.*/dev/shm"):
        score_all([task], jobs=2, progress=False)
    with pytest.raises(ValueError, match="processes that compute PESQ cannot .*/dev/shm"):
        Scorer(1)
    assert len(score_all([task], progress=False)[0][0]) == 3  # one job needs none


def test_the_shipped_network_can_be_sent_to_processes(tmp_path, pairs):
    task = Task(tmp_path / "out.csv", "nano", rt.load_pretrained("nano"), pairs[:2], CHEAP)
    rows = [score_all([task], jobs, progress=False)[0][0] for jobs in (1, 2)]
    for one, other in zip(*rows, strict=True):
        assert {k: one[k] for k in CHEAP} == pytest.approx({k: other[k] for k in CHEAP}, abs=1e-3)
