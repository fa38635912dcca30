"""Figures of the course. Each function takes an optional ``ax`` and returns ``(fig, ax)``.

The same signal has the same colour in every lesson, and every spectrogram the same colour map.
Signals may be NumPy arrays or tensors on any device.
"""

from __future__ import annotations

import itertools
import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.patches import FancyBboxPatch

from .domains.measures import MODULATIONS, THIRD_OCTAVES, modulation, spectrum
from .features import COMPRESSION, HOP, N_FFT, SAMPLE_RATE
from .machine import duration
from .scores.metrics import shown

# From the palette of Okabe and Ito, which colour-blind readers can tell apart.
CLEAN, NOISY, ENHANCED = "#0072B2", "#E69F00", "#009E73"
HIGHLIGHT, SHARED, MUTED = "#D55E00", "#CC79A7", "#7F7F7F"
COLOURS = {"clean": CLEAN, "noisy": NOISY, "enhanced": ENHANCED}
SPECTROGRAM_MAP, PHASE_MAP = "magma", "twilight"

LESSONS = (
    ("00", "Start here", "hear the result"),
    ("01", "STFT features", "sound as a picture"),
    ("02", "Mamba scan", "a memory that selects"),
    ("03", "Attention", "everything sees everything"),
    ("04", "MambAttention block", "scan and attention together"),
    ("05", "Resolution-wise sharing", "one weight set, four uses"),
    ("06", "U-Net", "the whole network"),
    ("07", "Losses and metrics", "what does 'better' mean?"),
    ("08", "Train it", "from noise to a result"),
    ("09", "Cross-corpus", "does it hold elsewhere?"),
    ("10", "Playground", "sliders only"),
)
METRICS = {
    "pesq": "PESQ (MOS)",
    "ssnr": "SSNR (dB)",
    "estoi": "ESTOI (0 to 1)",
    "si_sdr": "SI-SDR (dB)",
}


def _array(values) -> np.ndarray:
    """Tensor or array-like -> NumPy array on the CPU."""
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def _axes(ax, size=(9.0, 3.2)):
    """The given axes with their figure, or new ones."""
    if ax is None:
        return plt.subplots(figsize=size, layout="constrained")
    return ax.figure, ax


def colour_of(name: str) -> str:
    """Colour of a signal by the words in its name ("noisy", "nano, enhanced"); grey if none."""
    return next((c for word, c in COLOURS.items() if word in name.lower()), MUTED)


def magnitude_of(values, n_fft=N_FFT, hop=HOP, exponent=COMPRESSION) -> np.ndarray:
    """Uncompressed STFT magnitude (F, T) of a waveform (n,) or of a compressed magnitude (F, T).

    Raises ValueError for any other number of axes.
    """
    values = _array(values)
    if values.ndim == 1:
        wave = torch.as_tensor(values, dtype=torch.float64)
        window = torch.hann_window(n_fft, dtype=torch.float64)
        # a clip shorter than half a window has nothing to reflect
        pad = "reflect" if wave.numel() > n_fft // 2 else "constant"
        spec = torch.stft(wave, n_fft, hop, window=window, pad_mode=pad, return_complex=True)
        return spec.abs().numpy()
    if values.ndim == 2:
        return np.maximum(values, 0.0) ** (1 / exponent)
    raise ValueError(
        f"a spectrogram needs a waveform (n,) or a magnitude (F, T), got shape {values.shape}"
    )


def waveform(wave, sample_rate: int = SAMPLE_RATE, ax=None, *, label=None, colour=None, title=None):
    """A waveform (n,) against time in seconds; ``label`` also chooses the colour."""
    wave = _array(wave)
    if wave.ndim != 1:
        raise ValueError(f"a waveform has one axis (n,), got shape {wave.shape}")
    fig, ax = _axes(ax, (9.0, 2.2))
    colour = colour or colour_of(label or "")
    ax.plot(np.arange(wave.size) / sample_rate, wave, color=colour, linewidth=0.7, label=label)
    ax.set(xlabel="time (s)", ylabel="amplitude", title=title or "")
    ax.margins(x=0)
    if label:
        ax.legend(loc="upper right")
    return fig, ax


def spectrogram(
    values,
    sample_rate: int = SAMPLE_RATE,
    ax=None,
    *,
    n_fft: int = N_FFT,
    hop: int = HOP,
    exponent: float = COMPRESSION,
    scale: str = "db",
    dynamic_range: float = 70.0,
    top: float | None = None,
    title: str | None = None,
    colour_bar: bool = True,
):
    """Spectrogram of a waveform (n,) or of a compressed magnitude (F, T), in seconds and kHz.

    ``scale="db"`` shows 20 log10 of the magnitude, ``dynamic_range`` dB down from ``top`` (dB;
    default: the loudest bin); ``scale="compressed"`` shows magnitude ** ``exponent`` from 0 to
    ``top``. Pixel (k, t) is centred on k * sample_rate / n_fft and on t * hop / sample_rate.
    Raises ValueError for an unknown scale or another number of axes.
    """
    magnitude = magnitude_of(values, n_fft, hop, exponent)
    if scale == "db":
        image = 20 * np.log10(np.maximum(magnitude, 1e-10))
        top = float(image.max()) if top is None else top
        low, unit = top - dynamic_range, "magnitude (dB)"
    elif scale == "compressed":
        image = magnitude**exponent
        top = float(image.max()) if top is None else top
        low, unit = 0.0, "magnitude" + (f"$^{{{exponent:g}}}$" if exponent != 1 else "")
    else:
        raise ValueError(f'scale is "db" or "compressed", not {scale!r}')
    fig, ax = _axes(ax)
    picture = _picture(ax, image, sample_rate, n_fft, hop, cmap=SPECTROGRAM_MAP, vmin=low, vmax=top)
    ax.set_title(title or "")
    if colour_bar:
        fig.colorbar(picture, ax=ax, label=unit)
    return fig, ax


def phase_picture(
    phase,
    sample_rate: int = SAMPLE_RATE,
    ax=None,
    *,
    n_fft: int = N_FFT,
    hop: int = HOP,
    title: str | None = None,
):
    """A phase (F, T) in radians on a colour map that closes: -pi and pi look alike."""
    fig, ax = _axes(ax)
    picture = _picture(
        ax, _array(phase), sample_rate, n_fft, hop, cmap=PHASE_MAP, vmin=-math.pi, vmax=math.pi
    )
    ax.set_title(title or "")
    bar = fig.colorbar(picture, ax=ax, label="phase (rad)", ticks=[-math.pi, 0, math.pi])
    bar.ax.set_yticklabels(["$-\\pi$", "0", "$\\pi$"])
    return fig, ax


