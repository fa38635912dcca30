"""Large files from the network, whole and unchanged, or not at all.

A corpus of gigabytes comes over lines that break and from servers that err. So a download here

- is written to a hidden file and gets its name only when its length and its checksum are right;
- goes on where it stopped, in the same run or in a later one, by asking for the missing bytes
  alone (HTTP's Range, RFC 9110 section 14), and only of the very file that it began with: the
  server's version of it (ETag or Last-Modified) is kept beside the part;
- asks for room on the disk first, shows a bar, and says in words what went wrong;
- ends, however much or however slowly a server sends.
"""

import hashlib
import http.client
import json
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from tqdm import tqdm

from .store import amount, check_space

BLOCK = 1 << 18  # bytes that are read at once
MOST_TEXT = 32 << 20  # bytes; a listing is never as large
MOST = 500 * 10**9  # bytes of a file whose length nobody states; no corpus is as large
RESERVE = 10**9  # bytes of the disk that such a file leaves free
TIMEOUT = 30  # seconds of silence after which a connection counts as lost
WINDOW = 120  # seconds in which at least LEAST bytes must come
LEAST = 120_000
ATTEMPTS = 5  # in a row, without a new byte
PAUSE = 1.0  # seconds before the second attempt, doubled before each one after
# what taking apart a listing raises that is of another form than the one that is meant
OTHER_FORM = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


class Interrupted(OSError):
    """The connection was lost, or the server is busy: another attempt may well succeed."""


class _NoMore(Interrupted):
    """The server's file ends where the part ends, or before."""


def download(
    url: str, target: str | Path, *, checksum: str | None = None, size: int | None = None
) -> Path:
    """Fetch one file, going on with what an earlier run has left.

    Args:
        url: http or https (or file).
        target: where the file is to lie. If it is there already, nothing is done: it got its
            name only after its checks.
        checksum: "sha256:..." or "git:..." (the name git gives a file's content), hexadecimal.
        size: its length in bytes, if known from elsewhere.

    Returns:
        Path of the file.

    Raises:
        OSError: in words: no such file, refused, the connection is lost again and again or too
            slow, no room. What has come is kept for the next run.
        ValueError: the file is not the one that is meant: a wrong length or checksum. Nothing of
            it is kept.
    """
    target = Path(target)
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    note = target.with_name(f".{target.name}.part.json")
    resumed = part.exists()
    try:
        _bring(url, part, note, checksum, size)
    except ValueError:
        part.unlink(missing_ok=True)
        note.unlink(missing_ok=True)
        if not resumed:
            raise
        say(f"{target.name}: what an earlier run has left does not fit; starting again.")
        return download(url, target, checksum=checksum, size=size)
    os.replace(part, target)
    note.unlink(missing_ok=True)
    return target


def read_text(url: str, most: int | None = None) -> str:
    """The text at an address, for listings and checksums. Raises as `download` does.

    most: bytes above which it is refused; by default MOST_TEXT.
    """
    most = MOST_TEXT if most is None else most

    def read():
        text = bytearray()
        with _open(url) as answer:
            for block in _blocks(answer, url, _declared(answer)):
                text += block
                if len(text) > most:
                    raise ValueError(f"{url} gives more than {amount(most)}: not what is meant.")
            if len(text) < (_declared(answer) or 0):
                raise Interrupted(f"the connection was cut after {amount(len(text))}")
        try:
            return text.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{url} is no text in UTF-8.") from None

    return _patiently(read, url)


def check(path: str | Path, checksum: str | None, name: str | None = None) -> None:
    """Raise ValueError, in words, unless the file has this checksum (None: any will do)."""
    if checksum is None:
        return
    found = digest(path, checksum.partition(":")[0])
    if found != checksum.lower():
        raise ValueError(
            f"{name or path} has the checksum {found}, not {checksum.lower()}: it was damaged or "
            "changed on its way. Nothing of it was used; try again, or another source with --from."
        )


def digest(path: str | Path, kind: str = "sha256") -> str:
    """Checksum of a file, "sha256:..." or "git:..." (SHA-1 over git's header and the content)."""
    path = Path(path)
    if kind == "git":
        sums = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    elif kind == "sha256":
        sums = hashlib.sha256()
    else:
        raise ValueError(f"{kind!r} is no known checksum; use sha256 or git.")
    total = path.stat().st_size
    with (
        open(path, "rb") as file,
        tqdm(
            desc=f"checking {_name(path)}",
            total=total,
            unit="B",
            unit_scale=True,
            leave=False,
            delay=1,
        ) as bar,
    ):
        while block := file.read(BLOCK):
            sums.update(block)
            bar.update(len(block))
    return f"{kind}:{sums.hexdigest()}"


def _bring(url, part, note, checksum, size):
    with tqdm(desc=_name(part), unit="B", unit_scale=True, leave=False) as bar:
        _patiently(
            lambda: _transfer(url, part, note, checksum, size, bar), url, lambda: _length(part)
        )
    _check_length(url, _length(part), size)
    check(part, checksum, url)


def _patiently(step, url, progress=lambda: 0):
    """Do a step, again if it is interrupted, until ATTEMPTS in a row have brought nothing new."""
    best, failures = progress(), 0
    while True:
        try:
            return step()
        except Interrupted as error:
            here = progress()
            failures = failures + 1 if here <= best else 1
            best = max(best, here)
            if failures >= ATTEMPTS:
                raise OSError(
                    f"{url}: {error}, {ATTEMPTS} times in a row. What has come is kept: run the "
                    "same command again later, or take another source with --from."
                ) from error
            say(f"{url}: {error}; attempt {failures + 1} of {ATTEMPTS}.")
            time.sleep(PAUSE * 2 ** (failures - 1))


