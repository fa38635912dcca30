"""EARS-WHAM of tiny recordings: drawn, mixed, written and resumed as the procedure says."""

import csv
import io
import json
import shutil
import zipfile

import numpy as np
import pyloudnorm
import pytest
import scipy.signal
import soundfile
from file_server import serving, zipped

from rwsa_tutorial import audio, cli
from rwsa_tutorial.corpora import load_corpus
from rwsa_tutorial.corpora.paper import ears_mixing, ears_wham, fetching, store
from rwsa_tutorial.corpora.paper.ears_mixing import RATE, Noise, Take
from rwsa_tutorial.corpora.paper.sources import Sources

STYLES = ("emo_anger_sentences", "rainbow_01_fast")
FREE = "freeform_speech_01"


def speech(seed, seconds):
    """Noise in syllables, at about the level of EARS."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    wave = scipy.signal.lfilter([1], [1, -0.9], rng.normal(0, 0.02, n))
    return wave * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * np.arange(n) / RATE))


def wav(wave, rate=RATE):
    content = io.BytesIO()
    soundfile.write(content, wave, rate, "PCM_16", format="WAV")
    return content.getvalue()


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A folder with all that is needed: six speakers, WHAM!, the cutting times."""
    folder = tmp_path_factory.mktemp("given")
    cuts = {}
    for n, speaker in enumerate(ears_wham.SPEAKERS["test"]):
        files = {name: speech(10 * n + k, 0.8 + 0.1 * k) for k, name in enumerate(STYLES)}
        cuts[speaker] = {name: [[0, -1]] for name in STYLES}
        if n == 0:
            files[FREE] = speech(99, 2.0)
            cuts[speaker][FREE] = [[4800, 52_800], [52_800, -1]]
        inside = {f"{speaker}/{name}.wav": wav(wave) for name, wave in files.items()}
        (folder / f"{speaker}.zip").write_bytes(zipped(inside))
    (folder / "test_files.json").write_text(json.dumps(cuts))
    rng = np.random.default_rng(0)
    noises = {
        f"{n:02}.wav": rng.normal(0, 0.05, (round((1.2 + n / 2) * RATE), 2)) for n in range(4)
    }
    table = "Filename,File Length (sec),WHAM! Split\n"
    table += "".join(f"{name},1,{'Train' if name == '01.wav' else 'Test'}\n" for name in noises)
    inside = {f"high_res_wham/audio/{name}": wav(wave) for name, wave in noises.items()}
    inside["high_res_wham/high_res_metadata.csv"] = table
    (folder / "high_res_wham.zip").write_bytes(zipped(inside))
    return folder


@pytest.fixture(scope="module")
def made(given, tmp_path_factory):
    """The test split, mixed once."""
    folder = tmp_path_factory.mktemp("corpora") / "ears-wham"
    ears_wham.get(folder, Sources([str(given)]))
    return folder


def rows_of(folder):
    with open(folder / "test.csv", newline="") as file:
        return list(csv.DictReader(file))


def found(folder):
    """Name -> content of what is not hidden; of recordings the samples, as the files are dated."""
    files = {path.relative_to(folder): path for path in folder.rglob("*.*") if path.is_file()}
    return {
        str(name): soundfile.read(path)[0].tobytes() if path.suffix == ".wav" else path.read_bytes()
        for name, path in files.items()
        if not any(part.startswith(".") for part in name.parts)
    }


