"""Any recording in, the same kind of recording out."""

import numpy as np
import pytest
import soundfile
import torch
from fuzzing import some
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import rwsa_tutorial as rt
from rwsa_tutorial import audio
from rwsa_tutorial.corpora.mixing import mix
from rwsa_tutorial.enhancement import (
    SEGMENT_SECONDS,
    STEP,
    enhance_file,
    enhance_stream,
    find_stretches,
    plan_segments,
)
from rwsa_tutorial.paths import data_path
from rwsa_tutorial.scores.metrics import si_sdr


def identity(mag, phase):
    return mag, phase, None


def halving(mag, phase):
    """A mask of one half of the amplitude, in the compressed domain."""
    return mag * 0.5**0.3, phase, None


class Contextual(nn.Module):
    """A mask that depends on neighbouring frames and, by its norms, on the whole segment."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 5, padding=2),
            nn.InstanceNorm2d(8, affine=True),
            nn.PReLU(),
            nn.Conv2d(8, 8, 5, padding=(8, 2), dilation=(4, 1)),
            nn.InstanceNorm2d(8, affine=True),
            nn.PReLU(),
            nn.Conv2d(8, 1, 1),
        )

    def forward(self, mag, phase):
        mask = torch.sigmoid(self.layers(mag.mT[:, None])[:, 0].mT)
        return mag * mask, phase, None


def speechlike(seconds=2.0, rate=16_000):
    """Harmonics of a gliding pitch in syllables, faded in and out, (n,)."""
    t = np.arange(round(rate * seconds)) / rate
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * t)) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 25))
    syllables = np.clip(np.sin(2 * np.pi * 2.3 * t) + 0.6 * np.sin(2 * np.pi * 0.31 * t + 1), 0, 1)
    fade = np.minimum(1, 20 * np.minimum(t, t[::-1]))
    return (0.1 * voice * syllables * fade).astype(np.float32)


def noisy(clean, level=0.02):
    noise = np.random.default_rng(0).normal(size=clean.shape)
    return (clean + level * noise).astype(np.float32)


@some(25)
@given(n=st.one_of(st.integers(1, 600), st.integers(1, 40_000)), channels=st.integers(0, 3))
def test_a_model_that_changes_nothing_gives_the_input_back(n, channels):
    shape = (n, channels) if channels else (n,)
    wave = np.random.default_rng(n).normal(scale=0.1, size=shape).astype(np.float32)
    out = rt.enhance(wave, 16_000, identity, segment_seconds=0.5, overlap_seconds=0.1)
    assert out.shape == wave.shape
    assert out.dtype == wave.dtype
    assert np.abs(out - wave).max() < 1e-4


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 7_919])
def test_any_sample_rate_comes_back_as_it_was(rate):
    t = np.arange(2 * rate + 7) / rate
    wave = 0.2 * (np.sin(2 * np.pi * 440 * t) + np.sin(2 * np.pi * 2_000 * t + 1))
    wave = (wave * np.sin(np.pi * t / t[-1]) ** 2).astype(np.float32)
    out = rt.enhance(wave, rate, identity)
    assert out.shape == wave.shape
    assert np.abs(out - wave).max() < 1e-4


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 192_000])
@pytest.mark.parametrize("n", [1, 2, 3, 11, 250])
def test_the_shortest_recordings_keep_their_length(n, rate):
    out = rt.enhance(np.full((n, 2), 0.25, np.float32), rate, Contextual())
    assert out.shape == (n, 2)
    assert np.isfinite(out).all()


@pytest.mark.parametrize("kind", ["int16", "int32", "uint8", "float16", "float32", "float64"])
def test_number_format_and_level_are_kept(kind):
    wave = audio.from_float(speechlike(), kind)
    out = rt.enhance(wave, 16_000, halving)
    assert out.dtype == wave.dtype
    expected = 0.5 * audio.to_float(wave).astype(float)
    step = {"uint8": 2**-7, "float16": 2**-11}.get(kind, 2**-15)
    assert np.abs(audio.to_float(out) - expected).max() <= step


def test_integers_are_clipped_not_wrapped():
    wave = (speechlike() / np.abs(speechlike()).max() * 32_767).astype(np.int16)
    out = rt.enhance(wave, 16_000, lambda mag, phase: (mag * 2**0.3, phase, None))
    expected = np.clip(2 * wave.astype(int), -32_768, 32_767)
    assert (np.abs(expected) == 32_767).sum() > 50
    assert np.abs(out - expected).max() <= 1


@pytest.mark.parametrize("gain", [1e-30, 1e-3, 1e3])
def test_the_model_hears_one_level_whatever_the_recording_has(gain):
    wave = noisy(speechlike())
    wanted = rt.enhance(wave, 16_000, Contextual())
    out = rt.enhance(gain * wave.astype(np.float64), 16_000, Contextual())
    assert np.abs(out / gain - wanted).max() < 1e-5

    powers = []

    def listen(mag, phase):
        powers.append(float(rt.synthesise(mag, phase, length=len(wave)).square().mean()))
        return mag, phase, None

    rt.enhance(gain * wave.astype(np.float64), 16_000, listen)
    assert powers == pytest.approx([1.0], abs=1e-3)


@pytest.mark.parametrize("kind", ["float32", "int16", "uint8"])
def test_silence_gives_silence_and_leaves_the_model_alone(kind):
    def never(mag, phase):
        raise RuntimeError("asked to enhance silence")

    silence = audio.from_float(np.zeros((50_000, 2), np.float32), kind)
    assert np.array_equal(rt.enhance(silence, 44_100, never), silence)


def test_a_silent_channel_stays_silent_beside_a_loud_one():
    wave = np.stack([speechlike(), np.zeros(32_000, np.float32)], axis=1)
    out = rt.enhance(wave, 16_000, Contextual())
    assert not out[:, 1].any()
    assert np.array_equal(out[:, 0], rt.enhance(wave[:, 0], 16_000, Contextual()))


@pytest.mark.parametrize("seed", range(3))
def test_splitting_is_not_heard(seed):
    clean = speechlike(20.0)
    wave, model = noisy(clean), Contextual(seed)
    whole = rt.enhance(wave, 16_000, model, segment_seconds=30)
    split = rt.enhance(wave, 16_000, model)
    assert not np.array_equal(whole, split)
    assert abs(si_sdr(clean, split) - si_sdr(clean, whole)) < 0.1
    assert si_sdr(whole, split) > 30


def test_splitting_is_not_heard_with_the_shipped_network():
    """20 s of the examples' speech in steady noise, in one piece and in the usual pieces."""
    files = sorted(data_path("examples", "clean").glob("*.flac"))
    speech = np.concatenate([audio.read(file)[0] for file in files])[: 20 * 16_000]
    hiss = np.random.default_rng(0).standard_normal(len(speech))
    hiss = np.convolve(hiss, [1, 0.9, 0.8, 0.6, 0.4, 0.2], "same")
    wave, model = mix(speech, hiss, 5.0)[1], rt.load_pretrained("nano")
    whole = rt.enhance(wave, 16_000, model, segment_seconds=30)
    split = rt.enhance(wave, 16_000, model)
    assert len(speech) == 20 * 16_000 and not np.array_equal(whole, split)
    assert si_sdr(speech, whole) > si_sdr(speech, wave) + 3
    assert abs(si_sdr(speech, split) - si_sdr(speech, whole)) < 0.1


