"""Archives by others, unpacked without harm.

An archive is a list of names and contents, and nothing stops it from naming `../../.bashrc`, a
link to elsewhere, the same file twice, or a terabyte of zeros. So its list is read first, and the
archive is refused as a whole if one entry is not a plain file or folder below the target.

The files go to a hidden folder beside the target, which gets its name at the end. If the work is
cut short, the next run keeps the files that are there: each one was renamed only when it was whole.
"""

import glob
import hashlib
import lzma
import os
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from .fetching import BLOCK, amount, check_space

RATIO = 200  # recordings shrink to a half, silence to a hundredth; a bomb a thousandfold
HARMLESS = 64 << 20  # bytes that any archive may become
KINDS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True)
class _Entry:
    name: str  # as it stands in the archive
    size: int
    check: int  # CRC-32 of a zip's file; tar has none
    source: object  # the archive's own record


def is_archive(path):
    """Whether the name is that of an archive that `unpack` knows."""
    return Path(path).name.lower().endswith(KINDS)


def unpack(archive, target, *, keep=None, strip=True):
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
            _check_total(archive, entries)
            places = _places(archive, entries)
            if keep is not None:
                places = {e: place for e, place in places.items() if keep(e.name)}
            if not places:
                raise ValueError(f"{archive} holds none of the files that are looked for.")
            if strip:
                places = _stripped(places)
            staging = _staging(target, places)
            _write(archive, opened, staging, places)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        _clear(target)
        raise ValueError(f"{archive} is damaged, or no archive ({error}).") from None
    except RuntimeError as error:  # zipfile's, for what is encrypted or packed by a newer method
        raise ValueError(f"{archive} is packed in an unknown way ({error}).") from None
    os.rename(staging, target)


def _opened(archive):
    if not archive.is_file():
        raise FileNotFoundError(f"There is no file {archive}.")
    if zipfile.is_zipfile(archive):
        return zipfile.ZipFile(archive)
    return tarfile.open(archive)


def _entries(archive, opened):
    """The plain files of an archive. Raises ValueError for whatever is neither file nor folder."""
    zipped = isinstance(opened, zipfile.ZipFile)
    result, total = [], 0
    for item in opened.infolist() if zipped else opened:
        if zipped:
            name, size, check = item.orig_filename, item.file_size, item.CRC
            kind = stat.S_IFMT(item.external_attr >> 16)
            folder = item.is_dir()
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
            total += size
            if not zipped:  # a packed tar is unrolled while it is listed: stop a bomb at once
                _check_total(archive, result, total)
    return result


def _check_name(archive, name, folder):
    parts = name.rstrip("/").split("/")
    if (
        any(part in ("", "..") for part in parts)
        or (parts[-1] == "." and not folder)
        or any(ord(letter) < 32 for letter in name)
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


def _check_total(archive, entries, total=None):
    total = sum(entry.size for entry in entries) if total is None else total
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
        if key in taken | folders or above & taken:
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
            part = path.with_name(f".{path.name}.part")
            with _content(opened, entry) as source, open(part, "wb") as file:
                while block := source.read(BLOCK):
                    file.write(block)
                    bar.update(len(block))
            os.replace(part, path)


def _content(opened, entry):
    if isinstance(opened, zipfile.ZipFile):
        return opened.open(entry.source)  # never gives more than the size that it declares
    return opened.extractfile(entry.source)