def test_what_is_made(made, monkeypatch):
    rows = rows_of(made)
    assert [row["id"] for row in rows] == [f"{n:05}" for n in range(14)]
    assert {row["noise_file"] for row in rows} <= {"00", "02", "03"}  # 01 is for training
    assert sorted(name.split("/")[0] for name in found(made)) == sorted(
        ["complete.json", "test.csv"] + ["test"] * 28
    )
    monkeypatch.setenv("RWSA_CORPORA", str(made.parent))
    corpus = load_corpus("ears-wham")
    assert list(corpus.splits) == ["test"] and len(corpus.pairs()) == 14
    for pair, row in zip(corpus.pairs(), rows, strict=True):
        clean, noisy, rate = pair.read()
        samples = int(row["speech_end"]) - int(row["speech_start"])
        assert (rate, len(clean)) == (16_000, -(-samples // 3)) and len(noisy) == len(clean)
        assert pair.facts["voice"] == row["speaker"] and pair.name == row["id"]
        assert soundfile.info(pair.noisy).subtype == "FLOAT"
    free = [row for row in rows if row["speech_file"] == FREE]
    spans = [(row["speech_start"], row["speech_end"]) for row in free]
    assert spans == [("4800", "52800"), ("52800", "95999")]  # an end of -1 lacks one sample


def test_a_loudness_ratio_is_met_before_and_after_resampling(made, given):
    meter, slow = pyloudnorm.Meter(RATE), pyloudnorm.Meter(16_000)
    with zipfile.ZipFile(given / "high_res_wham.zip") as archive:
        for row in rows_of(made)[:4]:
            source = made / ".sources"
            take = Take(
                row["speaker"],
                row["speech_file"],
                int(row["speech_start"]),
                int(row["speech_end"]),
                row["noise_file"],
                int(row["channel"]),
                int(row["noise_start"]),
                float(row["snr_dB"]),
                ((0, int(row["speech_end"]) - int(row["speech_start"])),),
                False,
            )
            names = source / row["speaker"] / f"{row['speech_file']}.wav", source / "noise-test"
            (made_row, clean, noisy), *more = ears_mixing.mix_take(
                take, names[0], names[1] / f"{row['noise_file']}.wav"
            )
            assert more == [] and str(made_row["snr_dB"]) == row["snr_dB"]
            ratio = meter.integrated_loudness(clean) - meter.integrated_loudness(noisy - clean)
            assert ratio == pytest.approx(float(row["snr_dB"]), abs=0.01)
            # the noise is that stretch of that channel, and nothing else
            content = archive.read(f"high_res_wham/audio/{row['noise_file']}.wav")
            raw = soundfile.read(io.BytesIO(content))[0][:, take.channel]
            raw = raw[take.noise_start : take.noise_start + len(clean)]
            scale = (noisy - clean) @ raw / (raw @ raw)
            np.testing.assert_allclose(noisy - clean, scale * raw, atol=1e-12)
            written = [
                soundfile.read(made / "test" / kind / row["speaker"] / f"{row['id']}.wav")[0]
                for kind in ("clean", "noisy")
            ]
            # both are faded, and bands above 8 kHz are lost: near, not equal
            after = slow.integrated_loudness(written[0])
            after -= slow.integrated_loudness(written[1] - written[0])
            assert after == pytest.approx(audible(clean, noisy), abs=0.5)


def audible(clean, noisy):
    """The loudness ratio of what is left below 8 kHz, measured at 16 kHz."""
    meter = pyloudnorm.Meter(16_000)
    clean, noisy = (scipy.signal.resample_poly(wave, 1, 3) for wave in (clean, noisy))
    return meter.integrated_loudness(clean) - meter.integrated_loudness(noisy - clean)


@pytest.fixture
def files(tmp_path):
    def write(name, wave, rate=RATE):
        soundfile.write(tmp_path / name, wave, rate, "FLOAT")
        return tmp_path / name

    return write


def take(length, snr_db=5.0, pieces=None, ramped=True, name="emo_anger", start=0):
    pieces = pieces or ((0, length),)
    return Take("p102", name, start, start + length, "00", 1, 100, snr_db, pieces, ramped)


def noise_of(seconds, level=0.05):
    return np.random.default_rng(5).normal(0, level, (round(seconds * RATE), 2))


def test_ramps_of_ten_milliseconds(files):
    paths = files("s.wav", speech(1, 1)), files("n.wav", noise_of(2))
    ((_, clean, noisy),) = ears_mixing.mix_take(take(RATE), *paths)
    ((_, bare, bare_noisy),) = ears_mixing.mix_take(take(RATE, ramped=False), *paths)
    ramp = np.arange(480) / 479
    for faded, whole in ((clean, bare), (noisy, bare_noisy)):
        np.testing.assert_allclose(faded[:480], whole[:480] * ramp, atol=1e-12)
        np.testing.assert_allclose(faded[-480:], whole[-480:] * ramp[::-1], atol=1e-12)
        np.testing.assert_array_equal(faded[480:-480], whole[480:-480])


def test_the_ratio_rises_by_whole_decibels_until_nothing_clips(files):
    loud = speech(1, 1)
    loud *= 0.9 / np.abs(loud).max()
    paths = files("s.wav", loud), files("n.wav", noise_of(2))
    ((row, clean, noisy),) = ears_mixing.mix_take(take(RATE, -12.5, ramped=False), *paths)
    steps = float(row["snr_dB"]) + 12.5
    assert steps >= 1 and steps == int(steps)
    assert np.abs(noisy).max() < 1
    assert np.abs(clean + (noisy - clean) * 10 ** (1 / 20)).max() >= 1  # one less would clip


@pytest.mark.parametrize("silent", ["speech", "noise"])
def test_silence_is_left_out(files, silent):
    speech_ = speech(1, 1) * (silent != "speech")
    paths = files("s.wav", speech_), files("n.wav", noise_of(2) * (silent != "noise"))
    assert ears_mixing.mix_take(take(RATE), *paths) == []


def test_the_high_pass_filter(files):
    wave = speech(3, 0.5)
    butterworth = scipy.signal.butter(2, 75, "highpass", fs=RATE, output="sos")
    expected = scipy.signal.sosfilt(butterworth, wave)  # its Q is 0.7071, ours 0.707
    ours = ears_mixing.high_pass(wave, RATE, 75.0)
    assert np.abs(ours - expected).max() < 1e-3 * np.abs(expected).max()
    t = np.arange(RATE) / RATE
    assert np.abs(ears_mixing.high_pass(2 * np.sin(2e3 * np.pi * t), RATE, 75.0)).max() == 1
    path = files("s.wav", speech(1, 1) + 0.2)
    ((_, clean, _),) = ears_mixing.mix_take(
        take(RATE // 2, start=RATE // 2, ramped=False), path, files("n.wav", noise_of(2))
    )
    assert abs(clean.mean()) < 1e-3  # a constant does not pass


def test_quiet_pieces_are_no_training_unless_whispered(files):
    wave = speech(1, 2)
    wave[RATE:] *= 1e-3
    paths = files("s.wav", wave), files("n.wav", noise_of(3))
    pieces = ((0, RATE), (RATE, 2 * RATE - 1))
    (kept,) = ears_mixing.mix_take(take(2 * RATE, pieces=pieces, ramped=False), *paths)
    assert (kept[0]["speech_start"], kept[0]["speech_end"], len(kept[1])) == (0, RATE, RATE)
    whispered = take(2 * RATE, pieces=pieces, ramped=False, name="rainbow_01_whisper")
    first, second = ears_mixing.mix_take(whispered, *paths)
    assert (second[0]["speech_start"], second[0]["noise_start"]) == (RATE, RATE + 100)
    assert len(second[1]) == RATE - 1


def test_recordings_that_do_not_fit(files):
    good = files("s.wav", speech(1, 1)), files("n.wav", noise_of(2))
    with pytest.raises(ValueError, match="mono at 48000 Hz"):
        ears_mixing.mix_take(take(RATE), files("r.wav", speech(1, 1), 16_000), good[1])
    with pytest.raises(ValueError, match="should be at 48000 Hz"):
        ears_mixing.mix_take(take(RATE), good[0], files("r.wav", noise_of(2), 16_000))
    with pytest.raises(ValueError, match="not the channel or the samples"):
        ears_mixing.mix_take(take(RATE), good[0], files("r.wav", noise_of(1)))


def many(count=40):
    """Cutting times, lengths and noises without recordings."""
    names = [f"emo_anger_{n:02}" for n in range(count)] + ["freeform_speech_01"]
    cuts = {"p102": {name: [[0, -1]] for name in names}}
    cuts["p102"]["freeform_speech_01"] = [[0, 30 * RATE], [30 * RATE, 35 * RATE]]
    lengths = {("p102", name): 5 * RATE + n for n, name in enumerate(names)}
    lengths["p102", "freeform_speech_01"] = 40 * RATE
    return cuts, lengths, [Noise(f"{n:02}", (6 + n) * RATE, 2) for n in range(9)]


def test_draws_are_those_of_numpy_in_the_published_order():
    cuts, lengths, noises = many()
    rng = np.random.RandomState(42)
    files = [f"EARS/p102/{name}.wav" for name in cuts["p102"]]
    rng.shuffle(files)
    turn, expected = 0, []
    for file in files:
        name = file.split("/")[-1][:-4]
        noise = rng.choice([f"{noise.name}.wav" for noise in noises])
        channel = rng.randint(0, 2)
        length = 5 * RATE if "freeform" in name else lengths["p102", name] - 1
        at = rng.randint((6 + int(noise[:2])) * RATE - length + 1)
        low, high = -2.5 + turn % 12 * 20 / 12, -2.5 + (turn % 12 + 1) * 20 / 12
        if "freeform" in name:
            low, high = -2.5, 17.5
        else:
            turn += 1
        expected.append((name, noise[:-4], channel, at, round(rng.uniform(low, high), 1)))
    got = ears_mixing.plan_test(cuts, lengths, noises)
    assert [(t.speech, t.noise, t.channel, t.noise_start) for t in got] == [
        row[:4] for row in expected
    ]
    np.testing.assert_allclose([t.snr_db for t in got], [row[4] for row in expected])
    assert len(got) == 41  # the cut of 30 s is left out


def test_each_style_goes_through_all_ratios():
    got = [t for t in ears_mixing.plan_test(*many(48)) if "anger" in t.speech]
    bins = [int((t.snr_db + 2.5) / 20 * 12 * 0.99999) for t in got]
    near = [abs(b - n % 12) for n, b in enumerate(bins)]  # 0.1 dB of rounding may cross an edge
    assert max(near) <= 1 and np.mean(near) < 0.1


def test_noise_is_long_enough_or_told():
    cuts, lengths, noises = many()
    lengths = {key: 13 * RATE for key in lengths}
    takes = ears_mixing.plan_test(cuts, lengths, noises)
    by_name = {noise.name: noise for noise in noises}
    assert len({t.noise for t in takes}) > 1
    assert all(t.noise_start + t.stop - t.start <= by_name[t.noise].length for t in takes)
    lengths["p102", "emo_anger_00"] = 20 * RATE
    with pytest.raises(ValueError, match="No noise recording is as long as 20 s"):
        ears_mixing.plan_test(cuts, lengths, noises)


def test_training_takes():
    seconds = {
        "emo_anger_a": 5,
        "emo_anger_b": 3.9,
        "melodic_a": 9,
        "rainbow_a": 23.9,
        "free_b": 24,
    }
    lengths = {("p001", name): round(s * RATE) for name, s in seconds.items()}
    files = sorted(lengths)
    takes = ears_mixing.plan_training(files, lengths, [Noise("00", 30 * RATE, 1)])
    assert [t.speech for t in takes] == ["emo_anger_a", "free_b", "rainbow_a"]
    pieces = {t.speech: [(a / RATE, (b + 1) / RATE) for a, b in t.pieces] for t in takes}
    assert pieces["emo_anger_a"] == [(0, 5)]
    assert [round(a) for a, _ in pieces["free_b"]] == [0, 10, 20]
    assert [(round(a), round(b, 1)) for a, b in pieces["rainbow_a"]] == [(0, 10), (10, 23.9)]
    assert all(-2.5 <= t.snr_db <= 17.5 and t.channel == 0 and not t.ramped for t in takes)


def test_stopped_and_run_again_gives_the_same(made, given, tmp_path, monkeypatch):
    real, written = audio.write, []

    def write(path, *words):
        if len(written) == 9:
            raise KeyboardInterrupt
        written.append(path)
        real(path, *words)

    folder = tmp_path / "ears-wham"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(audio, "write", write)
        ears_wham.get(folder, Sources([str(given)]))
    assert store.state(folder)[0] == "partial" and not (folder / "test.csv").exists()
    journal = folder / ".test.jsonl"
    journal.write_text(journal.read_text() + '[{"id": "000')  # torn by a power cut
    written = written[9:]
    monkeypatch.setattr(audio, "write", lambda *words: (written.append(words[0]), real(*words)))
    ears_wham.get(folder, Sources([str(given)]))
    assert len(written) == 28 - 8  # four takes of two files were done
    assert found(folder) == found(made)
    shutil.rmtree(folder / ".sources")
    ears_wham.get(folder, addresses={})  # nobody need be asked
    assert len(written) == 20


def test_its_own_table_is_a_recipe(made, given, tmp_path):
    ears_wham.get(tmp_path / "again", Sources([str(given)]), recipe=made / "test.csv")
    first, again = found(made), found(tmp_path / "again")
    assert first.pop("complete.json") != again.pop("complete.json")  # which says the recipe
    assert first == again


def test_the_authors_table_is_a_recipe(made, given, tmp_path, capsys):
    """It has no channel, and counts the noise from the start of the speech file."""
    results = []
    for columns in (ears_mixing.COLUMNS, ears_mixing.COLUMNS[:-1]):
        with open(tmp_path / "test.csv", "w") as file:
            file.write(",".join(columns) + "\n")
            for row in rows_of(made):
                row = row | {"channel": 0}
                if len(columns) < len(row):
                    shift = int(row["speech_start"])
                    row |= {key: int(row[key]) + shift for key in ("noise_start", "noise_end")}
                    row["speech_end"] = row["speech_end"] if row["speech_file"] == FREE else -1
                file.write(",".join(str(row[key]) for key in columns) + "\n")
        folder = tmp_path / str(len(columns))
        ears_wham.get(folder, Sources([str(given)]), recipe=tmp_path / "test.csv")
        results.append(found(folder))
        del results[-1]["complete.json"]
    assert results[0] == results[1] and len(results[0]) == 29
    assert results[0] != found(made)  # another channel
    assert capsys.readouterr().err.count("does not say which channel") == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("00000,p102,none,0,-1,00,0,9,5.0", "line 2 cannot be used"),
        ("00000,p102,emo,0,-1,00,x,9,5.0", "line 2 cannot be used"),
        ("00000,p102,emo,50,40,00,0,9,5.0", "no such samples"),
        ("00000,p102,emo,50,60,00,10,20,5.0", "no such samples"),
    ],
)
def test_recipes_that_are_none(tmp_path, line, words):
    path = tmp_path / "test.csv"
    path.write_text(",".join(ears_mixing.COLUMNS[:-1]) + f"\n{line}\n")
    with pytest.raises(ValueError, match=words):
        ears_mixing.read_recipe(path, {("p102", "emo"): 100})
    path.write_text("id,speaker\n")
    with pytest.raises(ValueError, match="has no column noise_end"):
        ears_mixing.read_recipe(path, {})


def test_from_the_addresses_of_the_authors(made, given, tmp_path, capsys):
    with serving() as site:
        for path in given.iterdir():
            site[f"/{path.name}"] = path.read_bytes()
        assets = [
            {"name": path.name, "size": path.stat().st_size, "digest": fetching.digest(path)}
            for path in given.glob("p*.zip")
        ]
        site["/release"] = json.dumps({"assets": assets}).encode()
        addresses = dict.fromkeys(("speech", "noise", "cuts"), site.url)
        addresses["release"] = f"{site.url}/release"
        ears_wham.get(tmp_path / "ears-wham", addresses=addresses)
        assert found(tmp_path / "ears-wham") == found(made)
        asked = sorted(path for path, _ in site.asked)
        assert asked == sorted(["/release", *(f"/{path.name}" for path in given.iterdir())])
    told = capsys.readouterr().err
    assert "14 test mixtures; the authors have 886" in told and "--recipe takes a list" in told
    assert [path.name for path in (tmp_path / "ears-wham" / ".sources").glob(".d*/*")] == []


def test_wrong_speech_is_not_mixed(given, tmp_path):
    with serving() as site:
        for path in given.iterdir():
            site[f"/{path.name}"] = path.read_bytes()
        size = (given / "p104.zip").stat().st_size
        wrong = {"name": "p104.zip", "size": size, "digest": f"sha256:{'0' * 64}"}
        site["/release"] = json.dumps({"assets": [wrong]}).encode()
        addresses = dict.fromkeys(("speech", "noise", "cuts"), site.url)
        addresses["release"] = f"{site.url}/release"
        with pytest.raises(ValueError, match="p104.zip has the checksum"):
            ears_wham.get(tmp_path / "ears-wham", addresses=addresses)
    assert store.state(tmp_path / "ears-wham")[0] == "partial"


def test_the_command(made, given, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RWSA_CORPORA", str(tmp_path))
    unpacked = tmp_path / "unpacked"
    for path in given.glob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(unpacked)
    command = ["data", "get", "ears-wham", "--yes", "--from", str(unpacked)]
    command += [str(given / "test_files.json"), "--splits", "test"]
    assert cli.main(command) == 0
    assert "not for commercial use" in capsys.readouterr().out
    assert found(tmp_path / "ears-wham") == found(made)
    assert not (tmp_path / "ears-wham" / ".sources").exists()  # what was given is used in its place
    recipe = ["--recipe", str(made / "test.csv"), "--splits", "valid"]
    assert cli.main(command[:-2] + recipe) == 2
    assert "leave out the other splits" in capsys.readouterr().err


def test_a_list_of_test_files_is_asked_for_until_it_is_one(given, tmp_path):
    right = (given / "test_files.json").read_bytes()
    with serving() as site:
        addresses = {"cuts": site.url}

        def cuts():
            return ears_wham._cuts(tmp_path, Sources(), addresses)

        site["/test_files.json"] = b"<html>log in</html>"
        with pytest.raises(ValueError, match="not the authors' list"):
            cuts()
        site["/test_files.json"] = right
        there = cuts()
        (tmp_path / "test_files.json").write_text("{}")  # as earlier versions have kept it
        assert cuts() == there == cuts()
        assert len(site.asked) == 3


@pytest.mark.parametrize("text", ["{}", "[]", "<html>", '{"p102": {"a": [[0]]}}'])
def test_a_list_of_test_files_that_is_none(given, tmp_path, text):
    (tmp_path / "test_files.json").write_text(text)
    sources = Sources([str(tmp_path / "test_files.json"), str(given)])
    with pytest.raises(ValueError, match="not the authors' list of test files"):
        ears_wham.get(tmp_path / "ears-wham", sources)
