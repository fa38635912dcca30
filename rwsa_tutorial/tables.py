"""Tables as aligned text, as Markdown, and as CSV files.

A CSV file is whole or not there at all, and safe to open in a spreadsheet, which takes a cell that
begins with = + - or @ for a formula and may run it: a file may be called so. Such text gets an
apostrophe in front, which `read` takes off again; text that has apostrophes there already gets one
more. Numbers stay as they are.
"""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .paths import whole_file

FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
# names of files may be no UTF-8; they come back as they were
AS = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}


def write(path: str | Path, columns: Sequence[str], rows: Iterable[Mapping]) -> None:
    """Write rows (dicts) as CSV, a line a row; None and what a row lacks are empty cells.

    The file appears whole or not at all, and replaces an existing one.
    """
    with whole_file(path) as part, open(part, "w", **AS) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: guarded(value) for name, value in row.items()} for row in rows)


def read(path: str | Path) -> list[dict[str, str]]:
    """The rows that `write` wrote: dicts of text, "" for an empty cell.

    Raises ValueError, with the file's name, for what is no such table.
    """
    with open(path, **AS) as file:
        try:
            reader = csv.DictReader(file, restval="", strict=True)
            rows = list(reader)
        except csv.Error as error:
            raise ValueError(f"{path} is no table: {error}.") from None
    if any(None in row for row in rows):
        raise ValueError(f"{path} is no table: a line has more cells than there are columns.")
    return [{name: plain(text) for name, text in row.items()} for row in rows]


def guarded(value: object) -> object:
    """The cell for a value; `plain` undoes it."""
    return "'" + value if isinstance(value, str) and FORMULA.match(value) else value


def plain(text: str) -> str:
    """The text that `guarded` was given."""
    return text[1:] if text[:1] == "'" and FORMULA.match(text) else text


def aligned(lines: Iterable[Sequence[str]], left: int = 1) -> str:
    """Rows of cells as text in columns, the first `left` flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = (
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
    return "\n".join(text.rstrip() for text in texts)


def markdown(lines: Iterable[Sequence[str]]) -> str:
    """Rows of cells, the first of them the heads, as a table of Markdown that is text too."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    texts.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(texts)
