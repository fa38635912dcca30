"""Who says what, in which noise, in which split: the mini corpora before a sound is made.

Everything is drawn here from fixed seeds, so that a clip can be rendered, and checked, alone.
No voice, line or noise recording is in two splits or in two corpora.
"""

import zlib
from dataclasses import dataclass
from functools import cache

import numpy as np

from ..texts import ACTED, everyday, narrated


def kokoro(names: str) -> tuple[str, ...]:
    return tuple(f"kokoro:{name}" for name in names.split())


@dataclass(frozen=True)
class Split:
    """What a split is made of.

    voices: who speaks. talkers: who is heard in its babble and its crowds. clips: how many lines.
    words: least and most words of a line. seconds: least and most length of a clip. noises: kinds,
    see `noise.KINDS`. noise_seconds: length of each noise. snr_db: lowest and highest. files:
    "flac" for what is scored, "ogg" (Opus) for what is only trained on.
    """

    voices: tuple[str, ...]
    talkers: tuple[str, ...]
    clips: int
    words: tuple[int, int]
    seconds: tuple[float, float]
    noises: tuple[str, ...]
    noise_seconds: float
    snr_db: tuple[float, float]
    files: str


@dataclass(frozen=True)
class CorpusPlan:
    """A corpus: what it stands for, its text, how its SNR is meant, its splits."""

    about: str
    text: str
    ratio: str
    splits: dict[str, Split]


PLANS = {
    "mini-vb": CorpusPlan(
        about="read English, close microphone; everyday noise, babble and speech-shaped noise, "
        "down to -10 dB (after VB-DemandEx)",
        text="everyday",
        ratio="power",
        splits={
            "train": Split(
                voices=kokoro(
                    "af_alloy af_aoede af_bella af_jessica af_kore af_sarah bf_alice bf_lily "
                    "am_adam am_echo am_eric am_liam am_onyx bm_daniel"
                )
                + ("pico:en-US", "pico:en-GB"),
                talkers=kokoro("zf_xiaobei zf_xiaoni jf_alpha zm_yunjian zm_yunxi jm_kumo"),
                clips=340,
                words=(8, 16),
                seconds=(2.0, 8.0),
                noises=(
                    "babble",
                    "speech_shaped",
                    "cafe",
                    "kitchen",
                    "office",
                    "car",
                    "metro",
                    "street",
                    "stream",
                    "washing",
                    "music",
                    "fan",
                ),
                noise_seconds=36.0,
                snr_db=(-10.0, 20.0),
                files="ogg",
            ),
            "valid": Split(
                voices=kokoro("af_river bm_lewis"),
                talkers=kokoro("zf_xiaoyi jf_gongitsune zm_yunxia"),
                clips=20,
                words=(8, 14),
                seconds=(3.0, 8.0),
                noises=("babble", "speech_shaped", "kitchen", "street", "metro"),
                noise_seconds=12.0,
                snr_db=(-10.0, 20.0),
                files="flac",
            ),
            "test": Split(
                voices=kokoro("af_heart am_michael bf_emma bm_george"),
                talkers=kokoro("zf_xiaoxiao jf_nezumi jf_tebukuro zm_yunyang hm_psi hf_beta"),
                clips=42,
                words=(8, 14),
                seconds=(3.0, 8.0),
                noises=(
                    "babble",
                    "speech_shaped",
                    "cafe",
                    "car",
                    "metro",
                    "street",
                    "washing",
                    "bus",
                ),
                noise_seconds=12.0,
                snr_db=(-10.0, 20.0),
                files="flac",
            ),
        },
    ),
    "mini-dns": CorpusPlan(
        about="books read aloud in English, home microphones in small rooms; single sound "
        "events and machines (after DNS 2020)",
        text="narrated",
        ratio="power",
        splits={
            "test": Split(
                voices=kokoro(
                    "af_nova af_sky af_nicole bf_isabella am_fenrir am_puck am_santa bm_fable"
                ),
                talkers=(),
                clips=42,
                words=(9, 17),
                seconds=(3.0, 8.0),
                noises=(
                    "vacuum",
                    "barking",
                    "siren",
                    "birds",
                    "steps",
                    "typing",
                    "hum",
                    "rain",
                    "song",
                    "drill",
                ),
                noise_seconds=10.0,
                snr_db=(0.0, 20.0),
                files="flac",
            )
        },
    ),
    "mini-ears": CorpusPlan(
        about="acted lines in French, Spanish, Italian, Portuguese, Hindi and German, from whisper "
        "to loud, anechoic; places where people meet (after EARS-WHAM_v2)",
        text="acted",
        ratio="loudness",
        splits={
            "test": Split(
                voices=kokoro(
                    "ff_siwis ef_dora em_alex if_sara im_nicola pf_dora pm_alex hf_alpha hm_omega"
                )
                + ("pico:de-DE",),
                talkers=kokoro("em_santa pm_santa") + ("pico:it-IT", "pico:es-ES", "pico:fr-FR"),
                clips=len(ACTED),
                words=(1, 30),
                seconds=(3.0, 8.0),
                noises=(
                    "bar",
                    "restaurant",
                    "applause",
                    "plaza",
                    "platform",
                    "park",
                    "market",
                    "wind",
                ),
                noise_seconds=12.0,
                snr_db=(-2.5, 17.5),
                files="flac",
            )
        },
    ),
}
TALK_LINES = 6


