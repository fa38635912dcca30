"""Scores, training curves, times, intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from numpy.typing import ArrayLike

from ..machine import duration
from ..scores.metrics import shown
from .signals import colour_of, magnitude_of, spectrogram
from .style import (
    CLEAN,
    ENHANCED,
    HIGHLIGHT,
    METRICS,
    MUTED,
    NOISY,
    SHARED,
    SLANTED,
    as_array,
    axes_of,
)


def scores(table: dict) -> tuple[Figure, np.ndarray]:
    """Bars of the four metrics. `table` maps names to what `rt.score` returns.

    A missing score (None or NaN) is written as a dash and never drawn as a bar.
    """
    fig, axes = plt.subplots(1, len(METRICS), figsize=(10, 2.8), layout="constrained")
    for ax, (metric, unit) in zip(axes, METRICS.items(), strict=True):
        floor = 1.0 if metric == "pesq" else 0.0  # the worst PESQ is 1
        for position, (name, row) in enumerate(table.items()):
            value = row.get(metric)
            if value is None or math.isnan(value):
                ax.text(position, floor, shown(None), ha="center", va="bottom")
                continue
            bar = ax.bar(position, value - floor, bottom=floor, color=colour_of(name), width=0.7)
            ax.bar_label(bar, [f"{value:.2f}"], padding=2)
        ax.axhline(floor, color="black", linewidth=0.8)
        ax.margins(y=0.2)
        ax.set(ylabel=unit, xlim=(-0.6, len(table) - 0.4))
        ax.set_xticks(range(len(table)), list(table))
    return fig, axes


def scan_times(rows: list[dict]) -> tuple[Figure, np.ndarray]:
    """Bars of each scan engine's time, on a log axis, with its ratio to the readable loop.

    `rows` is what `bench.scan_rows` returns; an engine that was not measured is named as such.
    """
    panels = {"forward": "forward", "forward_backward": "forward and backward"}
    size = (10, 1.3 + 0.45 * len(rows))
    fig, axes = plt.subplots(1, 2, figsize=size, sharex=True, sharey=True, layout="constrained")
    measured = [row for row in rows if row["not_measured"] is None]
    times = [row[f"{way}_s"] for row in measured for way in panels] or [1.0]
    low = 10 ** math.floor(math.log10(min(times)) - 0.3)
    for ax, (way, title) in zip(axes, panels.items(), strict=True):
        for place, row in enumerate(rows):
            if row["not_measured"] is not None:
                ax.text(low, place, "  not measured", va="center", color=MUTED)
                continue
            seconds, ratio = row[f"{way}_s"], row[f"{way}_ratio"]
            loop = row["engine"] == "reference"
            bar = ax.barh(place, seconds, color=MUTED if loop else HIGHLIGHT, height=0.65)
            note = "  (the loop)" if loop else f"  ({ratio:.2g} ×)" if ratio else ""
            ax.bar_label(bar, [duration(seconds) + note], padding=4)
        ax.set(title=title, xlabel="time (s)", xscale="log")
        # room for the words behind the longest bar
        ax.set_xlim(low, max(times) * (max(times) / low) ** 0.45)
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.grid(axis="x", alpha=0.3)
        ax.set_axisbelow(True)
    axes[0].set_yticks(range(len(rows)), [row["engine"] for row in rows])
    if rows:
        names = {"batch": "B", "channels": "D", "length": "L", "states": "N"}
        shape = ", ".join(f"{letter} = {rows[0][name]}" for name, letter in names.items())
        fig.suptitle(f"Selective scan, {shape}; × the speed of the loop", fontsize=11)
    return fig, axes


# the terms of the loss keep their colours in all figures; "loss" is their weighted sum
TERM_COLOURS = {
    "loss": "black",
    "magnitude": CLEAN,
    "phase": NOISY,
    "complex": ENHANCED,
    "wave": HIGHLIGHT,
    "consistency": SHARED,
    "metric": "#56B4E9",
    "discriminator": MUTED,
}


def training_curves(
    rows: list[dict], axes: Sequence[Axes] | np.ndarray | None = None
) -> tuple[FigureBase, Sequence[Axes] | np.ndarray]:
    """A run so far: the terms of the loss, PESQ and SI-SDR of validation, against the step.

    rows: of metrics.jsonl and validation.jsonl together, as `RunFolder.rows` gives them. The
    terms are not weighted, and are shown on a logarithmic scale; the whole loss is left out when
    it falls below 0, which SI-SDR, a term in negative dB, can bring about. A ring marks the best
    weights, a dashed line the noisy speech. axes: three, for the panels. Returns (fig, axes).
    """
    if axes is None:
        fig, axes = plt.subplots(1, 3, figsize=(11.0, 3.4), layout="constrained")
    else:
        fig = axes[0].figure
    losses = [row for row in rows if "loss" in row]
    for name, colour in TERM_COLOURS.items():
        points = [(row["step"], row[name]) for row in losses if row.get(name)]
        if points and min(value for _, value in points) > 0:
            width = 1.8 if name == "loss" else 1.0
            axes[0].plot(*zip(*points, strict=True), color=colour, linewidth=width, label=name)
    axes[0].set(yscale="log", xlabel="step", title="terms of the loss")
    if losses:
        axes[0].legend(fontsize=7, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    for ax, name in zip(axes[1:], ("pesq", "si_sdr"), strict=True):
        found = [row for row in rows if row.get(f"noisy_{name}") is not None]
        points = [(row["step"], row[name]) for row in found if row[name] is not None]
        if points:
            ax.plot(*zip(*points, strict=True), color=ENHANCED, marker=".", label="enhanced")
            ax.axhline(found[0][f"noisy_{name}"], color=NOISY, linestyle="--", label="noisy")
            best = [row for row in found if row["best"] and row[name] is not None]
            if best:
                at = (best[-1]["step"], best[-1][name])
                ax.plot(*at, "o", color=ENHANCED, markersize=9, fillstyle="none", label="kept")
            ax.legend(fontsize=7)
        ax.set(xlabel="step", title=f"validation: {METRICS[name]}")
    for ax in axes:
        ax.xaxis.get_major_locator().set_params(integer=True)
    return fig, axes


def training_progress(
    rows: list[dict], example: Mapping[str, ArrayLike] | None = None
) -> tuple[Figure, Sequence[Axes] | np.ndarray]:
    """`training_curves`, and below them one recording as it gets cleaner.

    rows: as for `training_curves`. example: name -> wave (n,) at 16 kHz, such as the files in a
    run's folder example/; None leaves the pictures out. Returns (fig, axes), axes a flat list.
    """
    count = len(example or ())
    fig = plt.figure(figsize=(11.0, 6.0 if count else 3.4), layout="constrained")
    parts = fig.subfigures(2 if count else 1, 1, squeeze=False).flat
    axes = list(next(parts).subplots(1, 3))
    training_curves(rows, axes)
    if count:
        below = next(parts).subplots(1, count, sharex=True, sharey=True, squeeze=False)[0]
        waves = {name: as_array(wave) for name, wave in example.items()}
        top = 20 * np.log10(max(magnitude_of(wave).max() for wave in waves.values()))
        for ax, (name, wave) in zip(below, waves.items(), strict=True):
            spectrogram(wave, ax=ax, top=top, title=name)
            ax.set_ylabel("frequency (kHz)" if ax is below[0] else "")
        axes += list(below)
    return fig, axes


# what counts as a clear change of each score, for the colours of `who_hears_what`
CLEAR_CHANGE = {"pesq": 2.0, "ssnr": 10.0, "estoi": 0.2, "si_sdr": 12.0}


def who_hears_what(
    terms: Mapping[str, Mapping],
    scores: Mapping[str, Mapping] | None = None,
    reference: str = "noisy",
) -> tuple[Figure, np.ndarray]:
    """Heat map of damages (rows) against terms of the loss and scores (columns).

    terms: {damage: {term: value}}, each value relative to that of the recording `reference`.
    scores: {damage: what `rt.score` returns}, with a row for `reference`, or None for no
    scores. Green is better than the reference, brown is worse, white is the same; the numbers stand
    in the cells. A missing score is a dash, an infinite one (or above 100 dB) an infinity sign.
    """
    names = list(next(iter(terms.values())))
    # 10 times more or less is the end of the scale
    images = [np.array([[-math.log10(max(row[n], 1e-3)) for n in names] for row in terms.values()])]
    words = [[[f"{row[n]:.2f}" for n in names] for row in terms.values()]]
    titles, columns = ["term of the loss, relative to the noisy recording's"], [names]
    if scores is not None:
        rows = [scores[damage] for damage in terms]
        images.append(
            np.array([[_change(row, scores[reference], m) for m in METRICS] for row in rows])
        )
        words.append([[_short(m, row[m]) for m in METRICS] for row in rows])
        titles.append("score")
        columns.append(list(METRICS.values()))
    widths = [len(c) for c in columns]
    fig, axes = plt.subplots(
        1,
        len(images),
        figsize=(2.2 + 0.85 * sum(widths), 1.3 + 0.33 * len(terms)),
        squeeze=False,
        sharey=True,
        width_ratios=widths,
        layout="constrained",
    )
    for ax, image, cells, title, names in zip(axes[0], images, words, titles, columns, strict=True):
        ax.imshow(image, cmap="BrBG", vmin=-1.4, vmax=1.4, aspect="auto")
        for (i, j), value in np.ndenumerate(image):
            ink = "white" if abs(value) > 0.85 else "black"
            ax.text(j, i, cells[i][j], ha="center", va="center", color=ink, fontsize=9)
        ax.set_title(title, fontsize=10)
        ax.set_xticks(range(len(names)), names, **SLANTED)
        ax.set_yticks(range(len(terms)), list(terms))
        ax.tick_params(length=0)
    return fig, axes[0]


def _change(row, reference, metric):
    """How far a score is from the reference's, in units of a clear change; 0 where missing."""
    if row[metric] is None or reference[metric] is None:
        return 0.0
    return float(np.clip((row[metric] - reference[metric]) / CLEAR_CHANGE[metric], -1.4, 1.4))


