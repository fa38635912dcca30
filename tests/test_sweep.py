"""Sweeps: many small runs, scored, resumed, and failing in words."""

import multiprocessing
import shutil
import sys
import threading
import time

import pytest
import yaml
from small_runs import NETWORK, SMALL, pairs_of_a_second

from rwsa_tutorial import audio, cli
from rwsa_tutorial.corpora import load_corpus
from rwsa_tutorial.inside import without
from rwsa_tutorial.model import count_parameters
from rwsa_tutorial.scores.evaluation import evaluate, pair_folders, summary
from rwsa_tutorial.training import Config, train
from rwsa_tutorial.training import sweep as module
from rwsa_tutorial.training.plan import Plan
from rwsa_tutorial.training.sweep import keep_examples, read_results, sweep, table
from rwsa_tutorial.weights import load_weights, save_weights

BASE = {**SMALL, "steps": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    return folder, pairs_of_a_second(folder)


def test_a_sweep_trains_scores_tells_and_goes_on(data, tmp_path, capsys):
    folder, pairs = data
    plan = {
        "base": BASE | {"data": pairs},
        "kinds": {"none": {"sharing": "none"}},
        "seeds": [0, 1],
        "test": [str(folder), str(folder / "one.csv")],
    }
    (folder / "one.csv").write_text("clean,noisy\nclean/fan.flac,noisy/fan.flac\n")
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    words = ["sweep", f"{tmp_path}/plan.yaml", "--runs", f"{tmp_path}/runs", "--device", "cpu"]
    assert cli.main([*words, "--csv", f"{tmp_path}/one.csv", "--jobs", "2"]) == 0
    shown = capsys.readouterr().out.splitlines()
    both = read_results(tmp_path / "one.csv")
    assert [(row["kind"], row["seed"], row["test"]) for row in both] == [
        ("none", seed, test) for seed in (0, 1) for test in (folder.name, "one")
    ]
    rows, others = both[::2], both[1::2]
    assert [row["files"] for row in both] == [6, 1, 6, 1]
    assert rows[0]["si_sdr"] != rows[1]["si_sdr"] and rows[0]["noisy_pesq"] > 1
    # the same run, by hand
    config = Config.of(BASE | {"data": pairs, "sharing": "none", "seed": 1})
    train(config, tmp_path / "alone", progress=False, device="cpu")
    model = load_weights(tmp_path / "alone" / "last.safetensors")
    files = pair_folders(pairs["clean"], pairs["noisy"])
    means = summary(evaluate(files, model, progress=False))
    assert rows[1]["parameters"] == count_parameters(model)
    assert rows[1]["si_sdr"] == pytest.approx(means["enhanced"]["si_sdr"][0], abs=1e-3)
    assert rows[1]["noisy_si_sdr"] == pytest.approx(means["noisy"]["si_sdr"][0], abs=1e-6)
    (fan,) = [pair for pair in files if pair[1].stem == "fan"]
    means = summary(evaluate([fan], model, progress=False))
    assert others[1]["si_sdr"] == pytest.approx(means["enhanced"]["si_sdr"][0], abs=1e-3)
    mean = (rows[0]["si_sdr"] + rows[1]["si_sdr"]) / 2
    assert shown[1].split()[:3] == [folder.name, "none", "2"] and f"{mean:.3f} ±" in shown[1]
    assert shown[2].split()[:3] == ["one", "none", "2"]
    # again: nothing is left to do; a lost score is found again
    (tmp_path / "runs" / "none-seed1" / f"scores_{folder.name}.csv").unlink()
    kept = [path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/scores_one.csv")]
    assert cli.main([*words, "--csv", f"{tmp_path}/two.csv"]) == 0
    for row, before in zip(read_results(tmp_path / "two.csv"), both, strict=True):
        names = [name for name in row if isinstance(row[name], str)]
        assert [row.pop(name) for name in names] == [before.pop(name) for name in names]
        assert row == pytest.approx(before, abs=1e-3)  # other threads, other rounding
    after = [path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/scores_one.csv")]
    assert len(kept) == 2 and after == kept
    keep_examples(Plan.read(tmp_path / "plan.yaml"), tmp_path / "runs", tmp_path / "kept")
    names = {path.name for path in (tmp_path / "kept").iterdir()}
    assert names == {"clean.flac", "noisy.flac", "none-seed0.flac", "none-seed1.flac"}


def test_a_run_is_scored_with_parts_silenced_too(data, tmp_path, here):
    folder, pairs = data
    plan = Plan(
        BASE | {"data": pairs},
        kinds={"none": {"sharing": "none"}},
        test=[str(folder / "two.csv"), str(folder)],
        without=["unet"],
    )
    (folder / "two.csv").write_text("clean,noisy\nclean/fan.flac,noisy/fan.flac\n")
    rows = sweep(plan, tmp_path, progress=False, device="cpu")
    assert [(row["test"], row["without"]) for row in rows] == [
        ("two", None),
        (folder.name, None),
        ("two", "unet"),
    ]
    model = load_weights(tmp_path / "none-seed0" / "last.safetensors")
    with without(model, "unet"):
        means = summary(evaluate(load_corpus(folder / "two.csv").pairs("test"), model))
    assert rows[2]["si_sdr"] == pytest.approx(means["enhanced"]["si_sdr"][0], abs=1e-3)
    assert rows[2]["si_sdr"] != pytest.approx(rows[0]["si_sdr"], abs=1e-3)
    assert "two without unet" in table(rows)


def test_a_grid_is_every_combination():
    plan = Plan(BASE, grid={"loss.phase": [0, 0.3], "sharing": ["rwsa", "none"]}, seeds=[3])
    runs = list(plan.runs().values())
    found = [(config.loss["phase"], config.sharing, config.seed) for _, _, config in runs]
    assert found == [(0, "rwsa", 3), (0, "none", 3), (0.3, "rwsa", 3), (0.3, "none", 3)]
    assert {config.network["channels"] for _, _, config in runs} == {NETWORK["channels"]}
    assert plan.kinds["loss.phase=0.3,sharing=none"] == {"loss.phase": 0.3, "sharing": "none"}


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"base": BASE}, "either kinds"),
        ({"base": BASE, "kinds": {"a": {}}, "grid": {"lr": [1]}}, "either kinds"),
        ({"kinds": {"a": {}}}, "base is missing"),
        ({"base": BASE, "kind": {"a": {}}}, "there is no part 'kind'"),
        ({"base": BASE, "kinds": {"a": {"sharin": "none"}}}, "did you mean 'sharing'"),
        ({"base": BASE, "kinds": {"a": {}}, "seeds": []}, "seeds is empty"),
        ({"base": BASE, "kinds": {"a": {}}, "test": []}, "test is empty"),
        ({"base": BASE, "kinds": {"a": {}}, "pairs": 0}, "pairs is 0"),
        ({"base": BASE, "kinds": {"a": {}}, "without": ["encoder"]}, "without has encoder"),
        ([1, 2], "has base"),
        ({"base": BASE, "kinds": ["a"]}, "kinds is"),
        ({"base": BASE, "kinds": {"../../outside": {}}}, "no plain name of a folder"),
        ({"base": BASE, "kinds": {"a/b": {}}}, "no plain name of a folder"),
        ({"base": BASE, "kinds": {"a\\b": {}}}, "no plain name of a folder"),
        ({"base": BASE, "kinds": {".hidden": {}}}, "no plain name of a folder"),
        ({"base": BASE, "kinds": {"a\nb": {}}}, "no plain name of a folder"),
        ({"base": BASE, "kinds": {" ": {}}}, "no plain name of a folder"),
        ({"base": BASE, "kinds": {"é" * 101: {}}}, "no plain name of a folder"),
        ({"base": BASE, "grid": {"start": ["a/b.safetensors"]}}, "kinds can have names of your"),
        ({"base": BASE, "kinds": {"a": 5}}, "kind a is 5"),
        ({"base": BASE, "kinds": {1: {}, "1": {}}}, "kind 1 is there twice"),
        ({"base": BASE, "kinds": {"a": {"seed": 1}}}, "sets the seed"),
        ({"base": BASE, "grid": {"lr": 0.1}}, "lr in grid is 0.1"),
        ({"base": BASE, "grid": {"lr": []}}, "lr in grid is []"),
        ({"base": BASE, "grid": {"lr": [0.1, 0.1]}}, "lr=0.1 is there twice"),
        ({"base": BASE, "grid": {f"a{i}": list(range(1000)) for i in range(4)}}, f"{10**12} runs"),
        ({"base": BASE, "kinds": {"a": {}}, "seeds": list(range(1001))}, "1001 runs"),
        ({"base": BASE, "kinds": {"a": {}}, "seeds": [0, 0]}, "seed 0 is there twice"),
        ({"base": BASE, "kinds": {"a": {}}, "seeds": [True]}, "seed True is no whole"),
        ({"base": BASE, "kinds": {"a": {}}, "seeds": [-1]}, "seed -1 is no whole"),
        ({"base": BASE, "kinds": {"a": {}}, "seeds": [2**63]}, "is no whole"),
        (
            {"base": BASE, "kinds": {"a": {}}, "test": ["a/x.csv", "b/x.csv"]},
            "test x is there twice",
        ),
        ({"base": BASE, "kinds": {"a": {}}, "without": [["unet"]]}, "without has ['unet']"),
        ({"base": BASE, "kinds": {"a": {}}, "pairs": True}, "pairs is True"),
    ],
)
def test_plans_that_make_no_sense_are_told_in_words(tmp_path, capsys, plan, words):
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    csv = tmp_path / "a.csv"
    arguments = ["sweep", f"{tmp_path}/plan.yaml", "--runs", f"{tmp_path}/runs"]
    assert cli.main([*arguments, "--csv", str(csv)]) == 2
    told = capsys.readouterr().err
    assert words in told and "plan.yaml" in told and len(told.splitlines()) == 1
    assert not (tmp_path / "runs").exists() and not csv.exists()


