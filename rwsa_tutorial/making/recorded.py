"""Gather recorded speech and noise on a Debian or Ubuntu machine, for training.

    python -m rwsa_tutorial.making.recorded OUT [--noise DIR]

fetches packages by name (`apt-get download`; nothing is installed and no root is needed),
decodes their sounds to 16 kHz mono, leaves out what is no clean speech, and packs the rest
as `rwsa_tutorial.making.packing` describes. Sources already packed are skipped, so the
command can be repeated after an interruption. Read the licences in index.json before passing
any of it on: this is material to train with, not part of the project.

Prompts in G.722 need the extra `recorded` (the package `av`, PyAV).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..corpora.paper.fetching import printable
from ..rates import SAMPLE_RATE
from . import noises, scenes
from .debian import SOUNDS, GatherError, decode, fetch, sound_files
from .judging import estimated_snr, join_words, treble_db, trim
from .packing import Stretch, assemble, cut, has_part, is_held_out, load_part, minutes, save_part


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


def speech_clips(
    source: Source, files: list[Path], root: Path, progress: Callable
) -> Iterator[Stretch]:
    """Decode, judge and trim one package's speech; short utterances are joined by language."""
    short: dict[tuple[str, bool], list] = {}
    for path in progress(files):
        wave, rate = decode(path)
        if rate < SAMPLE_RATE or len(wave) < SAMPLE_RATE // 5 or not wave.any():
            continue
        name = str(path.relative_to(root))
        language, snr, treble = source.language, estimated_snr(wave), treble_db(wave)
        if source.language_pattern:
            found = re.search(source.language_pattern, name)
            language = found.group(1) if found else "en"
        if snr < source.least_snr or treble < source.least_treble:
            continue
        wave = trim(wave)
        if len(wave) < source.join_below * SAMPLE_RATE:
            # Held out before joining, so that no word stands in both splits.
            key = (language, is_held_out(name))
            short.setdefault(key, []).append((name, wave, snr, treble))
        elif len(wave) >= SAMPLE_RATE:
            measures = {"snr_db": round(snr, 1), "treble_db": round(treble, 1)}
            yield Stretch(wave, name, source.speaker, language, measures=measures)
    rng = np.random.default_rng(1)
    for (language, held_out), words in short.items():
        measures = {name: (snr, treble) for name, _, snr, treble in words}
        pairs = [(name, wave) for name, wave, _, _ in words]
        for name, wave in join_words(pairs, max(3.0, source.join_below), rng):
            snr, treble = measures[name]
            kept = {"snr_db": round(snr, 1), "treble_db": round(treble, 1), "joined": True}
            yield Stretch(wave, name, source.speaker, language, held_out, kept)


def long_noise_clips(waves: list[tuple[str, np.ndarray]]) -> Iterator[Stretch]:
    """Cut recordings into pieces of at most 20 s; every tenth piece is held out."""
    count = 0
    for name, wave in waves:
        for number, piece in enumerate(cut(wave)):
            if np.abs(piece).max() > 1e-4:
                yield Stretch(piece, f"{name}#{number}", valid=count % 10 == 5)
                count += 1


def effect_clips(
    effects: list[tuple[str, np.ndarray]], per_second: float, seconds: float
) -> Iterator[Stretch]:
    """Sequence short effects into 15 s clips; one effect in ten sounds in validation alone."""
    rng = np.random.default_rng(2)
    # Equal peaks, not equal powers: a click in a long silence would drown the others.
    scaled = [(name, wave / np.abs(wave).max()) for name, wave in effects]
    held_out = [wave for name, wave in scaled if is_held_out(name, 10)]
    train = [wave for name, wave in scaled if not is_held_out(name, 10)]
    for number in range(int(seconds // 15)):
        valid = bool(held_out) and number % 10 == 5
        wave = noises.sequence(15 * SAMPLE_RATE, held_out if valid else train, per_second, rng)
        yield Stretch(wave, f"sequence#{number}", valid=valid)


def noise_clips(
    source: Source, files: list[Path], root: Path, progress: Callable
) -> Iterator[Stretch]:
    """Long sounds as they are, sounds under 2 s (if the source has many) as sequences."""
    long, short = [], []
    for path in progress(files):
        wave, _ = decode(path)
        if len(wave) < SAMPLE_RATE // 50 or np.std(wave) < 1e-5:
            continue
        name = str(path.relative_to(root))
        (short if len(wave) < 2 * SAMPLE_RATE else long).append((name, wave))
    yield from long_noise_clips(long)
    if source.effects_seconds and short:
        yield from effect_clips(short, source.effects_per_second, source.effects_seconds)


def gather(source: Source, out: Path, progress: Callable) -> None:
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


def gather_folder(folder: Path, out: Path, progress: Callable) -> str:
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


def training_voices(out: Path) -> list[list[np.ndarray]]:
    """Up to 60 training clips of each speaker (or language), for babble and its spectrum."""
    rng, voices = np.random.default_rng(3), []
    for path in sorted((out / "parts").glob("*.json")):
        part, samples = load_part(out, path.stem)
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


def synthetic_clips(out: Path, progress: Callable) -> Iterator[Stretch]:
    """Twelve 15 s clips of each synthetic noise; of each kind the last is held out."""
    n = 15 * SAMPLE_RATE
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
        yield Stretch(wave, f"{kind}#{number}", valid=number == 11)


def _random_band(rng: np.random.Generator) -> np.ndarray:
    low = np.exp(rng.uniform(np.log(80), np.log(3000)))
    high = min(7500.0, low * rng.uniform(1.5, 8))
    hertz, depth_db = rng.uniform(0.5, 8), rng.uniform(3, 9)
    return noises.modulated(15 * SAMPLE_RATE, low, high, hertz, depth_db, rng)


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    options = argparse.ArgumentParser(
        prog="python -m rwsa_tutorial.making.recorded", description=__doc__.split("\n")[0]
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
