"""The small corpora in the box: mini-vb to train on, mini-dns and mini-ears to be surprised by.

A manifest, `data/mini/NAME.json`, says which clip of speech goes with which noise, from which
sample on and at which SNR; the mixtures are made when they are read. `making.mini` made them.
"""

import json

from ..paths import data_path
from ..rates import SAMPLE_RATE
from .corpus import Clip, Corpus, Pair, Recipe

NAMES = ("mini-vb", "mini-dns", "mini-ears")


def load(name: str) -> Corpus:
    """A corpus of `NAMES`, from its manifest; no sound is read yet.

    mini-vb has the splits "train", "valid" and "test", the others "test" alone. The facts of a pair
    are its "voice", "language", "style", "text", "noise" (the kind), "snr_db" and "seed".

    Raises:
        ValueError: there is no mini corpus of that name.
        FileNotFoundError: it is not in the data folder; says how to get it.
    """
    if name not in NAMES:
        raise ValueError(f"there is no mini corpus {name!r}; there are {', '.join(NAMES)}.")
    manifest = json.loads(data_path("mini", f"{name}.json").read_text(encoding="utf-8"))
    parts = {split: _split(manifest["ratio"], part) for split, part in manifest["splits"].items()}
    return Corpus(
        name=name,
        sample_rate=manifest["sample_rate"],
        licence=manifest["licence"],
        splits={split: pairs for split, (pairs, _) in parts.items()},
        sounds={split: sounds for split, (_, sounds) in parts.items()},
    )


def _split(ratio, part):
    speech = {entry["name"]: entry for entry in part["speech"]}
    noise = {entry["name"]: entry for entry in part["noise"]}
    pairs = []
    for mixture in part["mixtures"]:
        said, heard = speech[mixture["name"]], noise[mixture["noise"]]
        facts = {key: said[key] for key in ("voice", "language", "style", "text")}
        facts |= {key: mixture[key] for key in ("noise", "snr_db", "seed")}
        recipe = Recipe(_path(heard), mixture["start"], mixture["snr_db"], ratio)
        pairs.append(Pair(mixture["name"], _path(said), recipe, facts))
    sounds = {
        "speech": tuple(Clip(_path(x), x["voice"], 0, x["samples"]) for x in part["speech"]),
        "noise": tuple(Clip(_path(x), x["name"], 0, x["samples"]) for x in part["noise"]),
    }
    return tuple(pairs), sounds


def _path(entry):
    return data_path("mini", *entry["file"].split("/"))


def overview() -> str:
    """What is in the box, as a table in Markdown: a row for each split."""
    rows = [["corpus", "split", "clips", "minutes", "voices", "languages", "noises", "SNR", "MB"]]
    for name in NAMES:
        manifest = json.loads(data_path("mini", f"{name}.json").read_text(encoding="utf-8"))
        unit = {"power": "dB", "loudness": "dB (LUFS)"}[manifest["ratio"]]
        for split, part in manifest["splits"].items():
            low, high = part["snr_db"]
            sizes = [_path(entry).stat().st_size for entry in (*part["speech"], *part["noise"])]
            rows.append(
                [
                    name,
                    split,
                    str(len(part["speech"])),
                    f"{sum(x['samples'] for x in part['speech']) / 60 / SAMPLE_RATE:.1f}",
                    str(len({x["voice"] for x in part["speech"]})),
                    ", ".join(sorted({x["language"] for x in part["speech"]})),
                    ", ".join(sorted(x["name"].replace("_", " ") for x in part["noise"])),
                    f"{low:g} to {high:g} {unit}",
                    f"{sum(sizes) / 1e6:.1f}",
                ]
            )
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])
