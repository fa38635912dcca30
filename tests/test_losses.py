"""Each term of the loss against a second formulation, and gradients where sound has none."""

import math

import librosa
import numpy as np
import pytest
import torch

import rwsa_tutorial as rt
from rwsa_tutorial import losses
from rwsa_tutorial.features import analyse, synthesise
from rwsa_tutorial.scores.metrics import si_sdr


@pytest.fixture
def images():
    """Two images (2, 5, 4) of positive numbers, and two of angles over several turns."""
    draw = torch.Generator().manual_seed(0)
    shape = (2, 5, 4)
    mags = [torch.rand(shape, generator=draw, dtype=torch.float64) for _ in range(2)]
    angles = [4 * torch.randn(shape, generator=draw, dtype=torch.float64) for _ in range(2)]
    return (*mags, *angles)


def spectrum(mag, phase):
    return torch.stack([mag * phase.cos(), mag * phase.sin()], dim=-1)


def test_magnitude_and_wave_are_means_over_all_bins_and_samples(images):
    a, b = (x.numpy() for x in images[:2])
    cells = list(np.ndindex(a.shape))
    by_hand = sum((a[i] - b[i]) ** 2 for i in cells) / len(cells)
    assert losses.magnitude_loss(*images[:2]).item() == pytest.approx(by_hand, rel=1e-12)
    by_hand = sum(abs(a[i] - b[i]) for i in cells) / len(cells)
    flat = [x.flatten(1) for x in images[:2]]
    assert losses.wave_loss(*flat).item() == pytest.approx(by_hand, rel=1e-12)


def test_anti_wrapping_is_the_angle_between_two_hands():
    a, b = torch.linspace(-20, 20, 400, dtype=torch.float64), 2.5
    between = torch.acos((torch.cos(a) * np.cos(b) + torch.sin(a) * np.sin(b)).clamp(-1, 1))
    torch.testing.assert_close(losses.anti_wrapped(a - b), between, rtol=0, atol=1e-6)


def test_phase_loss_is_three_means_of_angles_on_the_circle(images):
    phase, target = images[2:]
    error = (phase - target).numpy()

    def hands(angles):
        return np.mean(np.abs(np.angle(np.exp(1j * np.asarray(angles)))))

    batch, bins, frames = error.shape
    each = [(b, f, t) for b in range(batch) for f in range(bins) for t in range(frames)]
    up = [error[b, f + 1, t] - error[b, f, t] for b, f, t in each if f + 1 < bins]
    on = [error[b, f, t + 1] - error[b, f, t] for b, f, t in each if t + 1 < frames]
    expected = hands(error) + hands(up) + hands(on)
    assert losses.phase_loss(phase, target).item() == pytest.approx(expected, rel=1e-12)


def test_complex_loss_is_the_squared_distance_in_the_plane(images):
    a, b, x, y = images
    distance = (a * torch.exp(1j * x) - b * torch.exp(1j * y)).abs().square().mean()
    ours = losses.complex_loss(spectrum(a, x), spectrum(b, y))
    torch.testing.assert_close(ours, distance, rtol=1e-12, atol=0)


def test_consistency_is_what_librosa_finds_after_there_and_back(images):
    draw = torch.Generator().manual_seed(1)
    mag = torch.rand(1, 256, 9, generator=draw, dtype=torch.float64)
    phase = 3 * torch.randn(1, 256, 9, generator=draw, dtype=torch.float64)
    wave = synthesise(mag, phase)
    how = {"n_fft": 510, "hop_length": 120, "window": "hann", "center": True}
    heard = librosa.stft(wave[0].numpy(), pad_mode="reflect", **how)
    heard = np.abs(heard) ** 0.3 * np.exp(1j * np.angle(heard))
    given = (mag * torch.exp(1j * phase))[0].numpy()
    ours = losses.consistency_loss(spectrum(mag, phase), wave).item()
    assert ours == pytest.approx(np.mean(np.abs(given - heard) ** 2), rel=1e-5)
    assert ours > 0.1