def mask_picture(
    mask,
    sample_rate: int = SAMPLE_RATE,
    ax=None,
    *,
    n_fft: int = N_FFT,
    hop: int = HOP,
    top: float = 2.0,
    title: str | None = None,
):
    """A mask (F, T): white leaves a bin alone, brown lowers it, green raises it (0 to ``top``)."""
    fig, ax = _axes(ax)
    picture = _picture(ax, _array(mask), sample_rate, n_fft, hop, cmap="BrBG", vmin=0, vmax=top)
    ax.set_title(title or "")
    fig.colorbar(picture, ax=ax, label="mask (factor)")
    return fig, ax


def _picture(ax, image, sample_rate, n_fft, hop, **style):
    """An (F, T) image with pixel centres on the frames' times and the bins' frequencies."""
    bins, frames = image.shape
    second, kilohertz = hop / sample_rate, sample_rate / n_fft / 1000
    extent = (-second / 2, (frames - 0.5) * second, -kilohertz / 2, (bins - 0.5) * kilohertz)
    ax.set(xlabel="time (s)", ylabel="frequency (kHz)")
    return ax.imshow(
        image, origin="lower", aspect="auto", extent=extent, interpolation="nearest", **style
    )


def before_after(signals: dict, sample_rate: int = SAMPLE_RATE, *, dynamic_range: float = 70.0):
    """Waveforms over spectrograms, a column a signal, all on the same scales.

    ``signals`` maps names ("noisy", "enhanced", "clean") to waveforms (n,).
    Returns the figure and its axes as an array (2, number of signals).
    """
    if not signals:
        raise ValueError("before_after needs at least one signal")
    fig, axes = plt.subplots(
        2,
        len(signals),
        figsize=(max(4.5, 3.7 * len(signals)), 4.6),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
        height_ratios=(1, 2),
    )
    loudest = max(float(magnitude_of(wave).max()) for wave in signals.values())
    top = 20 * math.log10(max(loudest, 1e-10))
    for column, (name, wave) in zip(axes.T, signals.items(), strict=True):
        waveform(wave, sample_rate, column[0], colour=colour_of(name), title=name)
        spectrogram(
            wave, sample_rate, column[1], top=top, dynamic_range=dynamic_range, colour_bar=False
        )
        column[0].set_xlabel("")
    for ax in axes[:, 1:].flat:
        ax.set_ylabel("")
    fig.colorbar(axes[1, -1].images[0], ax=axes, shrink=0.62, anchor=(0, 0), label="magnitude (dB)")
    return fig, axes


def scores(table: dict):
    """Bars of the four metrics. ``table`` maps names to what ``rt.score`` returns.

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


def scan_times(rows):
    """Bars of each scan engine's time, on a log axis, with its ratio to the readable loop.

    ``rows`` is what ``bench.scan_rows`` returns; an engine that was not measured is named as such.
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


# Corpora and noises are no signals: other colours of the same palette, then other lines.
CORPUS_COLOURS = (HIGHLIGHT, "#56B4E9", SHARED, "#000000")
SLANTED = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"}  # names below an axis
CORPUS_LINES, CORPUS_MARKERS = ("-", "--", ":", "-."), "os^D"


def _corpus_style(place):
    """Colour, line and marker of the corpus at a place in the list."""
    cycle = place // len(CORPUS_COLOURS) % len(CORPUS_LINES)
    colour = CORPUS_COLOURS[place % len(CORPUS_COLOURS)]
    return colour, CORPUS_LINES[cycle], CORPUS_MARKERS[cycle]


def corpora_compared(descriptions, results=()):
    """Are corpora different domains? What was measured of each, and the distances between them.

    Points are recordings, bars their means; lines are means over recordings, shaded by their
    standard deviation. ``descriptions`` and ``results`` are what ``comparing.compare`` returns;
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
    """Mean and standard deviation over recordings; ``curves``: (name, (recordings, bands))."""
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


def noises_compared(ours, recorded):
    """Synthetic noises against recorded ones: long-term spectra and modulation spectra.

    ``ours`` and ``recorded`` are lists of (name, wave (n,) at 16 kHz); waves of one name are
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
        found.setdefault(name, []).append(measure(_array(wave)))
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


def _box(ax, centre, size, text, *, face="white", edge="black", width=1.0, font=8.5):
    """A rounded box with text in its middle."""
    x, y = centre[0] - size[0] / 2, centre[1] - size[1] / 2
    style = "round,pad=0,rounding_size=0.08"
    ax.add_patch(
        FancyBboxPatch(
            (x, y), *size, boxstyle=style, facecolor=face, edgecolor=edge, linewidth=width
        )
    )
    ax.text(*centre, text, ha="center", va="center", fontsize=font, linespacing=1.25)


def _arrow(ax, start, end, *, style="-|>", colour="black", line="-", bend=0.0, width=1.1):
    """An arrow between two points; ``bend`` curves it."""
    ax.annotate(
        "",
        xy=end,
        xytext=start,
        arrowprops={
            "arrowstyle": style,
            "color": colour,
            "linestyle": line,
            "linewidth": width,
            "shrinkA": 0,
            "shrinkB": 0,
            "connectionstyle": f"arc3,rad={bend}",
        },
    )


