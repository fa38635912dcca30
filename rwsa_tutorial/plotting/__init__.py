"""Figures of the course. Each function takes an optional `ax` and returns `(fig, ax)`.

The same signal has the same colour in every lesson, and every spectrogram the same colour map.
Signals may be NumPy arrays or tensors on any device.
"""

from .corpora import CORPUS_COLOURS, corpora_compared, noises_compared
from .diagrams import (
    block_map,
    cost_map,
    doubling_map,
    folding_map,
    mixer_map,
    sharing_map,
)
from .inside import attention_map, deformed_taps, looks_at, remembered, response_picture
from .maps import LESSONS, NETWORK_GROUPS, NETWORK_PARTS, course_map, network_map
from .results import (
    gain_map,
    interval_rows,
    scan_times,
    scores,
    training_curves,
    training_progress,
    who_hears_what,
)
from .signals import (
    angle_difference,
    before_after,
    colour_of,
    magnitude_of,
    mask_picture,
    phase_picture,
    spectrogram,
    waveform,
)
from .style import (
    CLEAN,
    COLOURS,
    ENHANCED,
    HIGHLIGHT,
    METRICS,
    MUTED,
    NOISY,
    SHARED,
    SPECTROGRAM_MAP,
)

__all__ = [
    "CORPUS_COLOURS",
    "corpora_compared",
    "noises_compared",
    "block_map",
    "cost_map",
    "doubling_map",
    "folding_map",
    "mixer_map",
    "sharing_map",
    "attention_map",
    "deformed_taps",
    "looks_at",
    "remembered",
    "response_picture",
    "LESSONS",
    "NETWORK_GROUPS",
    "NETWORK_PARTS",
    "course_map",
    "network_map",
    "gain_map",
    "interval_rows",
    "scan_times",
    "scores",
    "training_curves",
    "training_progress",
    "who_hears_what",
    "angle_difference",
    "before_after",
    "colour_of",
    "magnitude_of",
    "mask_picture",
    "phase_picture",
    "spectrogram",
    "waveform",
    "CLEAN",
    "COLOURS",
    "ENHANCED",
    "HIGHLIGHT",
    "METRICS",
    "MUTED",
    "NOISY",
    "SHARED",
    "SPECTROGRAM_MAP",
]
