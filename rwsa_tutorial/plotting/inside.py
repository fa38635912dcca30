"""What the parts of a network see and choose."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from ..features import HOP, N_FFT, SAMPLE_RATE
from ..inside import Scan
from .signals import spectrogram
from .style import HIGHLIGHT, MUTED, SPECTROGRAM_MAP, as_array, axes_of


def response_picture(
    response: ArrayLike,
    ax: Axes | None = None,
    *,
    top: float | None = None,
    range_db: float = 60.0,
    title: str | None = None,
    colour_bar: bool = True,
) -> tuple[Figure, Axes]:
    """How far the output moved at each point of an image: (T, F), sizes, 0 or more.

    In dB down from `top` (a size; default: the largest); grey is exactly zero. T frames are
    7.5 ms apart, and F bins go from 0 to 8 kHz, however many there are.
    """
    size = as_array(response).astype(np.float64).T
    top = max(float(size.max()), 1e-30) if top is None else top
    level = 20 * np.log10(np.where(size > 0, size, 1.0) / top)
    colours = plt.get_cmap(SPECTROGRAM_MAP).with_extremes(bad="#BFBFBF")
    fig, ax = axes_of(ax)
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


def deformed_taps(
    mag: ArrayLike, offsets: ArrayLike, frame: int, row: int, ax: Axes | None = None
) -> tuple[Figure, np.ndarray]:
    """Where a deformable convolution looks: arrows over the spectrogram that the network heard.

    mag: compressed noisy magnitude (F, T). offsets: (18, T', F') in pixels of the layer, as
    `layers.patch_embedding.deformable_conv` takes them; T' and F' may be a fraction of T and F.
    frame, row: the pixel of the layer whose nine taps are shown on the right; on the left, each
    pixel around it has one arrow, the mean of its nine.
    ax: two axes, or None for new ones. Returns (fig, axes).
    """
    mag, offsets = as_array(mag), as_array(offsets)
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


def looks_at(
    mag: ArrayLike,
    weights: ArrayLike,
    frame: int,
    bin: int,
    along: str = "frequency",
    *,
    scale: int = 1,
    top_khz: float = 3.0,
    title: str | None = None,
) -> tuple[Figure, tuple[Axes, Axes]]:
    """Where one point of a spectrogram looks: its row of an attention map, over the picture.

    mag: compressed magnitude (F, T). weights: (L,), adding up to 1, of the steps along
    "frequency" or "time", each `scale` bins or frames wide. frame, bin: the point that asks, a
    cross. A circle is a step with more than 1.5 times the even share 1 / L, its area the weight;
    the panel beside or below the picture has all weights, in even shares.
    Returns the figure and the axes of picture and panel. Raises ValueError for another axis.
    """
    if along not in ("frequency", "time"):
        raise ValueError(f'attention looks along "frequency" or "time", not {along!r}')
    second, kilohertz = HOP / SAMPLE_RATE, SAMPLE_RATE / N_FFT / 1000
    shares = as_array(weights) * len(weights)
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


def attention_map(
    weights: ArrayLike,
    step: int,
    along: str = "frequency",
    ax: Axes | None = None,
    *,
    scale: int = 1,
    title: str | None = None,
) -> tuple[Figure, Axes]:
    """A whole attention map (L, L): row i holds where step i looks, in even shares 1 / L.

    step: the row that is marked. along: "frequency" or "time", of steps that are `scale` bins or
    frames wide. `looks_at` shows one row over the picture. Raises ValueError for another axis.
    """
    units = {"frequency": SAMPLE_RATE / N_FFT / 1000, "time": HOP / SAMPLE_RATE}
    if along not in units:
        raise ValueError(f'attention looks along "frequency" or "time", not {along!r}')
    shares, unit = as_array(weights) * len(weights), scale * units[along]
    words = {"frequency": "frequency (kHz)", "time": "time (s)"}[along]
    ends = (-unit / 2, (len(shares) - 0.5) * unit)
    fig, ax = axes_of(ax, (5.2, 3.6))
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


def remembered(
    mag: ArrayLike, scan: Scan, axis: str, place: int, ax: Axes | None = None
) -> tuple[Figure, np.ndarray]:
    """One channel of a scan: its steps, how much it remembers, and its states along one sequence.

    mag: compressed magnitude (F, T). scan: an `inside.Scan` along "time" or "frequency".
    place: the sequence whose states are shown: a row of the image for "time", a frame for
    "frequency". ax: four axes, or None for new ones. Returns (fig, axes), axes a flat array.
    """
    mag, delta, state = as_array(mag), as_array(scan.delta), as_array(scan.state)
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
    order = np.argsort(as_array(scan.memory))
    chosen = (state[:, :, place] if along else state[:, place])[order]  # (N, L)
    chosen = chosen / np.maximum(np.abs(chosen).max(1, keepdims=True), 1e-30)
    ends = (-unit / 2, (chosen.shape[1] - 0.5) * unit, -0.5, len(chosen) - 0.5)
    picture = ax[3].imshow(chosen, extent=ends, cmap="PuOr", vmin=-1, vmax=1, **style)
    reach = as_array(scan.memory)[order] * unit * 1000  # in ms or Hz
    some = range(0, len(chosen), max(1, len(chosen) // 5))
    ax[3].set_yticks(list(some), [f"{reach[n]:.0f}" for n in some])
    ax[3].set(
        title=f"its {len(chosen)} states along the blue line",
        xlabel="time (s)" if along else "frequency (kHz)",
        ylabel=f"remembers for ({'ms' if along else 'Hz'})",
    )
    fig.colorbar(picture, ax=ax[3], label="state, of its largest")
    return fig, ax
