"""The mini corpora: what the manifests promise, and that the renderer makes what is shipped."""

import hashlib
import json
from itertools import combinations

import numpy as np
import pytest
import soundfile

from rwsa_tutorial.corpora import load_corpus, mini
from rwsa_tutorial.corpora.mixing import loudness
from rwsa_tutorial.domains import comparing, distance
from rwsa_tutorial.making.mini import __main__ as render
from rwsa_tutorial.making.mini import backgrounds, plan, speech
from rwsa_tutorial.making.spoken import held_out
from rwsa_tutorial.paths import data_path

FOLDER = data_path("mini")
MANIFESTS = {
    name: json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")) for name in mini.NAMES
}
PARTS = {
    (name, split): part
    for name, manifest in MANIFESTS.items()
    for split, part in manifest["splits"].items()
}


def voices(part):
    return {x["voice"] for x in part["speech"]} | set(part["talk"])


def texts(part):
    return {x["text"] for x in part["speech"]} | {t for said in part["talk"].values() for t in said}


def noises(part):
    return {x["seed"] for x in part["noise"]}


def shared(parts):
    """What two parts of different splits or corpora have in common: a list of words."""
    return [
        f"{a} and {b} share {what}: {sorted(map(str, common))[:3]}"
        for (a, one), (b, other) in combinations(parts.items(), 2)
        for what, pick in (("voices", voices), ("sentences", texts), ("noises", noises))
        if (common := pick(one) & pick(other))
    ]


def test_no_voice_sentence_or_noise_is_in_two_splits_or_corpora():
    assert len(PARTS) == 5
    assert shared(PARTS) == []
    for part in PARTS.values():
        assert len({x["text"] for x in part["speech"]}) == len(part["speech"])
        assert not {x["voice"] for x in part["speech"]} & set(part["talk"])


@pytest.mark.parametrize("what", ["voice", "text", "seed"])
def test_a_shared_voice_sentence_or_noise_would_be_found(what):
    parts = json.loads(json.dumps({str(key): part for key, part in PARTS.items()}))
    one, *_, other = parts.values()
    kind = "noise" if what == "seed" else "speech"
    other[kind][3][what] = one[kind][4][what]
    assert len(shared(parts)) == 1


def test_no_two_sound_files_are_equal():
    files = sorted(path for path in FOLDER.rglob("*") if path.suffix in (".flac", ".ogg"))
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in files}) == len(files)
    named = {
        x["file"] for part in PARTS.values() for kind in ("speech", "noise") for x in part[kind]
    }
    assert named == {path.relative_to(FOLDER).as_posix() for path in files}


def test_sizes_stay_in_bounds():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= 25e6
    train = PARTS["mini-vb", "train"]
    assert sum(x["samples"] for x in train["speech"]) >= 20 * 60 * 16_000
    spoken = {x["voice"] for x in train["speech"]}
    assert len(spoken) >= 12
    # Kokoro's names say it: af_bella is an American (a) female (f) voice.
    assert {name.split(":")[1][1] for name in spoken if name.startswith("kokoro")} == {"f", "m"}
    for key, part in PARTS.items():
        if key[1] == "test":
            assert len(part["mixtures"]) >= 40
            assert all(3 <= x["samples"] / 16_000 <= 8 for x in part["speech"])
            assert all(x["file"].endswith(".flac") for x in (*part["speech"], *part["noise"]))


@pytest.mark.parametrize("name", mini.NAMES)
def test_files_are_as_the_manifest_says(name):
    for part in MANIFESTS[name]["splits"].values():
        for entry in (*part["speech"], *part["noise"]):
            info = soundfile.info(FOLDER / entry["file"])
            told = (info.samplerate, info.channels, info.frames)
            assert told == (16_000, 1, entry["samples"]), entry["file"]


@pytest.mark.parametrize(("name", "split"), PARTS)
def test_the_manifest_is_what_the_plan_says(name, split):
    part = PARTS[name, split]
    lines = [x for x in plan.lines() if (x.corpus, x.split) == (name, split)]
    assert [(x["name"], x["voice"], x["text"]) for x in part["speech"]] == [
        (x.name, x.voice, x.text) for x in lines
    ]
    mixtures = plan.mixtures(name, split)
    assert [(x["name"], x["noise"], x["snr_db"], x["seed"]) for x in part["mixtures"]] == [
        (x.name, x.noise, x.snr_db, x.seed) for x in mixtures
    ]
    assert part["talk"] == plan.talk(name, split)
    low, high = part["snr_db"]
    snrs = np.sort([x["snr_db"] for x in part["mixtures"]])
    even = low + (high - low) * (np.arange(len(snrs)) + 0.5) / len(snrs)
    assert np.abs(snrs - even).max() <= 0.51 * (high - low) / len(snrs) + 0.01  # each has its share


@pytest.mark.parametrize(("name", "split"), [key for key in PARTS if key[1] != "train"])
def test_pairs_are_mixed_at_their_snr(name, split):
    corpus = load_corpus(name)
    assert corpus.sample_rate == 16_000
    pairs = corpus.pairs(split)
    assert [pair.name for pair in pairs] == [x["name"] for x in PARTS[name, split]["mixtures"]]
    for pair in pairs:
        clean, noisy, rate = pair.read()
        added = noisy - clean
        if name == "mini-ears":
            snr_db = loudness(clean, rate) - loudness(added, rate)
        else:
            snr_db = 10 * np.log10(np.mean(clean**2.0) / np.mean(added**2.0))
        assert snr_db == pytest.approx(pair.facts["snr_db"], abs=0.02)
        assert np.abs(noisy).max() < 1
        np.testing.assert_array_equal(pair.read(4_000, 9_000)[1], noisy[4_000:9_000])


