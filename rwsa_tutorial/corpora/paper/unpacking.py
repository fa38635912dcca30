"""Archives by others, unpacked without harm.

An archive is a list of names and contents, and nothing stops it from naming `../../.bashrc`, a
link to elsewhere, the same file twice, a terabyte of zeros, or a name of a gigabyte. So its list is
read first, and the archive is refused as a whole if one entry is not a plain file or folder below
the target.

The files go to a hidden folder beside the target, which gets its name at the end. If the work is
cut short, the next run keeps the files that are there: each one was renamed only when it was whole.
"""

import bz2
import contextlib
import glob
import gzip
import hashlib
import lzma
import math
import os
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from .fetching import BLOCK, printable
from .store import amount, check_space

HEADER = 1 << 20  # bytes that may describe one entry: its name, mostly
LONGEST, DEEPEST = 4096, 64  # letters of a name, folders in each other: more than any disk takes
RATIO = 200  # recordings shrink to a half, silence to a hundredth; a bomb a thousandfold
HARMLESS = 64 << 20  # bytes that any archive may become
KINDS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

# what the libraries raise for an archive that is cut short or spoilt
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError)
DAMAGE += (struct.error, UnicodeDecodeError)


@dataclass(frozen=True)
class _Entry:
    name: str  # as it stands in the archive
    size: int
    check: int  # CRC-32 of a zip's file; tar has none
    source: object  # the archive's own record


def is_archive(path: str | Path) -> bool:
    """Whether the name is that of an archive that `unpack` knows."""
    return Path(path).name.lower().endswith(KINDS)


def unpack(
    archive: str | Path,
    target: str | Path,
    *,
    keep: Callable[[str], bool] | None = None,
    strip: bool = True,
) -> None:
    """Unpack a zip or tar archive into a new folder, which appears whole or not at all.

    Args:
        archive: its path.
        target: the folder to be made; if it is there already, nothing is done.
        keep: a function of an entry's name in the archive; False leaves the entry out.
        strip: leave out folders that all files share, so that an archive with one folder at its
            top and one without give the same.

    Raises:
        ValueError: in words: not an archive, damaged, encrypted, empty, or with an entry that
            could do harm. Nothing is left of it.
        OSError: no room on the disk. What is unpacked is kept for the next run.
    """
    archive, target = Path(archive), Path(target)
    if target.exists():
        return
    try:
        with _opened(archive) as opened:
            entries = _entries(archive, opened)
            _check_total(archive, sum(entry.size for entry in entries))
            places = _places(archive, entries)
            if keep is not None:
                places = {e: place for e, place in places.items() if keep(e.name)}
            if not places:
                raise ValueError(f"{archive} holds none of the files that are looked for.")
            if strip:
                places = _stripped(places)
            staging = _staging(target, places)
            _write(archive, opened, staging, places)
    except DAMAGE as error:
        _clear(target)
        raise ValueError(f"{archive} is damaged, or no archive ({printable(error)}).") from None
    except RuntimeError as error:  # zipfile's, for what is encrypted or packed by a newer method
        raise ValueError(f"{archive} is packed in an unknown way ({printable(error)}).") from None
    os.rename(staging, target)


@contextlib.contextmanager
def _opened(archive):
    """A ZipFile, or a TarFile that reads no more at one go than it may: `_Metered`."""
    if not archive.is_file():
        raise FileNotFoundError(f"There is no file {archive}.")
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield opened
        return
    with open(archive, "rb") as file:
        start = file.read(6)
    kinds = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
    unrolled = next((kinds[magic] for magic in kinds if start.startswith(magic)), open)
    with (
        unrolled(archive, "rb") as file,
        tarfile.open(fileobj=_Metered(file, archive), mode="r:") as opened,
    ):
        yield opened


class _Metered:
    """An unrolled tar file of which only so much can be read as is allowed.

    tarfile reads names and the like at one go, whatever length they claim to have.
    """

    def __init__(self, file, archive):
        self.file, self.archive, self.allowed = file, archive, HEADER
        self.tell = file.tell

    def seek(self, *where):
        return self._damaged_or(self.file.seek, *where)

    def read(self, size):
        self.allowed -= size
        if self.allowed < 0:
            raise ValueError(
                f"{self.archive} needs more than {amount(HEADER)} to describe one of its files: no "
                "name is as long; refused."
            )
        return self._damaged_or(self.file.read, size)

    @staticmethod
    def _damaged_or(step, *arguments):
        try:
            return step(*arguments)
        except OSError as error:  # so gzip and bz2 call what they cannot unroll
            raise tarfile.ReadError(str(error)) from None


def _members(opened):
    """The entries of a tar file, none of which may need more than HEADER to describe it."""
    while (item := opened.next()) is not None:
        yield item
        opened.fileobj.allowed = HEADER
    opened.fileobj.allowed = math.inf