def test_a_run_that_fails_is_named_and_the_others_are_done(data, tmp_path, here):
    folder, pairs = data
    kinds = {"lost": {"data": "nowhere"}, "good": {}}
    plan = Plan(BASE | {"data": pairs}, kinds=kinds, test=str(folder))
    with pytest.raises(ValueError, match="1 of 2 runs failed. lost-seed0: .*nowhere"):
        sweep(plan, tmp_path, progress=False, device="cpu")
    assert (tmp_path / "good-seed0" / f"scores_{folder.name}.csv").is_file()
    with pytest.raises(ValueError, match="no corpus 'mini-vc'"):
        sweep(Plan(BASE, kinds=kinds, test="mini-vc"), tmp_path, progress=False)


def test_a_run_whose_process_is_killed_is_told_in_words(data, tmp_path):
    def kill():
        while not (children := multiprocessing.active_children()):
            time.sleep(0.05)
        children[0].kill()

    folder, pairs = data
    plan = Plan(BASE | {"data": pairs}, kinds={"a": {}}, test=str(folder), pairs=2)
    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(ValueError, match="a-seed0: its process ended by itself"):
        sweep(plan, tmp_path, progress=False, device="cpu")
    killer.join()
    assert sweep(plan, tmp_path, progress=False, device="cpu")[0]["files"] == 2


