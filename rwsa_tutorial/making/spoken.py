"""Render English training speech with free speech synthesisers, from sentences made here.

    python -m rwsa_tutorial.making.spoken OUT --engine kokoro --minutes 30
    python -m rwsa_tutorial.making.spoken OUT --engine pico --minutes 20

adds parts of five minutes to what `rwsa_tutorial.making.recorded` has packed in OUT; parts
already there are skipped, so the command can be repeated after an interruption. Needs the
extra `render`. Kokoro-82M and Pico are both under Apache-2.0, and so their speech may be
passed on. The voices of `held_out()` never train: they speak the example pairs and whatever is
scored in the mini corpora.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..rates import SAMPLE_RATE
from .mini import plan
from .packing import Stretch, assemble, has_part, save_part
from .texts import sentences
from .voices import KokoroEngine, pico, trim_ends

EXAMPLE_VOICES = ("af_heart", "am_michael", "bf_emma", "bm_george", "af_nova", "ff_siwis")

LICENCE = {
    "kokoro": "Apache-2.0 (Kokoro-82M, hexgrad); sentences of the tutorial",
    "pico": "Apache-2.0 (SVOX Pico, through py-nanotts); sentences of the tutorial",
}
PART_MINUTES = 5.0


def held_out() -> frozenset[str]:
    """Kokoro's voices that training must not hear: those of the examples and of scored clips."""
    scored = {
        voice.removeprefix("kokoro:")
        for about in plan.PLANS.values()
        for split, part in about.splits.items()
        for voice in part.voices + part.talkers
        if split != "train" and voice.startswith("kokoro:")
    }
    return frozenset(EXAMPLE_VOICES) | scored


def utterances(
    engine: str, say: Callable, voices: list[str], number: int, progress: Callable
) -> Iterator[Stretch]:
    """Five minutes of utterances, voice after voice, all drawn from the part's number."""
    rng = np.random.default_rng([5, len(engine), number])
    seconds, count = 0.0, 0
    while seconds < PART_MINUTES * 60:
        text = " ".join(sentences(1 + (rng.random() < 0.3), rng))
        voice = voices[(count + number * 7) % len(voices)]
        wave = trim_ends(say(text, voice, rng))
        name = f"{number:02d}/{count:03d} {text}"
        yield Stretch(wave, name, f"{engine}:{voice}", "en")
        count += 1
        seconds += len(wave) / SAMPLE_RATE
        progress.update(len(wave) / SAMPLE_RATE / 60)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0, or 2 with one line on the error stream."""

    options = argparse.ArgumentParser(
        prog="python -m rwsa_tutorial.making.spoken", description=__doc__.split("\n")[0]
    )
    options.add_argument("out", type=Path, help="folder that `recorded` packs into")
    options.add_argument("--engine", choices=("kokoro", "pico"), default="kokoro")
    options.add_argument("--minutes", type=float, default=30.0, help="speech to make (default 30)")
    options.add_argument("--threads", type=int, default=1, help="CPU threads for Kokoro")
    chosen = options.parse_args(arguments)
    try:
        if chosen.engine == "kokoro":
            engine = KokoroEngine(chosen.out / "cache", chosen.threads)
            kept = held_out()
            voices = [name for name in engine.voices if name[0] in "ab" and name not in kept]

            def say(text, voice, rng):
                return engine.say(text, voice, rng.uniform(0.85, 1.2))
        else:
            voices = ["en-US", "en-GB"]

            def say(text, voice, rng):
                return pico(text, voice, rng.uniform(0.85, 1.2), rng.uniform(0.75, 1.25))

        parts = max(1, round(chosen.minutes / PART_MINUTES))
        with tqdm(total=parts * PART_MINUTES, unit="min", desc=chosen.engine) as progress:
            for number in range(parts):
                name = f"{chosen.engine}-en-{number:02d}"
                if has_part(chosen.out, name):
                    progress.update(PART_MINUTES)
                    continue
                clips = utterances(chosen.engine, say, voices, number, progress)
                save_part(chosen.out, name, "speech", clips, LICENCE[chosen.engine])
                assemble(chosen.out)
    except (RuntimeError, ValueError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
