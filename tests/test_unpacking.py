"""Archives that could do harm, and ordinary ones: unpacked whole, or refused as a whole."""

import io
import os
import random
import shutil
import stat
import tarfile
import zipfile

import pytest

from rwsa_tutorial.corpora.paper import store, unpacking

FILES = {"top/a.wav": b"aaa", "top/deep/b.wav": b"bb" * 999, "top/c.txt": b""}


def zipped(path, files, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, content)
    return path


def tarred(path, files, kind="", **entry):
    with tarfile.open(path, f"w:{kind}") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in entry.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return path


def found(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def refused(archive, words):
    """Refused, in these words, with nothing written anywhere."""
    inside = archive.parent / "inside" / "deeper"
    inside.mkdir(parents=True)
    before = found(archive.parent)
    with pytest.raises(ValueError, match=words):
        unpacking.unpack(archive, inside / "target")
    assert found(archive.parent) == before
    assert not (inside / "target").exists()
    return True


@pytest.mark.parametrize("kind", ["zip", "tar", "gz", "bz2", "xz"])
def test_the_same_from_every_kind_of_archive(tmp_path, kind):
    if kind == "zip":
        archive = zipped(tmp_path / "a.zip", FILES)
    else:
        archive = tarred(tmp_path / f"a.tar.{kind}", FILES, kind if kind != "tar" else "")
    unpacking.unpack(archive, tmp_path / "target")
    assert found(tmp_path / "target") == {
        name.removeprefix("top/"): content for name, content in FILES.items()
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == [archive.name, "target"]


def test_shared_folders_only_are_left_out(tmp_path):
    files = {"one/two/a/x.wav": b"1", "one/two/b/x.wav": b"2"}
    unpacking.unpack(zipped(tmp_path / "a.zip", files), tmp_path / "bare")
    assert found(tmp_path / "bare") == {"a/x.wav": b"1", "b/x.wav": b"2"}
    unpacking.unpack(tmp_path / "a.zip", tmp_path / "all", strip=False)
    assert found(tmp_path / "all") == files
    unpacking.unpack(zipped(tmp_path / "flat.zip", {"x.wav": b"3"}), tmp_path / "flat")
    assert found(tmp_path / "flat") == {"x.wav": b"3"}


def test_some_files_alone_and_no_litter(tmp_path):
    files = FILES | {"__MACOSX/top/._a.wav": b"?", "top/.DS_Store": b"?"}
    archive = zipped(tmp_path / "a.zip", files)
    unpacking.unpack(archive, tmp_path / "all", strip=False)
    assert found(tmp_path / "all") == FILES
    unpacking.unpack(archive, tmp_path / "one", keep=lambda name: name.endswith("b.wav"))
    assert list(found(tmp_path / "one")) == ["b.wav"]
    with pytest.raises(ValueError, match="none of the files that are looked for"):
        unpacking.unpack(archive, tmp_path / "none", keep=lambda name: False)


ESCAPES = [
    "../x.wav",
    "a/../../x.wav",
    "/etc/x.wav",
    "a//x.wav",
    "..\\x.wav",
    "C:x.wav",
    "a/\nx",
    "a/\x9b2J",
    ".",
]


@pytest.mark.parametrize("name", ESCAPES)
def test_names_that_could_lie_outside(tmp_path, name):
    files = {"good.wav": b"good", name: b"bad"}
    assert refused(zipped(tmp_path / "a.zip", files), "could lie outside")
    (tmp_path / "tar").mkdir()
    assert refused(tarred(tmp_path / "tar" / "a.tar", files), "could lie outside")


def test_a_name_that_ends_early_in_c(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"good.wavXbad": b"1"})
    archive.write_bytes(archive.read_bytes().replace(b"wavX", b"wav\0"))
    assert refused(archive, "could lie outside")


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_a_zip(tmp_path, mode):
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, (mode | 0o777) << 16
    assert refused(
        zipped(tmp_path / "a.zip", [("good.wav", b""), (info, b"/etc")]), "link or a dev"
    )


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar(tmp_path, kind):
    archive = tarred(tmp_path / "a.tar", {"link": b""}, type=kind, linkname="/etc/passwd")
    assert refused(archive, "link or a device")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names", [("a.wav", "a.wav"), ("a.wav", "A.WAV"), ("a", "a/b"), ("a/b", "a"), ("ü", "u\u0308")]
)
def test_one_file_over_another(tmp_path, names):
    archive = zipped(tmp_path / "a.zip", [(name, b"1") for name in names])
    assert refused(archive, "twice")


