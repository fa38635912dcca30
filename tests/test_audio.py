"""Recordings in and out, sample rates and number formats."""

import io
import os
import re
import struct
import sys
import warnings

import numpy as np
import pytest
import soundfile
import soxr
import torch
from fuzzing import some
from hypothesis import given
from hypothesis import strategies as st

from rwsa_tutorial import audio
from rwsa_tutorial.audio.containers import _frame
from rwsa_tutorial.corpora.pairs import recordings


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


def test_values_beyond_full_scale_are_clipped_with_a_note(tmp_path):
    with pytest.warns(audio.RecordingWarning, match=r"a.wav: 2 values .* 3.5 dB above"):
        audio.write(tmp_path / "a.wav", np.array([1.5, -1.5, 0.0]), 8_000)
    back, _ = audio.read(tmp_path / "a.wav")
    assert back == pytest.approx([1, -1, 0], abs=1e-4)
    audio.write(tmp_path / "b.wav", np.array([1.5, -1.5, 1.0]), 8_000, subtype="FLOAT")
    assert audio.read(tmp_path / "b.wav")[0].tolist() == [1.5, -1.5, 1]


@pytest.mark.parametrize("extension", audio.WRITABLE)
@pytest.mark.parametrize("loud", [1e8, 1e30, 1e300])
@pytest.mark.filterwarnings("ignore:.*beyond full scale")
def test_however_loud_a_wave_is_it_can_be_written(tmp_path, extension, loud):
    audio.write(tmp_path / f"a{extension}", tone(16_000).astype(float) * loud, 16_000)
    back, _ = audio.read(tmp_path / f"a{extension}")
    assert len(back) == 8_000 and 0.9 < np.abs(back).max() < 2


@pytest.mark.parametrize("kind", [">f4", ">f8", "<f2", "longdouble", ">i2", ">i4"])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_number_formats_of_all_machines_are_written_alike(tmp_path, kind, subtype):
    wave = tone(16_000, channels=2)
    scale = {">i2": 2**15, ">i4": 2**31}.get(kind, 1)
    strange = np.asfortranarray((wave * scale).astype(kind))[::-1][::-1]
    audio.write(tmp_path / "a.wav", strange, 16_000, subtype)
    assert np.abs(audio.read(tmp_path / "a.wav")[0] - wave).max() < 2e-4
    parts = (block for block in audio.blocks_of(strange, 1000))
    audio.write_blocks(tmp_path / "b.wav", parts, 16_000, 2, subtype)
    assert np.array_equal(audio.read(tmp_path / "b.wav")[0], audio.read(tmp_path / "a.wav")[0])
    assert np.abs(audio.resample(strange, 16_000, 16_000) - wave).max() < 2e-4


def test_blocks_with_nan_are_refused_by_the_writer(tmp_path):
    for bad in (np.nan, 1e200):
        with pytest.raises(ValueError, match="NaN|infinity"):
            audio.write_blocks(tmp_path / "a.wav", [np.full((9, 1), bad)], 8_000, 1, "FLOAT")
    assert os.listdir(tmp_path) == []


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
        ("a.wav", 2**31, 1, "2147483648 Hz"),
        ("a.flac", 700_000, 1, "700000 Hz"),
        ("a.ogg", 200_001, 1, "up to 200000 Hz"),
    ],
)
def test_what_a_file_type_cannot_hold_is_said(tmp_path, name, rate, channels, words):
    with pytest.raises(ValueError, match=words):
        audio.write(tmp_path / name, np.zeros((100, channels)), rate)
    assert os.listdir(tmp_path) == []


def test_more_channels_than_ogg_takes_are_refused_before_its_encoder_sees_them(tmp_path):
    with pytest.raises(ValueError, match="255 channels, not 16000 Hz and 256"):
        audio.write_blocks(tmp_path / "a.ogg", [np.zeros((100, 256))], 16_000, 256)
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
    with pytest.raises(ValueError, match="nothing.flac is empty"):
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


@some(30)
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