def course_map(here: str | None = None, ax=None):
    """The eleven lessons in reading order; ``here`` ("00" to "10") marks one.

    Raises ValueError for a number that is no lesson.
    """
    numbers = [number for number, _, _ in LESSONS]
    if here is not None and here not in numbers:
        raise ValueError(f"no lesson {here!r}; the lessons are {', '.join(numbers)}")
    fig, ax = _axes(ax, (10.5, 4.3))
    rows = (
        ("Hear it", LESSONS[:2]),
        ("Build the parts", LESSONS[2:5]),
        ("Put them together", LESSONS[5:7]),
        ("Train and judge", LESSONS[7:10]),
        ("Play", LESSONS[10:]),
    )
    faces = ("#E6F1F8", "#FCF3DF", "#E2F3ED", "#F9EDF3", "#EEEEEE")
    centres = {}
    for row, ((heading, lessons), face) in enumerate(zip(rows, faces, strict=True)):
        y = -1.0 * row
        ax.text(-1.55, y, heading, ha="right", va="center", fontsize=11, color="#444444")
        for column, (number, title, idea) in enumerate(lessons):
            centres[number] = (2.9 * column, y)
            _box(
                ax,
                centres[number],
                (2.5, 0.68),
                f"$\\bf{{{number}}}$  {title}\n{idea}",
                face=face,
                edge=HIGHLIGHT if number == here else "#555555",
                width=3.0 if number == here else 1.0,
                font=9.5,
            )
    for start, end in zip(numbers[:-1], numbers[1:], strict=True):
        (x0, y0), (x1, y1) = centres[start], centres[end]
        if y0 == y1:
            _arrow(ax, (x0 + 1.25, y0), (x1 - 1.25, y1), colour="#555555")
        else:  # the next row starts again on the left
            ax.plot([x0, x0, x1], [y0 - 0.34, y0 - 0.5, y0 - 0.5], color="#555555", linewidth=1.1)
            _arrow(ax, (x1, y0 - 0.5), (x1, y1 + 0.34), colour="#555555")
    ax.set(xlim=(-3.6, 7.1), ylim=(-4.45, 0.45))
    ax.axis("off")
    return fig, ax


# name of a part -> (centre, text); one unit of the drawing is about 0.85 inch.
NETWORK_PARTS = {
    "noisy": ((0.0, 3.0), "noisy\nwave"),
    "stft": ((1.25, 3.0), "STFT\nmag$^{0.3}$, phase"),
    "encoder": ((2.6, 3.0), "encoder\nF 256 → 128"),
    "level1_down": ((3.95, 3.0), "level 1\nC,  T × 128"),
    "level2_down": ((4.7, 1.75), "level 2\n2C,  T/2 × 64"),
    "level3": ((6.05, 0.5), "level 3\n3C,  T/4 × 32"),
    "level2_up": ((7.4, 1.75), "level 2\n2C,  T/2 × 64"),
    "level1_up": ((8.15, 3.0), "level 1\nC,  T × 128"),
    "refine_mag": ((9.6, 3.65), "refine\nmagnitude"),
    "refine_phase": ((9.6, 2.35), "refine\nphase"),
    "mask_decoder": ((10.95, 3.65), "mask decoder\n× magnitude"),
    "phase_decoder": ((10.95, 2.35), "phase\ndecoder"),
    "istft": ((12.3, 3.0), "inverse\nSTFT"),
    "enhanced": ((13.65, 3.0), "enhanced\nwave"),
}
NETWORK_GROUPS = {
    "stft": ("stft", "istft"),
    "unet": ("level1_down", "level2_down", "level3", "level2_up", "level1_up"),
    "refinement": ("refine_mag", "refine_phase"),
    "mamba": (
        *("level1_down", "level2_down", "level3", "level2_up", "level1_up"),
        *("refine_mag", "refine_phase"),
    ),
    "decoders": ("mask_decoder", "phase_decoder"),
    "sharing": ("level1_down", "level2_down", "level3", "level2_up", "level1_up"),
    "all": tuple(NETWORK_PARTS),
}


def network_map(here: str | None = None, ax=None):
    """The whole network, with "you are here" on a part or a group of parts.

    ``here`` is a key of NETWORK_PARTS or of NETWORK_GROUPS ("stft" marks both transforms).
    Raises ValueError for any other name.
    """
    if here is not None and here not in NETWORK_PARTS and here not in NETWORK_GROUPS:
        known = ", ".join(sorted(NETWORK_PARTS | NETWORK_GROUPS))
        raise ValueError(f"no part {here!r}; the parts are {known}")
    marked = NETWORK_GROUPS.get(here, (here,))
    fig, ax = _axes(ax, (12.2, 4.8))
    half_width, half_height = 0.58, 0.38
    at = {name: centre for name, (centre, _) in NETWORK_PARTS.items()}

    def side(name, dx, dy):
        return at[name][0] + dx * half_width, at[name][1] + dy * half_height

    straight = (("noisy", "stft"), ("stft", "encoder"), ("encoder", "level1_down"))
    straight += (("refine_mag", "mask_decoder"), ("refine_phase", "phase_decoder"))
    straight += (("istft", "enhanced"),)
    for start, end in straight:
        _arrow(ax, side(start, 1, 0), side(end, -1, 0))
    for start, end in (("level1_down", "level2_down"), ("level2_down", "level3")):
        _arrow(ax, side(start, 0, -1), side(end, -0.4, 1))
    for start, end in (("level3", "level2_up"), ("level2_up", "level1_up")):
        _arrow(ax, side(start, 0.4, 1), side(end, 0, -1))
    for end in ("refine_mag", "refine_phase"):
        _arrow(ax, side("level1_up", 1, 0), side(end, -1, 0))
    for start in ("mask_decoder", "phase_decoder"):
        _arrow(ax, side(start, 1, 0), side("istft", -1, 0))

    # The noisy magnitude is what the mask multiplies.
    _route(ax, [side("stft", 0, 1), (1.25, 4.75), (10.95, 4.75), side("mask_decoder", 0, 1)], MUTED)
    ax.text(6.05, 4.78, "noisy magnitude", ha="center", va="bottom", fontsize=8, color="#555555")
    # The encoder's output is added behind both refinements: on the arrows that leave them.
    behind = (at["refine_mag"][0] + at["mask_decoder"][0]) / 2
    for up, height, name in ((1, 4.2, "refine_mag"), (-1, -0.25, "refine_phase")):
        end = (behind, at[name][1] + 0.04 * up)
        _route(ax, [side("encoder", 0, up), (2.6, height), (behind, height), end], MUTED)
    ax.text(6.05, 4.23, "+ encoder output", ha="center", va="bottom", fontsize=8, color="#555555")
    ax.text(6.05, -0.28, "+ encoder output", ha="center", va="top", fontsize=8, color="#555555")

    strong = 2.6 if here == "sharing" else 1.6
    for level in ("level1", "level2"):
        left, right = side(f"{level}_down", 1, 0.4), side(f"{level}_up", -1, 0.4)
        _arrow(ax, left, right)
        left, right = side(f"{level}_down", 1, -0.4), side(f"{level}_up", -1, -0.4)
        _arrow(ax, left, right, style="<|-|>", colour=SHARED, line="--", width=strong)
        ax.text(6.05, left[1] + 0.34, "skip", ha="center", va="bottom", fontsize=8)
        ax.text(
            6.05,
            left[1] - 0.07,
            "shared: four uses",
            ha="center",
            va="top",
            fontsize=8,
            color="#9C3F70",
        )
    ax.text(6.72, 0.5, "shared:\ntwo uses", va="center", fontsize=8, color="#9C3F70")

    for name, (centre, text) in NETWORK_PARTS.items():
        on = name in marked
        _box(
            ax,
            centre,
            (2 * half_width, 2 * half_height),
            text,
            face="#FBE3D3" if on else colour_of(name) + "33" if name in COLOURS else "white",
            edge=HIGHLIGHT if on else SHARED if name.startswith("level") else "#333333",
            width=3.0 if on else 1.2,
            font=8,
        )
    if here is not None:
        _box(ax, (0.0, 0.4), (0.4, 0.26), "", face="#FBE3D3", edge=HIGHLIGHT, width=3.0)
        ax.text(0.35, 0.4, "you are here", color=HIGHLIGHT, fontsize=11, va="center")
    ax.set(xlim=(-0.7, 14.35), ylim=(-0.65, 5.15))
    ax.set_aspect("equal")
    ax.axis("off")
    return fig, ax


