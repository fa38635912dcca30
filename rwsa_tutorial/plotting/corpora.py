"""Figures of corpora and of noises: are these different domains?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..domains.comparing import Description
from ..domains.distance import Distances
from ..domains.measures import MODULATIONS, THIRD_OCTAVES, modulation, spectrum
from ..scores.metrics import shown
from .style import HIGHLIGHT, SHARED, SLANTED, as_array

# Corpora and noises are no signals: other colours of the same palette, then other lines.
CORPUS_COLOURS = (HIGHLIGHT, "#56B4E9", SHARED, "#000000")
CORPUS_LINES, CORPUS_MARKERS = ("-", "--", ":", "-."), "os^D"


def _corpus_style(place):
    """Colour, line and marker of the corpus at a place in the list."""
    cycle = place // len(CORPUS_COLOURS) % len(CORPUS_LINES)
    colour = CORPUS_COLOURS[place % len(CORPUS_COLOURS)]
    return colour, CORPUS_LINES[cycle], CORPUS_MARKERS[cycle]


def corpora_compared(
    descriptions: Sequence[Description], results: Sequence[Distances] = ()
) -> tuple[Figure, dict[str, Axes]]:
    """Are corpora different domains? What was measured of each, and the distances between them.

    Points are recordings, bars their means; lines are means over recordings, shaded by their
    standard deviation. `descriptions` and `results` are what `comparing.compare` returns;
    without results the row of distances is left out.
    Returns the figure and its axes by name.
    """
    if not descriptions:
        raise ValueError("corpora_compared needs at least one description")
    points = {
        "snr_db": "SNR (dB)",
        "pitch_hz": "median pitch (Hz)",
        "syllables_per_second": "syllables a second",
        "unsteadiness_db": "noise unsteadiness (dB)",
    }
    rows = [tuple(points), ("clean", "noise", "modulation")]
    rows += [tuple(f"distance {r.signal}" for r in results)] if results else []
    fig = plt.figure(figsize=(12, 3.5 * len(rows)), layout="constrained")
    axes = {}
    for part, names in zip(fig.subfigures(len(rows), squeeze=False).flat, rows, strict=True):
        axes |= zip(names, part.subplots(1, len(names), squeeze=False).flat, strict=True)
    for name, words in points.items():
        _strips(axes[name], [[row[name] for row in d.rows] for d in descriptions])
        axes[name].set(ylabel=words)
        axes[name].set_xticks(range(len(descriptions)), [d.name for d in descriptions], **SLANTED)
    for name, title in (("clean", "speech, long-term"), ("noise", "noise, long-term")):
        _curves(axes[name], THIRD_OCTAVES, [(d.name, d.spectra[name]) for d in descriptions])
        _spectrum_axes(axes[name], title)
    modulations = [(d.name, d.modulations) for d in descriptions]
    _curves(axes["modulation"], MODULATIONS, modulations)
    _modulation_axes(axes["modulation"], "noise, modulation")
    axes["clean"].legend(fontsize=8)
    for result in results:
        _distances(axes[f"distance {result.signal}"], result)
    if results:
        part.suptitle(
            "in brackets: what 1 in 20 random divisions of the same recordings exceeds; bold: more "
            "than that; halves: of one corpus, drawn at random",
            fontsize=9,
        )
    return fig, axes


def _strips(ax, columns):
    """Values of each corpus as points side by side, with mean and standard deviation."""
    rng = np.random.default_rng(0)
    for place, values in enumerate(columns):
        colour, _, marker = _corpus_style(place)
        there = np.array([v for v in values if v is not None], dtype=float)
        if not there.size:
            ax.text(place, 0.5, shown(None), transform=ax.get_xaxis_transform(), ha="center")
            continue
        aside = place + rng.uniform(-0.28, -0.02, there.size)
        ax.plot(aside, there, marker, color=colour, markersize=3.5, alpha=0.55, markeredgewidth=0)
        ax.errorbar(place + 0.17, there.mean(), there.std(), fmt="_", color=colour, markersize=14)
    ax.set_xlim(-0.6, len(columns) - 0.4)
    ax.grid(axis="y", alpha=0.3)


def _curves(ax, positions, curves):
    """Mean and standard deviation over recordings; `curves`: (name, (recordings, bands))."""
    for place, (name, values) in enumerate(curves):
        colour, line, _ = _corpus_style(place)
        known = np.isfinite(values).any(axis=0)
        mean, sd = (f(values[:, known], axis=0) for f in (np.nanmean, np.nanstd))
        ax.plot(positions[known], mean, line, color=colour, linewidth=1.8, label=name)
        ax.fill_between(positions[known], mean - sd, mean + sd, color=colour, alpha=0.12)


def _spectrum_axes(ax, title):
    ax.set(title=title, xlabel="frequency (kHz)", ylabel="third-octave share of energy (dB)")
    ax.set_xscale("log")
    ax.set_xticks([31.25, 62.5, 125, 250, 500, 1000, 2000, 4000])
    ax.set_xticklabels(["0.03", "", "0.125", "", "0.5", "", "2", ""])
    ax.minorticks_off()
    ax.grid(alpha=0.3)


def _modulation_axes(ax, title):
    ax.set(title=title, xlabel="modulation frequency (Hz)", ylabel="modulation index (dB)")
    ax.set_xscale("log", base=2)
    ax.set_xticks(MODULATIONS, [f"{f:g}" for f in MODULATIONS])
    ax.grid(alpha=0.3)


def _distances(ax, result):
    """A matrix of distances: bold where they are beyond chance, halves of one on the diagonal."""
    distances = result.between.copy()
    np.fill_diagonal(distances, result.halves)
    ax.imshow(distances, cmap="Greys", vmin=0, vmax=2 * distances.max())  # light, for legible text
    for (i, j), value in np.ndenumerate(distances):
        beyond = i != j and value > result.chance[i, j]
        words = f"{value:.1f}\n" + ("halves" if i == j else f"({result.chance[i, j]:.1f})")
        weight = "bold" if beyond else "normal"
        ax.text(j, i, words, ha="center", va="center", fontsize=8, weight=weight)
    ax.set_title("distance (dB), " + {"clean": "speech"}.get(result.signal, result.signal))
    ax.set_xticks(range(len(result.names)), result.names, **SLANTED)
    ax.set_yticks(range(len(result.names)), result.names)


def noises_compared(
    ours: Sequence[tuple[str, np.ndarray]], recorded: Sequence[tuple[str, np.ndarray]]
) -> tuple[Figure, np.ndarray]:
    """Synthetic noises against recorded ones: long-term spectra and modulation spectra.

    `ours` and `recorded` are lists of (name, wave (n,) at 16 kHz); waves of one name are
    averaged. Above, ours are lines over the range of the recorded ones; below, the reverse.
    Returns the figure and its axes (2, 2).
    """
    if not ours or not recorded:
        raise ValueError("noises_compared needs noises of both kinds")
    fig, axes = plt.subplots(
        2, 2, figsize=(12, 9), sharex="col", sharey="col", layout="constrained"
    )
    kinds = (("ours", ours, "Oranges"), ("recorded", recorded, "Blues"))
    for column, (measure, positions, dress) in zip(
        axes.T,
        (
            (spectrum, THIRD_OCTAVES, _spectrum_axes),
            (modulation, MODULATIONS, _modulation_axes),
        ),
        strict=True,
    ):
        families = [_by_name(noises, measure) for _, noises, _ in kinds]
        for ax, (word, _, colours), curves, others in zip(
            column, kinds, families, reversed(families), strict=True
        ):
            other = next(k for k in kinds if k[0] != word)
            _range(ax, positions, others, f"range of {other[0]}", other[2])
            _family(ax, positions, curves, colours)
            dress(ax, f"{word} ({len(curves)})")
    bottom, top = axes[0, 0].get_ylim()
    axes[0, 0].set_ylim(max(bottom, -60), top)  # what is fainter has no part in the noise
    for ax in axes[0]:
        ax.set_xlabel("")
    for ax in axes[:, 1]:
        handles, _ = ax.get_legend_handles_labels()
        columns = math.ceil(len(handles) / 20)  # more would be higher than the axes
        ax.legend(fontsize=7.5, loc="center left", bbox_to_anchor=(1.01, 0.5), ncols=columns)
    return fig, axes


def _by_name(noises, measure):
    """name -> mean of a measure in dB over the waves of that name."""
    found = {}
    for name, wave in noises:
        found.setdefault(name, []).append(measure(as_array(wave)))
    return {name: np.mean(values, axis=0) for name, values in found.items()}


def _range(ax, positions, curves, label, colours):
    values = np.array(list(curves.values()))
    known = np.isfinite(values).any(axis=0)
    low, high = np.nanmin(values[:, known], axis=0), np.nanmax(values[:, known], axis=0)
    colour = plt.get_cmap(colours)(0.5)
    ax.fill_between(positions[known], low, high, color=colour, alpha=0.25, label=label)


def _family(ax, positions, curves, colours):
    """Lines of one colour family, told apart by lightness and dashes."""
    shades = plt.get_cmap(colours)(np.linspace(0.45, 1.0, len(curves)))
    for place, (name, values) in enumerate(curves.items()):
        line = CORPUS_LINES[place % len(CORPUS_LINES)]
        ax.plot(positions, values, line, color=shades[place], linewidth=1.4, label=name)