@dataclass(frozen=True)
class Line:
    """A clip of speech to be made: who says what, how, and how fast."""

    corpus: str
    split: str
    name: str
    voice: str
    language: str
    style: str
    speed: float
    text: str


@dataclass(frozen=True)
class Mixture:
    """A pair to be mixed. at: where in the noise it begins, 0 to 1 of what is left over."""

    name: str
    noise: str
    at: float
    snr_db: float
    seed: int


def seed_of(*words: str) -> int:
    """A seed out of names: the same everywhere and always."""
    return zlib.crc32("/".join(words).encode())


def lines() -> tuple[Line, ...]:
    """All clips of speech, in a fixed order."""
    return _script()[0]


def talk(corpus: str, split: str) -> dict[str, list[str]]:
    """What the talkers of a split say in its babble: voice -> lines."""
    return _script()[1][corpus, split]


@cache
def _script():
    said: set[str] = {text for _, _, text in ACTED}
    made = []
    for corpus, plan in PLANS.items():
        for split, wanted in plan.splits.items():
            rng = np.random.default_rng(seed_of(corpus, split, "lines"))
            if plan.text == "acted":
                parts = [_actor(wanted.voices, *line, number) for number, line in enumerate(ACTED)]
            else:
                write = everyday if plan.text == "everyday" else narrated
                texts = write(wanted.clips, wanted.words, rng, said)
                parts = [
                    (wanted.voices[i % len(wanted.voices)], "en", "neutral", text)
                    for i, text in enumerate(texts)
                ]
            for number, (voice, language, style, text) in enumerate(parts):
                name = f"{number:03d}_{voice.split(':')[1]}"
                speed = round(float(rng.uniform(0.88, 1.15)), 3)
                made.append(Line(corpus, split, name, voice, language, style, speed, text))
    chat = {
        (corpus, split): {
            voice: everyday(TALK_LINES, (7, 16), rng, said) for voice in wanted.talkers
        }
        for corpus, plan in PLANS.items()
        for split, wanted in plan.splits.items()
        for rng in [np.random.default_rng(seed_of(corpus, split, "talk"))]
    }
    return tuple(made), chat


def _actor(voices, language, style, text, number):
    """Who acts a line: the voices of its language take turns."""
    first = {"de": "d", "hi": "h"}.get(language, language[0])
    able = [voice for voice in voices if voice.split(":")[1][0] == first]
    return able[number % len(able)], language, style, text


def mixtures(corpus: str, split: str) -> tuple[Mixture, ...]:
    """One mixture for each line of a split: every noise in turn, SNRs spread evenly."""
    wanted = PLANS[corpus].splits[split]
    names = [line.name for line in lines() if (line.corpus, line.split) == (corpus, split)]
    rng = np.random.default_rng(seed_of(corpus, split, "mixtures"))
    low, high = wanted.snr_db
    steps = (rng.permutation(len(names)) + rng.random(len(names))) / len(names)
    noises = list(rng.permutation(wanted.noises))
    return tuple(
        Mixture(
            name=name,
            noise=str(noises[i % len(noises)]),
            at=round(float(rng.random()), 4),
            snr_db=round(float(low + (high - low) * steps[i]), 2),
            seed=seed_of(corpus, split, name),
        )
        for i, name in enumerate(names)
    )