@some(25)
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


def coded(wave, rate, kind, **how):
    """The bytes of a file of this kind."""
    content = io.BytesIO()
    soundfile.write(content, wave, rate, format=kind, **how)
    return content.getvalue()


def put(content, place, data):
    return content[:place] + data + content[place + len(data) :]


def of_unknown_length(content, kind, size=0):
    """The file as if it had been written to a pipe: its header states no length, or this."""
    data = content.find(b"SSND" if kind == "AIFF" else b"data")
    if kind == "FLAC":  # 36 bits, after 4 that belong to another number
        stated = (content[21] >> 4 << 36 | size).to_bytes(5, "big")
        return put(content, 21, stated)
    place, stated = {
        "WAV": (data + 4, size.to_bytes(4, "little")),
        "AIFF": (data + 4, size.to_bytes(4, "big")),
        "AU": (8, size.to_bytes(4, "big")),
        "CAF": (data + 4, size.to_bytes(8, "big")),
        "W64": (data + 16, size.to_bytes(8, "little")),
        "RF64": (content.find(b"ds64") + 16, size.to_bytes(8, "little")),
    }[kind]
    return put(content, place, stated)


def read_both(path, content):
    """The file's wave (n,); reading its bytes and reading it in blocks must give the same."""
    path.write_bytes(content)
    wave, rate = audio.read(path)
    assert np.array_equal(audio.read(content)[0], wave)
    with audio.open_to_read(path) as file:
        assert np.array_equal(np.concatenate([*file.blocks(1000)])[:, 0], wave)
        assert (file.frames, file.samplerate) == (len(wave), rate)
        file.seek(3000)
        assert np.array_equal(file.read(500), wave[3000:3500])
        assert np.array_equal(file.read(), wave[3500:])
    return wave


KINDS = ["WAV", "AIFF", "AU", "CAF", "W64", "RF64", "FLAC"]


