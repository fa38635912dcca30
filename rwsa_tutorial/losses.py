"""What training asks of the network (notebook 07), one function for each term of the loss.

The recipe of RWSA-MambaUNet (arXiv 2510.01958) is that of MP-SENet (arXiv 2305.13686, section
2.4): magnitude, phase, complex spectrum, waveform, consistency, and a metric discriminator
(discriminator.py). Magnitudes and complex spectra are compared in the compressed domain, in which
the network works: |S|^0.3 and |S|^0.3 exp(i phase).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from .features import COMPRESSION, real_and_imaginary, stft, synthesise
from .shapes import Float

# the paper's weights; minus the SI-SDR is ours, for runs of minutes on a laptop
WEIGHTS = {
    "metric": 0.05,
    "magnitude": 0.9,
    "phase": 0.3,
    "complex": 0.1,
    "wave": 0.2,
    "consistency": 0.1,
    "si_sdr": 0.0,
    "snr": 0.0,
}
FLOOR = 1e-9  # of a bin's power, 116 dB below the window's sum; keeps 0 ** 0.3 differentiable


def metric_loss(score: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """How far the discriminator's score of the enhanced speech is from the best: mean (D - 1)^2.

    score: D(clean, enhanced). MetricGAN, arXiv 1905.04874, equation 4, with the goal 1.
    """
    return (score - 1).square().mean()


def magnitude_loss(
    mag: Float[Tensor, "B F T"], target: Float[Tensor, "B F T"]
) -> Float[Tensor, ""]:
    """Mean squared error of the compressed magnitudes."""
    return (mag - target).square().mean()


def anti_wrapped(angle: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Distance of an angle from 0 on the circle, |x - 2 pi round(x / 2 pi)|, in radians."""
    return (angle - 2 * torch.pi * torch.round(angle / (2 * torch.pi))).abs()


def phase_loss(phase: Float[Tensor, "B F T"], target: Float[Tensor, "B F T"]) -> Float[Tensor, ""]:
    """Anti-wrapped L1 of phase, of its step along frequency, and along time.

    Instantaneous phase, group delay and instantaneous angular frequency: Ai and Ling,
    arXiv 2211.15974, equations 5 to 7.
    """
    error = phase - target
    return sum(anti_wrapped(e).mean() for e in (error, error.diff(dim=1), error.diff(dim=2)))


def complex_loss(
    spec: Float[Tensor, "B F T 2"], target: Float[Tensor, "B F T 2"]
) -> Float[Tensor, ""]:
    """Twice the mean squared error of real and imaginary parts.

    That is the mean squared distance in the complex plane: one part each for the two errors.
    """
    return 2 * (spec - target).square().mean()


def wave_loss(wave: Float[Tensor, "B n"], target: Float[Tensor, "B n"]) -> Float[Tensor, ""]:
    """Mean absolute error of the waveforms."""
    return (wave - target).abs().mean()


def consistency_loss(
    spec: Float[Tensor, "B F T 2"], wave: Float[Tensor, "B n"]
) -> Float[Tensor, ""]:
    """`complex_loss` of a spectrum against the STFT of its own waveform.

    Neighbouring frames overlap, so most spectra belong to no waveform: the inverse STFT and the
    STFT again give another one. Zero says that this spectrum is what will be heard.
    """
    heard = torch.view_as_real(stft(wave))
    # S |S|^-0.7, written so that silence has a finite gradient
    power = heard.square().sum(-1, keepdim=True) + FLOOR
    return complex_loss(spec, heard * power ** ((COMPRESSION - 1) / 2))


def negative_si_sdr(
    estimate: Float[Tensor, "B n"], wave: Float[Tensor, "B n"]
) -> Float[Tensor, ""]:
    """Minus the scale-invariant SDR in dB, mean over the batch.

    Le Roux et al., arXiv 1811.02508, equation 5. A small constant keeps silence finite. It does
    not see level or polarity: a network that learns from it alone may end up too quiet, or upside
    down, which `negative_snr` prevents.
    """
    alpha = (estimate * wave).sum(-1, keepdim=True) / (wave.square().sum(-1, keepdim=True) + 1e-8)
    target = alpha * wave
    error = (estimate - target).square().sum(-1) + 1e-8
    return -10 * torch.log10((target.square().sum(-1) + 1e-8) / error).mean()


def negative_snr(estimate: Float[Tensor, "B n"], wave: Float[Tensor, "B n"]) -> Float[Tensor, ""]:
    """Minus the SNR in dB, ||s||^2 over ||s - x||^2, mean over the batch.

    Never above the SI-SDR, and equal to it at the best level, which it therefore teaches too.
    """
    error = (estimate - wave).square().sum(-1) + 1e-8
    return -10 * torch.log10((wave.square().sum(-1) + 1e-8) / error).mean()


def enhancement_losses(
    output: tuple[Float[Tensor, "B F T"], Float[Tensor, "B F T"], Float[Tensor, "B F T 2"]],
    mag: Float[Tensor, "B F T"],
    phase: Float[Tensor, "B F T"],
    wave: Float[Tensor, "B n"],
) -> dict[str, Float[Tensor, ""]]:
    """The terms of the loss but for the metric, unweighted: name -> scalar.

    output: (mag, phase, spec) of the network; mag, phase, wave: of the clean target.
    """
    estimate_mag, estimate_phase, spec = output
    target = real_and_imaginary(mag, phase)
    estimate = synthesise(estimate_mag, estimate_phase, length=wave.shape[-1])
    return {
        "magnitude": magnitude_loss(estimate_mag, mag),
        "phase": phase_loss(estimate_phase, phase),
        "complex": complex_loss(spec, target),
        "wave": wave_loss(estimate, wave),
        "consistency": consistency_loss(spec, estimate),
        "si_sdr": negative_si_sdr(estimate, wave),
        "snr": negative_snr(estimate, wave),
    }


def total(
    terms: Mapping[str, Tensor | float], weights: Mapping[str, float] = WEIGHTS
) -> Tensor | float:
    """The weighted sum of the terms; what has no weight is left out, infinite or not."""
    return sum(weights[name] * value for name, value in terms.items() if weights[name])
