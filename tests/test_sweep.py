"""Sweeps: many small runs, scored, resumed, and failing in words."""

import multiprocessing
import threading
import time

import pytest
import yaml
from small_runs import NETWORK, SMALL, pairs_of_a_second

from rwsa_tutorial import cli
from rwsa_tutorial.corpora import load_corpus
from rwsa_tutorial.evaluation import evaluate, pair_folders, summary
from rwsa_tutorial.inside import without
from rwsa_tutorial.model import count_parameters
from rwsa_tutorial.training import Config, train
from rwsa_tutorial.training.sweep import Plan, keep_examples, read_results, sweep, table
from rwsa_tutorial.weights import load_weights

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
        assert row == pytest.approx(before, abs=1e-3)  # other threads, other rounding
    after = [path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/scores_one.csv")]
    assert len(kept) == 2 and after == kept
    keep_examples(Plan.read(tmp_path / "plan.yaml"), tmp_path / "runs", tmp_path / "kept")
    names = {path.name for path in (tmp_path / "kept").iterdir()}
    assert names == {"clean.flac", "noisy.flac", "none-seed0.flac", "none-seed1.flac"}


def test_a_run_is_scored_with_parts_silenced_too(data, tmp_path):
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
        ({"base": BASE, "kinds": {"a": {}}, "without": ["mamba"]}, "without has mamba"),
        ([1, 2], "has base"),
        ({"base": BASE, "kinds": ["a"]}, "kinds is"),
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


def test_a_run_that_fails_is_named_and_the_others_are_done(data, tmp_path):
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
