"""Recordings that `making.packing` has packed: stretches of two flat arrays."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class PackedClip:
    """Samples `start` to `stop` of a flat int16 array, to be mixed like a `corpus.Clip`."""

    path: Path
    group: str
    start: int
    stop: int

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Some samples of the clip, counted from its own start: float32 (n,), full scale 1."""
        last = self.stop if stop is None else min(self.start + stop, self.stop)
        # Opened for each read: a map kept in the clip would be copied whole to spawned workers.
        samples = np.load(self.path, mmap_mode="r")
        return samples[self.start + start : last].astype(np.float32) / 32768


def sounds(folder: Path, split: str) -> dict[str, tuple[PackedClip, ...]]:
    """The clips of a split ("train", "valid"): {"speech": clips, "noise": clips}.

    Groups are speakers and kinds of noise. Speech whose estimated SNR is below 30 dB is left out.
    Raises FileNotFoundError when the folder is not packed.
    """
    folder = Path(folder)
    if not (folder / "index.json").exists():
        raise FileNotFoundError(
            f"{folder} holds no index.json; gather data first: "
            f"python -m rwsa_tutorial.making.recorded {folder}"
        )
    found: dict[str, list[PackedClip]] = {"speech": [], "noise": []}
    for clip in json.loads((folder / "index.json").read_text(encoding="utf-8"))["clips"]:
        if clip["split"] == split and clip.get("snr_db", 99) >= 30:
            kind, start = clip["set"], clip["start"]
            name = clip["speaker"] if kind == "speech" else Path(clip["file"]).name
            group = clip["package"] + "/" + name.split("#")[0]
            path = folder / f"{kind}.npy"
            found[kind].append(PackedClip(path, group, start, start + clip["length"]))
    return {kind: tuple(clips) for kind, clips in found.items()}
