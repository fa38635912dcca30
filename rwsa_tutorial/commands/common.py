"""What the commands share: words for what goes wrong, numbers, new files, the network."""

import argparse
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from ..unet import UNet

FIGURES = (".png", ".pdf", ".svg")
CORPUS = "a corpus by name, a folder that holds clean and noisy, or a CSV file that lists pairs"


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Bad input is told in one line, without the usage."""
        self.exit(2, f"{self.prog}: {message}; {self.prog} --help tells more.\n")


def complain(command: str, words: object, status: int = 2) -> int:
    """Say in one line what went wrong; returns the exit status."""
    line = " ".join(str(words).split())
    print(f"rwsa {command}: {line}", file=sys.stderr)
    return status


def count(text: str) -> int:
    """The type of an option that is a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def device_option(parser: ArgumentParser) -> None:
    """--device, of the commands that compute."""
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), help="where (default: cuda if there is one)"
    )


def new_file(name: str | Path, force: bool) -> Path:
    """The path of a file to be written. Raises ValueError if it must not or cannot be."""
    path = Path(name)
    if path.exists() and not force:
        raise ValueError(f"{path} exists: give another name, or --force to replace it.")
    if not path.parent.is_dir():
        raise ValueError(f"There is no folder {path.parent} to write {path.name} into.")
    return path


def new_figure(name: str | Path, force: bool) -> Path:
    """As `new_file`; the extension must be that of a figure."""
    path = new_file(name, force)
    if path.suffix.lower() not in FIGURES:
        raise ValueError(f"{path} must end in one of {', '.join(FIGURES)}.")
    return path


def load_model(name: str) -> "UNet":
    """The shipped network of that name, or the one in a weights file; on CUDA if there is one."""
    import torch

    from ..weights import find_weights

    return find_weights(name).to("cuda" if torch.cuda.is_available() else "cpu")