def _short(metric, value):
    """A score in few characters."""
    if value is None or metric in ("pesq", "estoi"):
        return shown(value, 2 if metric == "estoi" else 1)
    return f"{value:.0f}" if abs(value) < 100 else "∞" if value > 0 else "−∞"


def gain_map(
    table: Mapping[str, Mapping],
    scale: float | Mapping[str, float],
    ax: Axes | None = None,
    *,
    title: str | None = None,
    form: str = "{:+.2f}",
) -> tuple[Figure, Axes]:
    """Gains as a map of colours, with the numbers in the cells: green is better, brown is worse.

    table: {row: {column: gain, or None for a dash}}; the columns are those of all rows, in the
    order in which they come. scale: the gain at which the colour is full, the same for all columns
    or {column: gain}. form: how a number is written.
    """
    if not table:
        raise ValueError("gain_map needs at least one row")
    names = list(dict.fromkeys(name for row in table.values() for name in row))
    full = scale if isinstance(scale, dict) else dict.fromkeys(names, scale)
    cells = [[row.get(name) for name in names] for row in table.values()]
    image = [
        [np.nan if v is None else v / full[n] for v, n in zip(row, names, strict=True)]
        for row in cells
    ]
    fig, ax = axes_of(ax, (2.2 + 1.0 * len(names), 1.3 + 0.36 * len(table)))
    ax.imshow(np.clip(image, -1, 1), cmap="BrBG", vmin=-1.2, vmax=1.2, aspect="auto")
    for (i, j), value in np.ndenumerate(image):
        words = shown(None) if cells[i][j] is None else form.format(cells[i][j]).replace("-", "−")
        ink = "white" if abs(value) > 0.75 else "black"
        ax.text(j, i, words, ha="center", va="center", color=ink, fontsize=9)
    ax.set_title(title or "", fontsize=11)
    ax.set_xticks(range(len(names)), names, **SLANTED)
    ax.set_yticks(range(len(table)), list(table))
    ax.tick_params(length=0)
    return fig, ax


def interval_rows(
    rows: Mapping[str, tuple],
    ax: Axes | None = None,
    *,
    colours: Mapping[str, str] | None = None,
    label: str | None = None,
) -> tuple[Figure, Axes]:
    """Means with their intervals, a line each, the first on top; a grey line marks no gain.

    rows: {name: (mean, low, high)}, or (mean, None, None) for a mean alone. colours: {name:
    colour}; grey for the others. label: of the horizontal axis, with its unit.
    """
    if not rows:
        raise ValueError("interval_rows needs at least one row")
    fig, ax = axes_of(ax, (7.5, 1.0 + 0.32 * len(rows)))
    ax.axvline(0, color=MUTED, linewidth=1)
    for place, (name, (mean, low, high)) in enumerate(rows.items()):
        colour = (colours or {}).get(name, MUTED)
        if low is not None:
            ax.plot([low, high], [place, place], color=colour, linewidth=2.5, alpha=0.6)
        ax.plot(mean, place, "o", color=colour, markersize=6)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set(ylim=(len(rows) - 0.4, -0.6), xlabel=label or "")
    ax.grid(axis="x", alpha=0.3)
    return fig, ax
