"""Where the shipped data lies, and files that appear whole or not at all."""

import contextlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path


def data_path(*parts: str, must_exist: bool = True) -> Path:
    """Path of a shipped file, e.g. `data_path("weights", "nano.safetensors")`.

    It lies in `data/` of the checkout, or in the folder that RWSA_DATA names.

    Raises FileNotFoundError, saying how to get the file, when it is not there.
    """
    root = Path(os.environ.get("RWSA_DATA") or Path(__file__).resolve().parent.parent / "data")
    path = root.joinpath(*parts)
    if must_exist and not path.exists():
        raise FileNotFoundError(
            f"{'/'.join(parts) or 'data'} is not in the data folder {root}. The data come with the "
            "project's git checkout: run from there (pip install -e .), or set RWSA_DATA to the "
            "checkout's data folder."
        )
    return path


def short_name(text: str | Path) -> str:
    """What a corpus or a model is called in a table: the last name of a path, no extension."""
    path = Path(text)
    return path.stem if path.suffix in (".csv", ".safetensors") else path.resolve().name


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A path beside `path` to write to; renamed to `path` at the end, removed on any error.

    What was there before stays until the new file is whole and on the disk: a disk that fills up,
    even as late as at closing, raises OSError and leaves the old file.
    """
    path = Path(path)
    # short, so that whatever name the system takes for the file will do for its part as well
    part = path.with_name(
        f".{zlib.crc32(os.fsencode(path.name)):08x}.{os.getpid()}.part{path.suffix}"
    )
    try:
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file (bytes) by `whole_file`."""
    with whole_file(path) as part:
        part.write_bytes(content)
