"""What a sweep says of its kinds, from scores that are known."""

import numpy as np
import pytest
import yaml
from small_runs import SMALL

from rwsa_tutorial import cli, tables
from rwsa_tutorial.scores.evaluation import write_csv
from rwsa_tutorial.scores.metrics import METRICS
from rwsa_tutorial.scores.paired import difference
from rwsa_tutorial.training import sweep
from rwsa_tutorial.training.comparison import by_voice, compare, comparison_table
from rwsa_tutorial.training.plan import Plan
from rwsa_tutorial.training.sweep import scores_file

PLAN = {
    "base": SMALL,
    "kinds": {"shared": {"sharing": "rwsa"}, "apart": {"sharing": "none"}},
    "seeds": [3, 5, 8],
    "test": ["mini-vb", "mini-dns"],
    "pairs": 9,
    "without": ["attention"],
    "compare": [["shared", "apart"]],
}


def gain(kind, seed, voice, test):
    """dB: what a kind is worth, a seed, a voice, and the kind more with one of them."""
    return {"shared": 1.5, "apart": 1.0}[kind] + 0.1 * seed + len(voice) + (test == "mini-dns")


@pytest.fixture
def finished(tmp_path):
    """A plan, and the folder of its runs with all their scores."""
    plan = Plan(**PLAN)
    for name, (kind, seed, _) in plan.runs().items():
        (tmp_path / name).mkdir()
        for (test, part), pairs in plan.tests().items():
            rows = []
            for number, pair in enumerate(pairs):
                noisy = dict.fromkeys(METRICS, 2.0 + number) | {"pesq": None}
                more = gain(kind, seed, pair.facts["voice"], test) - 5 * bool(part)
                better = {n: v and v + more for n, v in noisy.items()}
                rows += [{"file": pair.name, "signal": "noisy"} | noisy]
                rows += [{"file": pair.name, "signal": "enhanced"} | better]
            write_csv(scores_file(tmp_path / name, test, part), rows)
    return plan, tmp_path


def test_each_voice_has_the_mean_of_what_its_recordings_gained(finished):
    plan, folder = finished
    rows = by_voice(plan, folder)
    tests = plan.tests()
    voices = {test: {p.facts["voice"] for p in pairs} for test, pairs in tests.items()}
    assert len(rows) == 6 * sum(map(len, voices.values()))
    assert sum(row["files"] for row in rows) == 6 * 9 * 3
    for row in rows:
        wanted = gain(row["kind"], row["seed"], row["voice"], row["test"])
        assert row["si_sdr"] == pytest.approx(wanted - 5 * bool(row["without"]))
        assert row["pesq"] is None


def test_differences_are_of_equal_seeds_and_voices_and_one_family(finished):
    plan, folder = finished
    rows = by_voice(plan, folder)
    rng = np.random.default_rng(0)
    wanted = {}
    for row in rows:
        row["si_sdr"] += (error := rng.normal())
        if row["without"] is None:
            sign = 1 if row["kind"] == "shared" else -1
            table = wanted.setdefault(row["test"], {})
            table.setdefault((row["seed"], row["voice"]), []).append(sign * error)
    found = compare(plan, rows)
    assert [row["test"] for row in found] == ["mini-vb", "mini-dns"]
    for row in found:
        by_seed = np.array([0.5 + sum(two) for two in wanted[row["test"]].values()])
        same = difference(by_seed.reshape(3, -1))
        assert row["mean"] == pytest.approx(same.mean) and row["p"] == pytest.approx(same.p)
        assert row["p"] <= row["holm"] <= 2 * row["p"] + 1e-12
    shown = comparison_table(found).splitlines()
    assert shown[1].startswith("mini-vb") and "shared - apart" in shown[1]
    assert f"{found[0]['low']:+.2f} to {found[0]['high']:+.2f}" in shown[1]
    rows[0]["si_sdr"] = None
    with pytest.raises(ValueError, match="each seed needs each voice"):
        compare(plan, rows)


def test_the_command_writes_each_voice_and_prints_the_differences(finished, monkeypatch, capsys):
    plan, folder = finished
    (folder / "plan.yaml").write_text(yaml.safe_dump(PLAN, sort_keys=False))
    rows = [{"kind": "shared", "test": "mini-vb", **dict.fromkeys(METRICS, 1.0)}]
    monkeypatch.setattr(sweep, "sweep", lambda *_: rows)
    words = ["sweep", f"{folder}/plan.yaml", "--runs", str(folder), "--csv", f"{folder}/all.csv"]
    assert cli.main(words) == 0
    assert "shared - apart" in capsys.readouterr().out
    written = tables.read(folder / "all_voices.csv")
    assert [float(row["si_sdr"]) for row in written] == [
        r["si_sdr"] for r in by_voice(plan, folder)
    ]
    assert cli.main(words) == 2
    assert "all.csv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"compare": [["shared", "other"]]}, "compare has .*give it pairs of kinds"),
        ({"compare": [["shared"]]}, "give it pairs of kinds"),
        ({"compare": ["shared"]}, "give it pairs of kinds"),
        ({"compare": [["shared", ["apart"]]]}, "give it pairs of kinds"),
        ({"compare": "shared"}, "compare is 'shared'; a plan has"),
        ({"seeds": [1]}, "compare needs two seeds"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_words(change, words):
    with pytest.raises(ValueError, match=words):
        Plan(**PLAN | change)
