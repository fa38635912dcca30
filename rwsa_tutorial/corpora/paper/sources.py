"""From where the pieces of a corpus come: its own address, a mirror, or a folder on this machine.

A piece is an archive such as clean_test.zip, which becomes the folder clean_test. It is looked for
in the sources that were given, in their order:

- a file: the piece of this name, packed;
- a folder: it holds pieces, packed or unpacked;
- an address that ends in "/": pieces lie below it; any other address: the piece of this name.

A file SHA256SUMS beside the pieces (what `sha256sum * > SHA256SUMS` writes, or `shasum`, with
--tag too) is checked against.
"""

import re
import shutil
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .fetching import check, download, read_text, say
from .store import check_space, contents
from .unpacking import KINDS, is_archive, unpack

SUMS = "SHA256SUMS"
DOWNLOADS = ".downloads"


@dataclass(frozen=True)
class Piece:
    """An archive at its own address, with what is known of it.

    Raises ValueError for a length or a checksum that is none.
    """

    name: str  # of the archive, such as "clean_test.zip"
    url: str
    size: int | None = None
    checksum: str | None = None

    def __post_init__(self):
        known = "sha256:[0-9a-f]{64}|git:[0-9a-f]{40}"
        if self.size is not None and (type(self.size) is not int or self.size < 0):
            raise ValueError(f"{self.size!r} is no length of {self.name!r}.")
        if self.checksum is not None and not re.fullmatch(known, self.checksum, re.IGNORECASE):
            raise ValueError(f"{self.checksum!r} is no checksum of {self.name!r}.")

    @property
    def stem(self) -> str:
        """The name without the archive's extension."""
        return self.name[: -len(next(kind for kind in KINDS if self.name.endswith(kind)))]


class Sources:
    """What was given with --from and --sha256. Raises ValueError, in words, for what is neither."""

    def __init__(self, given: Sequence[str | Path] = (), sha256: Sequence[str | Path] = ()):
        self.given = [_source(text) for text in given]
        self.sums = dict(_sum(text) for text in sha256)
        self._listed = {}

    def find(self, *names: str) -> str | Path | None:
        """Path or address of the first piece of one of these names, or None."""
        for source in self.given:
            for name in names:
                if isinstance(source, str):
                    if source.endswith("/") and "." in name:
                        return source + urllib.parse.quote(name)
                    if _last(source) == name:
                        return source
                elif source.is_dir():
                    if (source / name).exists():
                        return source / name
                    if source.name == name:
                        return source
                elif source.name == name:
                    return source
        return None

    def checksum(self, place: str | Path) -> str | None:
        """The checksum that is known for a path or an address, or None."""
        name = _last(place) if isinstance(place, str) else place.name
        listed = self._sums_beside(place)
        sum_ = self.sums.get(name) or listed.get(name)
        return sum_ and f"sha256:{sum_}"

    def _sums_beside(self, place):
        if isinstance(place, Path):
            beside = place.with_name(SUMS)
            return parse_sums(beside.read_bytes(), beside) if beside.is_file() else {}
        beside = place[: place.rindex("/") + 1] + SUMS
        if beside not in self._listed:
            try:
                self._listed[beside] = parse_sums(read_text(beside).encode(), beside)
            except (FileNotFoundError, PermissionError):  # so some servers call what is not there
                self._listed[beside] = {}
        return self._listed[beside]


def parse_sums(content: bytes, where: str | Path = SUMS) -> dict[str, str]:
    """name -> checksum, from the bytes of a file as sha256sum writes it.

    Lines may end in any way, the gap may be a tab, and BSD's "SHA256 (name) = sum" will do. What is
    neither is refused: a sum that is not understood would be one that is not checked.

    Raises ValueError, naming the line.
    """
    sums = {}
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{where} is no text in UTF-8, so its sums cannot be checked.") from None
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        plain = re.fullmatch(r"(?P<sum>[0-9a-fA-F]{64})[ \t]+\*?(?P<name>.+)", line)
        found = plain or re.fullmatch(
            r"SHA256 ?\((?P<name>.+)\) ?= ?(?P<sum>[0-9a-fA-F]{64})", line, re.IGNORECASE
        )
        if not found:
            raise ValueError(
                f"Line {number} of {where} is no checksum: {line[:60]!r}. Mend or remove the file: "
                "its lines are those of `sha256sum`, 64 hexadecimal digits and a name."
            )
        name, sum_ = re.split(r"[/\\]", found["name"])[-1], found["sum"].lower()
        if sums.setdefault(name, sum_) != sum_:
            raise ValueError(f"{where} has two different sums for {name!r}.")
    return sums


