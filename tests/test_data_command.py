"""`rwsa data`: VB-DemandEx and DNS 2020 from a server in their layout; killed, and resumed."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from file_server import Served, serving, zipped

from rwsa_tutorial import cli
from rwsa_tutorial.corpora import KNOWN, load_corpus
from rwsa_tutorial.corpora.paper import dns2020, fetching, store, vb_demandex
from rwsa_tutorial.corpora.paper.sources import Sources

API = "/api/datasets/NikolaiKyhne/VB-DemandEx/tree/main"
FILES = "/datasets/NikolaiKyhne/VB-DemandEx/resolve/main"
NAMES = ("p226_001.wav", "p226_002.wav", "p287_001.wav")


def sound(seed, seconds=0.1):
    content = io.BytesIO()
    wave = np.random.default_rng(seed).uniform(-0.5, 0.5, round(16_000 * seconds))
    soundfile.write(content, wave, 16_000, "PCM_16", format="WAV")
    return content.getvalue()


def rwsa(*words):
    return cli.main(["data", *map(str, words)])


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RWSA_CORPORA", str(tmp_path / "corpora"))
    return tmp_path / "corpora"


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setattr(fetching, "PAUSE", 0)
    monkeypatch.setattr(vb_demandex, "HUB", "http://127.0.0.1:9")  # nothing must ask it
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def archives():
    """The six archives; one with its folder at the top, one flat, as either may come."""
    return {
        part: zipped({("" if n % 2 else f"{part}/") + name: sound(n) for name in NAMES})
        for n, part in enumerate(vb_demandex.PARTS)
    }


def hub(site, archives):
    """Serve the archives as the hub does."""
    listing = [{"type": "file", "path": "README.md", "oid": "1", "size": 9}]
    for part, content in archives.items():
        sha = hashlib.sha256(content).hexdigest()
        entry = {"path": f"{part}.zip", "oid": "git", "size": len(content)}
        listing.append(entry | {"type": "file", "lfs": {"oid": sha, "size": len(content)}})
        site[f"{FILES}/{part}.zip"] = content
    site[API] = json.dumps(listing).encode()
    return listing


def states(capsys, name):
    capsys.readouterr()
    assert rwsa("status") == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith(f"{name} ")]
    return line.split()[1]


def test_vb_demandex_from_its_hub(site, archives, home, capsys):
    hub(site, archives)
    with pytest.raises(FileNotFoundError, match="absent in .*rwsa data get vb-demandex"):
        load_corpus("vb-demandex")
    assert states(capsys, "vb-demandex") == "absent"
    vb_demandex.get(home / "vb-demandex", hub=site.url)
    assert states(capsys, "vb-demandex") == "complete"
    corpus = load_corpus("vb-demandex")
    assert {split: len(pairs) for split, pairs in corpus.splits.items()} == {
        "train": 3,
        "valid": 3,
        "test": 3,
    }
    pair = corpus.pairs("test")[2]
    clean, noisy, rate = pair.read()
    assert (pair.name, pair.facts["voice"], rate, len(clean)) == ("p287_001", "p287", 16_000, 1600)
    np.testing.assert_array_equal(clean, soundfile.read(io.BytesIO(sound(4)), dtype="float32")[0])
    np.testing.assert_array_equal(noisy, soundfile.read(io.BytesIO(sound(5)), dtype="float32")[0])
    asked = len(site.asked)
    vb_demandex.get(home / "vb-demandex", hub=site.url)
    assert len(site.asked) == asked == 7  # the listing and six archives, once
    (home / "vb-demandex" / "clean_test" / NAMES[0]).unlink()
    assert states(capsys, "vb-demandex") == "damaged"
    with pytest.raises(FileNotFoundError, match="damaged"):
        load_corpus("vb-demandex")
    assert rwsa("get", "vb-demandex", "--yes") == 2
    assert "Delete the folder" in capsys.readouterr().err


def test_wrong_bytes_from_the_hub_are_not_unpacked(site, archives, home):
    hub(site, archives)
    wrong = zipped({name: sound(99) for name in NAMES})
    site[f"{FILES}/clean_valid.zip"] = wrong + bytes(len(archives["clean_valid"]) - len(wrong))
    with pytest.raises(ValueError, match="clean_valid.zip has (the checksum|[0-9]+ bytes)"):
        vb_demandex.get(home / "vb-demandex", hub=site.url)
    assert (home / "vb-demandex" / "noisy_train").is_dir()  # what was right is kept
    assert not (home / "vb-demandex" / "clean_valid").exists()
    assert store.state(home / "vb-demandex")[0] == "partial"
    hub(site, archives)
    vb_demandex.get(home / "vb-demandex", hub=site.url)
    assert site.ranges(f"{FILES}/clean_train.zip") == [None]
    assert store.state(home / "vb-demandex")[0] == "complete"


@pytest.mark.parametrize(
    "listing",
    [
        *(b"<html>", b"[]", b'[{"path": "clean_train.zip"}]', b"{}", b'[{"path": 1}]', b"\xff"),
        *(b'[{"path": "clean_train.zip", "oid": "1", "size": "9"}]', b"[" * 100_000),
    ],
)
def test_a_listing_that_is_none(site, home, listing):
    site[API] = listing
    with pytest.raises(OSError, match="no listing that can be read|does not list"):
        vb_demandex.get(home / "vb-demandex", hub=site.url)


def test_room_for_everything_is_asked_for_first(site, archives, home, monkeypatch):
    hub(site, archives)
    enough_for_one = 2 * max(map(len, archives.values()))
    usage = type("", (), {"free": enough_for_one})()
    monkeypatch.setattr(store.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="All of it needs"):
        vb_demandex.get(home / "vb-demandex", hub=site.url)
    assert [path for path, _ in site.asked] == [API]


RUN = """
import sys, time
from rwsa_tutorial.corpora.paper import unpacking, vb_demandex
if sys.argv[3] == "stall":
    real, seen = unpacking._content, []
    def content(opened, entry):
        seen.append(entry)
        if len(seen) == 3:
            time.sleep(60)
        return real(opened, entry)
    unpacking._content = content