def _entries(archive, opened):
    """The plain files of an archive. Raises ValueError for whatever is neither file nor folder."""
    zipped = isinstance(opened, zipfile.ZipFile)
    result = []
    for item in opened.infolist() if zipped else _members(opened):
        if zipped:
            name, size, check = item.orig_filename, item.file_size, item.CRC
            kind = stat.S_IFMT(item.external_attr >> 16)
            folder = name.endswith("/")
            plain = kind in (0, stat.S_IFDIR if folder else stat.S_IFREG)
            if item.flag_bits & 1:
                raise ValueError(f"{archive} is encrypted.")
        else:
            name, size, check = item.name, item.size, 0
            folder = item.isdir()
            plain = (item.isfile() or folder) and not item.issparse()
        _check_name(archive, name, folder)
        if not plain:
            raise ValueError(
                f"{archive} holds {name!r}, which is a link or a device, no plain file: refused."
            )
        if not folder and not _is_litter(name):
            result.append(_Entry(name, size, check, item))
        if not zipped:  # it is unrolled while it is listed, up to here: stop a bomb at once
            _check_total(archive, item.offset_data + size)
    return result


def _check_name(archive, name, folder):
    parts = name.rstrip("/").split("/")
    if len(name) > LONGEST or len(parts) > DEEPEST:
        raise ValueError(f"{archive} holds the name {name[:60]!r}..., which is too long: refused.")
    if (
        any(part in ("", "..") for part in parts)
        or (parts[-1] == "." and not folder)
        or any(unicodedata.category(letter) == "Cc" for letter in name)  # such as a new line
        or "\\" in name
        or ":" in name
    ):
        raise ValueError(
            f"{archive} holds the name {name!r}, which could lie outside the folder: refused."
        )


def _is_litter(name):
    """What macOS adds to its archives."""
    path = PurePosixPath(name)
    return path.parts[0] == "__MACOSX" or path.name == ".DS_Store" or path.name.startswith("._")


def _check_total(archive, total):
    packed = archive.stat().st_size
    if total > max(HARMLESS, RATIO * packed):
        raise ValueError(
            f"{archive} has {amount(packed)} and would become {amount(total)} or more: no "
            "recordings can be packed so tightly; refused."
        )


def _places(archive, entries):
    """Entry -> parts of its path. Raises ValueError if one would overwrite another."""
    places, taken, folders = {}, set(), set()
    for entry in entries:
        parts = tuple(part for part in entry.name.split("/") if part != ".")
        # Some disks take Ü for ü, and one way of writing ü for the other.
        key = tuple(unicodedata.normalize("NFC", part).casefold() for part in parts)
        above = {key[:n] for n in range(1, len(key))}
        if key in taken or key in folders or above & taken:
            raise ValueError(f"{archive} holds {entry.name!r} twice: refused.")
        taken.add(key)
        folders |= above
        places[entry] = parts
    return places


def _stripped(places):
    shared = os.path.commonprefix([parts[:-1] for parts in places.values()])
    return {entry: parts[len(shared) :] for entry, parts in places.items()}


def _staging(target, places):
    """The hidden folder for this very archive; those of others, left by earlier runs, go."""
    listing = repr([(entry.name, entry.size, entry.check) for entry in places])
    mine = f".{target.name}.unpacking-{hashlib.sha256(listing.encode()).hexdigest()[:16]}"
    _clear(target, mine)
    return target.with_name(mine)


def _clear(target, but=None):
    for old in target.parent.glob(f".{glob.escape(target.name)}.unpacking-*"):
        if old.name != but:
            shutil.rmtree(old)


def _write(archive, opened, staging, places):
    there = {e for e, parts in places.items() if staging.joinpath(*parts).is_file()}
    total = sum(entry.size for entry in places)
    missing = total - sum(entry.size for entry in there)
    check_space(staging.parent, missing, f"Unpacking {archive.name}")
    staging.mkdir(parents=True, exist_ok=True)
    with tqdm(
        desc=f"unpacking {archive.name}",
        total=total,
        initial=total - missing,
        unit="B",
        unit_scale=True,
        leave=False,
    ) as bar:
        for entry, parts in places.items():
            if entry in there:
                continue
            path = staging.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            part = staging / ".part"  # short, so that any name that the disk takes will do
            with open(part, "wb") as file:
                for block in _blocks(opened, entry):
                    file.write(block)
                    bar.update(len(block))
            os.replace(part, path)


def _blocks(opened, entry):
    try:
        with _content(opened, entry) as source:
            while block := source.read(BLOCK):
                yield block
    except OSError as error:  # a place before the file's beginning; or so bz2 calls damage
        raise zipfile.BadZipFile(str(error)) from None


def _content(opened, entry):
    if isinstance(opened, zipfile.ZipFile):
        return opened.open(entry.source)  # never gives more than the size that it declares
    return opened.extractfile(entry.source)