@pytest.mark.parametrize("size", [0, 2**32 - 1, 2**31 - 1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_a_length_is_read_to_its_end(tmp_path, recwarn, kind, size):
    wave = tone(16_000)
    content = of_unknown_length(coded(wave, 16_000, kind), kind, size)
    back = read_both(tmp_path / "a.wav", content)
    assert len(back) == len(wave) and np.abs(back - wave).max() < 2**-15
    # only a header of more than 32 bits can mean so much
    doubtful = size and kind in ("W64", "RF64", "CAF", "FLAC")
    told = [str(warning.message) for warning in recwarn]
    assert all("ends early: it holds 0.5 s" in words for words in told)
    assert doubtful or not told


def test_a_flac_that_claims_too_much_is_no_memory_error(tmp_path):
    wave = tone(16_000)
    content = of_unknown_length(coded(wave, 16_000, "FLAC"), "FLAC", 2**36 - 1)
    with pytest.warns(audio.RecordingWarning, match="ends early: it holds 0.5 s"):
        assert len(read_both(tmp_path / "a.flac", content)) == len(wave)
    too_few = of_unknown_length(coded(wave, 16_000, "FLAC"), "FLAC", 7_000)
    assert len(audio.read(too_few)[0]) == len(wave)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_file_is_told(tmp_path, kind):
    wave = tone(16_000)
    content = coded(wave, 16_000, kind)
    (tmp_path / "a.wav").write_bytes(content[: len(content) // 2])
    if kind == "FLAC":  # not one frame is whole
        with pytest.raises(ValueError, match="a.wav cannot be read as audio: it is damaged"):
            audio.read(tmp_path / "a.wav")
        return
    with pytest.warns(audio.RecordingWarning, match=r"a.wav ends early: it holds 0\.[12]"):
        back, _ = audio.read(tmp_path / "a.wav")
    assert 2_900 < len(back) < 4_000  # some have a long header
    assert np.abs(back - wave[: len(back)]).max() < 2**-15


@pytest.mark.parametrize("kind", ["VOC", "NIST", "SVX"])
def test_cut_files_of_old_kinds_are_told(kind):
    wave = tone(16_000)
    content = coded(wave, 16_000, kind, subtype="PCM_16")
    with pytest.warns(audio.RecordingWarning, match=r"ends early: it holds 0\.2 s"):
        back, _ = audio.read(content[: len(content) // 2])
    assert 3_700 < len(back) < 4_000 and np.abs(back - wave[: len(back)]).max() < 2**-15


@pytest.mark.parametrize("damage", ["cut", "zeros"])
@pytest.mark.parametrize("states", [True, False])
@pytest.mark.filterwarnings("ignore:.*cannot be read as sound")
def test_a_damaged_flac_is_read_to_the_damage(tmp_path, damage, states):
    content = coded(0.1 * np.random.default_rng(0).normal(size=80_000), 16_000, "FLAC")
    whole, half = audio.read(content)[0], len(content) // 2
    if not states:
        content = of_unknown_length(content, "FLAC")
    (tmp_path / "a.flac").write_bytes(
        content[:half] + (bytes(200) + content[half + 200 :]) * (damage == "zeros")
    )
    words = "ends early: it holds 2.3 s" if states else "its first 2.3 s cannot be read"
    with pytest.warns(audio.RecordingWarning, match=words) as told:
        back, _ = audio.read(tmp_path / "a.flac")
    assert len(told) == 1
    assert np.array_equal(back, whole[:36_864])  # nine frames of 4096 samples
    with audio.open_to_read(tmp_path / "a.flac") as file:
        assert np.array_equal(file.read(30_000), whole[:30_000])
        if not states:  # counted, and told while counting
            assert file.frames == 36_864
    if states:
        with (
            pytest.raises(ValueError, match="a.flac cannot be read"),
            audio.open_to_read(tmp_path / "a.flac") as file,
        ):
            file.read(40_000)


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "AU", "RF64", "W64"])
def test_what_lies_behind_the_stated_end_is_told(kind):
    content = coded(tone(16_000), 16_000, kind)
    header = {"AIFF": 8, "W64": 24}.get(kind, 0)  # what a size counts beside the sound
    too_short = of_unknown_length(content, kind, header + 2_000)
    with pytest.warns(audio.RecordingWarning, match="14000 bytes behind them are left out"):
        assert len(audio.read(too_short)[0]) == 1_000


def test_what_lies_behind_the_end_of_a_flac_is_told():
    with pytest.warns(audio.RecordingWarning, match="0.5 s cannot be read as sound"):
        flac = coded(tone(16_000), 16_000, "FLAC")
        assert len(audio.read(flac + flac)[0]) == 8_000


def test_a_wav_beyond_4_gib_is_read_whole(tmp_path):
    """Its size of 32 bits has overflowed; the sound is a hole in the file."""
    header = of_unknown_length(coded(np.zeros((1, 2)), 48_000, "WAV"), "WAV", 2**20)[:-4]
    with open(tmp_path / "a.wav", "wb") as file:
        file.write(header)
        file.truncate(len(header) + 2**32 + 2**20)
    with audio.open_to_read(tmp_path / "a.wav") as file:
        assert file.frames == 2**30 + 2**18
        file.seek(file.frames - 10)
        assert len(file.read()) == 10


@pytest.fixture(scope="module")
def mp3():
    """A VBR MP3 (n = 132 300) whose loudness, and so its bit rate, jumps; and without its tag."""
    wave = tone(44_100, 3.0)
    wave[44_100:88_200] += 0.2 * np.random.default_rng(0).normal(size=44_100).astype(np.float32)
    content = coded(wave, 44_100, "MP3", bitrate_mode="VARIABLE", compression_level=0.5)
    first = content.find(b"\xff\xfb")
    assert content[first + 21 : first + 25] == b"Xing"
    return wave, content, content[content.find(b"\xff\xfb", first + 4) :]


def alike(one, other):
    return np.corrcoef(one, other)[0, 1]


ENCODER_DELAY = 576  # which only the tag tells a decoder


@pytest.mark.filterwarnings("error")
def test_all_of_an_mp3_is_read(tmp_path, mp3):
    wave, tagged, bare = mp3
    n, late = len(wave), ENCODER_DELAY
    whole = read_both(tmp_path / "a.mp3", tagged)
    assert len(whole) == n and alike(whole, wave) > 0.9  # noise is coded coarsely
    long = read_both(tmp_path / "a.wav", bare)  # whatever it is called
    assert n + late <= len(long) < n + late + 1_152
    assert np.abs(long[late : n + late] - whole).max() < 1e-3
    for joined in (tagged + tagged, tagged + b"TAG" + bytes(125) + tagged):
        back = read_both(tmp_path / "b.mp3", joined)
        assert np.abs(back - np.tile(whole, 2)).max() < 1e-3
    assert len(read_both(tmp_path / "c.mp3", tagged + bare)) == n + len(long)
    assert len(read_both(tmp_path / "d.mp3", bare + tagged)) == n + len(long)


def test_a_cut_mp3_is_read_to_where_it_is_cut(tmp_path, mp3):
    _, tagged, bare = mp3
    whole = audio.read(tagged)[0]
    for content, late in ((tagged, 0), (bare, ENCODER_DELAY)):
        with pytest.warns(audio.RecordingWarning, match=r"ends early: it holds 1\.\d s"):
            back = read_both(tmp_path / "a.mp3", content[: len(content) // 2])
        assert np.abs(back[late:] - whole[: len(back) - late]).max() < 1e-3


@pytest.mark.parametrize("frames", [1, 5])
@pytest.mark.parametrize("which", [1, 2])
def test_a_hole_in_an_mp3_is_told(mp3, which, frames):
    content, places = mp3[which], []
    place = content.find(b"\xff\xfb")
    while place < len(content):
        places.append(place)
        place += _frame(content[place : place + 4]).length
    begin, end = places[50], places[50 + frames]
    with pytest.warns(audio.RecordingWarning, match="has gaps: some of it is damaged") as told:
        back = audio.read(content[:begin] + bytes(end - begin) + content[end:])[0]
    assert len(told) == 1
    assert abs(len(audio.read(content)[0]) - len(back) - 1_152 * frames) <= 1_152


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_all_of_an_ogg_is_read(tmp_path, recwarn, subtype):
    wave = tone(48_000, 2.0) + 0.05 * np.random.default_rng(0).normal(size=96_000)
    content = coded(wave, 48_000, "OGG", subtype=subtype)
    back = read_both(tmp_path / "a.ogg", content + content)
    assert len(back) == 2 * len(wave)
    assert alike(back[: len(wave)], wave) > 0.9 and alike(back[len(wave) :], wave) > 0.9
    assert not recwarn.list
    with pytest.warns(audio.RecordingWarning, match=r"ends early: it holds [01]\.\d s"):
        cut = read_both(tmp_path / "b.ogg", content[: -len(content) // 4])
    assert len(cut) < len(wave) and alike(cut, wave[: len(cut)]) > 0.9
    with pytest.raises(ValueError, match="different sample rates.*begins after 2.0 s"):
        audio.read(content + coded(tone(16_000), 16_000, "OGG", subtype=subtype))


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("damage", ["missing", "zeros", "bytes"])
def test_a_hole_in_an_ogg_is_told(subtype, damage):
    wave = 0.1 * np.random.default_rng(0).normal(size=4 * 48_000)
    content = coded(wave, 48_000, "OGG", subtype=subtype)
    begin = content.find(b"OggS", len(content) // 2)
    end = content.find(b"OggS", begin + 1)
    hole = {
        "missing": b"",
        "zeros": bytes(end - begin),
        "bytes": put(content[begin:end], 500, bytes(50)),
    }[damage]
    with pytest.warns(audio.RecordingWarning, match=r"has gaps: [012]\.\d\d s of it are damaged"):
        back = audio.read(content[:begin] + hole + content[end:])[0]
    assert 2 * 48_000 < len(back) < len(wave)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_lost_page_at_the_begin_or_the_end_of_an_ogg_is_told(subtype):
    wave = 0.1 * np.random.default_rng(0).normal(size=4 * 48_000)
    content = coded(wave, 48_000, "OGG", subtype=subtype)
    last = content.rfind(b"OggS")
    with pytest.warns(match="has gaps"), pytest.warns(match="ends early: it holds 3"):
        back = audio.read(put(content, last + 100, bytes(50)))[0]
    assert 3 * 48_000 < len(back) < len(wave)
    _, _, begin, end, *_ = [page.start() for page in re.finditer(b"OggS", content)]
    with pytest.warns(audio.RecordingWarning, match="has gaps: some of it is damaged or missing"):
        back = audio.read(content[:begin] + content[end:])[0]
    assert 3 * 48_000 <= len(back) < len(wave)
    with pytest.raises(ValueError, match="cannot be read as audio"):
        audio.read(content[begin:])


@pytest.mark.filterwarnings("error")
def test_a_chunk_behind_a_w64_is_no_sound():
    content = coded(tone(16_000), 16_000, "W64")
    chunk = b"levl" + bytes.fromhex("f3acd3118cd100c04f8edb8a") + struct.pack("<q", 64) + bytes(40)
    assert np.array_equal(audio.read(content + chunk)[0], audio.read(content)[0])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [1, 1_152, 1_200])
def test_an_mp3_of_few_frames_is_read(n):
    assert len(audio.read(coded(tone(44_100)[5_000 : 5_000 + n], 44_100, "MP3"))[0]) == n


def test_a_flac_without_samples_is_empty():
    content = of_unknown_length(coded(tone(16_000), 16_000, "FLAC"), "FLAC")
    for tail in (b"", b"TAG" + bytes(125)):
        with pytest.raises(ValueError, match="the uploaded file is empty"):
            audio.read(content[: content.find(b"\xff\xf8")] + tail)


@pytest.mark.parametrize("rate", [0, 2**31])
def test_a_sample_rate_that_cannot_be_is_told(rate):
    content = put(coded(tone(16_000), 16_000, "WAV"), 24, rate.to_bytes(4, "little"))
    with pytest.raises(ValueError, match="header states a sample rate or a number of channels"):
        audio.read(content)


@pytest.mark.filterwarnings("error")
def test_a_tag_behind_a_flac_is_no_sound():
    content = coded(tone(16_000), 16_000, "FLAC")
    assert len(audio.read(content + b"TAG" + bytes(125))[0]) == len(audio.read(content)[0])


@pytest.mark.parametrize("rate", [48_000, 22_050])
def test_mp3s_of_different_rates_in_one_file_are_refused(mp3, rate):
    other = coded(tone(rate), rate, "MP3")
    with pytest.raises(ValueError, match=r"different sample rates.*begins after 3\.0 s"):
        audio.read(mp3[1] + other)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "CAF", "W64", "AIFF"])
def test_no_damage_does_more_than_words(kind):
    """Bytes changed, cut and put in at random: samples, or a ValueError."""
    content, rng = coded(tone(16_000, 0.1), 16_000, kind), np.random.default_rng(1)
    outcomes = set()
    for _ in range(40):
        bad = bytearray(content)
        for place in rng.integers(0, min(len(bad), 200), 3):
            bad[place] = rng.integers(256)
        del bad[rng.integers(len(bad)) :]
        try:
            with warnings.catch_warnings(record=True):
                outcomes.add(audio.read(bytes(bad))[0].dtype)
        except ValueError as error:
            assert "the uploaded file" in str(error)
            outcomes.add(ValueError)
    assert outcomes <= {np.dtype(np.float32), ValueError} and outcomes


@pytest.mark.parametrize("extension", audio.WRITABLE)
def test_a_full_disk_is_an_error_whenever_it_fills_up(tmp_path, extension):
    resource = pytest.importorskip("resource")
    path, wave = tmp_path / f"a{extension}", np.random.default_rng(0).uniform(-1, 1, 40_000)
    audio.write(path, wave, 16_000)
    whole = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (0, 100, len(whole) // 2, len(whole) - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        try:
            with pytest.raises(OSError, match="too large"):
                audio.write(path, wave, 16_000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.read_bytes() == whole and len(os.listdir(tmp_path)) == 1


def test_a_disk_that_fails_while_reading_is_no_end_of_the_file(tmp_path):
    audio.write(tmp_path / "a.flac", tone(16_000, 5.0), 16_000)

    class Failing(io.BytesIO):
        def read(self, count=-1):
            if self.tell() > 20_000:
                raise OSError(5, "Input/output error")
            return super().read(count)

    with pytest.raises(OSError, match="Input/output"):
        audio.Recording(Failing((tmp_path / "a.flac").read_bytes()), "a.flac").read()


def test_large_wav_files_are_rf64(tmp_path, monkeypatch):
    wave = tone(16_000)
    monkeypatch.setattr("rwsa_tutorial.audio.writing.LARGEST_WAV", 2 * len(wave) - 1)
    audio.write(tmp_path / "a.wav", wave, 16_000)
    assert soundfile.info(tmp_path / "a.wav").format == "RF64"
    assert np.abs(audio.read(tmp_path / "a.wav")[0] - wave).max() < 2**-15
    with pytest.raises(ValueError, match="more than 4 GiB"):
        audio.write_blocks(tmp_path / "b.wav", 5 * [wave[:, None]], 16_000, 1)
    audio.write(tmp_path / "b.wav", wave[:-1], 16_000)
    assert soundfile.info(tmp_path / "b.wav").format == "WAV"


@pytest.mark.parametrize("extension", audio.WRITABLE)
def test_any_name_that_the_system_takes_will_do(tmp_path, extension):
    names = ["音" * 82 + extension]
    if sys.platform == "linux":
        names.append(os.fsdecode(b"caf\xe9") + extension)
    for name in names:
        audio.write(tmp_path / name, tone(16_000), 16_000)
        assert len(audio.read(tmp_path / name)[0]) == 8_000
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    with pytest.raises(FileNotFoundError):
        audio.read(tmp_path / ("z" + names[-1]))


def test_notes_are_given_once_to_who_asks():
    told = []
    with audio.notes_to(told.append):
        for words in ("one", "two", "one"):
            audio.note(words)
    assert told == ["one", "two"]
    with pytest.warns(audio.RecordingWarning, match="three"):
        audio.note("three")


@pytest.mark.parametrize(
    ("extension", "kind", "subtype"),
    [(".aif", "AIFF", "PCM_16"), (".aifc", "AIFF", "FLOAT"), (".snd", "AU", "PCM_16")]
    + [(".caf", "CAF", "PCM_24"), (".voc", "VOC", "PCM_16"), (".sph", "NIST", "PCM_16")]
    + [(".w64", "W64", "PCM_16"), (".rf64", "RF64", "PCM_16"), (".wave", "WAVEX", "PCM_16")]
    + [(".opus", "OGG", "OPUS"), (".oga", "OGG", "VORBIS"), (".avr", "AVR", "PCM_16")]
    + [(".sf", "IRCAM", "PCM_16"), (".paf", "PAF", "PCM_16"), (".pvf", "PVF", "PCM_16")]
    + [(".8svx", "SVX", "PCM_16"), (".sds", "SDS", "PCM_16"), (".htk", "HTK", "PCM_16")],
)
def test_all_that_the_sound_library_reads_is_read(tmp_path, recwarn, extension, kind, subtype):
    wave = tone(16_000)
    path = tmp_path / f"a{extension}"
    soundfile.write(path, wave, 16_000, subtype, format=kind)
    assert recordings(tmp_path) == [path]
    back, rate = audio.read(path)
    assert rate == 16_000 and len(back) >= len(wave)  # SDS fills its last packet
    assert alike(back[: len(wave)], wave) > 0.99
    assert not recwarn.list
