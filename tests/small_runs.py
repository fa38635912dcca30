"""Runs small enough to be repeated in tests: a second of speech a file, a tiny network."""

from pathlib import Path

from rwsa_tutorial import audio

EXAMPLES = Path(__file__).resolve().parent.parent / "data" / "examples"
NETWORK = {"channels": 4, "levels": 2, "heads": 2, "middle_heads": 2, "d_state": 2, "expand": 1}
SMALL = {
    "network": NETWORK,
    "samples": 1320,
    "steps": 4,
    "batch": 1,
    "lr": 2e-3,
    "discriminator": False,
    "log_every": 1,
    "valid_every": 2,
    "valid_pairs": 1,
    "checkpoint_every": 2,
    "pesq_workers": 1,
}


def pairs_of_a_second(folder):
    """Six pairs, cut out of the examples, as the `data` of a Config."""
    for kind in ("clean", "noisy"):
        (folder / kind).mkdir(parents=True)
        for source in (EXAMPLES / kind).glob("*.flac"):
            wave, rate = audio.read(source)
            audio.write(folder / kind / source.name, wave[rate : 2 * rate], rate)
    return {"clean": str(folder / "clean"), "noisy": str(folder / "noisy")}


def without_seconds(rows):
    """Rows of a log but for the time that they took."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