vb_demandex.get(sys.argv[1], hub=sys.argv[2])
"""


def killed(folder, url, how, ready):
    """Run the download in a process of its own, and kill it as soon as `ready` gives something."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder), url, how], env=environment, stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 60
        while not (found := ready()):
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline, "the process never came so far"
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
    return found


def test_killed_while_downloading_and_while_unpacking_then_run_again(
    site, archives, home, capsys, monkeypatch
):
    folder = home / "vb-demandex"
    big = zipped({name: sound(n, seconds=20) for n, name in enumerate(NAMES)})
    archives = archives | {"clean_train": big}
    hub(site, archives)
    first = f"{FILES}/clean_train.zip"
    site[first] = Served(big, pause=0.02)
    part = folder / ".downloads" / ".clean_train.zip.part"
    killed(folder, site.url, "", lambda: part.exists() and part.stat().st_size > 300_000)
    have = part.stat().st_size
    assert 300_000 < have < len(big) - 100_000
    assert states(capsys, "vb-demandex") == "partial"

    site[first] = big
    asked = len(site.asked)
    killed(folder, site.url, "stall", lambda: len(list(folder.glob(".clean*/*.wav"))) == 2)
    assert (first, f"bytes={have}-") in site.asked[asked:]  # the rest alone
    assert states(capsys, "vb-demandex") == "partial"
    assert not (folder / "clean_train").exists()
    kept = {path.name: path.stat().st_ino for path in folder.glob(".clean*/*.wav")}
    assert len(kept) == 2

    vb_demandex.get(folder, hub=site.url)
    assert len(site.ranges(first)) == 2  # not asked for again
    there = {path.name: path.stat().st_ino for path in (folder / "clean_train").iterdir()}
    assert there.items() >= kept.items() and len(there) == 3  # nor unpacked again
    for n, name in enumerate(NAMES):
        assert (folder / "clean_train" / name).read_bytes() == sound(n, seconds=20)
    assert states(capsys, "vb-demandex") == "complete"
    assert sorted(path.name for path in folder.glob(".[!l]*")) == [".downloads"]
    assert not any((folder / ".downloads").iterdir())