def _transfer(url, part, note, checksum, size, bar):
    """Bring `part` to its full length, with one request."""
    kept = _remembered(note, url)
    have = _length(part)
    # Without a version or a checksum nobody could tell whether the rest belongs to the part.
    if not (kept and have and (kept["version"] or checksum) and have <= (kept["length"] or have)):
        part.unlink(missing_ok=True)
        have = 0
    elif have == kept["length"]:
        return
    headers = {"Range": f"bytes={have}-"} if have else {}
    if have and kept["version"].startswith('"'):
        headers["If-Range"] = kept["version"]  # a changed file then comes whole; RFC 9110 13.1.5
    try:
        answer = _open(url, headers)
    except _NoMore:  # it has shrunk, or never was as long as it said
        part.unlink(missing_ok=True)
        raise
    with answer:
        version = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        declared = _declared(answer)
        if have and answer.status == 206:
            total = _fits(answer, have, version, kept)
            if total is None:
                part.unlink()
                raise Interrupted("the file on the server has changed; starting again")
        else:
            have, total = 0, declared
        if size is not None and total is not None:
            _check_length(url, total, size)
        total = size if total is None else total
        check_space(part.parent, (total or RESERVE) - have, _name(part))
        most = MOST if total is None else total
        bar.total, bar.n = total, have
        bar.refresh()
        with open(part, "ab" if have else "wb", buffering=0) as file:
            if not have:
                note.write_text(json.dumps({"url": url, "version": version, "length": total}))
            for block in _blocks(answer, url, declared):
                have += len(block)
                if have > most:
                    raise ValueError(f"{url} gives more than the {most} bytes that it should.")
                if total is None:
                    check_space(part.parent, RESERVE, _name(part))
                file.write(block)
                bar.update(len(block))
    if total is not None and have < total:
        raise Interrupted(f"the connection was cut after {amount(have)} of {amount(total)}")


def _fits(answer, have, version, kept):
    """The whole file's length if a partial answer continues the part, else None."""
    span, _, total = answer.headers.get("Content-Range", "").partition("/")
    total = int(total) if re.fullmatch("[0-9]{1,18}", total) else kept["length"]
    right = span == f"bytes {have}-{(total or 0) - 1}"
    return total if right and (version, total) == (kept["version"], kept["length"]) else None


def _remembered(note, url):
    """What the note beside a part says of its origin, or {} if it is another or unreadable."""
    try:
        kept = json.loads(note.read_text())
        return kept if kept["url"] == url and "version" in kept and "length" in kept else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _open(url, headers=None):
    if urllib.parse.urlsplit(url).scheme not in ("http", "https", "file"):
        raise ValueError(f"{url} is no address that can be fetched: use http, https or a file.")
    # "identity": a length that is counted must be that of the file itself
    every = {"User-Agent": "rwsa-tutorial", "Accept-Encoding": "identity", **(headers or {})}
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=every), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        reason = printable(error.reason)
        if error.code == 416:
            raise _NoMore("the server has no more of this file than is here") from None
        if error.code in (408, 429) or error.code >= 500:
            raise Interrupted(f"the server answers {error.code} ({reason})") from None
        raise _refusal(url, error.code, reason) from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, FileNotFoundError):
            raise OSError(f"{url}: there is no such file.") from None
        raise Interrupted(f"no connection ({printable(error.reason)})") from None
    except (OSError, http.client.HTTPException) as error:
        words = printable(error) or type(error).__name__
        raise Interrupted(f"no connection ({words})") from None


def _refusal(url, code, reason):
    if code in (404, 410):
        return FileNotFoundError(
            f"{url}: there is no such file ({code}); --from takes another source."
        )
    if code in (401, 403):
        return PermissionError(
            f"{url}: the server refuses ({code} {reason}): it may ask for a log-in, or "
            "limit how much one may fetch in an hour; --from takes another source."
        )
    return OSError(f"{url}: the server answers {code} ({reason}).")


def _blocks(answer, url, declared):
    """The body as it comes, no more of it than is declared. Raises OSError if it is too slow."""
    come, began, then = 0, time.monotonic(), 0
    while declared is None or come < declared:
        try:
            # what is there, at most this: `read` would wait for all of a block, however long
            block = answer.read1(BLOCK if declared is None else min(BLOCK, declared - come))
        except (OSError, http.client.HTTPException) as error:
            words = printable(error) or type(error).__name__
            raise Interrupted(f"the connection was lost ({words})") from None
        if not block:
            return
        come += len(block)
        yield block
        if time.monotonic() - began > WINDOW:
            if come - then < LEAST:
                raise OSError(
                    f"{url}: only {amount(come - then)} have come in the last {WINDOW} seconds, "
                    "and so it would never end. What has come is kept: run the same command "
                    "again later, or take another source with --from."
                )
            began, then = time.monotonic(), come


def _declared(answer):
    length = answer.headers.get("Content-Length", "")
    return int(length) if re.fullmatch("[0-9]{1,18}", length) else None


def _check_length(url, length, size):
    if size is not None and length != size:
        raise ValueError(
            f"{url} has {length} bytes, but {size} are expected: it is cut short or another file."
        )


def _length(path):
    return path.stat().st_size if path.exists() else 0


def _name(part):
    return part.name.strip(".").removesuffix(".part")


def printable(text: object) -> str:
    """Text from outside without the control characters that could command a terminal."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text)
    )


def say(words: str) -> None:
    """Write a line on standard error, above a bar that may be there."""
    with tqdm.external_write_mode():
        print(printable(words), file=sys.stderr, flush=True)
