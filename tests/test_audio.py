"""Recordings in and out, sample rates and number formats."""

import os

import numpy as np
import pytest
import soundfile
import soxr
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rwsa_tutorial import audio


def tone(rate, seconds=0.5, frequency=440.0, channels=0):
    """A faded sine (n,), or (n, channels) with falling levels."""
    t = np.arange(round(rate * seconds)) / rate
    wave = 0.4 * np.sin(2 * np.pi * frequency * t) * np.sin(np.pi * t / seconds) ** 2
    if channels:
        wave = wave[:, None] / np.arange(1, channels + 1)
    return wave.astype(np.float32)


@pytest.mark.parametrize("channels", [0, 2])
@pytest.mark.parametrize(
    ("extension", "tolerance"),
    [(".wav", 2**-15), (".flac", 2**-15), (".ogg", 0.03), (".mp3", 0.03), (".WAV", 2**-15)],
)
def test_written_recordings_are_read_back(tmp_path, extension, tolerance, channels):
    wave = tone(16_000, channels=channels)
    path = tmp_path / f"tone{extension}"
    audio.write(path, wave, 16_000)
    back, rate = audio.read(path)
    assert rate == 16_000
    assert back.dtype == np.float32
    assert back.shape == wave.shape
    assert np.abs(back - wave).max() <= tolerance


def test_sample_format_is_as_asked(tmp_path):
    wave = tone(8_000)
    audio.write(tmp_path / "a.wav", wave, 8_000, subtype="FLOAT")
    assert soundfile.info(tmp_path / "a.wav").subtype == "FLOAT"
    assert np.array_equal(audio.read(tmp_path / "a.wav")[0], wave)
    with pytest.raises(ValueError, match="cannot hold VORBIS"):
        audio.write(tmp_path / "b.wav", wave, 8_000, subtype="VORBIS")


@pytest.mark.parametrize(
    ("file_type", "subtype", "target", "kept"),
    [
        ("WAV", "PCM_24", "b.flac", "PCM_24"),
        ("WAV", "FLOAT", "b.flac", None),
        ("RF64", "FLOAT", "b.wav", "FLOAT"),
        ("MP3", "MPEG_LAYER_III", "b.wav", None),
        ("WAV", "MPEG_LAYER_III", "b.wav", None),
        ("MP3", "MPEG_LAYER_III", "b.mp3", "MPEG_LAYER_III"),
        ("WAV", "PCM_16", "b.ogg", None),
        ("WAV", "ULAW", "b.wav", "ULAW"),
    ],
)
def test_kept_sample_format(file_type, subtype, target, kept):
    assert audio.kept_subtype(file_type, subtype, target) == kept


def test_integer_waves_are_written_at_their_level(tmp_path):
    wave = (tone(8_000) * 32767).astype(np.int16)
    audio.write(tmp_path / "a.wav", wave, 8_000)
    assert np.array_equal(soundfile.read(tmp_path / "a.wav", dtype="int16")[0], wave)


def test_values_beyond_full_scale_are_clipped_not_wrapped(tmp_path):
    audio.write(tmp_path / "a.wav", np.array([1.5, -1.5, 0.0]), 8_000)
    back, _ = audio.read(tmp_path / "a.wav")
    assert back == pytest.approx([1, -1, 0], abs=1e-4)


def test_a_long_ogg_is_written_block_by_block(tmp_path):
    wave = np.zeros(3 * audio.BLOCK + 5, np.float32)
    audio.write(tmp_path / "a.ogg", wave, 16_000)
    assert soundfile.info(tmp_path / "a.ogg").frames == len(wave)


def test_failed_writing_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.wav"
    audio.write(path, tone(8_000), 8_000)
    before = path.read_bytes()

    def breaks():
        yield np.zeros((10, 1), np.float32)
        raise RuntimeError("the lights went out")

    with pytest.raises(RuntimeError, match="lights"):
        audio.write_blocks(path, breaks(), 8_000, 1)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.wav"]


@pytest.mark.parametrize(
    ("name", "rate", "channels", "words"),
    [
        ("a.mp3", 12_345, 1, "12345 Hz"),
        ("a.mp3", 16_000, 5, "5 channel"),
        ("a.txt", 16_000, 1, "extension"),
        ("a", 16_000, 1, "extension"),
        ("a.wav", 0, 1, "above zero"),
    ],
)
def test_what_a_file_type_cannot_hold_is_said(tmp_path, name, rate, channels, words):
    with pytest.raises(ValueError, match=words):
        audio.write(tmp_path / name, np.zeros((100, channels)), rate)
    assert os.listdir(tmp_path) == []


def test_writing_into_a_missing_folder_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        audio.write(tmp_path / "none" / "a.wav", tone(8_000), 8_000)


def test_reading_what_is_no_recording_is_said(tmp_path):
    (tmp_path / "text.wav").write_text("this is not audio")
    (tmp_path / "nothing.flac").write_bytes(b"")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8_000)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 8_000, subtype="FLOAT")
    with pytest.raises(ValueError, match="text.wav cannot be read as audio"):
        audio.read(tmp_path / "text.wav")
    with pytest.raises(ValueError, match="nothing.flac cannot be read as audio"):
        audio.read(tmp_path / "nothing.flac")
    with pytest.raises(ValueError, match="empty.wav is empty"):
        audio.read(tmp_path / "empty.wav")
    with pytest.raises(ValueError, match="nan.wav holds NaN"):
        audio.read(tmp_path / "nan.wav")
    with pytest.raises(ValueError, match="folder"):
        audio.read(tmp_path)
    with pytest.raises(FileNotFoundError, match="no file"):
        audio.read(tmp_path / "absent.wav")