class Here:
    """Stands for the process of a run, and for the pipe: what it would do is done here."""

    def __init__(self, *work):
        self.exitcode, self.words = 0, []
        try:
            module._one(self, *work)
        except SystemExit as end:
            self.exitcode = end.code

    def send(self, words):
        self.words.append(words)

    def recv(self):
        return self.words.pop()

    def join(self, timeout):
        pass


@pytest.fixture
def here(monkeypatch):
    """Runs in this process; the names of those that were begun."""
    begun = []

    def start(*work):
        begun.append(work[1].name)
        run = Here(*work)
        return run, run

    monkeypatch.setattr(module, "_start", start)
    monkeypatch.setattr(module, "end_with_parent", lambda: None)
    return begun


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A run of two steps in a folder of runs."""
    folder = tmp_path_factory.mktemp("runs")
    train(Config.of(BASE | {"data": data[1]}), folder / "a-seed0", progress=False, device="cpu")
    return folder


@pytest.fixture
def again(data, trained, tmp_path, here):
    """again(base..., pairs=2): the sweep over a copy of the finished run, and of the test pairs."""
    shutil.copytree(trained, tmp_path / "runs")
    for kind in ("clean", "noisy"):
        shutil.copytree(data[0] / kind, tmp_path / "test" / kind)

    def run(pairs=2, **base):
        plan = Plan(
            BASE | {"data": data[1]} | base, kinds={"a": {}}, test=f"{tmp_path}/test", pairs=pairs
        )
        here.clear()
        return sweep(plan, tmp_path / "runs", progress=False, device="cpu")

    return run


def test_scores_are_those_of_the_settings_weights_and_test_pairs_of_now(again, here, tmp_path):
    (first,) = again()
    assert here == ["a-seed0"] and first["files"] == 2
    assert again() == [first] and here == []
    # another number of test pairs
    (more,) = again(pairs=3)
    assert here and more["files"] == 3 and more["recordings"] != first["recordings"]
    assert (more["settings"], more["network"]) == (first["settings"], first["network"])
    (fewer,) = again()
    assert here and fewer["files"] == 2 and fewer["recordings"] == first["recordings"]
    # a test pair that holds something else under the same name
    path = min((tmp_path / "test" / "noisy").iterdir())
    audio.write(path, audio.read(path)[0] * 0.5, 16_000)
    (other,) = again()
    assert here and other["recordings"] != first["recordings"]
    assert other["noisy_ssnr"] != pytest.approx(first["noisy_ssnr"], abs=0.01)
    # garbled scores, other weights
    scores = tmp_path / "runs" / "a-seed0" / "scores_test.csv"
    scores.write_text(scores.read_text()[:-100])
    (same,) = again()
    assert here and same["si_sdr"] == pytest.approx(other["si_sdr"], abs=1e-6)
    weights = scores.with_name("last.safetensors")
    model = load_weights(weights)
    for parameter in model.parameters():
        parameter.data *= 1.1
    save_weights(model, weights)
    again()
    assert here


def test_more_steps_are_trained_and_scored(again, here):
    (first,), (longer,) = again(), again(steps=3)
    assert (first["steps"], longer["steps"]) == (2, 3)
    assert longer["network"] != first["network"] and longer["settings"] != first["settings"]
    assert longer["si_sdr"] != first["si_sdr"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lr": 1e-3}, "lr"),
        ({"network": NETWORK | {"channels": 8}}, "channels"),
        ({"steps": 1}, "steps"),
    ],
)
def test_a_run_of_other_settings_is_refused(again, here, tmp_path, changes, words):
    again()
    before = (tmp_path / "runs" / "a-seed0" / "scores_test.csv").read_bytes()
    with pytest.raises(ValueError, match=f"1 of 1 runs failed. a-seed0: .*{words}.*another folder"):
        again(**changes)
    assert here == ["a-seed0"]
    assert (tmp_path / "runs" / "a-seed0" / "scores_test.csv").read_bytes() == before


def test_a_test_pair_that_cannot_be_read_is_named(again, tmp_path):
    path = min((tmp_path / "test" / "noisy").iterdir())
    path.write_bytes(b"no sound")
    with pytest.raises(ValueError, match=f"1 of 2 not scored.*{path.name}"):
        again()


@pytest.mark.filterwarnings("ignore:PESQ is not installed")
def test_a_sweep_without_pesq_says_so(again, monkeypatch):
    again()
    monkeypatch.setitem(sys.modules, "pesq", None)
    rows = again(pairs=3)
    assert rows[0]["pesq"] is None and rows[0]["si_sdr"] is not None
    lines = table(rows).splitlines()
    assert lines[1].split()[3] == "–" and "pip install pesq" in lines[2]


def test_examples_are_the_last_of_their_run(trained, tmp_path, data):
    plan = Plan(BASE | {"data": data[1]}, kinds={"a": {}})
    example = tmp_path / "runs" / "a-seed0" / "example"
    shutil.copytree(trained, tmp_path / "runs")
    (last,) = example.glob("step-*.flac")
    shutil.copyfile(last, last.with_name("step-0000001.flac"))
    last.with_name("step-final.flac").write_bytes(b"a stray file")
    keep_examples(plan, tmp_path / "runs", tmp_path / "kept")
    assert (tmp_path / "kept" / "a-seed0.flac").read_bytes() == last.read_bytes()
    last.unlink()
    last.with_name("step-0000001.flac").unlink()
    with pytest.raises(ValueError, match="a-seed0 kept nothing that it made"):
        keep_examples(plan, tmp_path / "runs", tmp_path / "kept")
