"""Are our synthetic noises varied, and not toy-like? A figure of them against recorded ones.

python -m rwsa_tutorial.making.likeness --recorded FOLDER --out docs/noises.png
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .. import audio, tables
from ..corpora.pairs import recordings
from ..domains.measures import THIRD_OCTAVES, modulation, spectrum, unsteadiness
from ..features import SAMPLE_RATE
from ..paths import data_path, whole_file

SECONDS = 30  # of each recording, so that a long one does not count for more


def noises_of(paths: Iterable[str | Path], progress: bool = True) -> list[tuple[str, np.ndarray]]:
    """(name, wave) of each noise recording: up to 30 s, at 16 kHz; channels are averaged.

    The name is the file's without its extension. Raises ValueError, in words, for what is no
    audio, silent, or under 4 s, which is too short for a modulation spectrum down to 0.5 Hz.
    """
    found = []
    for path in tqdm(paths, desc="reading", unit="noise", disable=not progress):
        wave, rate = audio.read(path)
        wave = wave[: SECONDS * rate]
        wave = wave if wave.ndim == 1 else wave.mean(axis=1)
        if len(wave) < 4 * rate or not wave.any():
            raise ValueError(f"{path} is silent or under 4 s: there is nothing to compare.")
        found.append((path.stem, audio.resample(wave, rate, SAMPLE_RATE)))
    return found


def table(kinds: Mapping[str, list[tuple[str, np.ndarray]]]) -> str:
    """Text: for each noise its unsteadiness, loudest band and deepest modulation.

    kinds: {"ours": [(name, wave)], ...}.
    """
    lines = [["", "noise", "unsteadiness (dB)", "loudest band (Hz)", "modulation at 4 Hz (dB)"]]
    for kind, noises in kinds.items():
        for name, wave in noises:
            moves, loudest = unsteadiness(wave), THIRD_OCTAVES[np.nanargmax(spectrum(wave))]
            depth = modulation(wave)[3]
            lines.append([kind, name, f"{moves:.1f}", f"{loudest:.0f}", f"{depth:.1f}"])
    return tables.aligned(lines, left=2)


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figure, print the table. Exit status 2, with a line, for bad input."""
    parser = argparse.ArgumentParser("rwsa_tutorial.making.likeness", description=__doc__)
    parser.add_argument("--recorded", required=True, help="folder of recorded noises")
    parser.add_argument("--ours", help="folder whose folders called noise hold ours (data/mini)")
    parser.add_argument("--out", required=True, help="the figure: .png, .pdf or .svg")
    options = parser.parse_args(argv)
    from ..plotting.corpora import noises_compared

    try:
        ours = recordings(options.ours or data_path("mini"))
        ours = [path for path in ours if path.parent.name == "noise"]
        recorded = recordings(options.recorded)
        for paths, folder in ((ours, options.ours or "data/mini"), (recorded, options.recorded)):
            if not paths:
                raise ValueError(f"{folder} holds no noise recordings.")
        kinds = {"ours": noises_of(ours), "recorded": noises_of(recorded)}
        fig, _ = noises_compared(*kinds.values())
        with whole_file(options.out) as part:
            fig.savefig(part, dpi=100)
        print(table(kinds))
    except (OSError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