def _route(ax, corners, colour):
    """A line through ``corners`` that ends in an arrow."""
    xs, ys = zip(*corners, strict=True)
    ax.plot(xs[:-1], ys[:-1], color=colour, linewidth=1.0)
    _arrow(ax, corners[-2], corners[-1], colour=colour, width=1.0)


def doubling_map(steps: int = 8, ax=None):
    """Who adds to whom in the doubling scan of ``steps`` elements, a row a round.

    An arrow carries the sum of a span of steps to the place where it is joined to the next span.
    Marked are the ways that lead to the last state. Raises ValueError for fewer than two steps.
    """
    if steps < 2:
        raise ValueError(f"a scan of at least two steps has rounds to draw, got {steps}")
    rounds = math.ceil(math.log2(steps))
    fig, ax = _axes(ax, (9.0, 0.9 + 0.75 * rounds))
    last = {rounds: {steps - 1}}  # places that the last state depends on, round by round
    for r in reversed(range(rounds)):
        last[r] = last[r + 1] | {t - 2**r for t in last[r + 1] if t >= 2**r}
    for r in range(rounds):
        for t in range(steps):
            for source in (t, t - 2**r):
                if source >= 0:
                    on = t in last[r + 1]
                    _arrow(
                        ax,
                        (source, -r - 0.18),
                        (t, -r - 0.82),
                        colour=HIGHLIGHT if on else "#BBBBBB",
                        width=1.6 if on else 0.9,
                    )
    for r in range(rounds + 1):
        for t in range(steps):
            first = max(0, t - 2**r + 1)
            text = f"{t}" if first == t else f"{first}–{t}"
            _box(ax, (t, -r), (0.62, 0.36), text, edge=HIGHLIGHT if t in last[r] else "#555555")
        words = "steps" if r == 0 else f"after round {r}"
        ax.text(-0.55, -r, words, ha="right", va="center", fontsize=9, color="#444444")
    ax.set(xlim=(-1.9, steps - 0.5), ylim=(-rounds - 0.35, 0.35))
    ax.axis("off")
    return fig, ax


def mixer_map(ax=None):
    """The Mamba mixer as boxes, with the shape of what runs along each arrow."""
    fig, ax = _axes(ax, (11.5, 3.9))
    parts = {
        "in_proj": ((1.5, 1.6), "in_proj", "white"),
        "conv": ((3.6, 1.6), "causal\nconvolution", "white"),
        "silu": ((5.2, 1.6), "SiLU", "white"),
        "x_proj": ((6.3, 3.0), "x_proj", "white"),
        "dt_proj": ((8.1, 3.0), "dt_proj\nsoftplus", "white"),
        "scan": ((8.9, 1.6), "selective scan\n$A$,  skip $D$", "#FBE3D3"),
        "gate": ((8.9, 0.25), "SiLU", "white"),
        "times": ((10.7, 1.6), "×", "white"),
        "out_proj": ((12.2, 1.6), "out_proj", "white"),
    }
    size = {"scan": (1.7, 0.8), "times": (0.5, 0.5)}
    for name, (centre, text, face) in parts.items():
        edge, width = (HIGHLIGHT, 2.4) if name == "scan" else ("#333333", 1.2)
        box = size.get(name, (1.25, 0.66))
        _box(ax, centre, box, text, face=face, edge=edge, width=width, font=9)

    def say(x, y, text):
        ax.text(x, y, text, ha="center", va="bottom", fontsize=8.5, color="#444444")

    for start, end in (
        ((-0.4, 1.6), (0.87, 1.6)),
        ((2.13, 1.6), (2.97, 1.6)),
        ((4.23, 1.6), (4.57, 1.6)),
        ((5.83, 1.6), (8.05, 1.6)),
        ((6.3, 1.6), (6.3, 2.67)),
        ((6.93, 3.1), (7.47, 3.1)),
        ((8.7, 2.67), (8.7, 2.0)),
        ((9.75, 1.6), (10.45, 1.6)),
        ((10.95, 1.6), (11.57, 1.6)),
        ((12.83, 1.6), (14.1, 1.6)),
    ):
        _arrow(ax, start, end)
    ax.plot([1.5, 1.5, 8.27], [1.27, 0.25, 0.25], color="black", linewidth=1.1)
    _arrow(ax, (8.2, 0.25), (8.27, 0.25))
    _route(ax, [(9.53, 0.25), (10.7, 0.25), (10.7, 1.35)], "black")
    _route(ax, [(6.75, 2.67), (6.75, 2.2), (8.3, 2.2), (8.3, 2.0)], "black")
    say(0.2, 1.66, "$x$ (B, L, C)")
    say(2.55, 1.66, "$u$")
    say(3.6, 0.3, "gate $z$ (B, D, L)")
    say(7.3, 1.66, "$u$ (B, D, L)")
    say(7.5, 2.22, "$B$, $C$ (B, N, L)")
    say(9.35, 2.2, "$\\Delta$ (B, D, L)")
    say(13.5, 1.66, "(B, L, C)")
    ax.set(xlim=(-0.6, 14.4), ylim=(-0.2, 3.45))
    ax.axis("off")
    return fig, ax


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


