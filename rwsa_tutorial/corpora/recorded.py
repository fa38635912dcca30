"""Gather recorded speech and noise on a Debian or Ubuntu machine, for training.

    python -m rwsa_tutorial.corpora.recorded OUT [--noise DIR]

fetches packages by name (``apt-get download``; nothing is installed and no root is needed),
decodes their sounds to 16 kHz mono, leaves out what is no clean speech, and packs the rest
as `rwsa_tutorial.corpora.packing` describes. Sources already packed are skipped, so the
command can be repeated after an interruption. Read the licences in index.json before passing
any of it on: this is material to train with, not part of the project.

Prompts in G.722 need the extra ``recorded`` (the package ``av``, PyAV).
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from .. import audio
from . import noises, scenes
from .fetching import printable
from .packing import RATE, Clip, assemble, cut, has_part, is_held_out, minutes, read_part, save_part

FRAME = RATE // 50
SOUNDS = (".wav", ".ogg", ".flac", ".g722", ".mp3")


class GatherError(RuntimeError):
    """A source cannot be had; the message says why and what to do."""


# --- Fetching -----------------------------------------------------------------------------


def fetch(package: str, cache: Path) -> Path:
    """Download and unpack a Debian package below ``cache``; return the unpacked folder."""
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
    if rate != RATE:
        wave = soxr.resample(wave, rate, RATE)
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
        return np.zeros(0, np.float32), RATE
    return np.concatenate(frames).astype(np.float32) / 32768, RATE


def sound_files(folder: Path) -> list[Path]:
    """All sound files below a folder, in a fixed order."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SOUNDS)


# --- Judging and cleaning speech ------------------------------------------------------------


