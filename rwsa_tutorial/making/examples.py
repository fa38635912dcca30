"""Render the example pairs of data/examples: clean speech, and the same speech in noise.

    python -m rwsa_tutorial.making.examples [--out DIR] [--cache DIR]

Speech and background talkers are Kokoro-82M (Apache-2.0), the texts and all other sounds are
our own, so the pairs are free to redistribute. Noise and mixing come from fixed seeds and
are the same on every machine; speech, and with it the talk in café and babble, may differ by
rounding. Needs the extra `render`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..corpora.mixing import mix
from ..paths import data_path
from ..rates import SAMPLE_RATE
from . import noises
from .texts import sentences
from .voices import KokoroEngine, trim_ends, voices_cache

SAMPLE_RATE = SAMPLE_RATE
SPEECH_LEVEL_DB = -26.0  # root mean square re full scale, the usual level of speech material


@dataclass(frozen=True)
class Example:
    """One pair: who says what, in which noise, at which signal-to-noise ratio."""

    name: str
    voice: str
    language: str
    text: str
    noise: str
    snr_db: float
    seed: int


EXAMPLES = (
    Example(
        "cafe",
        "af_heart",
        "en-US",
        "The ferry leaves at seven, and the bakery on the quay sells warm rolls.",
        "cafe",
        10.0,
        101,
    ),
    Example(
        "street",
        "am_michael",
        "en-US",
        "Could you read the third figure again, please? I only heard half of it.",
        "street",
        7.5,
        102,
    ),
    Example(
        "fan",
        "bf_emma",
        "en-GB",
        "My sister keeps a jar of sea glass on the window sill, sorted by colour.",
        "fan",
        2.5,
        103,
    ),
    Example(
        "rain",
        "bm_george",
        "en-GB",
        "Turn the dial slowly until the humming stops, then write the number down.",
        "rain",
        10.0,
        104,
    ),
    Example(
        "keyboard",
        "af_nova",
        "en-US",
        "We shuffled the cards twice, yet the joker was still on the top.",
        "keyboard",
        5.0,
        105,
    ),
    Example(
        "babble",
        "ff_siwis",
        "fr-FR",
        "Le facteur passe vers dix heures, sauf quand il neige sur la colline.",
        "babble",
        7.5,
        106,
    ),
)
TALKERS = ("af_sarah", "am_liam", "bf_lily", "bm_daniel", "af_kore", "am_eric")


def across_a_room(wave: np.ndarray, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Put a wave (n,) at the far side of a room with the given reverberation time (60 dB)."""
    at = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(at)) * 10 ** (-3 * at / seconds)
    tail[0] = 3.0
    size = len(wave) + len(tail)
    # Walls and air swallow the treble: 6 dB an octave above 1.2 kHz.
    dull = 1 / np.hypot(1, np.fft.rfftfreq(size, 1 / SAMPLE_RATE) / 1200)
    spectrum = np.fft.rfft(wave, size) * np.fft.rfft(tail, size) * dull
    return np.fft.irfft(spectrum, size)[: len(wave)]


def background_talk(
    n: int, engine: KokoroEngine, count: int, rng: np.random.Generator
) -> np.ndarray:
    """`count` people talking at once, none of them the speaker of an example."""
    voices = []
    for voice in TALKERS[:count]:
        waves, texts = [], np.random.default_rng(rng.integers(2**32))
        while sum(map(len, waves)) < 2 * n:
            waves.append(trim_ends(engine.say(sentences(1, texts)[0], voice), keep=0.05))
        voices.append(waves)
    return noises.babble(n, voices, rng)


def background(kind: str, n: int, engine: KokoroEngine, rng: np.random.Generator) -> np.ndarray:
    """The noise of an example, (n,), root mean square 1. Raises ValueError for another kind."""
    if kind == "cafe":
        talk = noises.unit(across_a_room(background_talk(n, engine, 6, rng), 0.6, rng))
        china = [
            noises.ring(rng.uniform(1900, 5200), rng.uniform(0.01, 0.06), rng) for _ in range(8)
        ]
        clatter = noises.unit(across_a_room(noises.sequence(n, china, 1.5, rng), 0.5, rng))
        machine = noises.modulated(n, 100, 1200, 0.6, 5, rng)
        return noises.unit(talk + 0.35 * clatter + 0.25 * machine)
    if kind == "babble":
        return noises.unit(across_a_room(background_talk(n, engine, 4, rng), 0.3, rng))
    makers: dict[str, Callable] = {
        "street": noises.traffic,
        "fan": noises.fan,
        "rain": noises.rain,
        "keyboard": noises.keyboard,
    }
    if kind not in makers:
        known = ", ".join(["cafe", "babble", *makers])
        raise ValueError(f"there is no noise {kind!r}; choose one of {known}")
    return makers[kind](n, rng)


def mix_pair(speech: np.ndarray, noise: np.ndarray, snr_db: float) -> tuple[np.ndarray, np.ndarray]:
    """Clean and noisy (n,), the clean at -26 dB re full scale, the power ratio as asked.

    Raises ValueError if the sum would clip.
    """
    clean = noises.unit(speech) * 10 ** (SPEECH_LEVEL_DB / 20)
    clean, noisy = mix(clean, noise, snr_db)
    if max(np.abs(clean).max(), np.abs(noisy).max()) > 0.95:
        raise ValueError(
            f"the noise has strokes that would clip at {snr_db} dB; choose a higher SNR"
        )
    return clean, noisy


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0, or 2 with one line on the error stream."""
    import soundfile
    from tqdm import tqdm

    options = argparse.ArgumentParser(
        prog="python -m rwsa_tutorial.making.examples", description=__doc__.split("\n")[0]
    )
    options.add_argument("--out", type=Path, help="default: data/examples of the checkout")
    options.add_argument(
        "--cache",
        type=Path,
        help="for the voices (default: ~/.cache/rwsa-tutorial)",
    )
    chosen = options.parse_args(arguments)
    out = chosen.out or data_path("examples", must_exist=False)
    entries = []
    try:
        engine = KokoroEngine(chosen.cache or voices_cache())
        for example in tqdm(EXAMPLES, unit="pair"):
            speech = trim_ends(engine.say(example.text, example.voice), keep=0.25)
            rng = np.random.default_rng(example.seed)
            noise = background(example.noise, len(speech), engine, rng)
            clean, noisy = mix_pair(speech, noise, example.snr_db)
            for kind, wave in (("clean", clean), ("noisy", noisy)):
                path = out / kind / f"{example.name}.flac"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, wave, SAMPLE_RATE, subtype="PCM_16", compression_level=1.0)
            entries.append({**asdict(example), "seconds": round(len(clean) / SAMPLE_RATE, 3)})
    except (RuntimeError, ValueError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    index = {"sample_rate": SAMPLE_RATE, "licence": "Apache-2.0", "pairs": entries}
    text = json.dumps(index, ensure_ascii=False, indent=2)
    (out / "index.json").write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
