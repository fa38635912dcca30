"""Pack many short recordings into two flat arrays and one index.

A folder OUT holds

- `parts/NAME.npy` and `parts/NAME.json`: one source each, written once;
- `speech.npy` and `noise.npy`: all parts end to end, int16, 16 kHz mono, flat (n,);
- `index.json`: where each clip lies, what it is, and the licence of each source.

`numpy.load(OUT / "speech.npy", mmap_mode="r")` reads a clip without loading the rest.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..paths import whole_file
from ..rates import SAMPLE_RATE

PEAK = 0.7


@dataclass
class Stretch:
    """One stretch of sound.

    wave: float array (n,), full scale 1, 16 kHz. `valid` forces the split; None lets
    `is_held_out` decide. `measures` may hold further numbers (SNR estimate and such).
    """

    wave: np.ndarray
    file: str
    speaker: str = ""
    language: str = ""
    valid: bool | None = None
    measures: dict = field(default_factory=dict)


def to_int16(wave: np.ndarray, peak: float = PEAK) -> np.ndarray:
    """Scale a wave (n,) to the given peak and round it to int16. Raises ValueError if silent."""
    top = float(np.max(np.abs(wave), initial=0.0))
    if not np.isfinite(top) or top == 0.0:
        raise ValueError("a clip is empty, silent or not finite; leave it out before packing")
    return np.round(np.asarray(wave, dtype=np.float64) * (peak / top * 32767)).astype(np.int16)


def is_held_out(name: str, percent: float = 3.0) -> bool:
    """Whether the clip of this name belongs to validation: the same answer on every machine."""
    return zlib.crc32(name.encode()) % 10000 < percent * 100


def cut(wave: np.ndarray, seconds: float = 20.0) -> list[np.ndarray]:
    """Cut a long wave (n,) into equal pieces of at most `seconds`."""
    pieces = max(1, int(np.ceil(len(wave) / (seconds * SAMPLE_RATE))))
    return [piece for piece in np.array_split(wave, pieces) if len(piece)]


def save_part(
    out: Path, name: str, kind: str, clips: Iterable[Stretch], licence: str, percent: float = 3.0
) -> dict:
    """Write one source's clips below `out/parts` and return its description.

    kind is "speech" or "noise". Raises ValueError for another kind or when no clip is left.
    """
    if kind not in ("speech", "noise"):
        raise ValueError(f"kind is {kind!r}; it must be 'speech' or 'noise'")
    waves, entries, start = [], [], 0
    for clip in clips:
        wave = to_int16(clip.wave)
        held_out = clip.valid
        if held_out is None:
            held_out = is_held_out(f"{name}/{clip.file}", percent)
        entries.append(
            {
                "set": kind,
                "package": name,
                "file": clip.file,
                "speaker": clip.speaker,
                "language": clip.language,
                "split": "valid" if held_out else "train",
                "start": start,
                "length": len(wave),
                **clip.measures,
            }
        )
        waves.append(wave)
        start += len(wave)
    if not waves:
        raise ValueError(f"{name}: no usable clip was found")
    part = {"name": name, "kind": kind, "licence": licence, "samples": start, "clips": entries}
    folder = Path(out) / "parts"
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / f"{name}.npy") as partial:
        np.save(partial, np.concatenate(waves))
    # The description comes last: a part counts as done only once it is there.
    _write_json(folder / f"{name}.json", part)
    return part


def has_part(out: Path, name: str) -> bool:
    """Whether this source is already packed."""
    return (Path(out) / "parts" / f"{name}.json").is_file()


def load_part(out: Path, name: str) -> tuple[dict, np.ndarray]:
    """The description of a packed source and its int16 samples (n,), memory-mapped."""
    folder = Path(out) / "parts"
    part = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    samples = np.load(folder / f"{name}.npy", mmap_mode="r")
    if len(samples) != part["samples"]:
        raise ValueError(
            f"{folder / name}.npy holds {len(samples)} samples, its description says "
            f"{part['samples']}; delete both files and run again"
        )
    return part, samples


def assemble(out: Path, order: Sequence[str] = ()) -> dict:
    """Join all parts into speech.npy, noise.npy and index.json; return the index.

    Parts named in the present index.json keep their places, so an older index stays true of
    the newer arrays; then come those in `order`, then the rest by name.
    """
    out = Path(out)
    packed = sorted(path.stem for path in (out / "parts").glob("*.json"))
    earlier = []
    if (out / "index.json").is_file():
        earlier = json.loads((out / "index.json").read_text(encoding="utf-8"))["order"]
    names = list(dict.fromkeys([*earlier, *order, *packed]))
    names = [name for name in names if name in packed]
    if not names:
        raise ValueError(f"{out / 'parts'} holds no packed source yet; nothing to join")
    parts = [load_part(out, name) for name in names]
    index = {"sample_rate": SAMPLE_RATE, "order": names, "licences": {}, "samples": {}, "clips": []}
    for kind in ("speech", "noise"):
        chosen = [(part, samples) for part, samples in parts if part["kind"] == kind]
        total = sum(part["samples"] for part, _ in chosen)
        index["samples"][kind] = total
        if not total:
            continue
        with whole_file(out / f"{kind}.npy") as partial:
            flat = np.lib.format.open_memmap(partial, mode="w+", dtype=np.int16, shape=(total,))
            start = 0
            for part, samples in chosen:
                flat[start : start + len(samples)] = samples
                for clip in part["clips"]:
                    index["clips"].append({**clip, "start": clip["start"] + start})
                index["licences"][part["name"]] = part["licence"]
                start += len(samples)
            flat.flush()
            del flat
    _write_json(out / "index.json", index)
    return index


def minutes(index: dict) -> dict[str, dict[str, float]]:
    """Minutes of sound by kind and source, out of an index."""
    totals: dict[str, dict[str, float]] = {"speech": {}, "noise": {}}
    for clip in index["clips"]:
        by_source = totals[clip["set"]]
        by_source[clip["package"]] = (
            by_source.get(clip["package"], 0.0) + clip["length"] / index["sample_rate"] / 60
        )
    return totals


def _write_json(path, content):
    with whole_file(path) as partial:
        partial.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
