"""Downloads from a server that misbehaves: what arrives is whole and right, or nothing is."""

import hashlib
import json
import os
import shutil
from collections import namedtuple
from types import SimpleNamespace

import pytest
from file_server import Served, serving

from rwsa_tutorial.corpora.paper import fetching, sources, store

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
OTHER = CONTENT[::-1]


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setattr(fetching, "PAUSE", 0)
    with serving() as running:
        yield running


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def get(site, folder, **known):
    return fetching.download(f"{site.url}/a.zip", folder / "a.zip", **known).read_bytes()


def test_a_file_arrives_once(site, tmp_path):
    site["/a.zip"] = CONTENT
    assert get(site, tmp_path, checksum=SHA256, size=len(CONTENT)) == CONTENT
    assert left(tmp_path) == ["a.zip"]
    get(site, tmp_path)
    assert len(site.asked) == 1


def test_a_cut_connection_goes_on_where_it_stopped(site, tmp_path, capsys):
    site["/a.zip"] = Served(CONTENT, cut=[300_000, 500_000, None])
    assert get(site, tmp_path, checksum=SHA256) == CONTENT
    assert site.ranges("/a.zip") == [None, "bytes=300000-", "bytes=800000-"]
    assert "cut after 300 kB of 1.05 MB" in capsys.readouterr().err


def test_a_later_run_goes_on(site, tmp_path):
    site["/a.zip"] = Served(CONTENT, cut=[300_000, 0])
    with pytest.raises(OSError, match="5 times in a row. What has come is kept"):
        get(site, tmp_path)
    assert left(tmp_path) == [".a.zip.part", ".a.zip.part.json"]
    assert len(site.asked) == 5
    site["/a.zip"] = CONTENT
    assert get(site, tmp_path, checksum=SHA256) == CONTENT
    assert site.asked[-1] == ("/a.zip", "bytes=300000-")


def test_attempts_are_counted_anew_as_long_as_something_comes(site, tmp_path):
    site["/a.zip"] = Served(CONTENT, cut=[1000] * 20 + [None])
    assert get(site, tmp_path, checksum=SHA256) == CONTENT
    assert len(site.asked) == 21


def test_a_server_that_ignores_ranges_sends_all_again(site, tmp_path):
    site["/a.zip"] = Served(CONTENT, ranges=False, cut=[300_000, None])
    assert get(site, tmp_path, checksum=SHA256) == CONTENT


def test_a_server_that_always_cuts_at_one_place_is_given_up(site, tmp_path):
    site["/a.zip"] = Served(CONTENT, ranges=False, cut=[300_000])
    with pytest.raises(OSError, match="5 times in a row"):
        get(site, tmp_path)
    assert len(site.asked) == 5


@pytest.mark.parametrize(
    ("etags", "requests"), [(['"one"', '"two"'], 2), (['W/"one"', 'W/"two"'], 3), ([None], 2)]
)
def test_a_changed_file_is_not_spliced(site, tmp_path, etags, requests):
    site["/a.zip"] = Served([CONTENT, OTHER], etag=etags, cut=[300_000, None])
    assert get(site, tmp_path) == OTHER
    assert len(site.asked) == requests  # a weak tag cannot be asked with, only compared


def test_a_changed_file_is_not_spliced_by_a_later_run(site, tmp_path):
    site["/a.zip"] = Served(CONTENT, cut=[300_000, 0])
    with pytest.raises(OSError):
        get(site, tmp_path)
    site["/a.zip"] = Served(OTHER, etag='"two"')
    assert get(site, tmp_path) == OTHER


def test_wrong_bytes_are_thrown_away(site, tmp_path):
    site["/a.zip"] = OTHER
    with pytest.raises(ValueError, match="has the checksum sha256:.* not sha256:"):
        get(site, tmp_path, checksum=SHA256)
    assert left(tmp_path) == []


def test_wrong_bytes_of_an_earlier_run_are_fetched_again(site, tmp_path):
    site["/a.zip"] = Served(CONTENT, cut=[300_000, 0])
    with pytest.raises(OSError):
        get(site, tmp_path)
    (tmp_path / ".a.zip.part").write_bytes(b"x" * 300_000)
    site["/a.zip"] = CONTENT
    assert get(site, tmp_path, checksum=SHA256) == CONTENT


