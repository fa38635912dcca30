"""Colours and names that are the same in all figures of the course."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

# From the palette of Okabe and Ito, which colour-blind readers can tell apart.
CLEAN, NOISY, ENHANCED = "#0072B2", "#E69F00", "#009E73"
HIGHLIGHT, SHARED, MUTED = "#D55E00", "#CC79A7", "#7F7F7F"
COLOURS = {"clean": CLEAN, "noisy": NOISY, "enhanced": ENHANCED}
SPECTROGRAM_MAP, PHASE_MAP = "magma", "twilight"
SLANTED = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"}  # names below an axis
METRICS = {
    "pesq": "PESQ (MOS)",
    "ssnr": "SSNR (dB)",
    "estoi": "ESTOI (0 to 1)",
    "si_sdr": "SI-SDR (dB)",
}


def as_array(values: ArrayLike) -> np.ndarray:
    """Tensor or array-like -> NumPy array on the CPU."""
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def axes_of(ax: Axes | None, size: tuple[float, float] = (9.0, 3.2)) -> tuple[Figure, Axes]:
    """The given axes with their figure, or new ones."""
    if ax is None:
        return plt.subplots(figsize=size, layout="constrained")
    return ax.figure, ax
