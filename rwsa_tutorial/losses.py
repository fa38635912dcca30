"""What training asks of the network (notebook 07). MP-SENet, arXiv 2305.13686, section 2.4."""

import torch

from .features import synthesise

# the paper's values; it has a metric discriminator and a consistency term (the complex spectrum
# against the STFT of its own waveform) besides, and no SI-SDR term
WEIGHTS = {"magnitude": 0.9, "phase": 0.3, "complex": 0.2, "wave": 0.2, "si_sdr": 0.0}


def anti_wrapped(angle):
    """Distance of an angle from 0 on the circle, |x - 2 pi round(x / 2 pi)|, in radians."""
    return (angle - 2 * torch.pi * torch.round(angle / (2 * torch.pi))).abs()


def phase_loss(phase, target):
    """Anti-wrapped L1 of phase, of its step along frequency, and along time. (B, F, T) each.

    Instantaneous phase, group delay and instantaneous angular frequency: Ai and Ling,
    arXiv 2211.15974, equations 5 to 7.
    """
    error = phase - target
    return sum(anti_wrapped(e).mean() for e in (error, error.diff(dim=1), error.diff(dim=2)))


def negative_si_sdr(estimate, wave):
    """Minus the scale-invariant SDR in dB, mean over the batch; (B, n) each.

    Le Roux et al., arXiv 1811.02508, equation 5. A small constant keeps silence finite.
    """
    alpha = (estimate * wave).sum(-1, keepdim=True) / (wave.square().sum(-1, keepdim=True) + 1e-8)
    target = alpha * wave
    error = (estimate - target).square().sum(-1) + 1e-8
    return -10 * torch.log10((target.square().sum(-1) + 1e-8) / error).mean()


def enhancement_losses(output, mag, phase, wave):
    """The terms of the loss, unweighted: name -> scalar.

    output: (mag, phase, spec) of the network; mag, phase: (B, F, T) and wave: (B, n) of the clean
    target. Magnitudes and spectra are compared in the compressed domain.
    """
    estimate_mag, estimate_phase, spec = output
    target = torch.stack([mag * phase.cos(), mag * phase.sin()], dim=-1)
    estimate = synthesise(estimate_mag, estimate_phase, length=wave.shape[-1])
    return {
        "magnitude": (estimate_mag - mag).square().mean(),
        "phase": phase_loss(estimate_phase, phase),
        "complex": (spec - target).square().mean(),
        "wave": (estimate - wave).abs().mean(),
        "si_sdr": negative_si_sdr(estimate, wave),
    }


def total(terms, weights=WEIGHTS):
    """The weighted sum of the terms."""
    return sum(weights[name] * value for name, value in terms.items())
