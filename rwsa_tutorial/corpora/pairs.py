"""Any folder of pairs, or a list of them, as a corpus; any folder of recordings as clips."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import audio
from .corpus import Clip, Corpus, Pair, read_part

WAYS = ("auto", "name", "fileid")
LISTED = 5  # files of each side that an error names


def pairs(
    clean: str | Path,
    noisy: str | Path | None = None,
    by: str = "auto",
    *,
    name: str | None = None,
    licence: str = "unknown",
    split: str = "test",
) -> Corpus:
    """A corpus of recordings that lie on the disk already.

    Either two folders, whose files are paired

    - by "name": equal names, sub-folders included; the extension may differ;
    - by "fileid": the N of `fileid_N` in the names, as the DNS challenges name their files
      (clean_fileid_7.wav and street_snr5_fileid_7.wav), within equal sub-folders;
    - by "auto": by name, or, where that leaves files over, by fileid.

    Or a CSV file alone, with a line for each pair and at least the columns clean and noisy: paths,
    relative to the CSV's folder. A column split says which split a pair is in; every further
    column becomes one of its facts (snr_db as a number).

    Rates and lengths are compared when a pair is read, not here; the sample rate of the corpus is
    that of the first clean file, the only one that is opened.

    Args:
        clean, noisy: folders; or clean a CSV file and noisy None.
        by: "auto", "name" or "fileid"; a CSV needs none.
        name: of the corpus; by default that of the noisy folder or of the CSV.
        licence: of the recordings, for whoever passes them on.
        split: of all pairs, unless a CSV says otherwise.

    Returns:
        Corpus: the pairs sorted by name, those of a CSV in its order.

    Raises:
        ValueError: in words: a folder or file is missing or empty; files have no partner (their
            numbers, and the first of each side); two files answer to one name or id; a CSV
            without these columns, with an empty cell, or with one noisy file twice.
    """
    if noisy is None:
        source = Path(clean)
        splits = _listed(source, split)
    else:
        source = Path(noisy)
        found = paired_files(clean, noisy, by)
        splits = {split: tuple(Pair(_name(n, source), c, n) for c, n in found)}
    first = next(iter(splits.values()))[0]
    rate = read_part(first.clean, 0, 0)[1]
    return Corpus(name or source.resolve().stem, rate, licence, splits)


def paired_files(clean: str | Path, noisy: str | Path, by: str = "auto") -> list[tuple[Path, Path]]:
    """The paths of `pairs` alone: list of (clean, noisy), sorted by name or id; nothing is opened.

    Raises ValueError as `pairs` does.
    """
    if by not in WAYS:
        raise ValueError(f"there is no pairing by {by!r}; choose one of {', '.join(WAYS)}.")
    files = {"clean": _recordings(clean, "clean"), "noisy": _recordings(noisy, "noisy")}
    if by == "fileid" or (by == "auto" and _ids_fit_better(clean, noisy, files)):
        return _joined(files, {"clean": clean, "noisy": noisy}, _fileid, "fileid")
    return _joined(files, {"clean": clean, "noisy": noisy}, _name, "name")


def recordings(folder: str | Path, extensions: Sequence[str] = audio.EXTENSIONS) -> list[Path]:
    """All files below a folder with one of the extensions, sorted; hidden ones are left out."""
    return sorted(
        path
        for path in Path(folder).rglob("*")
        if path.suffix.lower() in extensions
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def clips(folder: str | Path) -> tuple:
    """All recordings below a folder as clips to be mixed, for `datasets.Mixtures`.

    The first level of sub-folders makes the groups, such as one folder for each voice or kind of
    noise; a file that lies in the folder itself is a group of its own. Nothing is opened.

    Raises ValueError when there is no such folder or nothing in it.
    """
    folder = Path(folder)
    found = []
    for path in _recordings(folder, "sound"):
        first, *more = path.relative_to(folder).parts
        found.append(Clip(path, first if more else path.stem))
    return tuple(found)


def evenly(items: Sequence, count: int) -> list:
    """Up to `count` of the items, evenly out of all of them, first and last included."""
    count = min(count, len(items))
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def _recordings(folder, role):
    if not Path(folder).is_dir():
        raise ValueError(f"There is no folder {folder} with the {role} recordings.")
    files = recordings(folder)
    if not files:
        raise ValueError(f"{folder} holds no {', '.join(audio.EXTENSIONS)} files.")
    return files


def _name(path, folder):
    return path.relative_to(folder).with_suffix("").as_posix()


def _fileid(path, folder):
    """(sub-folder, N) of a file called ..._fileid_N.wav; None for another."""
    ids = re.findall(r"(?<![a-z])fileid_(\d+)(?!\d)", path.stem, re.IGNORECASE)
    return (path.parent.relative_to(folder).as_posix(), int(ids[-1])) if ids else None


def _ids_fit_better(clean, noisy, files):
    names, ids = (
        [{key(path, folder) for path in files[role]} for role, folder in sides]
        for key in (_name, _fileid)
        for sides in [(("clean", clean), ("noisy", noisy))]
    )
    if None in ids[0] | ids[1]:
        return False
    return names[0] != names[1] and (ids[0] == ids[1] or not names[0] & names[1])


def _joined(files, folders, key, what):
    found = {}
    for role, folder in folders.items():
        found[role] = {}
        for path in files[role]:
            at = key(path, folder)
            if at is None:
                raise ValueError(f"{path} has no fileid_N in its name; pair by name or by a CSV.")
            if at in found[role]:
                raise ValueError(
                    f"{found[role][at]} and {path} have the same {what}: which one is meant?"
                )
            found[role][at] = path
    alone = {
        this: [
            f"{path} (no {other} file of this {what})"
            for at, path in found[this].items()
            if at not in found[other]
        ]
        for this, other in (("clean", "noisy"), ("noisy", "clean"))
    }
    if any(alone.values()):
        raise ValueError(
            f"{sum(map(len, alone.values()))} file(s) without a partner: "
            + ", ".join(_first(alone[role], f"more {role} ones") for role in alone if alone[role])
            + "."
        )
    order = sorted(found["clean"])
    return [(found["clean"][at], found["noisy"][at]) for at in order]


def _first(words, rest):
    over = len(words) - LISTED
    return ", ".join(words[:LISTED]) + (f" and {over} {rest}" if over > 0 else "")


def _listed(path, split):
    if path.is_dir() or not path.is_file():
        raise ValueError(f"There is no CSV file {path}; give one, or a clean and a noisy folder.")
    splits, names, missing = {}, set(), []
    for line, row in _rows(path):
        clean, noisy = row.pop("clean"), row.pop("noisy")
        if not clean or not noisy or None in row:
            raise ValueError(f"{path}, line {line}: an empty cell for clean or noisy, or too many.")
        name = Path(noisy).with_suffix("").as_posix()
        if name in names:
            raise ValueError(f"{path}, line {line}: {noisy} has been listed before.")
        names.add(name)
        files = path.parent / clean, path.parent / noisy
        missing += [str(file) for file in files if not file.is_file()]
        where = row.pop("split", "") or split
        snr_db = row.pop("snr_db", "")
        if snr_db:
            row["snr_db"] = _number(snr_db, path, line)
        splits.setdefault(where, []).append(Pair(name, *files, row))
    if missing:
        raise ValueError(
            f"{path} lists {len(missing)} file(s) that are not there: {_first(missing, 'more')}."
        )
    if not splits:
        raise ValueError(f"{path} lists no pairs.")
    return {name: tuple(found) for name, found in splits.items()}


def _rows(path):
    """The lines of a CSV: list of (line number, dict of its cells; None: cells too many)."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="", skipinitialspace=True)
            if not {"clean", "noisy"} <= set(reader.fieldnames or ()):
                raise ValueError(
                    f"{path} has the columns {', '.join(reader.fieldnames or ['none'])}; the "
                    "first line must name clean and noisy, separated by commas."
                )
            return [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV file in UTF-8 ({error}).") from None


def _number(text, path, line):
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{path}, line {line}: snr_db is {text!r}, not a number.") from None
