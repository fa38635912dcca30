"""The STFT pair against torch's own and against a transform written as a plain sum."""

import numpy as np
import pytest
import torch
from fuzzing import some
from hypothesis import given
from hypothesis import strategies as st

from rwsa_tutorial.features import COMPRESSION, HOP, N_FFT, analyse, gain, synthesise


def speechlike(n, seed=0, dtype=torch.float32):
    return torch.randn(1, n, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("n", [1, 2, 119, 120, 121, 254, 255, 256, 509, 510, 30_600, 160_000])
def test_identity_for_every_length(n):
    wave = speechlike(n)
    mag, phase = analyse(wave)
    assert mag.shape == phase.shape == (1, 256, 1 + n // HOP)
    assert (synthesise(mag, phase, length=n) - wave).abs().max() < 1e-5


@some(60)
@given(n=st.integers(1, 160_000), seed=st.integers(0, 99))
def test_identity_property(n, seed):
    wave = speechlike(n, seed)
    assert (synthesise(*analyse(wave), length=n) - wave).abs().max() < 1e-5


def test_training_segment_gives_square_image():
    assert analyse(speechlike(30_600))[0].shape == (1, 256, 256)


def test_one_frame_against_the_defining_sum():
    wave = speechlike(2000, dtype=torch.float64)
    mag, phase = analyse(wave)
    t = 5
    frame = wave[0, t * HOP - N_FFT // 2 : t * HOP + N_FFT // 2].numpy()
    k, m = np.arange(256)[:, None], np.arange(N_FFT)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * m / N_FFT)  # periodic Hann
    spectrum = (frame * window * np.exp(-2j * np.pi * k * m / N_FFT)).sum(1)
    got = torch.polar(mag ** (1 / COMPRESSION), phase)[0, :, t].numpy()
    assert np.abs(got - spectrum).max() < 1e-9


def test_equals_librosa():
    import librosa

    wave = speechlike(5000, dtype=torch.float64)
    theirs = librosa.stft(wave[0].numpy(), n_fft=N_FFT, hop_length=HOP, pad_mode="reflect")
    mag, phase = analyse(wave)
    got = torch.polar(mag ** (1 / COMPRESSION), phase)[0].numpy()
    assert np.abs(got - theirs).max() < 1e-9


def test_silence_stays_silence_and_has_gradients():
    wave = torch.zeros(1, 1000, requires_grad=True)
    mag, phase = analyse(wave)
    assert mag.abs().max() == 0 and phase.abs().max() == 0
    assert synthesise(mag, phase, length=1000).abs().max() == 0
    mag.sum().backward()
    assert torch.isfinite(wave.grad).all()
    assert gain(torch.zeros(2, 50)).tolist() == [[1.0], [1.0]]


def test_gain_gives_unit_power():
    wave = 0.01 * torch.randn(3, 4000)
    power = (wave * gain(wave)).square().mean(-1)
    torch.testing.assert_close(power, torch.ones(3))


@pytest.mark.parametrize("wave", [torch.zeros(10), torch.zeros(1, 0), torch.zeros(1, 9).int()])
def test_wrong_input_is_refused_in_words(wave):
    with pytest.raises(ValueError, match=r"shape \(B, n\)"):
        analyse(wave)


def test_length_out_of_reach_is_refused():
    mag, phase = analyse(speechlike(1000))
    with pytest.raises(ValueError, match="samples, not 1080"):
        synthesise(mag, phase, length=1080)
