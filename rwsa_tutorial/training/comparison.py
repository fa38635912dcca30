"""What a sweep says of its kinds: the differences that its plan asks for, and how sure they are.

Which kinds are compared stands in the plan, and so before the first run. All of them, on every
corpus, are one family: a difference counts as found by its p after Holm's correction.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import tables
from ..corpora.corpus import Pair
from ..paths import short_name
from ..scores.bootstrap import gains
from ..scores.evaluation import read_csv
from ..scores.metrics import METRICS
from ..scores.paired import difference, holm
from .plan import Plan
from .sweep import scores_file


def by_voice(plan: Plan, folder: str | Path) -> list[dict]:
    """What each run of a finished sweep gained with each voice.

    folder: of the runs. Returns a row for each run, test, part silenced (None: none) and voice:
    "files", how many recordings, and by the names of the scores the mean of enhanced - noisy; None
    where no recording has it. A recording whose voice is not known is a voice of its own.
    """
    rows, tests = [], plan.tests()
    for name, (kind, seed, _) in plan.runs().items():
        for (test, part), pairs in tests.items():
            scored = read_csv(scores_file(Path(folder) / name, test, part))
            run = {"kind": kind, "seed": seed, "test": short_name(test), "without": part}
            rows += [run | row for row in _voices(scored, pairs)]
    return rows


def _voices(scored, pairs: Sequence[Pair]):
    voices = defaultdict(list)
    for pair in pairs:
        voices[str(pair.facts.get("voice", pair.name))].append(pair.name)
    gained = {}
    for metric in METRICS:
        try:
            gained[metric] = gains(scored, metric)
        except ValueError:  # no recording has this score, as PESQ where it is not installed
            gained[metric] = {}
    for voice, files in voices.items():
        means = {}
        for metric, of_file in gained.items():
            known = [of_file[file] for file in files if file in of_file]
            means[metric] = float(np.mean(known)) if known else None
        yield {"voice": voice, "files": len(files), **means}


def compare(plan: Plan, rows: list[dict], metric: str = "si_sdr") -> list[dict]:
    """The differences of `plan.compare` on every test corpus, nothing silenced.

    rows: of `by_voice`. Returns a row for each: "test", "first", "second" (the kinds), what
    `paired.Difference` holds for first - second, and "holm", p in the company of all of them.
    """
    found = []
    for test in map(short_name, plan.test):
        for first, second in plan.compare:
            tables_of = [_table(plan, rows, test, kind, metric) for kind in (first, second)]
            told = vars(difference(tables_of[0] - tables_of[1]))
            found.append({"test": test, "first": first, "second": second} | told)
    for row, p in zip(found, holm([row["p"] for row in found]), strict=True):
        row["holm"] = p
    return found


def _table(plan, rows, test, kind, metric):
    """(seeds, voices)."""
    some = [r for r in rows if (r["test"], r["kind"], r["without"]) == (test, kind, None)]
    voices = list(dict.fromkeys(row["voice"] for row in some))
    values = {(row["seed"], row["voice"]): row[metric] for row in some}
    missing = float("nan")  # which `difference` refuses in words
    return np.array(
        [[missing if values[s, v] is None else values[s, v] for v in voices] for s in plan.seeds]
    )


def comparison_table(found: list[dict], unit: str = "dB") -> str:
    """The rows of `compare` as text."""
    lines = [["test", "difference", unit, "95 % interval", "p", "p (Holm)", "resolvable", "S x V"]]
    for row in found:
        lines.append(
            [
                *(row["test"], f"{row['first']} - {row['second']}", f"{row['mean']:+.2f}"),
                *(f"{row['low']:+.2f} to {row['high']:+.2f}", f"{row['p']:.2g}"),
                *(f"{row['holm']:.2g}", f"{row['resolvable']:.2f}"),
                f"{row['seeds']} x {row['voices']}",
            ]
        )
    return tables.aligned(lines, left=2)