@pytest.mark.parametrize(
    ("wave", "words"),
    [
        ([], "empty"),
        (np.zeros((5, 0)), "empty"),
        (np.float32(1.0), "shape"),
        (np.zeros((2, 3, 4)), "shape"),
        (np.zeros((2, 16_000)), r"wave\.T"),
        ([0.0, np.nan], "NaN"),
        ([0.0, -np.inf], "infinity"),
        (["a", "b"], "type"),
        ("talk.wav", "type"),
        ([[1.0], [2.0, 3.0]], "array"),
        (None, "type"),
        ([True, False], "type bool"),
        ([1, 2, 3], "type int64"),
        (np.zeros(4, np.uint16), "type uint16"),
        (np.zeros(4, complex), "type complex128"),
    ],
)
def test_what_is_no_wave_is_said(wave, words):
    with pytest.raises(ValueError, match=words):
        audio.as_wave(wave)


def test_waves_of_all_kinds_are_accepted():
    wave = np.zeros((7, 2), np.float32)
    assert audio.as_wave(wave) is wave
    assert audio.as_wave([0.5, 1.0]).shape == (2,)
    assert audio.as_wave(torch.ones(3, requires_grad=True)).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("rate", "words"), [(0, "above"), (-8_000, "above"), (44_100.5, "whole"), ("16k", "whole")]
)
def test_what_is_no_sample_rate_is_said(rate, words):
    with pytest.raises(ValueError, match=words):
        audio.check_rate(rate)
    assert audio.check_rate(44_100.0) == 44_100


@settings(deadline=None, max_examples=30)
@given(dtype=st.sampled_from(audio.INTEGER_TYPES), data=st.data())
def test_integers_survive_the_way_through_floats(dtype, data):
    info = np.iinfo(dtype)
    values = data.draw(st.lists(st.integers(info.min, info.max), min_size=1, max_size=50))
    wave = np.array(values, dtype)
    floats = audio.to_float(wave)
    assert floats.dtype == np.float32
    assert np.abs(floats).max() <= 1
    back = audio.from_float(floats, dtype)
    assert back.dtype == wave.dtype
    # float32 carries 24 bits
    assert np.abs(back.astype(float) - wave.astype(float)).max() <= (128 if dtype == "int32" else 0)


def test_silence_and_full_scale_of_integers():
    assert audio.to_float(np.array([0, 128, 255], np.uint8)).tolist() == [-1, 0, 127 / 128]
    loud = np.array([2.0, -2.0, 1.0], np.float32)
    assert audio.from_float(loud, "int16").tolist() == [32767, -32768, 32767]
    assert audio.from_float(loud, "int32").tolist() == [2**31 - 1, -(2**31), 2**31 - 1]
    assert audio.from_float(loud, "uint8").tolist() == [255, 0, 255]


def test_level_gain_brings_mean_square_to_one():
    wave = tone(16_000)
    gain = audio.level_gain(np.sum(wave.astype(float) ** 2), len(wave))
    assert np.mean((gain * wave) ** 2) == pytest.approx(1, rel=1e-6)
    assert audio.level_gain([0.0, 4.0], 16).tolist() == [0, 2]


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 7_919])
def test_resampling_keeps_a_tone(rate):
    there = audio.resample(tone(rate, channels=2), rate, 16_000)
    wanted = tone(16_000, channels=2)
    assert there.shape == (-(-round(rate * 0.5) * 16_000 // rate), 2)
    n = min(len(there), len(wanted))
    # an odd rate ends between two samples, so that the fades differ a little
    assert np.abs(there[:n] - wanted[:n]).max() < 2e-4


@settings(deadline=None, max_examples=25)
@given(
    n=st.integers(1, 3_000),
    rates=st.tuples(*[st.sampled_from([8_000, 11_025, 16_000, 44_100, 48_000, 96_001])] * 2),
    size=st.integers(1, 1_000),
)
def test_resampling_in_blocks_equals_soxr_in_one_piece(n, rates, size):
    wave = np.random.default_rng(n).normal(size=(n, 2)).astype(np.float32)
    parts = list(audio.resample_blocks(audio.blocks_of(wave, size), *rates, 2))
    joined = np.concatenate(parts)
    assert joined.shape == (-(-n * rates[1] // rates[0]), 2)
    whole = soxr.resample(wave, *rates)
    assert len(joined) - len(whole) in (0, 1)  # soxr rounds, we round up
    assert np.abs(joined[: len(whole)] - whole).max(initial=0) < 1e-5
    exact = list(audio.resample_blocks(audio.blocks_of(wave, size), *rates, 2, length=n + 3))
    assert sum(map(len, exact)) == n + 3


def test_equal_rates_leave_the_wave_alone():
    wave = tone(16_000)
    assert np.array_equal(audio.resample(wave, 16_000, 16_000), wave)


def test_content_in_memory_reads_like_the_file(tmp_path):
    wave = np.linspace(-0.5, 0.5, 800, dtype=np.float32)
    audio.write(tmp_path / "a.flac", wave, 16_000)
    from_file, rate = audio.read(tmp_path / "a.flac")
    from_bytes, same_rate = audio.read((tmp_path / "a.flac").read_bytes())
    assert rate == same_rate == 16_000 and np.array_equal(from_file, from_bytes)
    with pytest.raises(ValueError, match="the uploaded file cannot be read as audio"):
        audio.read(b"no sound at all")
