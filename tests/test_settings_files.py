"""The settings and plans that are shipped can be read, and say how many runs they are."""

import pytest

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
        assert [f"{row['kind']}-seed{row['seed']}" for row in rows] == list(runs)
        steps = {config.steps for _, _, config in runs.values()}
        assert {row["steps"] for row in rows} == steps
