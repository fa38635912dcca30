"""Turn a training run into shipped weights with their provenance.

    python -m rwsa_tutorial.shipping RUN DATA --name nano --test dns2020 CLEAN NOISY

writes data/weights/NAME.safetensors and NAME.json: what it was trained on and under which
licences, for how long, by which command, and what it scores. Every figure is read or measured.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from .corpora.packing import minutes
from .enhance import SEGMENT_SECONDS
from .evaluation import evaluate, pair_folders, summary
from .model import count_parameters
from .paths import data_path, whole_file
from .weights import load_weights


def sources(data):
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


def test_scores(model, tests):
    """name -> {"files", "noisy", "enhanced"} with mean scores; tests: (name, clean, noisy)."""
    result = {}
    for name, clean, noisy in tests:
        means = summary(evaluate(pair_folders(clean, noisy), model))
        result[name] = {"files": means["noisy"]["files"]} | {
            signal: {k: round(v[0], 3) for k, v in row.items() if k != "files"}
            for signal, row in means.items()
        }
    return result


def provenance(run, data, tests, model):
    """The story of a run as a dict; `training` holds the settings that repeat it."""
    settings = json.loads((run / "config.json").read_text())
    last = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    commands = []
    for i, one in enumerate(settings):
        options = " ".join(f"--{k} {v}" for k, v in one.items() if k != "from_step")
        start = f"from step {one['from_step']}: " if i else ""
        change = " --change" if i else ""
        commands.append(f"{start}python -m rwsa_tutorial.training DATA --run RUN {options}{change}")
    revision = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "parameters": count_parameters(model),
        "command": commands,
        "data_command": "python -m rwsa_tutorial.corpora.recorded DATA --noise FOLDER",
        "steps": last["step"],
        "hours": round(last["hours"], 2),
        "seed": settings[-1]["seed"],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "revision": revision,
        "validation_si_sdr_gain_db": round(last["si_sdr_gain"], 2),
        "scores": test_scores(model, tests),
        "segment_seconds": SEGMENT_SECONDS,
        "data": sources(data),
    }


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m rwsa_tutorial.shipping", description=__doc__.split("\n")[0]
    )
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("data", type=Path, help="folder it was trained on")
    parser.add_argument("--name", required=True, help="name of the shipped weights")
    parser.add_argument(
        "--test", nargs=3, action="append", default=[], metavar=("NAME", "CLEAN", "NOISY")
    )
    options = parser.parse_args(arguments)
    try:
        weights = options.run / "model.safetensors"
        story = provenance(options.run, options.data, options.test, load_weights(weights))
        folder = data_path("weights", must_exist=False)
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, content in (
            ("safetensors", weights.read_bytes()),
            ("json", (json.dumps(story, indent=1) + "\n").encode()),
        ):
            with whole_file(folder / f"{options.name}.{suffix}") as part:
                part.write_bytes(content)
    except (ValueError, OSError) as error:
        print(f"shipping: {error}", file=sys.stderr)
        return 2
    print(json.dumps(story["scores"], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