def test_more_is_declared_than_comes(site, tmp_path):
    site["/a.zip"] = Served(CONTENT, declare=10)
    with pytest.raises(OSError, match="cut after|no more of this file"):
        get(site, tmp_path)
    assert "a.zip" not in left(tmp_path)


@pytest.mark.parametrize("known", [{"size": len(CONTENT)}, {"checksum": SHA256}])
def test_less_is_declared_than_there_is(site, tmp_path, known):
    site["/a.zip"] = Served(CONTENT, declare=-10)
    with pytest.raises(ValueError, match="expected|checksum"):
        get(site, tmp_path, **known)
    assert left(tmp_path) == []


def test_more_comes_than_is_expected_of_an_undeclared_length(site, tmp_path):
    site["/a.zip"] = Served(CONTENT + b"more", declare=None)
    with pytest.raises(ValueError, match="more than the 1048576 bytes"):
        get(site, tmp_path, size=len(CONTENT))
    assert left(tmp_path) == []


def test_an_undeclared_length_is_taken_as_it_comes(site, tmp_path):
    site["/a.zip"] = Served(CONTENT, declare=None)
    assert get(site, tmp_path, checksum=SHA256) == CONTENT


def test_an_endless_file_of_undeclared_length_ends(site, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "MOST", 500_000)
    site["/a.zip"] = Served(CONTENT, declare=None)
    with pytest.raises(ValueError, match="gives more than the 500000 bytes"):
        get(site, tmp_path)
    assert left(tmp_path) == []


def test_a_file_of_undeclared_length_leaves_room_on_the_disk(site, tmp_path, monkeypatch):
    def usage(path):
        here = sum(file.stat().st_size for file in tmp_path.iterdir())
        return SimpleNamespace(free=fetching.RESERVE + 300_000 - here)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    site["/a.zip"] = Served(CONTENT, declare=None)
    with pytest.raises(OSError, match="a.zip needs 1 GB, but .* has 1 GB free: make room"):
        get(site, tmp_path)
    assert (tmp_path / ".a.zip.part").stat().st_size < 600_000


@pytest.mark.parametrize("get", [get, lambda site, folder: fetching.read_text(f"{site.url}/a.zip")])
def test_a_server_that_is_too_slow_is_given_up(site, tmp_path, monkeypatch, get):
    monkeypatch.setattr(fetching, "WINDOW", 0)  # each block is a window of its own
    monkeypatch.setattr(fetching, "LEAST", 7)
    site["/a.zip"] = Served(b"abcdef" * 20, pause=0.01, block=6)
    with pytest.raises(OSError, match="only 6 B have come in the last 0 seconds.* is kept"):
        get(site, tmp_path)
    assert len(site.asked) == 1
    monkeypatch.setattr(fetching, "LEAST", 1)
    get(site, tmp_path)


def test_a_file_that_shrank_is_asked_for_anew(site, tmp_path):
    site["/a.zip"] = Served(CONTENT, cut=[300_000, 0])
    with pytest.raises(OSError):
        get(site, tmp_path)
    site["/a.zip"] = CONTENT[:200_000]  # under the same ETag
    assert get(site, tmp_path) == CONTENT[:200_000]
    assert site.ranges("/a.zip")[-2:] == ["bytes=300000-", None]


def test_control_characters_of_a_server_do_not_reach_the_terminal(site, tmp_path, capsys):
    site["/a.zip"] = Served(CONTENT, status=[(500, "\x1b[2Joops\x07"), (418, "\x1b]0;tea\x9b")])
    with pytest.raises(OSError, match="answers 418") as error:
        get(site, tmp_path)
    told = capsys.readouterr().err + str(error.value)
    assert "oops" in told and "tea" in told
    assert not set("\x1b\x07\x9b") & set(told)
    fetching.say("\x1b[31m\u202ered")
    assert "\ufffd[31m\ufffdred" in capsys.readouterr().err


def test_refusals_in_words(site, tmp_path):
    with pytest.raises(OSError, match=r"a.zip: there is no such file \(404\); --from"):
        get(site, tmp_path)
    site["/a.zip"] = Served(CONTENT, status=[403])
    with pytest.raises(OSError, match="the server refuses"):
        get(site, tmp_path)
    assert len(site.asked) == 2  # neither is tried again
    site["/a.zip"] = Served(CONTENT, status=[500, 503, 200])
    assert get(site, tmp_path) == CONTENT


