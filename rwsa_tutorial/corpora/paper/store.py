"""The folders in which fetched corpora lie: where, how full, whose turn it is, whether whole."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ...paths import whole_file

MARKER = "complete.json"


def home() -> Path:
    """The folder in which corpora lie: RWSA_CORPORA, or the user's own data folder."""
    if named := os.environ.get("RWSA_CORPORA"):
        return Path(named).expanduser()
    from platformdirs import user_data_path

    return user_data_path("rwsa-tutorial", appauthor=False) / "corpora"


def check_space(folder: str | Path, needed: float, what: str) -> None:
    """Raise OSError, in words, unless the disk of `folder` has room for `needed` more bytes."""
    folder = Path(folder).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            f"{what} needs {amount(needed)}, but {folder} has {amount(free)} free: make room, or "
            "choose a folder on another disk with --to."
        )


def amount(count: float) -> str:
    """Bytes for people: 999 B, 1.9 GB (decimal, as disks are sold)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1000
    return f"{count:.3g} TB"


@contextlib.contextmanager
def alone(folder: str | Path) -> Iterator[None]:
    """Hold a folder against other processes. Raises OSError if one is at work in it.

    The lock is the operating system's: it ends with the process, however that ends.
    """
    from filelock import FileLock, Timeout

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise OSError(
            f"Another process is fetching into {folder}: wait until it is done, or stop it. "
            "What it has fetched is kept."
        ) from None
    try:
        (folder / MARKER).unlink(missing_ok=True)  # until all is done again
        yield
    finally:
        lock.release()


def mark(folder: str | Path, **facts: object) -> None:
    """Write the marker that says that a folder is complete; the last step of fetching."""
    files, total = contents(folder)
    with whole_file(Path(folder) / MARKER) as part:
        part.write_text(json.dumps({"files": files, "bytes": total, **facts}, indent=2) + "\n")


def state(folder: str | Path) -> tuple[str, int, int]:
    """What lies in a corpus's folder.

    Returns:
        (state, files, bytes): "absent"; "partial": fetching was begun; "damaged": it was complete,
        but files have gone or changed in length since; or "complete".
    """
    folder = Path(folder)
    files, total = contents(folder)
    if not (folder / MARKER).is_file():
        hidden = folder.is_dir() and any(path.name != ".lock" for path in folder.iterdir())
        return ("partial" if files or hidden else "absent"), files, total
    try:
        said = json.loads((folder / MARKER).read_text())
        whole = (said["files"], said["bytes"]) == (files, total)
    except (ValueError, KeyError, TypeError):
        whole = False
    return ("complete" if whole else "damaged"), files, total


def contents(folder: str | Path) -> tuple[int, int]:
    """How many files a folder holds and their bytes, without the marker and hidden ones."""
    files = total = 0
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and name != MARKER:
                files += 1
                total += os.stat(os.path.join(where, name)).st_size
    return files, total