@some(200)
@given(
    n=st.integers(1, 10**7),
    segment=st.integers(4, 2_000).map(lambda hops: 120 * hops),
    data=st.data(),
)
def test_segments_cover_the_recording(n, segment, data):
    overlap = 120 * data.draw(st.integers(1, max(1, (segment // 120 - 1) // 2)))
    plan = plan_segments(n, segment, overlap)
    assert plan[0][0] == 0
    assert plan[-1][1] == n
    for (start, stop), (next_start, _) in zip(plan, plan[1:], strict=False):
        assert start % 120 == 0
        assert stop - next_start == overlap
        assert start < next_start
    lengths = [stop - start for start, stop in plan]
    assert max(lengths) <= segment
    assert max(lengths) - min(lengths) <= 240


def test_amount_goes_from_the_input_to_the_result():
    def quiet_and_turned(mag, phase):
        return 0.5 * mag, phase + 1.0, None

    wave = noisy(speechlike())
    result = {a: rt.enhance(wave, 16_000, quiet_and_turned, amount=a) for a in (0, 1e-6, 0.5, 1)}
    assert np.abs(result[0] - wave).max() < 1e-5
    assert np.abs(result[1e-6] - wave).max() < 1e-4  # no jump at zero
    mag, phase = rt.analyse(torch.from_numpy(wave)[None])
    for amount, factor in ((0.5, 0.75), (1, 0.5)):
        wanted = rt.synthesise(factor * mag, phase + amount, length=len(wave))[0].numpy()
        assert np.abs(result[amount] - wanted).max() < 1e-5


def test_the_model_is_used_as_it_should_be():
    class Watched(Contextual):
        def forward(self, mag, phase):
            seen.append((self.training, torch.is_grad_enabled(), mag.dtype, tuple(mag.shape)))
            return super().forward(mag, phase)

    seen = []
    model = Watched().double().train()
    out = rt.enhance(noisy(speechlike(1.0)), 16_000, model)
    assert seen == [(False, False, torch.float64, (1, 256, 134))]
    assert out.dtype == np.float32
    assert model.training


def test_a_model_is_put_back_into_training_after_an_error():
    class Broken(Contextual):
        def forward(self, mag, phase):
            return mag * float("nan"), phase, None

    model = Broken().train()
    with pytest.raises(ValueError, match="model answered with NaN"):
        rt.enhance(speechlike(), 16_000, model)
    assert model.training


def test_the_network_itself_takes_any_recording():
    torch.manual_seed(0)
    model = rt.build_model("nano")
    wave = (np.stack([noisy(speechlike(0.05, 44_100))] * 2, 1) * 32_767).astype(np.int16)
    out = rt.enhance(wave, 44_100, model)
    assert out.shape == wave.shape
    assert out.dtype == np.int16
    assert out.any()
    assert np.abs(out[:, 0].astype(int) - out[:, 1]).max() <= 1


@pytest.mark.parametrize(
    ("wave", "rate", "settings", "words"),
    [
        ([0.0, np.nan], 16_000, {}, "NaN"),
        ([0.0, np.inf], 16_000, {}, "infinity"),
        ([], 16_000, {}, "empty"),
        (np.zeros((2, 16_000)), 16_000, {}, r"wave\.T"),
        ("talk.wav", 16_000, {}, "not audio"),
        ([0.1, 1e300], 16_000, {}, "too large"),
        (np.ones(9), 0, {}, "sample_rate"),
        (np.ones(9), 16_000, {"amount": 1.5}, "amount is 1.5"),
        (np.ones(9), 16_000, {"overlap_seconds": 7}, "less than half"),
        (np.ones(9), 16_000, {"overlap_seconds": 0}, "above zero"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_what_cannot_be_enhanced_is_said(wave, rate, settings, words):
    with pytest.raises(ValueError, match=words):
        rt.enhance(wave, rate, identity, **settings)


@pytest.mark.parametrize("extension", [".wav", ".flac", ".ogg", ".mp3"])
def test_files_come_out_as_they_went_in(tmp_path, extension):
    wave = np.stack([speechlike(1.5, 44_100), 0.5 * speechlike(1.5, 44_100)], axis=1)
    source, target = tmp_path / f"in{extension}", tmp_path / f"out{extension}"
    audio.write(source, wave, 44_100)
    enhance_file(source, target, Contextual())
    before, after = soundfile.info(source), soundfile.info(target)
    for field in ("samplerate", "channels", "frames", "format", "subtype"):
        assert getattr(after, field) == getattr(before, field)
    wanted = rt.enhance(audio.read(source)[0], 44_100, Contextual())
    lossy = extension in (".ogg", ".mp3")
    assert np.abs(audio.read(target)[0] - wanted).max() <= (0.05 if lossy else 2**-15)


def test_a_file_keeps_its_sample_format(tmp_path):
    audio.write(tmp_path / "in.wav", speechlike(), 16_000, subtype="PCM_24")
    enhance_file(tmp_path / "in.wav", tmp_path / "out.flac", identity)
    assert soundfile.info(tmp_path / "out.flac").subtype == "PCM_24"


TAGS = {"title": "Grüße", "artist": "A", "album": "B", "date": "2001", "genre": "Speech"}


@pytest.mark.parametrize("target", [".wav", ".flac", ".ogg", ".mp3"])
@pytest.mark.parametrize("source", [".wav", ".flac", ".ogg", ".mp3"])
def test_a_file_keeps_its_tags(tmp_path, source, target):
    source, target = tmp_path / f"in{source}", tmp_path / f"out{target}"
    audio.write_blocks(source, [speechlike(0.2)[:, None]], 16_000, 1, tags=TAGS)
    enhance_file(source, target, identity)
    with audio.open_to_read(target) as file:
        assert file.tags == TAGS


def test_rf64_stays_rf64(tmp_path):
    wave = speechlike(0.2)[:, None]
    audio.write_blocks(tmp_path / "in.wav", [wave], 16_000, 1, "FLOAT", rf64=True)
    enhance_file(tmp_path / "in.wav", tmp_path / "out.wav", identity)
    info = soundfile.info(tmp_path / "out.wav")
    assert (info.format, info.subtype, info.frames) == ("RF64", "FLOAT", len(wave))
    enhance_file(tmp_path / "in.wav", tmp_path / "out.flac", identity)
    assert soundfile.info(tmp_path / "out.flac").format == "FLAC"


def test_content_decides_what_a_file_is_not_its_name(tmp_path):
    audio.write(tmp_path / "a.mp3", speechlike(), 16_000)
    (tmp_path / "a.mp3").rename(tmp_path / "in.wav")
    enhance_file(tmp_path / "in.wav", tmp_path / "out.wav", identity)
    info = soundfile.info(tmp_path / "out.wav")
    assert (info.format, info.subtype) == ("WAV", "PCM_16")
    assert info.frames == len(speechlike())


def test_all_of_a_joined_and_cut_recording_is_enhanced(tmp_path):
    audio.write(tmp_path / "a.mp3", speechlike(), 16_000)
    content = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "in.mp3").write_bytes(content + content[: len(content) // 2])
    with pytest.warns(audio.RecordingWarning, match="in.mp3 ends early"):
        wave, _ = audio.read(tmp_path / "in.mp3")
        enhance_file(tmp_path / "in.mp3", tmp_path / "out.wav", identity)
    assert 1.3 * len(speechlike()) < len(wave) < 1.6 * len(speechlike())
    out, _ = audio.read(tmp_path / "out.wav")
    assert len(out) == len(wave) and si_sdr(wave, out) > 40


def test_the_recording_itself_is_never_the_target(tmp_path):
    path = tmp_path / "in.wav"
    audio.write(path, speechlike(), 16_000)
    before = path.read_bytes()
    (tmp_path / "link.wav").hardlink_to(path)
    for target in (path, tmp_path / "." / "in.wav", tmp_path / "link.wav"):
        with pytest.raises(ValueError, match="the recording itself"):
            enhance_file(path, target, identity)
    assert path.read_bytes() == before


def test_a_broken_file_leaves_nothing_behind(tmp_path):
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 8_000, subtype="FLOAT")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8_000)
    with pytest.raises(ValueError, match="nan.wav holds NaN"):
        enhance_file(tmp_path / "nan.wav", tmp_path / "out.wav", identity)
    with pytest.raises(ValueError, match="empty"):
        enhance_file(tmp_path / "empty.wav", tmp_path / "out.wav", identity)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.wav", "nan.wav"]


def test_memory_does_not_grow_with_the_recording():
    """What is held at once stays below two segments, whatever the length."""
    largest = 0

    def watch(mag, phase):
        nonlocal largest
        largest = max(largest, mag.shape[-1])
        return mag, phase, None

    given_blocks, taken, open_blocks = [], [], 2_000_000 // audio.BLOCK + 1

    def blocks():
        for _ in range(open_blocks):
            given_blocks.append(len(taken))
            yield np.full((audio.BLOCK, 1), 0.1, np.float32)

    for block in enhance_stream(blocks, 16_000, 1, watch, progress=False):
        taken.append(len(block))
    assert sum(taken) == open_blocks * audio.BLOCK
    assert largest <= SEGMENT_SECONDS * 16_000 / 120 + 1
    # the second reading hands out its blocks one by one, as the results are taken
    second = given_blocks[open_blocks:]
    assert len(set(second)) > open_blocks / 3
    for read, done in enumerate(second):
        assert read * audio.BLOCK - sum(taken[:done]) <= 2 * SEGMENT_SECONDS * 16_000


def example(name):
    """(clean, noisy) of the examples, (n,) at 16 kHz."""
    return [
        audio.read(data_path("examples", role, f"{name}.flac"))[0] for role in ("clean", "noisy")
    ]


def noise(n, level_db):
    return (10 ** (level_db / 20) * np.random.default_rng(0).standard_normal(n)).astype(np.float32)


def test_speech_amid_silence_is_enhanced_as_it_is_alone():
    """Digital silence, and dither at -90 dB, before, between and after two recordings."""
    model, (clean, wave) = rt.load_pretrained("nano"), example("rain")
    alone = si_sdr(clean, rt.enhance(wave, 16_000, model))
    assert alone > si_sdr(clean, wave) + 2
    dither = noise(40_000, -90)
    silence = np.zeros(112_000, np.float32)
    first = len(silence)
    second = first + len(wave) + len(dither)
    out = rt.enhance(np.concatenate([silence, wave, dither, wave, silence]), 16_000, model)
    for start in (first, second):
        part = out[start : start + len(wave)]
        assert si_sdr(clean, part) == pytest.approx(alone, abs=0.2)
    assert not out[: first - STEP].any()
    assert not out[second + len(wave) + STEP :].any()
    assert np.square(out[first + len(wave) + STEP : second - STEP]).mean() < 1e-9


def test_ordinary_recordings_are_in_one_piece():
    for name in ("cafe", "street", "fan", "rain", "keyboard", "babble"):
        _, wave = example(name)
        gain, stretches = find_stretches(energies(wave), len(wave))
        assert stretches == [(0, len(wave))]
        assert gain == pytest.approx(1 / np.sqrt(np.square(wave, dtype=float).mean()), rel=1e-12)


def energies(wave):
    return np.array([np.square(s, dtype=float).sum() for s in audio.blocks_of(wave, STEP)])


@pytest.mark.parametrize(
    ("levels", "cuts", "wanted"),  # decibels of steps of 15 ms; steps; gain
    [
        ([0] * 90, [], 1),
        ([-300] * 90, [], 0),
        ([-300] * 90 + [0] * 90, [90], 1),
        ([-41] * 90 + [0] * 90 + [-41] * 90, [90, 180], 1),
        ([-39] * 90 + [0] * 90, [], 2**0.5),
        ([0] * 90 + [-300] * 30 + [0] * 60, [], 1.2**0.5),  # a short pause
        ([0] * 90 + [-300] * 33 + [0] * 90, [90, 123], 1),
        ([-300] * 90 + [0] * 7 + [-300] * 90, [90, 97], 1),  # a word
        ([-300] * 2 + [0] * 8 + [-300] * 90, [10], 1.25**0.5),  # one at the edge
        ([0] * 90 + [-300] * 40 + [0] * 7 + [-300] * 20 + [0] * 90, [90, 130], (204 / 184) ** 0.5),
    ],
)
def test_a_recording_is_cut_at_its_pauses(levels, cuts, wanted):
    n = STEP * len(levels) - 100  # the last step is not whole
    energy = STEP * 10 ** (np.array(levels) / 10) * (np.array(levels) > -300)
    energy[-1] *= (STEP - 100) / STEP
    edges = [0, *(STEP * cut for cut in cuts), n]
    gain, stretches = find_stretches(energy, n)
    assert stretches == list(zip(edges, edges[1:], strict=False))
    assert gain == pytest.approx(wanted, abs=2e-3)


def test_each_channel_has_pauses_of_its_own():
    """Two speakers, each on a channel, one after the other."""
    pause = np.zeros(60_000, np.float32)
    voice = noisy(speechlike(2.505))
    columns = [np.concatenate([voice, pause]), np.concatenate([pause, voice])]
    out = rt.enhance(np.stack(columns, axis=1), 16_000, Contextual())
    alone = rt.enhance(voice, 16_000, Contextual())
    assert np.abs(out[: len(voice), 0] - alone).max() < 1e-5
    assert np.abs(out[len(pause) :, 1] - alone).max() < 1e-5
    assert not out[len(voice) :, 0].any() and not out[: len(pause), 1].any()