def test_bombs(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "HARMLESS", 1 << 20)
    zeros = {"a": bytes(2 << 20)}
    assert refused(zipped(tmp_path / "a.zip", zeros), "would become 2.1 MB or more")
    (tmp_path / "tar").mkdir()
    assert refused(tarred(tmp_path / "tar" / "a.tgz", zeros, "gz"), "would become")
    unpacking.unpack(zipped(tmp_path / "plain.zip", zeros, zipfile.ZIP_STORED), tmp_path / "target")
    assert found(tmp_path / "target") == zeros


def test_many_empty_files_are_a_bomb_too(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "HARMLESS", 1 << 20)
    monkeypatch.setattr(unpacking, "RATIO", 20)
    archive = tarred(tmp_path / "a.tgz", {f"{n}": b"" for n in range(4000)}, "gz")
    assert refused(archive, "would become 1.05 MB or more")


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("kind", ["", "gz"])
def test_a_name_of_any_length_is_not_read(tmp_path, monkeypatch, form, kind):
    content, read = io.BytesIO(), []
    with tarfile.open(fileobj=content, mode=f"w:{kind}", format=form) as archive:
        archive.addfile(tarfile.TarInfo("good.wav"))
        archive.addfile(tarfile.TarInfo("x" * (3 << 20)))
    (tmp_path / "a.tar").write_bytes(content.getvalue())

    class Metered(unpacking._Metered):
        def read(self, size):
            read.append(len(content := super().read(size)))
            return content

    monkeypatch.setattr(unpacking, "_Metered", Metered)
    assert refused(tmp_path / "a.tar", "more than 1.05 MB to describe one of its files")
    assert read and max(read) < 10_000


def test_names_longer_or_deeper_than_a_disk_takes(tmp_path):
    for n, name in enumerate(("x" * 5000, "x/" * 70 + "y")):
        (tmp_path / f"{n}").mkdir()
        assert refused(zipped(tmp_path / f"{n}" / "a.zip", {name: b""}), "'..., which is too long")


def test_the_work_for_each_name_does_not_grow_with_their_number(tmp_path, monkeypatch):
    copied = []

    class Set(set):
        def __or__(self, other):
            copied.append(len(self) + len(other))
            return super().__or__(other)

    monkeypatch.setattr(unpacking, "set", Set, raising=False)
    entries = [unpacking._Entry(f"{n}", 1, n, None) for n in range(500)]
    assert len(unpacking._places(tmp_path / "a.zip", entries)) == 500
    assert sum(copied) <= 10 * 500  # 20 000 names would take minutes


def test_a_name_as_long_as_the_disk_takes(tmp_path):
    name = "ü" * 125 + ".wav"
    unpacking.unpack(zipped(tmp_path / "a.zip", {name: b"1"}), tmp_path / "target")
    assert found(tmp_path / "target") == {name: b"1"}


@pytest.mark.parametrize("name", ["", "\0oo"])
def test_a_zip_entry_without_a_name(tmp_path, name):
    archive = zipped(
        tmp_path / "a.zip", [("good.wav", b"2"), (zipfile.ZipInfo(name and "foo"), b"1")]
    )
    archive.write_bytes(archive.read_bytes().replace(b"foo", name.encode()))
    assert refused(archive, "could lie outside")


