"""Turn a training run into shipped weights with their provenance.

    python -m rwsa_tutorial.making.shipping RUN --name nano --test dns2020 CLEAN NOISY

writes data/weights/NAME.safetensors and NAME.json: what it was trained on and under which
licences, for how long, by which command, and what it scores. Every figure is read or measured.
RUN is the folder of a run; its best weights by validation are shipped, or with --last those at its
end, since among many looks at few recordings the best is lucky. A run that began with weights of
others names them, the first one first: --before RUN --before RUN.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import nn

from ..enhancement import SEGMENT_SECONDS
from ..model import count_parameters
from ..paths import data_path, write_whole
from ..scores.evaluation import evaluate, pair_folders, summary
from ..scores.metrics import METRICS
from ..training.folder import RunFolder
from ..weights import load_weights
from .packing import minutes

# an absolute path up to its last name: what stands before it is a blank, a quote, = or nothing
ABSOLUTE = re.compile(r"""(?<![^\s="'])(?:[A-Za-z]:|~)?(?:[/\\][^\s/\\,]+)+[/\\]""")


def sources(data: str | Path) -> list[dict]:
    """What a folder packed by `corpora.recorded` holds: a dict for each source.

    Minutes are of the training split. Raises FileNotFoundError when there is no index.json.
    """
    index = json.loads((Path(data) / "index.json").read_text())
    clips = [clip for clip in index["clips"] if clip["split"] == "train"]
    return [
        {
            "package": package,
            "set": kind,
            "minutes": round(amount, 1),
            "licence": index["licences"][package],
        }
        for kind, packages in minutes({**index, "clips": clips}).items()
        for package, amount in packages.items()
    ]


def test_scores(
    model: nn.Module, tests: Iterable[tuple[str, str | Path, str | Path]]
) -> dict[str, dict]:
    """name -> {"files", "noisy", "enhanced"} with mean scores; tests: (name, clean, noisy).

    A mean is None where no file has the score.
    """
    result = {}
    for name, clean, noisy in tests:
        means = summary(evaluate(pair_folders(clean, noisy), model))
        result[name] = {"files": means["noisy"]["files"]} | {
            signal: {
                name: None if mean is None else round(mean, 3)
                for name in METRICS
                for mean, _ in [row[name]]
            }
            for signal, row in means.items()
        }
    return result


def without_folders(story: object) -> object:
    """The same story (dict, list, text ...) with every path cut down to its last name.

    Where the files lay on the machine that trained is nobody else's concern.
    """
    if isinstance(story, dict):
        return {key: without_folders(value) for key, value in story.items()}
    if isinstance(story, list):
        return [without_folders(value) for value in story]
    return ABSOLUTE.sub("", story) if isinstance(story, str) else story


def how(run: RunFolder, last: bool = False) -> dict:
    """How a run was made, as a dict; `settings` and `command` repeat it.

    Steps, hours and validation are those of its best weights, or of the last ones. Raises
    ValueError where nothing is validated.
    """
    config, starts = run.config(), run.starts()
    kept = [row for row in run.rows("validation.jsonl") if row["best"] or last]
    if not kept:
        raise ValueError(f"{run.path} has not been validated yet, so no weights are the best.")
    best = kept[-1]
    settings, command = config.as_dict(), [start["command"] for start in starts]
    return {
        "command": without_folders(command),
        "settings": settings | {k: without_folders(settings[k]) for k in ("data", "start")},
        "steps": best["step"],
        "hours": round(best["seconds"] / 3600, 2),
        "seed": config.seed,
        "validation": {k: best[k] for k in ("pesq", "si_sdr", "noisy_pesq", "noisy_si_sdr")},
    }


def provenance(
    run: RunFolder,
    tests: Iterable[tuple[str, str | Path, str | Path]],
    model: nn.Module,
    before: Sequence[RunFolder] = (),
    last: bool = False,
) -> dict:
    """The story of a run as a dict.

    run: `RunFolder`. tests: as for `test_scores`. before: the runs whose weights it began with, the
    first one first. last: the model is that of the run's end, not its best; so are those before.
    Raises ValueError for a run without validation, or without run.json.
    """
    config, starts = run.config(), run.starts()
    if not starts:
        raise ValueError(f"{run.path} has no run.json, which tells how it was made.")
    first, facts = starts[0], starts[0]["data"]
    packed = isinstance(config.data, str) and (Path(config.data) / "index.json").is_file()
    return {
        "parameters": count_parameters(model),
        "before": [how(earlier, last) for earlier in before],
        **how(run, last),
        "machine": first["machine"],
        "processes": first["processes"],
        "versions": first["versions"],
        "revision": first["revision"],
        "scores": test_scores(model, tests),
        "segment_seconds": SEGMENT_SECONDS,
        "data": sources(config.data) if packed else [facts],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Ship the weights of a run; return 0, or 2 with words on standard error for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m rwsa_tutorial.making.shipping", description=__doc__.split("\n")[0]
    )
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("--name", required=True, help="name of the shipped weights")
    parser.add_argument(
        "--before", type=Path, action="append", default=[], metavar="RUN", help="an earlier run"
    )
    parser.add_argument("--last", action="store_true", help="the last weights of all runs")
    parser.add_argument(
        "--test", nargs=3, action="append", default=[], metavar=("NAME", "CLEAN", "NOISY")
    )
    options = parser.parse_args(arguments)
    try:
        run = RunFolder(options.run)
        before = [RunFolder(earlier) for earlier in options.before]
        weights = run.last if options.last else run.best
        story = provenance(run, options.test, load_weights(weights), before, options.last)
        folder = data_path("weights", must_exist=False)
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, content in (
            ("safetensors", weights.read_bytes()),
            ("json", (json.dumps(story, indent=1) + "\n").encode()),
        ):
            write_whole(folder / f"{options.name}.{suffix}", content)
    except (ValueError, OSError) as error:
        print(f"shipping: {error}", file=sys.stderr)
        return 2
    print(json.dumps(story["scores"], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
