"""Four scores of an enhanced recording against the clean one: PESQ, SSNR, ESTOI, SI-SDR.

Each function takes two mono waves of equal length, (n,), float or integer, and returns a float,
or None where the score is not defined for them: missing, never a made-up number. With these
definitions the noisy recordings of DNS 2020 (150 pairs without reverberation) give their "Noisy"
entry in arXiv 2510.01958, Table 1.
"""

import itertools
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .. import audio
from ..rates import SAMPLE_RATE

METRICS = ("pesq", "ssnr", "estoi", "si_sdr")

SSNR_FRAME = 480
SSNR_HOP = 120
SSNR_RANGE_DB = (-10.0, 35.0)
STOI_FRAME = 512  # a little over one frame of pystoi, which cannot do with less
# PESQ's C code has room for 50 utterances and does not look whether there are more. Its windows
# have 64 samples; an utterance and the pause after it take 46 + 51 of them at least, and the wave
# is padded by 150: up to this length there is room, whatever is in it.
PESQ_LONGEST = (50 * (46 + 51) - 150) * 64  # 18.8 s
PESQ_PIECE = 12 * SAMPLE_RATE  # about the length that PESQ is meant for
PESQ_MISSING = (
    "PESQ is not installed, so its scores are missing: `pip install pesq`, which needs a C compiler"
)


def score(
    clean: ArrayLike, enhanced: ArrayLike, sample_rate: int, metrics: Sequence[str] = METRICS
) -> dict[str, float | None]:
    """All four scores of one recording.

    Args:
        clean: reference wave (n,), mono.
        enhanced: wave under test (n,), the same length, aligned to the sample.
        sample_rate: of both, in Hz; anything but 16 000 Hz is resampled to it first.
        metrics: which scores to compute, any of `METRICS`.

    Returns:
        dict: {"pesq": 1..4.64, "ssnr": dB, "estoi": up to 1, "si_sdr": dB}; None where missing.

    Raises:
        ValueError: in words: unequal lengths, not mono, empty, NaN or infinity, unknown score.
    """
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise ValueError(f"Unknown score {unknown[0]!r}; choose from {', '.join(METRICS)}.")
    clean, enhanced = _pair(clean, enhanced)
    clean = audio.resample(clean, sample_rate, SAMPLE_RATE)
    enhanced = audio.resample(enhanced, sample_rate, SAMPLE_RATE)
    functions = {"pesq": pesq, "ssnr": ssnr, "estoi": estoi, "si_sdr": si_sdr}
    return {name: functions[name](clean, enhanced) for name in metrics}


def pesq(clean: np.ndarray, enhanced: np.ndarray) -> float | None:
    """Wide-band PESQ (ITU-T P.862.2) at 16 kHz, by the `pesq` package: 1.04 (bad) to 4.64.

    The package crashes, and Python with it, on more than 50 utterances. So a wave over 18.8 s,
    where that begins to be possible, is cut into pieces of about 12 s, each cut in the quietest
    place of the clean wave within 3 s; the score is the mean of theirs, weighted by length,
    without those that have none. It is near that of the whole, not equal to it: of 28 s of noisy
    speech 0.06 higher (0.02 to 0.10).

    Args:
        clean, enhanced: (n,) at 16 kHz.

    Returns:
        float, or None where PESQ finds no speech, fails on a clip under about 1/4 s, or is not
        installed (of which a warning tells).
    """
    clean, enhanced = _pair(clean, enhanced)
    package = _pesq_package()
    if not package:
        warnings.warn(PESQ_MISSING + ".", stacklevel=2)
        return None
    values, lengths = [], []
    for start, stop in itertools.pairwise(pesq_edges(clean)):
        value = _pesq_of_piece(package, clean[start:stop], enhanced[start:stop])
        if value is not None:
            values.append(value)
            lengths.append(stop - start)
    return float(np.average(values, weights=lengths)) if values else None


def pesq_is_installed() -> bool:
    """Whether `pesq` can score here, or is None everywhere."""
    return _pesq_package() is not None


def _pesq_package():
    try:
        import pesq as package
    except ImportError:
        return None
    return package


def _pesq_of_piece(package, clean, enhanced):
    # The package divides by the level and stumbles over the NaN where there is none.
    if not clean.any() or not enhanced.any():
        return None
    try:
        value = float(package.pesq(SAMPLE_RATE, clean, enhanced, "wb"))
    except package.PesqError:
        return None
    return value if np.isfinite(value) else None