def test_get_from_local_archives_with_checksums(archives, home, tmp_path, capsys):
    given = tmp_path / "given"
    given.mkdir()
    sums = {}
    for part, content in archives.items():
        (given / f"{part}.zip").write_bytes(content)
        sums[f"{part}.zip"] = hashlib.sha256(content).hexdigest()
    wrong = sums | {"clean_test.zip": "0" * 64}
    (given / "SHA256SUMS").write_text("".join(f"{s}  {name}\n" for name, s in wrong.items()))
    assert rwsa("get", "vb-demandex", "--yes", "--from", given) == 2
    printed = capsys.readouterr()
    assert "CC BY-SA 3.0" in printed.out  # the licence stands before everything else
    assert "clean_test.zip has the checksum" in printed.err
    assert states(capsys, "vb-demandex") == "partial"
    sum_ = f"clean_test.zip={sums['clean_test.zip']}"
    assert rwsa("get", "vb-demandex", "--yes", "--from", given, "--sha256", sum_) == 0
    assert "is complete: 18 files" in capsys.readouterr().out
    assert len(list(given.iterdir())) == 7  # what was given is left as it is
    assert len(load_corpus("vb-demandex").pairs("valid")) == 3


def test_get_from_a_mirror_and_from_unpacked_folders(site, archives, home, tmp_path, capsys):
    for part, content in archives.items():
        site[f"/mirror/{part}.zip"] = content
    mirror = f"{site.url}/mirror/"
    assert rwsa("get", "vb-demandex", "--yes", "--from", mirror, "--to", tmp_path / "other") == 0
    printed = capsys.readouterr()
    assert "no checksum is known" in printed.err and "set RWSA_CORPORA to" in printed.out
    assert rwsa("get", "vb-demandex", "--yes", "--from", tmp_path / "other" / "vb-demandex") == 0
    copy, original = home / "vb-demandex", tmp_path / "other" / "vb-demandex"
    assert store.state(copy) == store.state(original)
    assert len(load_corpus("vb-demandex").pairs("test")) == 3


def test_an_archive_that_comes_cut_short_is_not_kept(site, archives, home, capsys):
    """No checksum, and a length that the server has wrong: the archive itself tells."""
    for part, content in archives.items():
        site[f"/mirror/{part}.zip"] = content
    site["/mirror/clean_train.zip"] = Served(archives["clean_train"], declare=-100)
    command = ["get", "vb-demandex", "--yes", "--from", f"{site.url}/mirror/"]
    assert rwsa(*command) == 2
    assert "clean_train.zip is damaged" in capsys.readouterr().err
    site["/mirror/clean_train.zip"] = archives["clean_train"]
    assert rwsa(*command) == 0
    assert states(capsys, "vb-demandex") == "complete"


def test_files_without_a_partner(site, archives, home):
    hub(site, archives | {"noisy_test": zipped({NAMES[0]: sound(1)})})
    with pytest.raises(ValueError, match="2 file.s. without a partner.*Delete"):
        vb_demandex.get(home / "vb-demandex", hub=site.url)
    assert store.state(home / "vb-demandex")[0] == "partial"


@pytest.mark.parametrize(("answer", "done"), [("y", True), ("n", False), ("", False)])
def test_the_licence_is_asked_for(archives, home, tmp_path, monkeypatch, capsys, answer, done):
    for part, content in archives.items():
        (tmp_path / f"{part}.zip").write_bytes(content)
    monkeypatch.setattr(sys, "stdin", type("", (), {"isatty": lambda self: True})())
    monkeypatch.setattr("builtins.input", lambda words: answer)
    assert rwsa("get", "vb-demandex", "--from", tmp_path) == 0
    assert states(capsys, "vb-demandex") == ("complete" if done else "absent")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["vb-demandex"], "add --yes"),
        (["vb"], "there is no corpus 'vb'"),
        (["mini-vb", "--yes"], "in the box"),
        (["dns2020", "--yes", "--splits", "train"], "--splits is for ears-wham alone"),
        (["dns2020", "--yes", "--from", "nowhere.zip"], "no such file or folder"),
        (["dns2020", "--yes", "--to", "data"], "inside the project's checkout"),
    ],
)
def test_bad_input_is_told_in_one_line(home, monkeypatch, capsys, words, told):
    monkeypatch.chdir(os.path.dirname(os.path.dirname(__file__)))
    checkout = os.path.exists(".git")
    if "inside" in told and not checkout:
        pytest.skip("not in a checkout")
    assert rwsa("get", *words) == 2
    line = capsys.readouterr().err
    assert told in line and line.count("\n") == 1
    assert not home.exists() or not any(home.iterdir())