def test_the_spectrum_of_a_waveform_is_consistent():
    wave = torch.randn(2, 3000, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    mag, phase = analyse(wave)
    assert losses.consistency_loss(spectrum(mag, phase), wave) < 1e-8


def test_metric_loss_wants_the_best_score():
    assert losses.metric_loss(torch.tensor([1.0, 0.5, 0.0])).item() == pytest.approx(1.25 / 3)


def test_si_sdr_loss_is_the_score():
    draw = torch.Generator().manual_seed(3)
    clean, noise = torch.randn(2, 3, 900, generator=draw, dtype=torch.float64)
    both = zip(clean.numpy(), (clean + noise).numpy(), strict=True)
    expected = np.mean([si_sdr(c, e) for c, e in both])
    got = losses.negative_si_sdr(5 * (clean + noise), clean)
    assert got.item() == pytest.approx(-expected, abs=1e-6)


def test_snr_loss_is_si_sdr_for_the_best_level_and_sees_a_wrong_one():
    draw = torch.Generator().manual_seed(3)
    clean, noise = torch.randn(2, 900, generator=draw, dtype=torch.float64)
    noise -= (noise @ clean) / (clean @ clean) * clean  # now the best level is that of the clean
    x = (clean + 0.5 * noise)[None]
    expected = 10 * math.log10(4 * (clean @ clean) / (noise @ noise))
    for loss in (losses.negative_snr, losses.negative_si_sdr):
        assert loss(x, clean[None]).item() == pytest.approx(-expected, abs=1e-6)
    assert losses.negative_si_sdr(-x, clean[None]).item() == pytest.approx(-expected, abs=1e-6)
    assert losses.negative_snr(-x, clean[None]) > 6  # an error of twice the signal, and more
    assert losses.negative_snr(0 * x, clean[None]).item() == pytest.approx(0, abs=1e-6)


def terms_of(mag, phase, wave, mag_hat, phase_hat):
    output = (mag_hat, phase_hat, spectrum(mag_hat, phase_hat))
    return losses.enhancement_losses(output, mag, phase, wave)


def test_a_perfect_estimate_costs_nothing_and_each_term_sees_its_fault():
    wave = torch.randn(1, 2000, generator=torch.Generator().manual_seed(0))
    mag, phase = analyse(wave)
    perfect = terms_of(mag, phase, wave, mag, phase)
    turned = terms_of(mag, phase, wave, mag, phase + 2 * torch.pi)
    for name in ("si_sdr", "snr"):
        assert perfect.pop(name) < -80 and turned.pop(name) < -60
    assert all(value < 1e-5 for value in perfect.values())
    assert all(value < 1e-4 for value in turned.values())
    loud = terms_of(mag, phase, wave, 1.5 * mag, phase)
    assert loud["phase"] < 1e-5 < 1e-2 < min(loud["magnitude"], loud["complex"], loud["wave"])
    late = terms_of(mag, phase, wave, mag, phase + 1.0)
    assert late["magnitude"] < 1e-9 and late["phase"].item() == pytest.approx(1.0, abs=1e-3)


def test_the_total_is_the_papers_sum_and_leaves_out_what_has_no_weight():
    terms = {"metric": 2.0, "magnitude": 3.0, "phase": 5.0, "complex": 7.0, "wave": 11.0}
    terms |= {"consistency": 13.0, "si_sdr": float("nan"), "snr": float("inf")}
    expected = 0.05 * 2 + 0.9 * 3 + 0.3 * 5 + 0.1 * 7 + 0.2 * 11 + 0.1 * 13
    assert losses.total(terms) == pytest.approx(expected)
    assert set(losses.WEIGHTS) == set(terms)


@pytest.mark.parametrize("target", ["speech", "silence"])
@pytest.mark.parametrize("estimate", ["zero", "one bin", "tiny", "denormal"])
def test_gradients_are_finite_where_there_is_no_sound(target, estimate):
    draw = torch.Generator().manual_seed(4)
    wave = torch.randn(1, 1320, generator=draw) * (target == "speech")
    mag, phase = analyse(wave)
    guess = {"zero": 0.0, "one bin": 0.0, "tiny": 1e-8, "denormal": 1e-12}[estimate]
    mag_hat = torch.full_like(mag, guess)
    if estimate == "one bin":
        mag_hat[0, 7, 3] = 1.0
    mag_hat.requires_grad_()
    phase_hat = torch.zeros_like(phase, requires_grad=True)
    terms = terms_of(mag, phase, wave, mag_hat, phase_hat)
    for name, value in terms.items():
        given = torch.autograd.grad(
            value, (mag_hat, phase_hat), retain_graph=True, allow_unused=True
        )
        assert value.isfinite(), name
        assert all(g is None or g.isfinite().all() for g in given), name


@pytest.mark.parametrize("kind", ["silence", "half silent"])
def test_a_network_can_learn_from_silence_without_harm(kind):
    torch.manual_seed(0)
    wave = torch.randn(2, 1320)
    wave[0] = 0
    wave = wave[:1] if kind == "silence" else wave
    config = rt.ModelConfig(4, 1, 2, heads=2, middle_heads=2, d_state=2, expand=1)
    model = rt.build_model(config)
    terms = losses.enhancement_losses(model(*analyse(wave)), *analyse(wave), wave)
    losses.total(terms, {**losses.WEIGHTS, "si_sdr": 0.1, "snr": 0.1}).backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(grads) > 50 and all(g.isfinite().all() for g in grads)
