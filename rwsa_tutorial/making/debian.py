"""Sounds out of Debian packages: fetched by name, unpacked, decoded to 16 kHz mono."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np

from .. import audio
from ..corpora.paper.fetching import printable
from ..rates import SAMPLE_RATE

SOUNDS = (".wav", ".ogg", ".flac", ".g722", ".mp3")


class GatherError(RuntimeError):
    """A source cannot be had; the message says why and what to do."""


def fetch(package: str, cache: Path) -> Path:
    """Download and unpack a Debian package below `cache`; return the unpacked folder."""
    folder = cache / package
    if folder.is_dir():
        return folder
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise GatherError(
                f"{tool} is not here: recordings are fetched as Debian packages, which needs "
                "Debian or Ubuntu (a container of one will do). Elsewhere, train on your own "
                "folders of speech and noise."
            )
    cache.mkdir(parents=True, exist_ok=True)
    if not list(cache.glob(f"{package}_*.deb")):
        done = subprocess.run(
            ["apt-get", "download", package], cwd=cache, capture_output=True, text=True
        )
        if done.returncode:
            raise GatherError(
                f"{package}: apt-get could not download it. Check the network, run "
                f"'apt-get update' as root once, and see whether this system has the package. "
                f"It said: {printable(' '.join(done.stderr.split()))[-300:]}"
            )
    archive = sorted(cache.glob(f"{package}_*.deb"))[-1]
    partial = cache / f".{package}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    done = subprocess.run(
        ["dpkg-deb", "-x", archive, partial], capture_output=True, text=True, check=False
    )
    if done.returncode:
        archive.unlink()  # or no later run would ask for it again
        raise GatherError(
            f"{archive} could not be unpacked and is deleted; run again to fetch it anew. dpkg-deb "
            f"said: {printable(' '.join(done.stderr.split()))[-300:]}"
        )
    partial.rename(folder)
    return folder


def decode(path: Path) -> tuple[np.ndarray, int]:
    """Read a sound file as 16 kHz mono: float32 (n,), and the file's own sample rate in Hz."""
    import soxr

    if path.suffix == ".g722":
        wave, rate = _decode_g722(path)
    else:
        with audio.open_to_read(path) as file:
            wave, rate = file.read(always_2d=True).mean(axis=1), file.samplerate
    if rate != SAMPLE_RATE:
        wave = soxr.resample(wave, rate, SAMPLE_RATE)
    return wave - wave.mean() if len(wave) else wave, rate


def _decode_g722(path: Path) -> tuple[np.ndarray, int]:
    try:
        import av
    except ImportError:
        raise GatherError(
            "telephone prompts are stored as G.722, which needs PyAV: pip install "
            "'.[recorded]', then run again (or leave them out with --skip asterisk)"
        ) from None
    with av.open(str(path), format="g722") as container:
        frames = [frame.to_ndarray().ravel() for frame in container.decode(audio=0)]
    if not frames:
        return np.zeros(0, np.float32), SAMPLE_RATE
    return np.concatenate(frames).astype(np.float32) / 32768, SAMPLE_RATE


def sound_files(folder: Path) -> list[Path]:
    """All sound files below a folder, in a fixed order."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SOUNDS)