def test_status_lists_every_corpus(home, capsys):
    assert rwsa("status") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["corpus", *KNOWN]
    assert all(str(home) in line for line in lines[4:])
    assert rwsa("status", "--to", home / "else") == 0
    assert str(home / "else" / "dns2020") in capsys.readouterr().out


def test_mini_corpora_without_their_recordings_are_not_complete(
    home, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("RWSA_DATA", str(tmp_path))
    assert states(capsys, "mini-vb") == "absent"
    (tmp_path / "mini" / "mini-vb").mkdir(parents=True)
    (tmp_path / "mini" / "mini-vb" / "a.flac").write_bytes(b"")
    assert states(capsys, "mini-vb") == "damaged"


def dns(site, contents, plain=()):
    """Serve recordings as GitHub does: a listing, a pointer for each, and their contents."""
    where = f"/microsoft/DNS-Challenge/{dns2020.BRANCH}/{dns2020.INSIDE}"
    listings = {"clean": [], "noisy": []}
    for name, content in contents.items():
        oid = hashlib.sha256(content).hexdigest()
        text = (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"
        )
        stored = content if name in plain else text.encode()
        sha = hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()
        kind, _, file = name.partition("/")
        listings[kind].append({"name": file, "sha": sha, "size": len(stored), "type": "file"})
        site[f"/raw{where}/{name}"] = stored
        site[f"/media{where}/{name}"] = content
    for kind, listing in listings.items():
        at = f"/api/repos/{dns2020.REPOSITORY}/contents/{dns2020.INSIDE}/{kind}"
        site[at] = json.dumps(listing).encode()
    return {name: f"{site.url}/{name}" for name in ("api", "raw", "media")}


@pytest.fixture
def few(monkeypatch):
    """Three pairs, named as the challenge names them."""
    monkeypatch.setattr(dns2020, "PAIRS", 3)
    noisy = {0: "clnsp1_train_69005_1_snr15_tl-21", 2: "clnsp2_SjEWn2DhLDs_snr0_tl-23"}
    noisy[10] = "clnsp3_clatter_noise_431472__debsound__retro-bicycle_0_snr18_tl-33"
    files = {f"clean/clean_fileid_{n}.wav": sound(n) for n in noisy}
    return files | {f"noisy/{name}_fileid_{n}.wav": sound(50 + n) for n, name in noisy.items()}


def test_dns2020_by_way_of_its_pointers(site, home, few, capsys):
    addresses = dns(site, few, plain=["clean/clean_fileid_2.wav"])
    dns2020.get(home / "dns2020", addresses=addresses)
    assert states(capsys, "dns2020") == "complete"
    pairs = load_corpus("dns2020").pairs()
    assert [pair.name for pair in pairs] == ["fileid_0", "fileid_2", "fileid_10"]
    assert pairs[2].facts == {"snr_db": 18.0, "level_db": -33.0}
    for name, content in few.items():
        assert (home / "dns2020" / name).read_bytes() == content
    assert len(site.asked) == 2 + 5 * 2 + 1  # listings, five by pointer, one as it is


def test_dns2020_goes_on_file_by_file(site, home, few):
    addresses = dns(site, few)
    last = f"/media/microsoft/DNS-Challenge/{dns2020.BRANCH}/{dns2020.INSIDE}/"
    last += list(few)[-1]
    site[last] = sound(99)
    with pytest.raises(ValueError, match="has the checksum"):
        dns2020.get(home / "dns2020", addresses=addresses)
    assert store.state(home / "dns2020")[:2] == ("partial", 5)
    site[last] = few[list(few)[-1]]
    before = len(site.asked)
    dns2020.get(home / "dns2020", addresses=addresses)
    assert len(site.asked) - before == 2 + 2
    assert store.state(home / "dns2020")[:2] == ("complete", 6)


def test_dns2020_wants_the_pointers_that_git_lists(site, home, few):
    addresses = dns(site, few)
    where = f"/raw/microsoft/DNS-Challenge/{dns2020.BRANCH}/{dns2020.INSIDE}/{next(iter(few))}"
    site[where] = site.files[where].content.replace(b"size ", b"size 1")
    with pytest.raises(ValueError, match="not what git lists"):
        dns2020.get(home / "dns2020", addresses=addresses)


@pytest.mark.parametrize("layout", ["repository.zip", "plain.zip", "checkout", "url"])
def test_dns2020_from_what_is_here(site, home, few, tmp_path, monkeypatch, layout):
    real, unpacked = dns2020.unpack, []

    def unpack(archive, target, keep):
        real(archive, target, keep=keep)
        unpacked.extend(path for path in target.rglob("*") if path.is_file())

    monkeypatch.setattr(dns2020, "unpack", unpack)
    inside = "" if layout == "plain.zip" else f"DNS-Challenge/{dns2020.INSIDE}/"
    files = {inside + name: content for name, content in few.items()}
    if inside:
        files |= {name.replace("no_reverb", "with_reverb"): sound(7) for name in files}
        files["DNS-Challenge/README.md"] = b"read me"
    if layout == "checkout":
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
        given = tmp_path / "DNS-Challenge"
    else:
        given = tmp_path / "given.zip"
        given.write_bytes(zipped(files))
    if layout == "url":
        site["/given.zip"] = given.read_bytes()
        given = f"{site.url}/given.zip"
    assert rwsa("get", "dns2020", "--yes", "--from", given) == 0
    for name, content in few.items():
        assert (home / "dns2020" / name).read_bytes() == content
    assert store.state(home / "dns2020")[:2] == ("complete", 6)
    assert [path.name for path in (home / "dns2020").glob(".d*")] == []
    assert len(unpacked) == (0 if layout == "checkout" else 6)  # and nothing of the rest


def test_dns2020_from_what_is_not_the_test_set(home, few, tmp_path, monkeypatch):
    for name, content in few.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    get = dns2020.get
    monkeypatch.setattr(dns2020, "PAIRS", 4)
    with pytest.raises(ValueError, match="holds 3 pairs, but the test set has 4"):
        get(home / "dns2020", Sources([tmp_path.as_posix()]))
    (tmp_path / next(iter(few))).write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match="1 recordings .* are pointers .*git lfs pull"):
        get(home / "dns2020", Sources([tmp_path.as_posix()]))
    with pytest.raises(ValueError, match="no folders clean and noisy"):
        get(home / "dns2020", Sources([(tmp_path / "noisy").as_posix()]))
    assert store.state(home / "dns2020")[0] == "absent"


