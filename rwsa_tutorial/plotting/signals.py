"""Figures of signals: waves, spectrograms, phases, masks."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike

from ..features import COMPRESSION, HOP, N_FFT, SAMPLE_RATE
from .style import (
    CLEAN,
    COLOURS,
    ENHANCED,
    HIGHLIGHT,
    MUTED,
    NOISY,
    PHASE_MAP,
    SPECTROGRAM_MAP,
    as_array,
    axes_of,
)


def colour_of(name: str) -> str:
    """Colour of a signal by the words in its name ("noisy", "nano, enhanced"); grey if none."""
    return next((c for word, c in COLOURS.items() if word in name.lower()), MUTED)


def magnitude_of(
    values: ArrayLike, n_fft: int = N_FFT, hop: int = HOP, exponent: float = COMPRESSION
) -> np.ndarray:
    """Uncompressed STFT magnitude (F, T) of a waveform (n,) or of a compressed magnitude (F, T).

    Raises ValueError for any other number of axes.
    """
    values = as_array(values)
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


def waveform(
    wave: ArrayLike,
    sample_rate: int = SAMPLE_RATE,
    ax: Axes | None = None,
    *,
    label: str | None = None,
    colour: str | None = None,
    title: str | None = None,
) -> tuple[Figure, Axes]:
    """A waveform (n,) against time in seconds; `label` also chooses the colour."""
    wave = as_array(wave)
    if wave.ndim != 1:
        raise ValueError(f"a waveform has one axis (n,), got shape {wave.shape}")
    fig, ax = axes_of(ax, (9.0, 2.2))
    colour = colour or colour_of(label or "")
    ax.plot(np.arange(wave.size) / sample_rate, wave, color=colour, linewidth=0.7, label=label)
    ax.set(xlabel="time (s)", ylabel="amplitude", title=title or "")
    ax.margins(x=0)
    if label:
        ax.legend(loc="upper right")
    return fig, ax


def spectrogram(
    values: ArrayLike,
    sample_rate: int = SAMPLE_RATE,
    ax: Axes | None = None,
    *,
    n_fft: int = N_FFT,
    hop: int = HOP,
    exponent: float = COMPRESSION,
    scale: str = "db",
    dynamic_range: float = 70.0,
    top: float | None = None,
    title: str | None = None,
    colour_bar: bool = True,
) -> tuple[Figure, Axes]:
    """Spectrogram of a waveform (n,) or of a compressed magnitude (F, T), in seconds and kHz.

    `scale="db"` shows 20 log10 of the magnitude, `dynamic_range` dB down from `top` (dB;
    default: the loudest bin); `scale="compressed"` shows magnitude ** `exponent` from 0 to
    `top`. Pixel (k, t) is centred on k * sample_rate / n_fft and on t * hop / sample_rate.
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
    fig, ax = axes_of(ax)
    picture = draw_image(
        ax, image, sample_rate, n_fft, hop, cmap=SPECTROGRAM_MAP, vmin=low, vmax=top
    )
    ax.set_title(title or "")
    if colour_bar:
        fig.colorbar(picture, ax=ax, label=unit)
    return fig, ax


def phase_picture(
    phase: ArrayLike,
    sample_rate: int = SAMPLE_RATE,
    ax: Axes | None = None,
    *,
    n_fft: int = N_FFT,
    hop: int = HOP,
    title: str | None = None,
) -> tuple[Figure, Axes]:
    """A phase (F, T) in radians on a colour map that closes: -pi and pi look alike."""
    fig, ax = axes_of(ax)
    picture = draw_image(
        ax, as_array(phase), sample_rate, n_fft, hop, cmap=PHASE_MAP, vmin=-math.pi, vmax=math.pi
    )
    ax.set_title(title or "")
    bar = fig.colorbar(picture, ax=ax, label="phase (rad)", ticks=[-math.pi, 0, math.pi])
    bar.ax.set_yticklabels(["$-\\pi$", "0", "$\\pi$"])
    return fig, ax


def mask_picture(
    mask: ArrayLike,
    sample_rate: int = SAMPLE_RATE,
    ax: Axes | None = None,
    *,
    n_fft: int = N_FFT,
    hop: int = HOP,
    top: float = 2.0,
    title: str | None = None,
) -> tuple[Figure, Axes]:
    """A mask (F, T): white leaves a bin alone, brown lowers it, green raises it (0 to `top`)."""
    fig, ax = axes_of(ax)
    picture = draw_image(ax, as_array(mask), sample_rate, n_fft, hop, cmap="BrBG", vmin=0, vmax=top)
    ax.set_title(title or "")
    fig.colorbar(picture, ax=ax, label="mask (factor)")
    return fig, ax


def draw_image(
    ax: Axes, image: np.ndarray, sample_rate: int, n_fft: int, hop: int, **style: object
) -> AxesImage:
    """An (F, T) image with pixel centres on the frames' times and the bins' frequencies."""
    bins, frames = image.shape
    second, kilohertz = hop / sample_rate, sample_rate / n_fft / 1000
    extent = (-second / 2, (frames - 0.5) * second, -kilohertz / 2, (bins - 0.5) * kilohertz)
    ax.set(xlabel="time (s)", ylabel="frequency (kHz)")
    return ax.imshow(
        image, origin="lower", aspect="auto", extent=extent, interpolation="nearest", **style
    )


def before_after(
    signals: dict, sample_rate: int = SAMPLE_RATE, *, dynamic_range: float = 70.0
) -> tuple[Figure, np.ndarray]:
    """Waveforms over spectrograms, a column a signal, all on the same scales.

    `signals` maps names ("noisy", "enhanced", "clean") to waveforms (n,).
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


def angle_difference(target: float, estimate: float, ax: Axes | None = None) -> tuple[Figure, Axes]:
    """Two angles in radians on the circle: their plain difference, and the short way between them.

    The plain difference is drawn as the way along the number line, around the circle as often as it
    takes; the other is `losses.anti_wrapped`.
    """
    fig, ax = axes_of(ax, (3.6, 3.6))
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
