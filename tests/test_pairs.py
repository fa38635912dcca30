"""Folders and lists of pairs as a corpus; folders of recordings as clips."""

import numpy as np
import pytest

from rwsa_tutorial import audio
from rwsa_tutorial.corpora.pairs import clips, pairs
from rwsa_tutorial.scores.evaluation import pair_folders

RATE = 16_000


def write(root, *names, seconds=0.1, rate=RATE):
    """A short recording under each name; its samples tell whose it is."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        level = 0.1 + 0.8 * (sum(map(ord, name)) % 97) / 97
        audio.write(path, np.full(int(seconds * rate), level), rate)


def found(corpus, root, split="test"):
    return [
        (p.name, p.clean.relative_to(root).as_posix(), p.noisy.relative_to(root).as_posix())
        for p in corpus.pairs(split)
    ]


def test_by_name_whatever_the_extension_sub_folders_counting(tmp_path):
    write(tmp_path, "clean/a.wav", "clean/p1/a.flac", "noisy/a.ogg", "noisy/p1/a.WAV")
    corpus = pairs(tmp_path / "clean", tmp_path / "noisy", licence="CC0-1.0", split="valid")
    assert (corpus.name, corpus.sample_rate, corpus.licence) == ("noisy", RATE, "CC0-1.0")
    assert found(corpus, tmp_path, "valid") == [
        ("a", "clean/a.wav", "noisy/a.ogg"),
        ("p1/a", "clean/p1/a.flac", "noisy/p1/a.WAV"),
    ]
    with pytest.raises(ValueError, match="no split 'test'; it has valid"):
        corpus.pairs()
    clean, noisy, rate = corpus.pairs("valid")[1].read(100, 300)
    assert rate == RATE and clean.shape == noisy.shape == (200,)
    assert np.array_equal(clean, audio.read(tmp_path / "clean/p1/a.flac")[0][100:300])


def test_by_fileid_as_the_dns_challenge_names_files(tmp_path):
    noisy = ("noisy/street_snr5_fileid_10.wav", "noisy/babble_5_snr-2_tl-30_fileid_9.wav")
    write(tmp_path, "clean/clean_fileid_9.wav", "clean/clean_fileid_10.wav", *noisy)
    expected = [
        ("babble_5_snr-2_tl-30_fileid_9", "clean/clean_fileid_9.wav", noisy[1]),
        ("street_snr5_fileid_10", "clean/clean_fileid_10.wav", noisy[0]),
    ]
    for by in ("auto", "fileid"):
        corpus = pairs(tmp_path / "clean", tmp_path / "noisy", by)
        assert found(corpus, tmp_path) == expected
    assert [n.name for _, n in pair_folders(tmp_path / "clean", tmp_path / "noisy")] == [
        "babble_5_snr-2_tl-30_fileid_9.wav",
        "street_snr5_fileid_10.wav",
    ]
    with pytest.raises(ValueError, match="4 file.s. without a partner"):
        pairs(tmp_path / "clean", tmp_path / "noisy", "name")


def test_equal_names_are_paired_by_name_even_with_ids(tmp_path):
    same = ("a_fileid_1.wav", "b_fileid_1.wav")
    write(tmp_path, *(f"{role}/{name}" for role in ("clean", "noisy") for name in same))
    corpus = pairs(tmp_path / "clean", tmp_path / "noisy")
    assert [name for name, *_ in found(corpus, tmp_path)] == ["a_fileid_1", "b_fileid_1"]
    with pytest.raises(
        ValueError, match="a_fileid_1.wav and .*b_fileid_1.wav have the same fileid"
    ):
        pairs(tmp_path / "clean", tmp_path / "noisy", "fileid")


def test_unpaired_files_are_counted_and_the_first_of_each_side_named(tmp_path):
    write(tmp_path, "clean/x.wav", "noisy/x.wav", *(f"noisy/n{i}.wav" for i in range(3)))
    write(tmp_path, *(f"clean/c{i}.wav" for i in range(8)))
    with pytest.raises(ValueError) as error:
        pairs(tmp_path / "clean", tmp_path / "noisy")
    words = str(error.value)
    assert words.startswith("11 file(s) without a partner: ")
    assert all(f"clean/c{i}.wav (no noisy file of this name)" in words for i in range(5))
    assert "c5.wav" not in words and "and 3 more clean ones" in words
    assert all(f"noisy/n{i}.wav (no clean file of this name)" in words for i in range(3))
    assert "x.wav" not in words

    write(tmp_path, "c/a_fileid_1.wav", "c/a_fileid_2.wav", "n/b_fileid_2.wav", "n/b_fileid_3.wav")
    with pytest.raises(ValueError, match="a_fileid_1.wav .no noisy file of this fileid.*fileid_3"):
        pairs(tmp_path / "c", tmp_path / "n")


def test_what_cannot_be_paired_is_said(tmp_path):
    write(tmp_path, "clean/a.wav", "noisy/a.wav", "more/a.wav", "more/a.flac")
    (tmp_path / "bare").mkdir()
    clean = tmp_path / "clean"
    for words, arguments in (
        ("no folder .*absent with the noisy recordings", (clean, tmp_path / "absent")),
        ("bare holds no .wav, .flac", (tmp_path / "bare", clean)),
        ("a.flac and .*a.wav have the same name", (clean, tmp_path / "more")),
        ("no pairing by 'colour'; choose one of auto", (clean, tmp_path / "noisy", "colour")),
        ("clean/a.wav has no fileid_N", (clean, tmp_path / "noisy", "fileid")),
    ):
        with pytest.raises(ValueError, match=words):
            pairs(*arguments)


def test_unequal_rates_and_lengths_are_said_when_a_pair_is_read_not_before(tmp_path):
    write(tmp_path, "clean/a.wav", "clean/b.wav")
    write(tmp_path, "noisy/a.wav", rate=8_000)
    write(tmp_path, "noisy/b.wav", seconds=0.2)
    corpus = pairs(tmp_path / "clean", tmp_path / "noisy")
    with pytest.raises(ValueError, match="noisy/a.wav has 8000 Hz.*16000"):
        corpus.pairs()[0].read()
    with pytest.raises(ValueError, match="noisy/b.wav has 3200 samples.*1600"):
        corpus.pairs()[1].read(0, 10)


def test_a_csv_lists_pairs_with_splits_and_facts(tmp_path):
    write(tmp_path, "c/1.wav", "n/1_5dB.wav", "n/1_0dB.flac", "elsewhere/2.wav")
    path = tmp_path / "mine.csv"
    path.write_text(
        "\ufeffclean,noisy,split,snr_db,voice\nc/1.wav,n/1_5dB.wav,train,5,anna\n"
        f'c/1.wav,n/1_0dB.flac,,,"anna, again"\nc/1.wav,{tmp_path}/elsewhere/2.wav,train,-2.5,\n',
        encoding="utf-8",
    )
    corpus = pairs(path)
    assert corpus.name == "mine" and corpus.sample_rate == RATE
    assert found(corpus, tmp_path) == [("n/1_0dB", "c/1.wav", "n/1_0dB.flac")]
    train = corpus.pairs("train")
    assert [pair.noisy.name for pair in train] == ["1_5dB.wav", "2.wav"]
    assert [dict(pair.facts) for pair in train] == [
        {"snr_db": 5.0, "voice": "anna"},
        {"snr_db": -2.5, "voice": ""},
    ]
    assert corpus.pairs()[0].facts == {"voice": "anna, again"}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("has the columns clean, nois; the first line must name clean and noisy", "clean,nois\n"),
        ("has the columns none", ""),
        ("lists no pairs", "clean,noisy\n"),
        ("line 2: an empty cell", "clean,noisy\na.wav\n"),
        ("line 2: .* or too many", "clean,noisy\na.wav,b.wav,c\n"),
        ("line 3: a.wav has been listed before", "clean,noisy\na.wav,a.wav\na.wav,a.wav\n"),
        ("line 2: snr_db is 'loud'", "clean,noisy,snr_db\na.wav,a.wav,loud\n"),
        ("2 file.s. that are not there: .*b.wav, .*c.wav", "clean,noisy\na.wav,b.wav\nc.wav,a.wav"),
        ("no CSV file in UTF-8", b"clean,noisy\n\xff\xfe,b.wav\n"),
    ],
)
def test_a_csv_with_a_fault_is_refused_in_words(tmp_path, words, text):
    write(tmp_path, "a.wav")
    path = tmp_path / "list.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=words):
        pairs(path)


def test_a_folder_alone_is_no_list(tmp_path):
    with pytest.raises(ValueError, match="no CSV file .*give one, or a clean and a noisy folder"):
        pairs(tmp_path)


def test_clips_are_grouped_by_the_first_sub_folder(tmp_path):
    write(tmp_path, "anna/1.wav", "anna/deep/2.ogg", "ben/1.wav", "rain.flac", "wind.flac")
    assert [(clip.path.name, clip.group) for clip in clips(tmp_path)] == [
        ("1.wav", "anna"),
        ("2.ogg", "anna"),
        ("1.wav", "ben"),
        ("rain.flac", "rain"),
        ("wind.flac", "wind"),
    ]
    with pytest.raises(ValueError, match="no folder .*absent with the sound recordings"):
        clips(tmp_path / "absent")