def test_what_is_not_the_test_set_is_asked_for_anew(site, home, few):
    files = {f"DNS/{name}": content for name, content in few.items()}
    less = {name: content for name, content in files.items() if "fileid_2" not in name}
    for wrong in (b"<html>log in</html>", zipped(less), zipped({"a.wav": b"1"})):
        site["/given.zip"] = wrong
        given = Sources([f"{site.url}/given.zip"])
        with pytest.raises(ValueError, match="damaged|holds 2 pairs|none of the files"):
            dns2020.get(home / "dns2020", given)
        assert not [*(home / "dns2020").glob(".downloads/*")]
    site["/given.zip"] = zipped(files)
    dns2020.get(home / "dns2020", given)
    assert store.state(home / "dns2020")[:2] == ("complete", 6)


@pytest.mark.parametrize("name", ["\x1b[2J.wav", "a\\b.wav", "C:a.wav", ".a.wav", "../a.wav"])
def test_names_that_github_would_never_list(site, home, few, name):
    addresses = dns(site, few)
    (at,) = [path for path in site.files if path.startswith("/api") and path.endswith("/noisy")]
    site[at] = json.dumps([{"name": name, "sha": "0" * 40, "size": 9}]).encode()
    with pytest.raises(ValueError, match="which is no plain file name") as error:
        dns2020.get(home / "dns2020", addresses=addresses)
    assert "\x1b" not in str(error.value)


def test_a_pointer_is_read_no_further_than_pointers_go(site, home, few):
    addresses = dns(site, few)
    for path in site.files:
        if path.startswith("/raw"):
            site[path] = Served(site.files[path].content + bytes(10_000), declare=None)
    with pytest.raises(ValueError, match="gives more than 1.02 kB"):
        dns2020.get(home / "dns2020", addresses=addresses)


def test_pointers():
    oid = "777bf587dcf6b2b6a2c2cc38f0048b9eecd4a0d8fa8b8549ca3697dd68f3eea8"
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 320044\n"
    assert dns2020.pointer(text) == (f"sha256:{oid}", dns2020.BYTES)
    assert dns2020.pointer(text.replace("size", "length")) is None
    assert dns2020.pointer("<html>") is None
