"""What a sweep trains: kinds that differ in a setting, each with several seeds."""

import itertools
import math
import reprlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from .. import inside
from ..corpora import load_corpus
from ..corpora.pairs import evenly
from ..paths import short_name
from .config import Config

MOST_RUNS = 1000  # of a plan; a slip in a grid makes more than anybody can train
LONGEST_NAME = 200  # bytes of a kind's name; systems take 255 for a folder
PARTS = (
    "has base (settings), kinds (a name, then its settings) or grid (a setting, then a list of "
    "values), seeds (a list), test (a corpus, or a list), pairs (how many of each), without "
    f"(a list of {', '.join(inside.SILENCED)}), and compare (a list of pairs of kinds)"
)


@dataclass
class Plan:
    """What a sweep does, as its YAML file says.

    base: settings of every run, as for `Config.of`.
    kinds: name -> settings of this kind on top of base, "loss.phase" style.
    grid: instead of kinds: setting -> values; every combination is a kind.
    seeds: whole numbers; each kind is trained with each of them.
    test: the corpus whose test split scores the runs, or a list of them.
    pairs: how many pairs of each, evenly out of all; None: all of them.
    compare: pairs of kinds whose difference is asked for (comparison.py): decided before the runs.
    without: on the first corpus, each run is scored again with one of these parts silenced, as
        `inside.without` does it: a comparison of what a network does not use says nothing.

    Raises ValueError in words.
    """

    base: dict
    kinds: dict = field(default_factory=dict)
    grid: dict = field(default_factory=dict)
    seeds: list = field(default_factory=lambda: [0])
    test: str | list = "mini-vb"
    pairs: int | None = None
    without: list = field(default_factory=list)
    compare: list = field(default_factory=list)

    def __post_init__(self):
        self.test = [self.test] if isinstance(self.test, str) else self.test
        for name, kind in (
            ("base", dict),
            ("kinds", dict),
            ("grid", dict),
            ("seeds", list),
            ("test", list),
            ("without", list),
            ("compare", list),
        ):
            if not isinstance(getattr(self, name), kind):
                value = reprlib.repr(getattr(self, name))
                raise ValueError(f"{name} is {value}; a plan {PARTS}.")
        if bool(self.kinds) == bool(self.grid):
            raise ValueError("a plan has either kinds (each with its settings) or a grid.")
        if self.pairs is not None and not (_is_whole(self.pairs) and self.pairs > 0):
            raise ValueError(f"pairs is {self.pairs!r}; it must be a whole number above 0.")
        if not self.seeds or not self.test:
            empty = "test" if self.seeds else "seeds"
            raise ValueError(f"{empty} is empty; a plan {PARTS}.")
        if unknown := [part for part in self.without if part not in inside.SILENCED]:
            raise ValueError(f"without has {', '.join(map(str, unknown))}; a plan {PARTS}.")
        for seed in self.seeds:
            if not _is_whole(seed) or not 0 <= seed < 2**63:
                raise ValueError(f"seed {reprlib.repr(seed)} is no whole number from 0 on.")
        self.test = [str(test) for test in self.test]
        # each has its own file of scores, called by it, in a run's folder
        _each_once("seed", self.seeds)
        _each_once("test", [short_name(test) for test in self.test])
        self.kinds = self._named_kinds()
        self._check_compared()
        self.runs()

    def _named_kinds(self):
        """The kinds, or every combination of the grid, by name; few enough, and to be folders."""
        for name, values in self.grid.items():
            if not isinstance(values, list) or not values:
                raise ValueError(f"{name} in grid is {reprlib.repr(values)}; give it a list.")
        kinds = math.prod(map(len, self.grid.values())) if self.grid else len(self.kinds)
        if kinds * len(self.seeds) > MOST_RUNS:
            raise ValueError(
                f"this plan has {kinds * len(self.seeds)} runs; more than {MOST_RUNS} are surely "
                "not meant."
            )
        if self.grid:
            combinations = itertools.product(*self.grid.values())
            rows = [dict(zip(self.grid, values, strict=True)) for values in combinations]
            named = [(",".join(f"{k}={v}" for k, v in row.items()), row) for row in rows]
        else:
            named = [(str(name), settings) for name, settings in self.kinds.items()]
        _each_once("kind", [name for name, _ in named])
        for name, settings in named:
            _check_name(name)
            if not isinstance(settings, dict | None):
                raise ValueError(f"kind {name} is {reprlib.repr(settings)}; give it settings.")
            if "seed" in (settings or {}):
                raise ValueError(f"kind {name} sets the seed, for which a plan has seeds.")
        return dict(named)

    def _check_compared(self):
        for two in self.compare:
            is_pair = isinstance(two, list) and len(two) == 2
            if not is_pair or {str(kind) for kind in two} - set(self.kinds):
                raise ValueError(
                    f"compare has {reprlib.repr(two)}; give it pairs of kinds, [one, other]."
                )
        if self.compare and len(self.seeds) < 2:
            raise ValueError("compare needs two seeds at least: one run says little of its kind.")
        self.compare = [[str(kind) for kind in two] for two in self.compare]

    @classmethod
    def read(cls, path: str | Path) -> "Plan":
        """From a YAML file. Raises FileNotFoundError, or ValueError with the file's name."""
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"There is no plan {path}.")
        try:
            plan = yaml.safe_load(path.read_text(encoding="utf-8"))
            if not isinstance(plan, dict):
                raise ValueError(f"a plan {PARTS}.")
            for name in plan:
                if name not in cls.__dataclass_fields__:
                    raise ValueError(f"there is no part {name!r}; a plan {PARTS}.")
            if "base" not in plan:
                raise ValueError(f"base is missing; a plan {PARTS}.")
            return cls(**plan)
        except (ValueError, yaml.YAMLError, RecursionError) as error:
            raise ValueError(f"{path}: {' '.join(str(error).split())}") from None

    def tests(self) -> dict[tuple[str, str | None], Sequence]:
        """(corpus, part silenced or None) -> the pairs that score the runs.

        Raises ValueError for an unknown corpus.
        """
        found = {name: load_corpus(name).pairs("test") for name in self.test}
        tests = {(name, None): evenly(p, self.pairs or len(p)) for name, p in found.items()}
        first = self.test[0]
        return tests | {(first, part): tests[first, None] for part in self.without}

    def runs(self) -> dict[str, tuple[str, int, Config]]:
        """name of the run -> (kind, seed, `Config`); the name is that of its folder."""
        return {
            f"{kind}-seed{seed}": (kind, seed, self._config(settings or {}, seed))
            for kind, settings in self.kinds.items()
            for seed in self.seeds
        }

    def settings(self, kind: str, seed: int) -> list:
        """What the plan says of a run, by which its digest is made: base, kind and seed."""
        return [self.base, self.kinds[kind] or {}, seed]

    def _config(self, settings, seed):
        changes = [f"{name}={yaml.safe_dump(value)}" for name, value in settings.items()]
        return Config.of(self.base).changed([*changes, f"seed={seed}"])


def _is_whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _each_once(what, names):
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise ValueError(f"{what} {name} is there twice.")


def _check_name(name):
    """A kind's name becomes that of a folder among the others: ValueError for any other name."""
    plain = name.strip() and name.isprintable() and not set(name) & set("/\\")
    if not plain or name.startswith(".") or len(name.encode()) > LONGEST_NAME:
        raise ValueError(
            f"kind {reprlib.repr(name)} is no plain name of a folder (no slash, no dot in front, "
            f"up to {LONGEST_NAME} bytes). Instead of a grid, kinds can have names of your own."
        )
