"""Where the shipped data lies, and files that appear whole or not at all."""

import contextlib
import os
from pathlib import Path


def data_path(*parts, must_exist=True):
    """Path of a shipped file, e.g. ``data_path("weights", "nano.safetensors")``.

    It lies in ``data/`` of the checkout, or in the folder that RWSA_DATA names.

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


def short_name(text):
    """What a corpus or a model is called in a table: the last name of a path, no extension."""
    path = Path(text)
    return path.stem if path.suffix in (".csv", ".safetensors") else path.resolve().name


@contextlib.contextmanager
def whole_file(path):
    """A path beside `path` to write to; renamed to `path` at the end, removed on any error."""
    path = Path(path)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
