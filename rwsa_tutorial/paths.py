"""Where the shipped data lies: ``data/`` of the checkout, or the folder that RWSA_DATA names."""

import os
from pathlib import Path


def data_path(*parts, must_exist=True):
    """Path of a shipped file, e.g. ``data_path("weights", "nano.safetensors")``.

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