def test_redirects_keep_the_range(site, tmp_path):
    site["/b.zip"] = Served(CONTENT, cut=[300_000, None])
    site["/a.zip"] = Served(b"", redirect=f"{site.url}/b.zip")
    assert get(site, tmp_path, checksum=SHA256) == CONTENT
    assert site.ranges("/b.zip") == [None, "bytes=300000-"]


def test_other_kinds_of_address_are_refused(tmp_path):
    with pytest.raises(ValueError, match="use http, https or a file"):
        fetching.download("ftp://nowhere/a.zip", tmp_path / "a.zip")


def test_nobody_there(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "PAUSE", 0)
    with pytest.raises(OSError, match="no connection .* 5 times in a row"):
        fetching.download("http://127.0.0.1:9/a.zip", tmp_path / "a.zip")


def test_room_is_asked_for_before_anything_is_written(site, tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(len(CONTENT) - 1))
    site["/a.zip"] = CONTENT
    with pytest.raises(OSError, match="needs 1.05 MB, but .* has 1.05 MB free: make room"):
        get(site, tmp_path)
    assert left(tmp_path) == []


def test_git_names_of_contents(tmp_path):
    (tmp_path / "hello").write_bytes(b"hello\n")
    # echo hello | git hash-object --stdin
    assert fetching.digest(tmp_path / "hello", "git") == (
        "git:ce013625030ba8dba906f756967f9e9ca394464a"
    )


def test_a_long_listing_is_refused_and_a_cut_one_read_again(site, monkeypatch):
    site["/list"] = Served(b"[1, 2]", cut=[3, None])
    assert json.loads(fetching.read_text(f"{site.url}/list")) == [1, 2]
    monkeypatch.setattr(fetching, "MOST_TEXT", 5)
    with pytest.raises(ValueError, match="/list gives more than 5 B"):
        fetching.read_text(f"{site.url}/list")
    with pytest.raises(ValueError, match="/list gives more than 4 B"):
        fetching.read_text(f"{site.url}/list", most=4)


def test_two_at_once(tmp_path):
    with store.alone(tmp_path), pytest.raises(OSError, match="Another process is fetching"):
        with store.alone(tmp_path):
            pytest.fail("two hold one lock")
    (tmp_path / ".lock").write_text("left by a process that died")
    with store.alone(tmp_path):
        assert store.state(tmp_path)[0] == "absent"


def test_complete_partial_damaged(tmp_path):
    assert store.state(tmp_path / "none")[0] == "absent"
    (tmp_path / "a.wav").write_bytes(b"abc")
    assert store.state(tmp_path) == ("partial", 1, 3)
    store.mark(tmp_path)
    assert store.state(tmp_path) == ("complete", 1, 3)
    (tmp_path / ".hidden").write_bytes(b"no part of it")
    assert store.state(tmp_path)[0] == "complete"
    os.truncate(tmp_path / "a.wav", 2)
    assert store.state(tmp_path)[0] == "damaged"
    (tmp_path / "a.wav").unlink()
    assert store.state(tmp_path)[0] == "damaged"
    (tmp_path / "complete.json").write_text("torn{")
    assert store.state(tmp_path)[0] == "damaged"


def test_where_corpora_lie(monkeypatch, tmp_path):
    monkeypatch.setenv("RWSA_CORPORA", str(tmp_path))
    assert store.home() == tmp_path
    monkeypatch.delenv("RWSA_CORPORA")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert store.home().name == "corpora" and "rwsa-tutorial" in store.home().parts


def test_amounts():
    assert [store.amount(n) for n in (0, 999, 1000, 1_940_000_000, 76e9, 999_600)] == [
        *("0 B", "999 B", "1 kB", "1.94 GB", "76 GB", "1 MB")
    ]