def training_curves(rows, axes=None):
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


def training_progress(rows, example=None):
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
        waves = {name: _array(wave) for name, wave in example.items()}
        top = 20 * np.log10(max(magnitude_of(wave).max() for wave in waves.values()))
        for ax, (name, wave) in zip(below, waves.items(), strict=True):
            spectrogram(wave, ax=ax, top=top, title=name)
            ax.set_ylabel("frequency (kHz)" if ax is below[0] else "")
        axes += list(below)
    return fig, axes


def angle_difference(target, estimate, ax=None):
    """Two angles in radians on the circle: their plain difference, and the short way between them.

    The plain difference is drawn as the way along the number line, around the circle as often as it
    takes; the other is `losses.anti_wrapped`.
    """
    fig, ax = _axes(ax, (3.6, 3.6))
    plain = estimate - target
    short = plain - 2 * math.pi * round(plain / (2 * math.pi))
    ways = (
        (plain, 0.42, NOISY, f"plain difference {abs(plain):.2f} rad"),
        (short, 0.66, ENHANCED, f"short way {abs(short):.2f} rad"),
    )
    circle = np.linspace(0, 2 * np.pi, 200)
    ax.plot(np.cos(circle), np.sin(circle), color=MUTED, linewidth=0.8)
    for way, radius, colour, words in ways:
        along = target + np.linspace(0, way, 200)
        ax.plot(radius * np.cos(along), radius * np.sin(along), color=colour, lw=3, label=words)
    hands = ((target, CLEAN, "target"), (estimate, HIGHLIGHT, "estimate"))
    for place, (angle, colour, words) in enumerate(hands):
        x, y = math.cos(angle), math.sin(angle)
        ax.plot([0, x], [0, y], color=colour, linewidth=1.6)
        ax.plot(x, y, "os"[place], color=colour, label=f"{words} {angle:.2f} rad")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), fontsize=8, ncols=2, frameon=False)
    ax.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15))
    ax.set_aspect("equal")
    ax.axis("off")
    return fig, ax


# what counts as a clear change of each score, for the colours of `who_hears_what`
CLEAR_CHANGE = {"pesq": 2.0, "ssnr": 10.0, "estoi": 0.2, "si_sdr": 12.0}