def test_training_clips_are_there_to_be_mixed():
    sounds = load_corpus("mini-vb").sounds["train"]
    assert len(sounds["speech"]) == len(PARTS["mini-vb", "train"]["speech"])
    assert len(sounds["noise"][0].read(0, 500)) == 500
    assert len({clip.group for clip in sounds["speech"]}) >= 12


def test_unknown_names_are_told_in_words():
    with pytest.raises(ValueError, match="no corpus 'mini-xy'; there are mini-vb"):
        load_corpus("mini-xy")
    with pytest.raises(ValueError, match="no split 'train'; it has test"):
        load_corpus("mini-dns").pairs("train")


def test_a_missing_data_folder_is_told_in_words(monkeypatch, tmp_path):
    monkeypatch.setenv("RWSA_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="mini-vb.json is not in the data folder"):
        load_corpus("mini-vb")


# --- Rendering ------------------------------------------------------------------------------


def stored(path):
    return soundfile.read(path, dtype="int16")[0].astype(int)


def saved_again(tmp_path, wave, level_db):
    path = tmp_path / "again.flac"
    render.save(path, wave, level_db, compression=1.0)
    return stored(path)


@pytest.mark.parametrize(
    ("corpus", "kind"), [("mini-vb", "metro"), ("mini-dns", "siren"), ("mini-dns", "steps")]
)
def test_a_noise_is_rendered_again_as_it_is(tmp_path, corpus, kind):
    wave = render.make_noise(corpus, "test", kind, voices=None)
    was = stored(FOLDER / corpus / "test" / "noise" / f"{kind}.flac")
    assert np.abs(saved_again(tmp_path, wave, render.NOISE_DB) - was).max() <= 1  # rounding
    other = render.make_noise(corpus, "valid" if corpus == "mini-vb" else "test", "metro", None)
    assert len(other) != len(wave) or np.abs(other - wave).max() > 0.1


def test_a_line_is_spoken_again_as_it_is(tmp_path):
    pytest.importorskip("py_nanotts", reason="Pico's package py-nanotts is not installed")
    line = next(x for x in plan.lines() if x.voice == "pico:de-DE" and x.style == "whisper")
    wave = render.make_line(line, speech.Speakers(tmp_path))
    was = stored(render.speech_path(FOLDER, line))
    assert np.abs(saved_again(tmp_path, wave, render.SPEECH_DB) - was).max() <= 1


def test_a_manifest_is_written_again_as_it_is(tmp_path):
    for name in mini.NAMES:
        render.write_manifest(tmp_path / f"{name}.json", render.manifest(FOLDER, name))
        assert (tmp_path / f"{name}.json").read_bytes() == (FOLDER / f"{name}.json").read_bytes()


def test_all_noises_of_the_plan_can_be_made():
    for about in plan.PLANS.values():
        for split in about.splits.values():
            assert set(split.noises) <= set(backgrounds.KINDS)
            assert split.talkers or not set(split.noises) & set(backgrounds.WITH_VOICES)


def test_training_speech_leaves_out_every_voice_that_is_scored():
    scored = {v for key, part in PARTS.items() if key[1] != "train" for v in voices(part)}
    kept = {f"kokoro:{name}" for name in held_out()}
    assert {v for v in scored if v.startswith("kokoro:")} <= kept
    assert not kept & {x["voice"] for x in PARTS["mini-vb", "train"]["speech"]}


def test_an_interrupted_rendering_goes_on(tmp_path, monkeypatch):
    said = []

    class Speakers:
        def __init__(self, cache):
            pass

        def say(self, voice, text, speed, style):
            said.append(text)
            if len(said) == 3:
                raise ValueError("no more breath")
            return np.sin(np.arange(5 * 16_000) / 10)

    monkeypatch.setattr(speech, "Speakers", Speakers)
    some = plan.lines()[-4:]
    monkeypatch.setattr(plan, "lines", lambda: some)
    arguments = ["--out", str(tmp_path), "--cache", str(tmp_path), "--only", "speech"]
    assert render.main(arguments) == 2
    assert len(list(tmp_path.rglob("*.flac"))) == 2
    assert render.main(arguments) == 0
    assert len(list(tmp_path.rglob("*.flac"))) == 4
    assert len(said) == 5 and said[2] == said[3]  # the two that were there are not said again


# --- What data/README.md tells ----------------------------------------------------------------

README = data_path("README.md").read_text(encoding="utf-8")


def told(mark):
    return README.split(f"<!-- {mark}: begin -->\n")[1].split(f"\n<!-- {mark}: end -->")[0]


def test_the_readme_tells_what_is_in_the_box():
    assert told("overview") == mini.overview()


def test_the_readme_tells_how_the_corpora_differ():
    descriptions, results = comparing.compare(map(load_corpus, mini.NAMES), progress=False)
    printed = comparing.table(descriptions) + "\n\n" + distance.distance_table(results)
    assert told("comparison") == f"```\n{printed}\n```"
    apart = ~np.eye(3, dtype=bool)
    for found in results:  # every two lie further apart than chance alone would put them
        assert (found.between[apart] > found.chance[apart]).all(), found.signal
