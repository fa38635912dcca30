"""The settings, plans and results that are shipped can be read, and agree with each other."""

import json

import pytest

from rwsa_tutorial.evaluation import read_csv, summary
from rwsa_tutorial.metrics import METRICS
from rwsa_tutorial.paths import data_path
from rwsa_tutorial.training import Config
from rwsa_tutorial.training.sweep import Plan, read_results


@pytest.mark.parametrize("path", sorted(data_path("weights").glob("*.yaml")), ids=lambda p: p.name)
def test_settings_of_weights(path):
    config = Config.read(path)
    assert config.variant == path.stem and config.rooms and config.schedule == "cosine"


@pytest.mark.parametrize("path", sorted(data_path("results").glob("*.yaml")), ids=lambda p: p.name)
def test_plans_of_results(path):
    plan = Plan.read(path)
    runs = plan.runs()
    assert len(runs) == 12
    if (found := path.with_suffix(".csv")).is_file():
        rows = read_results(found)
        names = [(f"{row['kind']}-seed{row['seed']}", row["test"]) for row in rows]
        assert names == [(name, test) for name in runs for test in plan.test]
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
