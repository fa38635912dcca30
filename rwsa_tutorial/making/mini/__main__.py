"""Make the mini corpora of data/mini from nothing.

    python -m rwsa_tutorial.making.mini [--out DIR] [--cache DIR] [--only NAME]

About half an hour on one CPU core. Clips that are there are kept, so the command can be repeated
after an interruption; delete a clip to have it made again. Needs the extra `render`: speech is
by Kokoro-82M and Pico (both Apache-2.0), rooms by pyroomacoustics. Noises without voices or rooms
are the same on every machine; the others may differ by rounding.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from ...paths import data_path, whole_file
from ...rates import SAMPLE_RATE
from .. import noises
from ..voices import voices_cache
from . import backgrounds, plan, speech

SAMPLE_RATE = SAMPLE_RATE
SPEECH_DB = -33.0  # root mean square re full scale
NOISE_DB = -42.0  # leaves room for peaks, and saves bits
OPUS = {"subtype": "OPUS", "format": "OGG"}


def save(path: Path, wave: np.ndarray, level_db: float, compression: float) -> None:
    """Write a wave (n,) at a level: FLAC (16 bits) or, to be trained on, Opus."""
    import soundfile

    wave = noises.unit(wave) * 10 ** (level_db / 20)
    if np.abs(wave).max() >= 1:
        raise ValueError(f"{path} would clip at {level_db} dB")
    path.parent.mkdir(parents=True, exist_ok=True)
    how = OPUS if path.suffix == ".ogg" else {"subtype": "PCM_16", "format": "FLAC"}
    level = compression if path.suffix == ".ogg" else 1.0
    with whole_file(path) as part:
        soundfile.write(part, wave, SAMPLE_RATE, compression_level=level, **how)


def speech_path(out: Path, line: plan.Line) -> Path:
    files = plan.PLANS[line.corpus].splits[line.split].files
    return out / line.corpus / line.split / "speech" / f"{line.name}.{files}"


def noise_path(out: Path, corpus: str, split: str, kind: str) -> Path:
    files = plan.PLANS[corpus].splits[split].files
    return out / corpus / split / "noise" / f"{kind}.{files}"


def make_line(line: plan.Line, speakers: speech.Speakers) -> np.ndarray:
    """Speak a line so that it lasts as long as its split asks, (n,); books get a microphone."""
    shortest, longest = plan.PLANS[line.corpus].splits[line.split].seconds
    speed = line.speed
    for _ in range(4):
        wave = speakers.say(line.voice, line.text, speed, line.style)
        seconds = len(wave) / SAMPLE_RATE
        if shortest <= seconds <= longest:
            break
        speed *= 1.05 * seconds / longest if seconds > longest else 0.95 * seconds / shortest
    else:
        raise ValueError(f"{line.corpus} {line.name} lasts {seconds:.1f} s at speed {speed:.2f}")
    if line.corpus == "mini-dns":
        rng = np.random.default_rng(plan.seed_of(line.corpus, line.name, "place"))
        wave = noises.unit(speech.microphone(backgrounds.at_home(wave, rng), rng))
        # No room at home is silent: 50 dB below the speech.
        wave += 10 ** (-50 / 20) * noises.coloured(len(wave), 1.5, rng)
    return wave


def make_noise(corpus: str, split: str, kind: str, voices: backgrounds.Voices) -> np.ndarray:
    """The noise recording of a kind in a split, (n,), root mean square 1."""
    n = round(plan.PLANS[corpus].splits[split].noise_seconds * SAMPLE_RATE)
    rng = np.random.default_rng(plan.seed_of(corpus, split, "noise", kind))
    return backgrounds.KINDS[kind](n, rng, voices)


def manifest(out: Path, corpus: str) -> dict:
    """What a corpus consists of, read off the plan and the rendered files."""
    import soundfile

    about = plan.PLANS[corpus]

    def length(path):
        return soundfile.info(path).frames

    entry = {
        "name": corpus,
        "about": about.about,
        "licence": "Apache-2.0",
        "made_with": "Kokoro-82M and SVOX Pico (both Apache-2.0); text, noise and mixing our own",
        "sample_rate": SAMPLE_RATE,
        "ratio": about.ratio,
        "splits": {},
    }
    for split, wanted in about.splits.items():
        lines = [x for x in plan.lines() if (x.corpus, x.split) == (corpus, split)]
        spoken = {x.name: speech_path(out, x) for x in lines}
        heard = {kind: noise_path(out, corpus, split, kind) for kind in wanted.noises}
        lengths = {path: length(path) for path in (*spoken.values(), *heard.values())}
        mixed = []
        for mixture in plan.mixtures(corpus, split):
            left = lengths[heard[mixture.noise]] - lengths[spoken[mixture.name]]
            mixed.append(
                {
                    "name": mixture.name,
                    "noise": mixture.noise,
                    "start": int(mixture.at * left),
                    "snr_db": mixture.snr_db,
                    "seed": mixture.seed,
                }
            )
        entry["splits"][split] = {
            "snr_db": wanted.snr_db,
            "speech": [
                {
                    "name": x.name,
                    "file": spoken[x.name].relative_to(out).as_posix(),
                    "samples": lengths[spoken[x.name]],
                    "voice": x.voice,
                    "language": x.language,
                    "style": x.style,
                    "text": x.text,
                }
                for x in lines
            ],
            "noise": [
                {
                    "name": kind,
                    "file": path.relative_to(out).as_posix(),
                    "samples": lengths[path],
                    "seed": plan.seed_of(corpus, split, "noise", kind),
                    "voices": wanted.talkers if kind in backgrounds.WITH_VOICES else (),
                }
                for kind, path in heard.items()
            ],
            "talk": plan.talk(corpus, split),
            "mixtures": mixed,
        }
    return entry


def write_manifest(path: Path, entry: dict) -> None:
    """Write JSON with one line for each clip, noise and mixture, so that changes can be read."""
    rows = json.dumps(entry, ensure_ascii=False, indent=1).split("\n")
    text, depth = "", 0
    for row in rows:
        inside = depth >= 5
        depth += row.rstrip(",").endswith(("{", "[")) - row.strip().startswith(("}", "]"))
        text += row.strip() + " " if inside or depth >= 5 else row
        text += "" if depth >= 5 else "\n"
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def render(out: Path, cache: Path, only: str | None = None) -> None:
    """Make all that is missing below `out`, then the manifests. only: "speech", "noise" or None."""
    from tqdm import tqdm

    speakers = speech.Speakers(cache)
    if only != "noise":
        todo = [line for line in plan.lines() if not speech_path(out, line).exists()]
        for line in tqdm(todo, desc="speech", unit="clip"):
            save(speech_path(out, line), make_line(line, speakers), SPEECH_DB, compression=0.87)
    if only != "speech":
        todo = [
            (corpus, split, kind)
            for corpus, about in plan.PLANS.items()
            for split, wanted in about.splits.items()
            for kind in wanted.noises
            if not noise_path(out, corpus, split, kind).exists()
        ]
        for corpus, split, kind in tqdm(todo, desc="noise", unit="recording"):
            voices = backgrounds.Voices(corpus, split, speakers, cache / "talk")
            wave = make_noise(corpus, split, kind, voices)
            save(noise_path(out, corpus, split, kind), wave, NOISE_DB, compression=0.9)
    if only is None:
        for corpus in plan.PLANS:
            write_manifest(out / f"{corpus}.json", manifest(out, corpus))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0, or 2 with one line on the error stream."""
    options = argparse.ArgumentParser(
        prog="python -m rwsa_tutorial.making.mini", description=__doc__.split("\n")[0]
    )
    options.add_argument("--out", type=Path, help="folder to fill (default: data/mini)")
    options.add_argument(
        "--cache",
        type=Path,
        help="for the voices and the talk of the babble (default: ~/.cache/rwsa-tutorial)",
    )
    options.add_argument("--only", choices=("speech", "noise"), help="the other comes later")
    chosen = options.parse_args(arguments)
    try:
        out = chosen.out or data_path("mini", must_exist=False)
        render(out, chosen.cache or voices_cache(), chosen.only)
    except (RuntimeError, ValueError, OSError, ModuleNotFoundError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
