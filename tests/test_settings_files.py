"""The settings, plans and results that are shipped can be read, and agree with each other."""

import json
import os
from pathlib import Path

import pytest

from rwsa_tutorial import load_corpus, load_pretrained
from rwsa_tutorial.corpora.pairs import evenly
from rwsa_tutorial.paths import data_path
from rwsa_tutorial.scores import digests
from rwsa_tutorial.scores.evaluation import as_pairs, pair_folders, read_csv, summary
from rwsa_tutorial.scores.metrics import METRICS
from rwsa_tutorial.training import Config
from rwsa_tutorial.training.plan import Plan
from rwsa_tutorial.training.sweep import read_results


@pytest.mark.parametrize("path", sorted(data_path("weights").glob("*.yaml")), ids=lambda p: p.name)
def test_settings_of_weights(path):
    config = Config.read(path)
    assert config.variant == path.stem and config.rooms and config.schedule == "cosine"


@pytest.mark.parametrize("path", sorted(data_path("results").glob("*.yaml")), ids=lambda p: p.name)
def test_plans_of_results(path):
    plan = Plan.read(path)
    runs = plan.runs()
    assert len(runs) == {"lab": 50}.get(path.stem, 12)
    if (results := path.with_suffix(".csv")).is_file():
        rows = read_results(results)
        found = [
            (f"{row['kind']}-seed{row['seed']}", row["test"], row.get("without")) for row in rows
        ]
        assert found == [(name, *test) for name in runs for test in plan.tests()]
        steps = {config.steps for _, _, config in runs.values()}
        assert {row["steps"] for row in rows} == steps