@pytest.mark.parametrize("kind", ["zip", "bzip2 in zip", "", "gz", "bz2", "xz"])
def test_damage_anywhere_is_told_in_words(tmp_path, kind):
    if "zip" in kind:
        method = zipfile.ZIP_BZIP2 if "in" in kind else zipfile.ZIP_DEFLATED
        archive = zipped(tmp_path / "a.zip", FILES | {"top/ü": b"1"}, method)
    else:
        archive = tarred(tmp_path / "a.tar", FILES | {"top/ü": b"1"}, kind)
    whole, rng, told = archive.read_bytes(), random.Random(0), set()
    for _ in range(60):
        content = bytearray(whole)
        for place in rng.sample(range(min(len(content), 2500)), 2):
            content[place] = rng.choice([0, 255, rng.randrange(256)])
        archive.write_bytes(content)
        try:
            unpacking.unpack(archive, tmp_path / "target")
        except ValueError as error:
            told.add(str(error).startswith(f"{archive} "))
        shutil.rmtree(tmp_path / "target", ignore_errors=True)
    assert told == {True}


def test_a_bomb_that_declares_too_little(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"a": bytes(1 << 20)})
    size = (1 << 20).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(size, (10).to_bytes(4, "little")))
    assert refused(archive, "damaged")


def test_damage(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"a": b"abcdefgh" * 9}, zipfile.ZIP_STORED)
    whole = archive.read_bytes()
    archive.write_bytes(whole.replace(b"abcdefghab", b"abcdEfghab", 1))
    assert refused(archive, "damaged")
    for name, content in (("cut.zip", whole[:-30]), ("text.zip", b"<html>"), ("none.tar", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="damaged, or no archive"):
            unpacking.unpack(tmp_path / name, tmp_path / "target")
    cut = tarred(tmp_path / "a.tgz", {"a": os.urandom(9999)}, "gz")
    cut.write_bytes(cut.read_bytes()[:5000])
    with pytest.raises(ValueError, match="damaged"):
        unpacking.unpack(cut, tmp_path / "target")
    with pytest.raises(FileNotFoundError, match="There is no file"):
        unpacking.unpack(tmp_path / "nowhere.zip", tmp_path / "target")


def test_encrypted(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"a": b"1"})
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    archive.write_bytes(content)
    assert refused(archive, "encrypted")


def test_no_room(tmp_path, monkeypatch):
    archive = zipped(tmp_path / "a.zip", FILES)
    monkeypatch.setattr(store.shutil, "disk_usage", lambda path: type("", (), {"free": 99})())
    with pytest.raises(OSError, match="Unpacking a.zip needs 2 kB, but .* has 99 B free"):
        unpacking.unpack(archive, tmp_path / "target")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


def test_unpacking_goes_on_after_the_last_whole_file(tmp_path, monkeypatch):
    archive = zipped(tmp_path / "a.zip", FILES)
    opened = []

    def content(archive, entry, real=unpacking._content):
        opened.append(entry.name)
        if len(opened) == 2:
            raise KeyboardInterrupt
        return real(archive, entry)

    monkeypatch.setattr(unpacking, "_content", content)
    with pytest.raises(KeyboardInterrupt):
        unpacking.unpack(archive, tmp_path / "target")
    assert not (tmp_path / "target").exists()
    unpacking.unpack(archive, tmp_path / "target")
    assert opened == ["top/a.wav", "top/deep/b.wav", "top/deep/b.wav", "top/c.txt"]
    assert len(found(tmp_path / "target")) == 3


def test_what_another_archive_has_left_is_not_taken(tmp_path, monkeypatch):
    old = zipped(tmp_path / "old.zip", {"a": b"old", "b": b"old"})
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        replace = unpacking.os.replace
        done = []

        def stop(one, two):
            if done:
                raise KeyboardInterrupt
            done.append(replace(one, two))

        patch.setattr(unpacking.os, "replace", stop)
        unpacking.unpack(old, tmp_path / "target")
    new = zipped(tmp_path / "new.zip", {"a": b"new", "b": b"new"})
    unpacking.unpack(new, tmp_path / "target")
    assert found(tmp_path / "target") == {"a": b"new", "b": b"new"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.zip", "old.zip", "target"]


def test_a_method_of_packing_that_zipfile_does_not_know_is_told_in_words(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.wav", b"sound")
    content = bytearray((tmp_path / "a.zip").read_bytes())
    for header, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        content[content.index(header) + place] = 99
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ValueError, match="packed in an unknown way"):
        unpacking.unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()