def obtain(
    piece: Piece, target: Path, sources: Sources, *, keep: Callable[[str], bool] | None = None
) -> None:
    """Bring a piece to its place: a folder `target`, which appears whole or not at all.

    Args:
        piece: what is wanted; its own address is used where no source has it.
        target: the folder to be; if it is there already, nothing is done.
        sources: `Sources`.
        keep: see `unpack`.

    Raises ValueError and OSError as `download` and `unpack` do.
    """
    if target.exists():
        return
    place = sources.find(piece.name, *(piece.stem + kind for kind in KINDS), piece.stem)
    if isinstance(place, Path) and place.is_dir():
        _copy(place, target, keep)
        return
    archive = bring(piece, place, target.parent, sources)
    try:
        unpack(archive, target, keep=keep)
    except ValueError:
        forget(archive, target.parent)
        raise
    forget(archive, target.parent)


def bring(piece: Piece, place: str | Path | None, folder: Path, sources: Sources) -> Path:
    """The archive of a piece as a file on this machine, checked as far as anything is known.

    place: where `Sources.find` has found it; None: at the piece's own address.
    """
    if place is None:
        size, checksum = piece.size, sources.sums.get(piece.name)
        checksum = f"sha256:{checksum}" if checksum else piece.checksum
    else:
        size, checksum = None, sources.checksum(place) or piece.checksum
    if checksum is None:
        say(
            f"{piece.name}: no checksum is known, so only its length and the archive's own sums "
            f"are checked; --sha256 {piece.name}=... gives one."
        )
    if isinstance(place, Path):
        check(place, checksum)
        return place
    archive = folder / DOWNLOADS / piece.name
    return download(place or piece.url, archive, checksum=checksum, size=size)


def room(folder: Path, pieces: Iterable[Piece], growth: float) -> None:
    """Check beforehand that all pieces fit, packed and unpacked.

    growth: how many bytes become of one; the archives lie there one at a time. Archives of
    unknown size are left out; each is checked again when its size is known.
    """
    sizes = [piece.size or 0 for piece in pieces]
    here = contents_hidden(folder / DOWNLOADS)
    check_space(folder, int(growth * sum(sizes)) + max(sizes, default=0) - here, "All of it")


def contents_hidden(folder: Path) -> int:
    """Bytes of all files in a folder, hidden ones as well."""
    return sum(path.stat().st_size for path in folder.glob("*")) if folder.is_dir() else 0


def _copy(source, target, keep):
    """Copy the recordings of a folder; the copy appears whole or not at all."""
    files = sorted(path for path in source.rglob("*") if path.is_file())
    files = [path for path in files if not path.name.startswith(".")]
    if keep is not None:
        files = [path for path in files if keep(path.relative_to(source.parent).as_posix())]
    check_space(target.parent, contents(source)[1], f"Copying {source}")
    staging = target.with_name(f".{target.name}.copying")
    shutil.rmtree(staging, ignore_errors=True)
    for path in files:
        copy = staging / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    staging.rename(target)


def forget(archive: str | Path, folder: Path) -> None:
    """Delete an archive that was downloaded, never one that was given."""
    if folder / DOWNLOADS in archive.parents:
        archive.unlink()


def _source(text):
    parts = urllib.parse.urlsplit(text)
    if parts.scheme in ("http", "https"):
        return text
    if parts.scheme == "file":
        path = Path(urllib.request.url2pathname(parts.path))
    elif "://" in text:
        raise ValueError(f"{text}: addresses begin with https://, http:// or file://.")
    else:
        path = Path(text).expanduser()
    if not path.exists():
        raise ValueError(f"{path}: there is no such file or folder.")
    if not (path.is_dir() or is_archive(path) or path.suffix in (".csv", ".json")):
        raise ValueError(f"{path} is neither a folder nor an archive ({', '.join(KINDS)}).")
    return path.absolute()


def _sum(text):
    name, _, sum_ = text.rpartition("=")
    if not name or not re.fullmatch("[0-9a-fA-F]{64}", sum_):
        raise ValueError(f"{text!r} is no checksum: give NAME=, then 64 hexadecimal digits.")
    return name, sum_.lower()


def _last(url):
    return urllib.parse.unquote(urllib.parse.urlsplit(url).path).rpartition("/")[2]