def pesq_edges(clean: np.ndarray) -> list[int]:
    """Where `pesq` cuts this wave (n,): [0, ..., n]; nowhere up to 18.8 s."""
    n = len(clean)
    if n <= PESQ_LONGEST:
        return [0, n]
    count, reach, hush = -(-n // PESQ_PIECE), 3 * SAMPLE_RATE, SAMPLE_RATE // 10
    edges = [0]
    for i in range(1, count):
        first = i * n // count - reach
        energy = np.cumsum(clean[first : first + 2 * reach] ** 2)
        quietest = np.argmin(energy[hush:] - energy[:-hush])
        edges.append(first + int(quietest) + hush // 2)
    return [*edges, n]


def ssnr(clean: np.ndarray, enhanced: np.ndarray) -> float | None:
    """Segmental signal-to-noise ratio at 16 kHz in dB, between -10 and 35.

    Frames of 480 samples every 120, window 0.5 (1 - cos(2 pi k / 481)), k = 1..480; per frame
    10 log10(sum(clean^2) / sum((clean - enhanced)^2)), clamped to [-10, 35] dB; the mean over
    floor((n - 480) / 120) frames, pauses included (Hansen and Pellom 1998; the last whole frame
    is left out, as in the code behind the published figures). A frame whose reference is silent
    counts -10 dB, so identical signals reach 35 dB only if they have no silent frame.

    Args:
        clean, enhanced: (n,) at 16 kHz.

    Returns:
        float, or None for fewer than 600 samples or a wholly silent reference.
    """
    clean, enhanced = _pair(clean, enhanced)
    if len(clean) < SSNR_FRAME + SSNR_HOP or not clean.any():
        return None
    k = np.arange(1, SSNR_FRAME + 1)
    power = (0.5 * (1 - np.cos(2 * np.pi * k / (SSNR_FRAME + 1)))) ** 2
    signal, noise = (_framewise_energy(x, power) for x in (clean, clean - enhanced))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = 10 * np.log10(signal / noise)
    ratio = np.where(signal > 0, ratio, SSNR_RANGE_DB[0])
    return float(np.clip(ratio, *SSNR_RANGE_DB).mean())


def estoi(clean: np.ndarray, enhanced: np.ndarray) -> float | None:
    """Extended short-time objective intelligibility at 16 kHz, by the `pystoi` package.

    Jensen and Taal 2016; 1 for identical signals, about 0 for unrelated ones.

    Args:
        clean, enhanced: (n,) at 16 kHz.

    Returns:
        float, or None for a silent signal or too little speech (under about 0.4 s).
    """
    from pystoi import stoi

    clean, enhanced = _pair(clean, enhanced)
    if len(clean) < STOI_FRAME or not clean.any() or not enhanced.any():
        return None
    with warnings.catch_warnings():
        # pystoi answers a too short signal with a warning and 1e-5; that is no score.
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(stoi(clean, enhanced, SAMPLE_RATE, extended=True))
        except RuntimeWarning:
            return None


def si_sdr(clean: np.ndarray, enhanced: np.ndarray) -> float | None:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), any rate.

    a = <enhanced, clean> / <clean, clean>;
    10 log10(|a clean|^2 / |enhanced - a clean|^2); the mean is not removed.

    Args:
        clean, enhanced: (n,).

    Returns:
        float, or None if either signal is silent. Identical signals give +infinity, orthogonal
        ones -infinity; means leave these out (see `evaluation.summary`).
    """
    clean, enhanced = _pair(clean, enhanced)
    if not clean.any() or not enhanced.any():
        return None
    target = (enhanced @ clean) / (clean @ clean) * clean
    residue = enhanced - target
    with np.errstate(divide="ignore"):
        return float(10 * (np.log10(target @ target) - np.log10(residue @ residue)))


def _framewise_energy(x, power):
    """Windowed energy of every frame but the last, (floor((n - 480) / 120),)."""
    frames = np.lib.stride_tricks.sliding_window_view(x, SSNR_FRAME)[:-SSNR_HOP:SSNR_HOP]
    return (frames**2) @ power


def _pair(clean, enhanced):
    """Both waves as float64 (n,), checked."""
    clean, enhanced = audio.as_wave(clean, "clean"), audio.as_wave(enhanced, "enhanced")
    for name, wave in (("clean", clean), ("enhanced", enhanced)):
        if wave.ndim != 1:
            raise ValueError(
                f"Scores are defined for mono, but {name} has {wave.shape[1]} channels: "
                "score one channel at a time."
            )
    if len(clean) != len(enhanced):
        raise ValueError(
            f"clean has {len(clean)} samples, enhanced {len(enhanced)}: "
            "scores need two aligned waves of equal length."
        )
    return tuple(audio.to_float(wave).astype(np.float64) for wave in (clean, enhanced))


def shown(value: float | None, digits: int = 2) -> str:
    """A score as text, "1.44"; "–" where it is missing (None)."""
    return "–" if value is None else f"{value:.{digits}f}"


def is_finite(value: float | None) -> bool:
    """Whether a score counts in a mean: neither missing (None) nor infinite."""
    return value is not None and bool(np.isfinite(value))
