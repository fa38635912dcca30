"""Waveform <-> compressed magnitude and phase (notebook 01).

The front end of RWSA-MambaUNet: 16 kHz mono, frames of 510 samples every 120, a periodic Hann
window, centred frames with reflected edges, and the magnitude raised to the power 0.3.
"""

import torch
from torch import Tensor

from .rates import SAMPLE_RATE as SAMPLE_RATE  # also the front end's
from .shapes import Complex, Float

N_FFT = 510
HOP = 120
BINS = N_FFT // 2 + 1  # F = 256
COMPRESSION = 0.3


def gain(wave: Float[Tensor, "*B n"]) -> Float[Tensor, "*B 1"]:
    """Gain that brings a waveform to unit mean power: g = sqrt(n / sum(x^2)).

    Silence, whose gain would be infinite, gets 1.
    """
    power = wave.square().mean(-1, keepdim=True)
    return torch.where(power > 0, power, 1.0).rsqrt()


def stft(wave: Tensor) -> Complex[Tensor, "B F T"]:
    """Short-time Fourier transform: (B, n) float at 16 kHz, n >= 1 -> complex (B, F, T).

    F = 256 and T = 1 + n // 120. Raises ValueError for another shape or type.
    """
    if wave.ndim != 2 or wave.shape[-1] == 0 or not wave.is_floating_point():
        raise ValueError(
            f"analyse needs a float waveform of shape (B, n), n >= 1, not {wave.dtype} of shape "
            f"{tuple(wave.shape)}; for one mono signal use wave[None]"
        )
    return torch.stft(
        wave,
        N_FFT,
        HOP,
        window=torch.hann_window(N_FFT, dtype=wave.dtype, device=wave.device),
        center=True,
        # a signal shorter than half a frame has nothing to reflect
        pad_mode="reflect" if wave.shape[-1] > N_FFT // 2 else "constant",
        return_complex=True,
    )


def analyse(wave: Tensor) -> tuple[Float[Tensor, "B F T"], Float[Tensor, "B F T"]]:
    """Short-time Fourier transform as compressed magnitude and phase.

    wave: (B, n) float at 16 kHz, n >= 1. Returns mag = |S|^0.3 and phase in radians, each
    (B, F, T) with F = 256 and T = 1 + n // 120. Raises ValueError for another shape or type.
    """
    spec = stft(wave)
    mag = spec.abs()
    heard = mag > 0  # 0 ** 0.3 has no gradient
    mag = torch.where(heard, torch.where(heard, mag, 1.0) ** COMPRESSION, 0.0)
    return mag, spec.angle()


def real_and_imaginary(
    mag: Float[Tensor, "B F T"], phase: Float[Tensor, "B F T"]
) -> Float[Tensor, "B F T 2"]:
    """The parts of mag exp(i phase)."""
    return torch.stack([mag * phase.cos(), mag * phase.sin()], dim=-1)


def synthesise(
    mag: Float[Tensor, "B F T"], phase: Float[Tensor, "B F T"], length: int | None = None
) -> Float[Tensor, "B n"]:
    """Inverse of `analyse`: overlap-add of the windowed inverse transforms.

    length: samples wanted, n; without it the result has 120 * (T - 1) samples (at least 1).
    Raises ValueError where the frames cannot reach the length asked for.
    """
    frames = mag.shape[-1]
    length = max(1, HOP * (frames - 1)) if length is None else length
    if not 1 <= length < HOP * frames:
        raise ValueError(
            f"{frames} frames give between 1 and {HOP * frames - 1} samples, not {length}"
        )
    return torch.istft(
        torch.polar(mag ** (1 / COMPRESSION), phase),
        N_FFT,
        HOP,
        window=torch.hann_window(N_FFT, dtype=mag.dtype, device=mag.device),
        center=True,
        length=length,
    )
