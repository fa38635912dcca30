"""Scores of many recordings: pairs of files, before and after enhancement."""

import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm.auto import tqdm

from .. import tables
from ..corpora.corpus import Pair
from ..corpora.pairs import paired_files
from ..enhancement import enhance
from .metrics import METRICS, PESQ_MISSING, is_finite, pesq_is_installed, score, shown

SIGNALS = ("noisy", "enhanced")
# in torch's RuntimeErrors
NO_MEMORY = re.compile("(out of|not enough|allocate) memory", re.IGNORECASE)
WORDS = ("file", "signal", "recordings", "network")  # the columns that hold no numbers


def pair_folders(clean: str | Path, noisy: str | Path) -> list[tuple[Path, Path]]:
    """Pair the recordings of two folders by equal name (the extension may differ) or by fileid_N.

    Args:
        clean, noisy: folders; sub-folders count as part of the name.

    Returns:
        list of (clean path, noisy path), sorted by name; see `corpora.pairs.paired_files`.

    Raises:
        ValueError: in words: a folder is missing or empty, files have no partner (their number,
            and the first of each side), or two files of one folder have the same name.
    """
    return paired_files(clean, noisy)


def evaluate(
    pairs: Sequence,
    model: Callable | None = None,
    metrics: Sequence[str] = METRICS,
    *,
    problems: list | None = None,
    progress: bool = True,
) -> list[dict]:
    """Score every noisy recording and, given a model, what the model makes of it.

    Args:
        pairs: list of `corpora.corpus.Pair`, for example `load_corpus("mini-vb").pairs("test")`,
            or of (clean path, noisy path), for example from `pair_folders`.
        model: as for `enhance`; None scores the recordings as they are.
        metrics: which scores, any of `METRICS`.
        problems: a list that collects a line for each pair that cannot be scored, so that the
            others are done; without it the first such pair raises.
        progress: show a bar.

    Returns:
        list of dict: {"file", "signal": "noisy" | "enhanced", and each score: float or None};
        "file" is the pair's name; of two paths, the noisy one's below the folder that all share,
        without its extension.

    Raises:
        ValueError: in words, with the name of the file: unreadable, not mono, unequal rates or
            lengths.
    """
    rows = []
    for pair in tqdm(as_pairs(pairs), desc="scoring", unit="pair", disable=not progress):
        try:
            rows += [{"file": pair.name} | row for row in _score(pair, model, metrics)]
        except (ValueError, OSError, MemoryError, RuntimeError) as error:
            words = _reason(error)
            where = str(pair.noisy if isinstance(pair.noisy, Path) else pair.clean)
            words = words if where in words else f"{where}: {words}"
            if problems is None:
                raise ValueError(words) from error
            problems.append(words)
    return rows


def summary(rows: list[dict]) -> dict[str, dict]:
    """Mean scores by signal, of the finite ones.

    A missing score has no place in a mean, and an infinite one would leave nothing of the others:
    the SI-SDR of a recording that equals the clean one, or has nothing in common with it.

    Args:
        rows: from `evaluate`.

    Returns:
        dict: signal -> {"files": number of files, each score: (mean, how many were left out)};
        the mean is None where every score is left out.
    """
    result = {}
    for signal in [s for s in SIGNALS if any(row["signal"] == s for row in rows)]:
        chosen = [row for row in rows if row["signal"] == signal]
        result[signal] = {"files": len(chosen)}
        for name in _score_names(rows):
            there = [row[name] for row in chosen if is_finite(row[name])]
            mean = math.fsum(there) / len(there) if there else None
            result[signal][name] = (mean, len(chosen) - len(there))
    return result


def table(rows: list[dict], files: bool = True) -> str:
    """The rows and their means as text, one line each; a missing score reads "–".

    Notes below say what was left out of the means, and where PESQ is not installed.

    Args:
        rows: from `evaluate`.
        files: False leaves out the files and keeps the means.
    """
    names = _score_names(rows)
    lines = [["file", "signal", *names]]
    if files:
        lines += [[r["file"], r["signal"], *(shown(r[name], 3) for name in names)] for r in rows]
    notes = []
    for signal, means in summary(rows).items():
        count = means["files"]
        lines.append([f"mean of {count}", signal, *(shown(means[name][0], 3) for name in names)])
        for name in names:
            scores = [row[name] for row in rows if row["signal"] == signal]
            missing = scores.count(None)
            infinite = means[name][1] - missing
            notes += [
                f"{name} is {what} for {number} of {count} {signal} files, left out of the mean."
                for what, number in (("missing", missing), ("infinite", infinite))
                if number
            ]
    notes += pesq_note(rows)
    return "\n".join([tables.aligned(lines, left=2), *notes])


def pesq_note(rows: list[dict]) -> list[str]:
    """[what to do], where every PESQ of these rows is missing because it is not installed."""
    lacking = rows and all(row.get("pesq", 0) is None for row in rows)
    return [f"{PESQ_MISSING}."] if lacking and not pesq_is_installed() else []


def write_csv(path: str | Path, rows: list[dict]) -> None:
    """Write the rows as CSV, a line a row; a missing score is an empty cell.

    The file appears whole or not at all, and replaces an existing one.
    """
    words = [name for name in WORDS if any(name in row for row in rows)]
    columns = [*words[:2], *_score_names(rows), *words[2:]]
    tables.write(path, columns, rows)


def read_csv(path: str | Path) -> list[dict]:
    """The rows that `write_csv` wrote, missing scores as None.

    Raises ValueError, with the file's name, for another table.
    """
    try:
        rows = [
            {k: v or None if k in WORDS else float(v) if v else None for k, v in row.items()}
            for row in tables.read(path)
        ]
    except ValueError as error:
        words = str(error)
        raise ValueError(words if str(path) in words else f"{path}: {words}.") from None
    if not all({"file", "signal"} <= set(row) for row in rows):
        raise ValueError(f"{path} holds no scores: its columns are no file and signal.")
    return rows


def as_pairs(pairs: Sequence) -> list[Pair]:
    """`Pair`s of these: a (clean path, noisy path) is named by what tells it from the others.

    As for `evaluate`, which see.
    """
    paths = [Path(pair[1]) for pair in pairs if not isinstance(pair, Pair)]
    root = os.path.commonpath([path.parent for path in paths]) if paths else ""
    return [
        pair
        if isinstance(pair, Pair)
        else Pair(
            Path(pair[1]).relative_to(root).with_suffix("").as_posix(), Path(pair[0]), Path(pair[1])
        )
        for pair in pairs
    ]


def _reason(error):
    """Why a pair cannot be scored, in words; what is no fault of the pair is raised again."""
    if isinstance(error, ValueError | OSError):
        return str(error)
    if isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
        return f"too long for the memory there is. {str(error)[:100]}".strip()
    raise error


def _score(pair, model, metrics):
    clean, noisy, rate = pair.read()
    rows = [{"signal": "noisy"} | score(clean, noisy, rate, metrics)]
    if model is not None:
        enhanced = enhance(noisy, rate, model, progress=False)
        rows.append({"signal": "enhanced"} | score(clean, enhanced, rate, metrics))
    return rows


def _score_names(rows):
    return [name for name in METRICS if any(name in row for row in rows)]