SHIPPED = sorted(data_path("weights").glob("*.safetensors"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_scores_of_shipped_weights_are_those_of_the_recordings(path):
    scores = json.loads(path.with_suffix(".json").read_text())["scores"]
    found = {f.stem.split("_", 1)[1]: f for f in data_path("results").glob(f"{path.stem}_*.csv")}
    assert {"mini-vb", "mini-dns", "mini-ears"} <= set(found) and set(scores) <= set(found)
    for test, told in scores.items():
        for signal, means in summary(read_csv(found[test])).items():
            assert means["files"] == told["files"]
            for name in METRICS:
                assert told[signal][name] == pytest.approx(means[name][0], abs=6e-3)


def table_1():
    return {
        (row["model"], row["corpus"]): row
        for row in read_results(data_path("results", "paper_table1.csv"))
    }


def test_the_papers_table_is_whole():
    rows = table_1()
    models, corpora = (list(dict.fromkeys(keys)) for keys in zip(*rows, strict=True))
    assert len(rows) == len(models) * len(corpora) == 9 * 3
    assert models[0] == "noisy" and [m for m in models if m.startswith("RWSA")] == models[-3:]
    for (model, corpus), row in rows.items():
        assert row["domain"] == ("in" if corpus == "vb-demandex" else "out")
        assert 1 < row["pesq"] < 4.64 and 0 < row["estoi"] < 1
        spreads = [row[f"{name}_spread"] for name in METRICS]
        known = (row["params_millions"], row["flops_g"], *spreads)
        assert all(v is None for v in known) if model == "noisy" else all(v > 0 for v in known)


@pytest.mark.parametrize(
    "model, corpus, scores",
    [
        ("noisy", "vb-demandex", (1.625, -1.068, 0.630, 4.976)),
        ("noisy", "dns2020", (1.582, 6.218, 0.810, 9.071)),  # ours on these 150 pairs: 6.217
        ("noisy", "ears-wham", (1.235, -0.803, 0.640, 5.359)),
        ("RWSA-MambaUNet-XS", "dns2020", (2.940, 9.421, 0.922, 14.722)),
        ("RWSA-MambaUNet-M", "ears-wham", (2.101, 3.690, 0.763, 9.198)),
        ("MambAttention", "vb-demandex", (3.026, 7.674, 0.801, 16.684)),
        ("xLSTM-SENet", "dns2020", (1.724, 3.246, 0.686, 3.412)),
    ],
)
def test_known_figures_of_the_papers_table(model, corpus, scores):
    row = table_1()[model, corpus]
    assert tuple(row[name] for name in METRICS) == scores


def test_the_papers_table_holds_its_slip_and_its_claims():
    rows = table_1()
    assert rows["RWSA-MambaUNet-M", "ears-wham"]["pesq_spread"] == 0.0011  # as printed
    models = [model for model, corpus in rows if corpus == "dns2020"][1:]
    for name in METRICS:  # XS: last in domain, M: first out of domain
        of = {m: rows[m, "vb-demandex"][name] for m in models}
        assert min(of, key=of.get) == "RWSA-MambaUNet-XS"
        for corpus in ("dns2020", "ears-wham"):
            of = {m: rows[m, corpus][name] for m in models}
            assert max(of, key=of.get) == "RWSA-MambaUNet-M"


def test_the_contested_figures():
    with_it, without = read_results(data_path("results", "contested_semamba.csv"))
    assert [with_it["metric_loss"], without["metric_loss"]] == [True, False]
    assert [without[name] for name in METRICS] == [2.21, 4.72, 0.78, 12.06]
    ours = table_1()["RWSA-MambaUNet-M", "ears-wham"]
    assert all(without[name] > ours[name] for name in METRICS)


def test_scores_of_the_networks_that_heard_mini_vb_alone():
    folder = data_path("results", "from_mini_vb")
    assert Config.read(folder / "settings.yaml").data == "mini-vb"
    shipped = {path.stem for path in folder.glob("*.csv")}
    corpora = ("mini-vb", "mini-dns", "mini-ears")
    assert shipped == {f"seed{seed}_{corpus}" for seed in range(3) for corpus in corpora}
    for corpus in corpora:
        noisy = [
            [row for row in read_csv(path) if row["signal"] == "noisy"]
            for path in [
                *folder.glob(f"*_{corpus}.csv"),
                data_path("results", f"nano_{corpus}.csv"),
            ]
        ]
        for rows in noisy[1:]:
            assert [r["file"] for r in rows] == [r["file"] for r in noisy[0]]
            for row, other in zip(rows, noisy[0], strict=True):
                assert all(row[m] == pytest.approx(other[m], abs=1e-3) for m in METRICS)


EVAL = Path(os.environ.get("RWSA_EVAL") or Path(__file__).resolve().parents[2] / "shared" / "eval")
MINI = ("mini-vb", "mini-dns", "mini-ears")


@pytest.mark.parametrize("corpus", [*MINI, "dns2020", "vbdemand", "ears_wham_v2"])
def test_stored_scores_are_of_these_recordings_and_weights(corpus):
    if corpus in MINI:
        pairs = load_corpus(corpus).pairs("test")
    elif (EVAL / corpus).is_dir():
        pairs = as_pairs(pair_folders(EVAL / corpus / "clean", EVAL / corpus / "noisy"))
    else:
        pytest.skip(f"the test pairs are not at {EVAL}; set RWSA_EVAL to their folder")
    recordings = digests.of_pairs(pairs)
    paths = sorted(data_path("results").rglob(f"*_{corpus}.csv"))
    assert len(paths) == (5 if corpus in MINI else 2)
    for path in paths:
        name = path.stem.split("_")[0]
        shipped = name in {weights.stem for weights in SHIPPED}  # the others' weights are not kept
        network = digests.of_network(load_pretrained(name)) if shipped else None
        assert [
            (row["file"], row["signal"], row["recordings"], row["network"])
            for row in read_csv(path)
        ] == [
            (file, signal, digest, network if signal == "enhanced" else None)
            for file, digest in recordings.items()
            for signal in ("noisy", "enhanced")
        ]


@pytest.mark.parametrize("name", ["ablation", "loss_weights"])
def test_stored_sweeps_are_of_their_plans_and_of_these_recordings(name):
    plan = Plan.read(data_path("results", f"{name}.yaml"))
    rows = read_results(data_path("results", f"{name}.csv"))
    for test in dict.fromkeys(row["test"] for row in rows):
        files = digests.of_pairs(evenly(load_corpus(test).pairs("test"), plan.pairs))
        scores = read_csv(data_path("results", f"nano_{test}.csv"))
        noisy = summary([r for r in scores if r["file"] in files])["noisy"]
        for row in (row for row in rows if row["test"] == test):
            assert row["recordings"] == digests.of_value(list(files.values()))
            assert row["settings"] == digests.of_value(plan.settings(row["kind"], row["seed"]))
            for metric in METRICS:
                assert row[f"noisy_{metric}"] == pytest.approx(noisy[metric][0], abs=1e-6)
    assert len({row["settings"] for row in rows}) == len(plan.runs())