def levels(wave: np.ndarray) -> np.ndarray:
    """Level in dB of each 20 ms frame of a wave (n,)."""
    frames = wave[: len(wave) // FRAME * FRAME].reshape(-1, FRAME)
    return 10 * np.log10(np.mean(frames.astype(np.float64) ** 2, axis=1) + 1e-12)


def estimated_snr(wave: np.ndarray) -> float:
    """Loud frames over quiet frames (95th and 8th percentile of 20 ms levels), in dB.

    A rough measure of how clean a recording with pauses is; without pauses it reads too low.
    """
    level = levels(wave)
    return float(np.percentile(level, 95) - np.percentile(level, 8)) if len(level) else 0.0


def treble_db(wave: np.ndarray) -> float:
    """Share of the power that lies above 5 kHz, in dB: very low for narrow-band recordings."""
    frames = wave[: len(wave) // 512 * 512].reshape(-1, 512) * np.hanning(512)
    power = (np.abs(np.fft.rfft(frames, axis=1)) ** 2).sum(axis=0)
    return float(10 * np.log10(power[160:].sum() / (power.sum() + 1e-20) + 1e-12))


def trim(wave: np.ndarray, keep: float = 0.2) -> np.ndarray:
    """Shorten silences: ``keep`` seconds stay on each side of the speech, (n,) -> (m,).

    A frame is silent when it lies 40 dB below the loud ones, or within the lowest quarter of
    the recording's own range in dB if that is higher.
    """
    level = levels(wave)
    if not len(level):
        return wave
    loud, floor = np.percentile(level, 95), np.percentile(level, 5)
    active = level > max(loud - 40, floor + 0.25 * (loud - floor))
    reach = int(keep * RATE / FRAME)
    near = np.convolve(active, np.ones(2 * reach + 1))[reach : reach + len(active)] > 0.5
    # Joins fall between frames that both hold the noise floor, so they need no cross-fade.
    return wave[: len(level) * FRAME].reshape(-1, FRAME)[near].ravel()


def fade(wave: np.ndarray, seconds: float = 0.01) -> np.ndarray:
    """Fade the two ends of a wave (n,) in and out."""
    n = min(int(seconds * RATE), len(wave) // 2)
    ramp = np.ones(len(wave))
    ramp[:n] = np.linspace(0, 1, n, endpoint=False)
    ramp[len(wave) - n :] = ramp[:n][::-1]
    return wave * ramp


def join_words(
    words: list[tuple[str, np.ndarray]], seconds: float, rng: np.random.Generator
) -> list[tuple[str, np.ndarray]]:
    """Join short utterances of one speaker or language into ones of at least ``seconds``.

    words: (name, wave (n,)) in order. Words get equal levels and gaps of 0.1 to 0.35 s. A
    remainder shorter than a third of ``seconds`` is dropped. The new name is the first word's.
    """
    joined, run, name = [], [], ""
    for word_name, wave in words:
        name = name or word_name
        run += [fade(wave) / (np.sqrt(np.mean(wave**2)) + 1e-9)]
        run += [np.zeros(rng.integers(RATE // 10, RATE * 35 // 100))]
        if sum(map(len, run[:-1])) >= seconds * RATE:
            joined.append((name, np.concatenate(run[:-1])))
            run, name = [], ""
    if sum(map(len, run[:-1])) >= seconds * RATE / 3:
        joined.append((name, np.concatenate(run[:-1])))
    return joined


# --- The sources ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """A Debian package and how to read it.

    wanted, unwanted: patterns on the file's path. For speech: language and speaker labels (or a
    pattern that finds the language in the path), the least estimated SNR and treble share in
    dB, and the length in seconds below which utterances are joined with their neighbours.
    """

    package: str
    kind: str
    licence: str
    wanted: str = "."
    unwanted: str = r"(?!)"
    language: str = ""
    language_pattern: str = ""
    speaker: str = ""
    least_snr: float = 25.0
    least_treble: float = -60.0
    join_below: float = 0.0
    effects_per_second: float = 0.0
    effects_seconds: float = 0.0


PROMPT_NOISES = r"/silence/|beep|tone\.|monkeys|confbridge-(join|leave)\.g722|ascending|weasels"


def _prompts(language: str, voice: str, licence: str) -> Source:
    return Source(
        f"asterisk-core-sounds-{language}-g722",
        "speech",
        licence,
        unwanted=PROMPT_NOISES,
        language=language,
        speaker=voice,
        join_below=2.5,
    )


SOURCES = (
    Source("festvox-ru", "speech", "BSD-like", r"/wav/", language="ru", speaker="nsh"),
    _prompts("en", "Allison", "CC-BY-SA-3.0"),
    _prompts("es", "Allison", "CC-BY-SA-3.0"),
    _prompts("fr", "June", "CC-BY-SA-3.0"),
    _prompts("it", "Carlo", "CC-BY-SA-3.0"),
    _prompts("ru", "IvrvoiceRU", "CC-BY-3.0"),
    Source("fillets-ng-data-nl", "speech", "GPL-2+", language="nl", least_snr=35, join_below=2.0),
    Source(
        "tuxpaint-stamps-default",
        "speech",
        "GPL-2+",
        wanted=r"_desc(_[A-Za-z_]+)?\.(ogg|wav)$",
        language_pattern=r"_desc_([A-Za-z_]+)\.",
        least_treble=-45,
        join_below=4.0,
    ),
    Source("fillets-ng-data-cs", "speech", "GPL-2+", language="cs", least_snr=31, join_below=2.0),
    Source(
        "etw-data",
        "noise",
        "GPL-2+",
        wanted=r"/crowd/|/snd/(crowd|fondo|boou|crash|cannon)\.wav",
    ),
    Source(
        "searchandrescue-data",
        "noise",
        "GPL-2",
        unwanted=r"screenshot|flir|splash01",
        effects_per_second=0.5,
        effects_seconds=240,
    ),
    Source("bucklespring-data", "noise", "GPL-2+", effects_per_second=6, effects_seconds=240),
    Source(
        "tuxpaint-data",
        "noise",
        "GPL-2+",
        unwanted=r"giggle|prompt|youcannot|areyousure|tuxok",
        effects_per_second=1.5,
        effects_seconds=180,
    ),
    Source("gnome-shell-pomodoro-data", "noise", "GPL-3+", effects_per_second=1.0),
)


def speech_clips(source: Source, files: list[Path], root: Path, progress) -> Iterator[Clip]:
    """Decode, judge and trim one package's speech; short utterances are joined by language."""
    short: dict[tuple[str, bool], list] = {}
    for path in progress(files):
        wave, rate = decode(path)
        if rate < RATE or len(wave) < RATE // 5 or not wave.any():
            continue
        name = str(path.relative_to(root))
        language, snr, treble = source.language, estimated_snr(wave), treble_db(wave)
        if source.language_pattern:
            found = re.search(source.language_pattern, name)
            language = found.group(1) if found else "en"
        if snr < source.least_snr or treble < source.least_treble:
            continue
        wave = trim(wave)
        if len(wave) < source.join_below * RATE:
            # Held out before joining, so that no word stands in both splits.
            key = (language, is_held_out(name))
            short.setdefault(key, []).append((name, wave, snr, treble))
        elif len(wave) >= RATE:
            measures = {"snr_db": round(snr, 1), "treble_db": round(treble, 1)}
            yield Clip(wave, name, source.speaker, language, measures=measures)
    rng = np.random.default_rng(1)
    for (language, held_out), words in short.items():
        measures = {name: (snr, treble) for name, _, snr, treble in words}
        pairs = [(name, wave) for name, wave, _, _ in words]
        for name, wave in join_words(pairs, max(3.0, source.join_below), rng):
            snr, treble = measures[name]
            kept = {"snr_db": round(snr, 1), "treble_db": round(treble, 1), "joined": True}
            yield Clip(wave, name, source.speaker, language, held_out, kept)


def long_noise_clips(waves: list[tuple[str, np.ndarray]]) -> Iterator[Clip]:
    """Cut recordings into pieces of at most 20 s; every tenth piece is held out."""
    count = 0
    for name, wave in waves:
        for number, piece in enumerate(cut(wave)):
            if np.abs(piece).max() > 1e-4:
                yield Clip(piece, f"{name}#{number}", valid=count % 10 == 5)
                count += 1


def effect_clips(
    effects: list[tuple[str, np.ndarray]], per_second: float, seconds: float
) -> Iterator[Clip]:
    """Sequence short effects into 15 s clips; one effect in ten sounds in validation alone."""
    rng = np.random.default_rng(2)
    # Equal peaks, not equal powers: a click in a long silence would drown the others.
    scaled = [(name, wave / np.abs(wave).max()) for name, wave in effects]
    held_out = [wave for name, wave in scaled if is_held_out(name, 10)]
    train = [wave for name, wave in scaled if not is_held_out(name, 10)]
    for number in range(int(seconds // 15)):
        valid = bool(held_out) and number % 10 == 5
        wave = noises.sequence(15 * RATE, held_out if valid else train, per_second, rng)
        yield Clip(wave, f"sequence#{number}", valid=valid)


def noise_clips(source: Source, files: list[Path], root: Path, progress) -> Iterator[Clip]:
    """Long sounds as they are, sounds under 2 s (if the source has many) as sequences."""
    long, short = [], []
    for path in progress(files):
        wave, _ = decode(path)
        if len(wave) < RATE // 50 or np.std(wave) < 1e-5:
            continue
        name = str(path.relative_to(root))
        (short if len(wave) < 2 * RATE else long).append((name, wave))
    yield from long_noise_clips(long)
    if source.effects_seconds and short:
        yield from effect_clips(short, source.effects_per_second, source.effects_seconds)


def gather(source: Source, out: Path, progress) -> None:
    """Fetch one package and pack what is usable in it. Raises GatherError in words."""
    root = fetch(source.package, out / "cache")
    files = [
        path
        for path in sound_files(root)
        if re.search(source.wanted, str(path)) and not re.search(source.unwanted, str(path))
    ]
    if not files:
        raise GatherError(f"{source.package}: no sound files where they were expected")
    reader = speech_clips if source.kind == "speech" else noise_clips
    clips = reader(source, files, root, lambda items: progress(items, source.package))
    save_part(out, source.package, source.kind, clips, source.licence)


def gather_folder(folder: Path, out: Path, progress) -> str:
    """Pack a folder of noise recordings of your own; return the part's name."""
    if not folder.is_dir():
        raise GatherError(f"--noise {folder}: there is no such folder")
    files = sound_files(folder)
    if not files:
        raise GatherError(f"--noise {folder}: no sound files ({', '.join(SOUNDS)}) in it")
    name = f"folder-{folder.resolve().name}"
    if not has_part(out, name):
        waves = [(path.name, decode(path)[0]) for path in progress(files, name)]
        save_part(out, name, "noise", long_noise_clips(waves), folder_licence(folder))
    return name


def folder_licence(folder: Path) -> str:
    """What a folder's own LICENCE or README says of where its sounds are from, in one line."""
    for pattern in ("LICEN[CS]E*", "README*"):
        for path in sorted(folder.glob(pattern)):
            return " ".join(path.read_text(encoding="utf-8", errors="replace").split())[:600]
    return "unknown: the folder has no LICENCE or README"


# --- Synthetic noise ------------------------------------------------------------------------


def training_voices(out: Path) -> list[list[np.ndarray]]:
    """Up to 60 training clips of each speaker (or language), for babble and its spectrum."""
    rng, voices = np.random.default_rng(3), []
    for path in sorted((out / "parts").glob("*.json")):
        part, samples = read_part(out, path.stem)
        if part["kind"] != "speech":
            continue
        groups: dict[tuple[str, str], list] = {}
        for clip in part["clips"]:
            if clip["split"] == "train":
                groups.setdefault((clip["speaker"], clip["language"]), []).append(clip)
        for clips in groups.values():
            if len(clips) < 10:
                continue
            chosen = rng.choice(len(clips), size=min(60, len(clips)), replace=False)
            voices.append(
                [
                    samples[clips[i]["start"] : clips[i]["start"] + clips[i]["length"]] / 32768.0
                    for i in chosen
                ]
            )
    return voices


def synthetic_clips(out: Path, progress) -> Iterator[Clip]:
    """Twelve 15 s clips of each synthetic noise; of each kind the last is held out."""
    n = 15 * RATE
    makers: dict[str, Callable] = {
        "white": lambda rng: noises.coloured(n, 0, rng),
        "pink": lambda rng: noises.coloured(n, rng.uniform(0.6, 1.4), rng),
        "brown": lambda rng: noises.coloured(n, rng.uniform(1.6, 2.2), rng),
        "hum": lambda rng: noises.hum(n, rng),
        "fan": lambda rng: noises.fan(n, rng),
        "impulses": lambda rng: noises.impulses(n, rng),
        "rain": lambda rng: noises.rain(n, rng),
        "traffic": lambda rng: noises.traffic(n, rng),
        "modulated": _random_band,
    }
    # Kinds that mini-vb has too; those of mini-dns and mini-ears stay a surprise, but for two.
    for scene in ("car", "bus", "metro", "washing", "kitchen", "office", "stream", "music"):
        makers[scene] = partial(getattr(scenes, scene), n)
    voices = training_voices(out)
    if len(voices) >= 4:
        spectrum = noises.long_term_spectrum([wave for voice in voices for wave in voice])

        def babble(rng):
            several = rng.choice(len(voices), size=rng.integers(4, min(8, len(voices)) + 1))
            return noises.babble(n, [voices[i] for i in several], rng)

        makers["babble"] = babble
        makers["speech-shaped"] = lambda rng: noises.speech_shaped(n, spectrum, rng)
    jobs = [(kind, number) for kind in makers for number in range(24 if kind == "babble" else 12)]
    for seed, (kind, number) in enumerate(progress(jobs)):
        wave = makers[kind](np.random.default_rng([4, seed]))
        yield Clip(wave, f"{kind}#{number}", valid=number == 11)


def _random_band(rng: np.random.Generator) -> np.ndarray:
    low = np.exp(rng.uniform(np.log(80), np.log(3000)))
    high = min(7500.0, low * rng.uniform(1.5, 8))
    return noises.modulated(15 * RATE, low, high, rng.uniform(0.5, 8), rng.uniform(3, 9), rng)


# --- Command line ---------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    options = argparse.ArgumentParser(
        prog="python -m rwsa_tutorial.corpora.recorded", description=__doc__.split("\n")[0]
    )
    options.add_argument("out", type=Path, help="folder for the packed arrays and the cache")
    options.add_argument(
        "--noise", type=Path, action="append", default=[], help="folder of noise recordings"
    )
    options.add_argument(
        "--skip", action="append", default=[], help="leave out packages whose name holds this"
    )
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0, or 2 with one line on the error stream."""
    from tqdm import tqdm

    options = parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)

    def progress(items, name):
        return tqdm(items, desc=name, unit="file")

    order, failures = [], []
    for source in SOURCES:
        if any(word in source.package for word in options.skip):
            continue
        try:
            if not has_part(options.out, source.package):
                gather(source, options.out, progress)
            order.append(source.package)
        except (GatherError, ValueError) as problem:
            failures.append(str(problem))
            print(f"left out: {problem}", file=sys.stderr)
    try:
        for folder in options.noise:
            order.append(gather_folder(folder, options.out, progress))
        if not has_part(options.out, "synthetic"):
            clips = synthetic_clips(options.out, lambda jobs: progress(jobs, "synthetic"))
            save_part(options.out, "synthetic", "noise", clips, "made here; free to use")
        order.append("synthetic")
        index = assemble(options.out, order)
    except (GatherError, ValueError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    report(index)
    if not index["samples"]["speech"]:
        print(f"error: no speech could be gathered ({failures[0]})", file=sys.stderr)
        return 2
    if failures:
        print(f"{len(failures)} source(s) left out; run again to retry them.", file=sys.stderr)
    return 0


def report(index: dict) -> None:
    """Print minutes of speech and noise by source."""
    for kind, sources in minutes(index).items():
        print(f"{kind}: {sum(sources.values()):.1f} min")
        for name, value in sources.items():
            print(f"  {value:7.1f}  {printable(name)}  ({printable(index['licences'][name])})")


if __name__ == "__main__":
    sys.exit(main())