def who_hears_what(terms, scores=None, reference="noisy"):
    """Heat map of damages (rows) against terms of the loss and scores (columns).

    terms: {damage: {term: value}}, each value relative to that of the recording ``reference``.
    scores: {damage: what ``rt.score`` returns}, with a row for ``reference``, or None for no
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


# The kinds of sharing, as letters in boxes; see notebook 05.
SET_COLOURS = (SHARED, "#56B4E9", NOISY, ENHANCED, "#F0E442", HIGHLIGHT)


def sharing_map(sets: dict, ax=None):
    """Which places of the network use one weight set for their attention, with the ties drawn.

    ``sets``: (path, level, block, axis) -> the name of its weight set, as `model.weight_set` gives
    it; equal names get equal letters, in order of first use. Raises ValueError without a place.
    """
    if not sets:
        raise ValueError("sets is empty; it maps (path, level, block, axis) to a weight set")
    blocks = 1 + max(block for _, _, block, _ in sets)
    deepest = max(level for _, level, _, _ in sets)
    letters = {name: i for i, name in enumerate(dict.fromkeys(sets.values()))}
    side = {"down": -1, "middle": 0, "up": 1}
    at = {}
    for path, level, block, axis in sets:
        centre = side[path] * (1.0 + (blocks + 0.6) * (deepest - level) / 2 + blocks / 2)
        at[path, level, block, axis] = (
            centre + (block - (blocks - 1) / 2),
            -1.5 * level + (0.22 if axis == "time" else -0.22),
        )
    fig, ax = _axes(ax, (9.5, 1.3 + 1.15 * deepest))
    for (path, level, block, _), (x, y) in at.items():
        if block == 0 and y > -1.5 * level:
            name = f"{path}, level {level + 1}"  # as `network_map` counts
            ax.text(x - 0.42, y + 0.33, name, fontsize=9, ha="left", va="bottom")
    for name, number in letters.items():
        colour = SET_COLOURS[number % len(SET_COLOURS)]
        users = [at[place] for place in sets if sets[place] == name]
        apart = 0.07 * (number % blocks - (blocks - 1) / 2)  # or ties of one row would coincide
        for (x0, y0), (x1, y1) in itertools.combinations(users, 2):
            if (x0 == x1) != (y0 == y1):  # in one row or in one column
                ys = (y0 + apart, y1 + apart)
                ax.plot((x0, x1), ys, color=colour, linewidth=1.4, linestyle="--", zorder=0)
        for x, y in users:
            _box(ax, (x, y), (0.78, 0.34), "", edge=colour)
            _box(ax, (x, y), (0.78, 0.34), _letters(number), face=colour + "66", edge=colour)
    for axis, y in (("time", 0.22), ("frequency", -0.22)):
        x = min(x for x, _ in at.values()) - 0.6
        ax.text(x, y, axis, fontsize=9, ha="right", va="center", color="#555555")
    xs, ys = zip(*at.values(), strict=True)
    ax.set(xlim=(min(xs) - 1.8, max(xs) + 0.8), ylim=(min(ys) - 0.4, max(ys) + 0.75))
    ax.axis("off")
    return fig, ax


def _letters(number):
    """0, 1, ... 25, 26 -> A, B, ... Z, AA."""
    return ("" if number < 26 else _letters(number // 26 - 1)) + chr(65 + number % 26)


def folding_map(frames: int = 5, bins: int = 3, ax=None):
    """One image (B, C, T, F), and the sequences it becomes along time and along frequency.

    A square is one point, the C numbers of frame t and bin f, with "t, f" in it. One sequence of
    each kind is marked. Raises ValueError for an image without frames or bins.
    """
    if frames < 1 or bins < 1:
        raise ValueError(f"an image has frames and bins, got {frames} and {bins}")
    fig, ax = _axes(ax, (11.0, 3.1))
    marked_t, marked_f = frames // 2, bins // 2
    apart = 0.45  # between sequences, which do not see each other
    height = bins + apart * (bins - 1)
    panels = (
        ("a picture\n(B, C, T, F)", 0.0, 0.0),
        ("along time\n(B·F, T, C)", 0.0, apart),
        ("along frequency\n(B·T, F, C)", apart, 0.0),
    )
    left = 0.0
    for title, gap_t, gap_f in panels:
        width = frames + gap_t * (frames - 1)
        bottom = (height - bins - gap_f * (bins - 1)) / 2
        for t in range(frames):
            for f in range(bins):
                on = (gap_f and f == marked_f) or (gap_t and t == marked_t)
                x, y = left + t * (1 + gap_t), bottom + f * (1 + gap_f)
                face, edge = ("#FBE3D3", HIGHLIGHT) if on else ("#F2F2F2", "#777777")
                box = plt.Rectangle(
                    (x, y), 1, 1, facecolor=face, edgecolor=edge, zorder=3 if on else 2
                )
                ax.add_patch(box)
                words = f"{t}, {f}"
                ax.text(x + 0.5, y + 0.5, words, ha="center", va="center", fontsize=8, zorder=4)
        ax.text(left + width / 2, height + 0.75, title, ha="center", va="bottom", fontsize=10)
        across, up = (left, -0.35), (left - 0.35, bottom)
        if not gap_t:
            _arrow(ax, across, (left + width, -0.35), colour=HIGHLIGHT if gap_f else "#555555")
        if not gap_f:
            _arrow(ax, up, (left - 0.35, height - bottom), colour=HIGHLIGHT if gap_t else "#555555")
        t_words = "T: the sequence" if gap_f else "B and T: the batch" if gap_t else "T frames"
        f_words = "F: the sequence" if gap_t else "B and F: the batch" if gap_f else "F bins"
        said = {"fontsize": 9, "color": "#444444"}
        ax.text(left + width / 2, -0.55, t_words, ha="center", va="top", **said)
        ax.text(left - 0.55, height / 2, f_words, ha="right", va="center", rotation=90, **said)
        left += width + 2.6
    ax.set(xlim=(-1.4, left - 2.3), ylim=(-1.2, height + 2.1))
    ax.set_aspect("equal")
    ax.axis("off")
    return fig, ax


def block_map(ax=None):
    """The MambAttention block: two halves of attention and BiMamba, with one attention for both."""
    fig, ax = _axes(ax, (11.5, 2.9))
    y, places = 0.0, (1.75, 4.1, 7.85, 10.2)  # of the four parts
    pluses = (2.85, 5.15, 8.95, 11.25)
    halves = ((0.4, 5.5, "along time: (B·F, T, C)"), (6.5, 11.6, "along frequency: (B·T, F, C)"))
    for start, end, words in halves:
        ax.add_patch(
            FancyBboxPatch(
                (start, -0.75), end - start, 2.05, boxstyle="round,pad=0,rounding_size=0.15",
                facecolor="#F6F6F6", edgecolor="#BBBBBB",
            )
        )  # fmt: skip
        ax.text((start + end) / 2, 1.42, words, ha="center", va="bottom", fontsize=10)
    for place, (x, plus) in enumerate(zip(places, pluses, strict=True)):
        shared = place % 2 == 0
        text = "LN + MHA" if shared else f"BiMamba {place // 2 + 1}\n→ 2C → C"
        _box(
            ax,
            (x, y),
            (1.25, 0.8),
            text,
            face="#F9EDF3" if shared else "white",
            edge=SHARED if shared else "#333333",
            width=2.4 if shared else 1.2,
            font=9.5,
        )
        branch = x - 0.9  # where the way past the part leaves
        ax.plot([branch, branch, plus], [y, 0.85, 0.85], color="black", linewidth=1.1)
        _arrow(ax, (plus, 0.85), (plus, 0.17))
        before = pluses[place - 1] + 0.17 if place else -0.1
        _arrow(ax, (before, y), (x - 0.63, y))
        _arrow(ax, (x + 0.63, y), (plus - 0.17, y))
        _box(ax, (plus, y), (0.34, 0.34), "+", font=11)
    _arrow(ax, (pluses[3] + 0.17, y), (12.2, y))
    for x in (places[0], places[2]):
        ax.plot([x, x], [-0.4, -1.05], color=SHARED, linewidth=1.6, linestyle="--")
    ax.plot([places[0], places[2]], [-1.05, -1.05], color=SHARED, linewidth=1.6, linestyle="--")
    middle = (places[0] + places[2]) / 2
    ax.text(middle, -1.12, "the same weights", ha="center", va="top", fontsize=9.5, color="#9C3F70")
    ax.text(-0.05, 0.12, "x", ha="left", va="bottom", fontsize=11, style="italic")
    ax.set(xlim=(-0.2, 12.3), ylim=(-1.5, 1.85))
    ax.axis("off")
    return fig, ax


def response_picture(response, ax=None, *, top=None, range_db=60.0, title=None, colour_bar=True):
    """How far the output moved at each point of an image: (T, F), sizes, 0 or more.

    In dB down from ``top`` (a size; default: the largest); grey is exactly zero. T frames are
    7.5 ms apart, and F bins go from 0 to 8 kHz, however many there are.
    """
    size = _array(response).astype(np.float64).T
    top = max(float(size.max()), 1e-30) if top is None else top
    level = 20 * np.log10(np.where(size > 0, size, 1.0) / top)
    colours = plt.get_cmap(SPECTROGRAM_MAP).with_extremes(bad="#BFBFBF")
    fig, ax = _axes(ax)
    bins, frames = size.shape
    second, kilohertz = HOP / SAMPLE_RATE, SAMPLE_RATE / 2000 / bins
    picture = ax.imshow(
        np.ma.masked_where(size == 0, level),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(-second / 2, (frames - 0.5) * second, 0, bins * kilohertz),
        cmap=colours,
        vmin=-range_db,
        vmax=0,
    )
    ax.set(xlabel="time (s)", ylabel="frequency (kHz)", title=title or "")
    if colour_bar:
        fig.colorbar(picture, ax=ax, label="response (dB)")
    return fig, ax


def deformed_taps(mag, offsets, frame, row, ax=None):
    """Where a deformable convolution looks: arrows over the spectrogram that the network heard.

    mag: compressed noisy magnitude (F, T). offsets: (18, T', F') in pixels of the layer, as
    `layers.patch_embedding.deformable_conv` takes them; T' and F' may be a fraction of T and F.
    frame, row: the pixel of the layer whose nine taps are shown on the right; on the left, each
    pixel around it has one arrow, the mean of its nine.
    ax: two axes, or None for new ones. Returns (fig, axes).
    """
    mag, offsets = _array(mag), _array(offsets)
    _, frames, rows = offsets.shape
    second = HOP / SAMPLE_RATE * round(mag.shape[1] / frames)  # of a pixel of the layer
    kilohertz = SAMPLE_RATE / N_FFT / 1000 * round(mag.shape[0] / rows)
    if ax is None:
        _, ax = plt.subplots(1, 2, figsize=(10.0, 3.9), width_ratios=(1.5, 1), layout="constrained")
    fig = ax[0].figure
    down, across = offsets[0::2], offsets[1::2]  # (9, T', F'): along time, along frequency
    for axis, (wide, high) in zip(ax, ((13, 8), (3.3, 3.3)), strict=True):
        spectrogram(mag, ax=axis, colour_bar=False)
        axis.set_xlim((frame - wide) * second, (frame + wide) * second)
        axis.set_ylim((row - high) * kilohertz, (row + high) * kilohertz)
    arrows = {"angles": "xy", "scale_units": "xy", "scale": 1, "zorder": 3}
    t = np.arange(max(0, frame - 13), min(frames, frame + 14))
    f = np.arange(max(0, row - 8), min(rows, row + 9))
    step = np.ix_(t, f)
    ax[0].quiver(
        *np.meshgrid(t * second, f * kilohertz, indexing="ij"),
        down.mean(0)[step] * second,
        across.mean(0)[step] * kilohertz,
        color="white",
        width=0.0035,
        **arrows,
    )
    ax[0].plot(frame * second, row * kilohertz, "s", mfc="none", mec="#56B4E9", ms=9, mew=2)
    ax[0].set_title("mean of the nine arrows, at every pixel")
    tap = np.arange(9)
    at_t, at_f = (frame + tap // 3 - 1) * second, (row + tap % 3 - 1) * kilohertz
    ax[1].plot(at_t, at_f, "s", mfc="none", mec="white", ms=9, label="a plain 3 × 3")
    moved = down[:, frame, row] * second, across[:, frame, row] * kilohertz
    ax[1].quiver(at_t, at_f, *moved, color="#56B4E9", width=0.008, **arrows)
    ax[1].plot(at_t + moved[0], at_f + moved[1], ".", color="#56B4E9", ms=9, label="with offsets")
    ax[1].legend(loc="upper right", fontsize=8, facecolor="#555555", labelcolor="white")
    ax[1].set(title="the nine taps of the marked pixel", ylabel="")
    return fig, ax


def cost_map(costs, words=None, ax=None):
    """`network_map` with each part as dark as its share of a cost.

    costs: part of the network (a key of NETWORK_PARTS) -> number >= 0; parts that are not in it
    stay white. words: part -> what stands below its name; by default its share in per cent.
    Raises ValueError for a part that there is none of.
    """
    unknown = set(costs) - set(NETWORK_PARTS)
    if unknown:
        raise ValueError(f"no parts of the network: {', '.join(sorted(unknown))}")
    total, largest = sum(costs.values()) or 1.0, max(costs.values(), default=0.0) or 1.0
    fig, ax = network_map(ax=ax)
    texts = {text.get_position(): text for text in ax.texts}
    boxes = [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    for box, (part, (centre, _)) in zip(boxes, NETWORK_PARTS.items(), strict=True):
        if part in costs:
            name = part.replace("_", " ").replace("level", "level ")
            below = (words or {}).get(part, f"{100 * costs[part] / total:.0f} %")
            texts[centre].set_text(f"{name}\n{below}")
            texts[centre].set_fontsize(7.5)
            box.set_facecolor(plt.get_cmap("YlOrBr")(0.65 * costs[part] / largest))
        else:
            box.set_facecolor("white")
    return fig, ax


def looks_at(mag, weights, frame, bin, along="frequency", *, scale=1, top_khz=3.0, title=None):
    """Where one point of a spectrogram looks: its row of an attention map, over the picture.

    mag: compressed magnitude (F, T). weights: (L,), adding up to 1, of the steps along
    "frequency" or "time", each ``scale`` bins or frames wide. frame, bin: the point that asks, a
    cross. A circle is a step with more than 1.5 times the even share 1 / L, its area the weight;
    the panel beside or below the picture has all weights, in even shares.
    Returns the figure and the axes of picture and panel. Raises ValueError for another axis.
    """
    if along not in ("frequency", "time"):
        raise ValueError(f'attention looks along "frequency" or "time", not {along!r}')
    second, kilohertz = HOP / SAMPLE_RATE, SAMPLE_RATE / N_FFT / 1000
    shares = _array(weights) * len(weights)
    steps = np.arange(len(shares)) * scale * (kilohertz if along == "frequency" else second)
    here = (frame * second, bin * kilohertz)
    grid = {"nrows": 1, "ncols": 2, "width_ratios": (3, 1), "sharey": True}
    if along == "time":
        grid = {"nrows": 2, "ncols": 1, "height_ratios": (2, 1), "sharex": True}
    size = (9.0, 3.6) if along == "frequency" else (9.0, 4.0)
    fig, (picture, panel) = plt.subplots(**grid, figsize=size, layout="constrained")
    spectrogram(mag, ax=picture, title=title, colour_bar=False)
    strong = shares > 1.5
    x, y = (np.full(strong.sum(), here[0]), steps[strong])
    if along == "time":
        x, y = steps[strong], np.full(strong.sum(), here[1])
    area = 14 * np.minimum(shares[strong], 8)
    picture.scatter(x, y, area, facecolors="none", edgecolors="#56B4E9", linewidths=1.3)
    picture.plot(*here, "x", color="white", markersize=9, markeredgewidth=2)
    words = "attention (even shares)"
    if along == "frequency":
        panel.barh(steps, shares, height=0.8 * scale * kilohertz, color=HIGHLIGHT)
        panel.axvline(1, color="black", linewidth=0.8)
        panel.axhline(here[1], color=MUTED, linewidth=0.8, linestyle=":")
        panel.set(xlabel=words, xlim=(0, max(4.0, min(12.0, 1.1 * shares.max()))))
        picture.set_xlim(max(0.0, here[0] - 0.5), here[0] + 0.5)
    else:
        panel.bar(steps, shares, width=0.8 * scale * second, color=HIGHLIGHT)
        panel.axhline(1, color="black", linewidth=0.8)
        panel.axvline(here[0], color=MUTED, linewidth=0.8, linestyle=":")
        panel.set(xlabel="time (s)", ylabel=words.replace(" (", "\n("))
        panel.set_ylim(0, max(4.0, min(12.0, 1.1 * shares.max())))
        picture.set(xlabel="", xlim=picture.images[0].get_extent()[:2])
    picture.set_ylim(0, top_khz)
    return fig, (picture, panel)


# Inside a network; see notebook 10 and the module `inside`.
MARK = "#56B4E9"  # on spectrograms


def _pixel(mag, size):
    """Seconds and kHz of one pixel of an image of size (T', F') that the network makes of mag."""
    second = HOP / SAMPLE_RATE * round(mag.shape[1] / size[0])
    return second, SAMPLE_RATE / N_FFT / 1000 * round(mag.shape[0] / size[1])


def attention_map(weights, step, along="frequency", ax=None, *, scale=1, title=None):
    """A whole attention map (L, L): row i holds where step i looks, in even shares 1 / L.

    step: the row that is marked. along: "frequency" or "time", of steps that are ``scale`` bins or
    frames wide. `looks_at` shows one row over the picture. Raises ValueError for another axis.
    """
    units = {"frequency": SAMPLE_RATE / N_FFT / 1000, "time": HOP / SAMPLE_RATE}
    if along not in units:
        raise ValueError(f'attention looks along "frequency" or "time", not {along!r}')
    shares, unit = _array(weights) * len(weights), scale * units[along]
    words = {"frequency": "frequency (kHz)", "time": "time (s)"}[along]
    ends = (-unit / 2, (len(shares) - 0.5) * unit)
    fig, ax = _axes(ax, (5.2, 3.6))
    picture = ax.imshow(
        shares,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(*ends, *ends),
        cmap="cividis",
        vmin=0,
        vmax=max(2.0, float(np.quantile(shares, 0.995))),
    )
    ax.axhline(step * unit, color="white", linewidth=1.0)
    ax.set(xlabel=f"looked at: {words}", ylabel=f"looks: {words}", title=title or "")
    fig.colorbar(picture, ax=ax, label="attention (even shares)")
    return fig, ax


def remembered(mag, scan, axis, place, ax=None):
    """One channel of a scan: its steps, how much it remembers, and its states along one sequence.

    mag: compressed magnitude (F, T). scan: an `inside.Scan` along "time" or "frequency".
    place: the sequence whose states are shown: a row of the image for "time", a frame for
    "frequency". ax: four axes, or None for new ones. Returns (fig, axes), axes a flat array.
    """
    mag, delta, state = _array(mag), _array(scan.delta), _array(scan.state)
    second, kilohertz = _pixel(mag, delta.shape)
    if ax is None:
        ax = plt.subplots(2, 2, figsize=(10.0, 5.4), layout="constrained")[1].ravel()
    fig = ax[0].figure
    frames, bins = delta.shape
    extent = (-second / 2, (frames - 0.5) * second, -kilohertz / 2, (bins - 0.5) * kilohertz)
    style = {"origin": "lower", "aspect": "auto", "interpolation": "nearest"}
    spectrogram(mag, ax=ax[0], title="what the network hears")
    away = 100 * (delta / delta.mean() - 1)
    top = max(1.0, float(np.quantile(np.abs(away), 0.995)))
    size = np.sqrt(np.square(state).sum(0))
    level = 20 * np.log10(np.maximum(size / max(size.max(), 1e-30), 1e-6))
    for axes, image, dress, title, unit in (
        (ax[1], away, {"cmap": "PuOr", "vmin": -top, "vmax": top}, "step Δ", "from its mean (%)"),
        (ax[2], level, {"cmap": SPECTROGRAM_MAP, "vmin": -40, "vmax": 0}, "state", "size (dB)"),
    ):
        picture = axes.imshow(image.T, extent=extent, **style, **dress)
        axes.set(xlabel="time (s)", ylabel="frequency (kHz)", title=title)
        fig.colorbar(picture, ax=axes, label=unit)
    ax[1].set_title(f"step Δ: {delta.mean():.3f} on average, ± {away.std():.0f} %")
    ax[2].set_title("how much is remembered")
    along = axis == "time"
    line, unit = (place * kilohertz, second) if along else (place * second, kilohertz)
    for axes in ax[:3]:
        (axes.axhline if along else axes.axvline)(line, color=MARK, linewidth=1.2)
    order = np.argsort(_array(scan.memory))
    chosen = (state[:, :, place] if along else state[:, place])[order]  # (N, L)
    chosen = chosen / np.maximum(np.abs(chosen).max(1, keepdims=True), 1e-30)
    ends = (-unit / 2, (chosen.shape[1] - 0.5) * unit, -0.5, len(chosen) - 0.5)
    picture = ax[3].imshow(chosen, extent=ends, cmap="PuOr", vmin=-1, vmax=1, **style)
    reach = _array(scan.memory)[order] * unit * 1000  # in ms or Hz
    some = range(0, len(chosen), max(1, len(chosen) // 5))
    ax[3].set_yticks(list(some), [f"{reach[n]:.0f}" for n in some])
    ax[3].set(
        title=f"its {len(chosen)} states along the blue line",
        xlabel="time (s)" if along else "frequency (kHz)",
        ylabel=f"remembers for ({'ms' if along else 'Hz'})",
    )
    fig.colorbar(picture, ax=ax[3], label="state, of its largest")
    return fig, ax


def gain_map(table, scale, ax=None, *, title=None, form="{:+.2f}"):
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
    fig, ax = _axes(ax, (2.2 + 1.0 * len(names), 1.3 + 0.36 * len(table)))
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


def interval_rows(rows, ax=None, *, colours=None, label=None):
    """Means with their intervals, a line each, the first on top; a grey line marks no gain.

    rows: {name: (mean, low, high)}, or (mean, None, None) for a mean alone. colours: {name:
    colour}; grey for the others. label: of the horizontal axis, with its unit.
    """
    if not rows:
        raise ValueError("interval_rows needs at least one row")
    fig, ax = _axes(ax, (7.5, 1.0 + 0.32 * len(rows)))
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