def test_sources_are_asked_in_their_order(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.zip").write_bytes(b"")
    (tmp_path / "b.zip").write_bytes(b"")
    given = [tmp_path / "here", tmp_path / "b.zip", "http://x.example/m/", "http://y.example/c.zip"]
    found = sources.Sources(map(str, given))
    assert found.find("a.zip") == tmp_path / "here" / "a.zip"
    assert found.find("b.zip") == tmp_path / "b.zip"
    assert found.find("c.zip") == "http://x.example/m/c.zip"
    assert sources.Sources(given[:1:-1]).find("c.zip") == "http://y.example/c.zip"
    assert sources.Sources([f"file://{tmp_path}/b.zip"]).find("b.zip") == tmp_path / "b.zip"
    assert sources.Sources().find("a.zip") is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("nowhere.zip", "no such file"),
        ("ftp://x/a.zip", "begin with https"),
        (__file__, "neither a folder nor an archive"),
    ],
)
def test_sources_that_are_none(given, words):
    with pytest.raises(ValueError, match=words):
        sources.Sources([given])


def test_checksums_from_the_command_line_and_from_a_file_beside(site, tmp_path):
    one, two = "1" * 64, "2" * 64
    (tmp_path / "SHA256SUMS").write_text(f"{one}  a.zip\n")
    given = sources.Sources(sha256=[f"b.zip={two}"])
    assert given.checksum(tmp_path / "a.zip") == f"sha256:{one}"
    assert given.checksum(tmp_path / "b.zip") == f"sha256:{two}"
    assert given.checksum(tmp_path / "c.zip") is None
    site["/SHA256SUMS"] = f"{two}  c.zip\n".encode()
    assert given.checksum(f"{site.url}/c.zip") == f"sha256:{two}"
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        sources.Sources(sha256=["a.zip=12"])


ONE, TWO = "1a" * 32, "2B" * 32


@pytest.mark.parametrize(
    "text",
    [
        f"{ONE}  a.zip\n{TWO} *./b c.zip\n",
        f"{ONE}  a.zip\r\n{TWO} *b c.zip\r\n",
        f"\ufeff{ONE}  a.zip\n\n# by hand\n{TWO}  dir\\b c.zip",
        f"{ONE}\ta.zip\n{TWO}\t \tb c.zip \n",
        f"SHA256 (a.zip) = {ONE}\nsha256(dir/b c.zip)= {TWO}\n",
    ],
)
def test_sums_in_every_style(tmp_path, text):
    (tmp_path / "SHA256SUMS").write_bytes(text.encode())
    given = sources.Sources()
    assert given.checksum(tmp_path / "a.zip") == f"sha256:{ONE}"
    assert given.checksum(tmp_path / "b c.zip") == f"sha256:{TWO.lower()}"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"{ONE}  a.zip\n{ONE[:-1]}  b.zip\n".encode(), "Line 2 of .*SHA256SUMS is no checksum"),
        (f"MD5 (a.zip) = {ONE[:32]}".encode(), "Line 1 of"),
        (b"<html>log in</html>", "'<html>log in</html>'. Mend or remove the file"),
        (f"{ONE}  a.zip".encode("utf-16"), "no text in UTF-8"),
        (f"{ONE}  a.zip\n{TWO}  x/a.zip".encode(), "two different sums for 'a.zip'"),
    ],
)
def test_sums_that_cannot_be_read_are_not_passed_over(site, tmp_path, content, words):
    (tmp_path / "SHA256SUMS").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        sources.Sources().checksum(tmp_path / "a.zip")
    site["/SHA256SUMS"] = content
    with pytest.raises(ValueError, match=words):
        sources.Sources().checksum(f"{site.url}/a.zip")


def test_sums_that_may_be_there_are_not_passed_over(site):
    given = sources.Sources()
    assert given.checksum(f"{site.url}/a.zip") is None  # 404
    site["/x/SHA256SUMS"] = Served(b"", status=[403])
    assert given.checksum(f"{site.url}/x/a.zip") is None
    site["/y/SHA256SUMS"] = Served(b"", status=[500])
    with pytest.raises(OSError, match="the server answers 500"):
        given.checksum(f"{site.url}/y/a.zip")


@pytest.mark.parametrize("facts", [("1", None), (-1, None), (True, None), (1, "sha256:\x1b[2J")])
def test_a_listing_states_lengths_and_checksums(facts):
    with pytest.raises(ValueError, match="is no (length|checksum) of 'a.zip'"):
        sources.Piece("a.zip", "", *facts)
