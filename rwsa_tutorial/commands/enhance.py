"""`rwsa enhance`: which recording goes where, and then one after the other."""

import argparse
import glob
import math
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from . import common
from .common import complain

HELP = "take the noise out of recordings"
EXAMPLES = """examples:
  rwsa enhance talk.wav -o talk_enhanced.wav
  rwsa enhance recordings/ -o enhanced/        a folder and its sub-folders
  rwsa enhance 'day1/*.flac' day2.mp3 -o enhanced/
  rwsa enhance talk.wav -o gentle.wav --amount 0.7

WAV, FLAC, OGG, MP3, AIFF, Opus and more, any sample rate, mono or more channels, any length. What
lies above 8 kHz is lost. In a folder, names and file types stay as they are, but a type that can
only be read becomes .wav; hidden files are left out. Results that are there already are left as
they are, so that the same command goes on where it was stopped. A file that cannot be done is
named, the others are done, and the exit status is 2.
"""


def options(parser: ArgumentParser) -> None:
    """Give the parser of this command its options."""
    parser.add_argument("inputs", nargs="+", metavar="IN", help="file, folder or glob pattern")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="folder (made if need be), or a file name if IN is one file",
    )
    parser.add_argument("--model", default="nano", help="name or weights file (default: nano)")
    parser.add_argument(
        "--amount",
        type=amount,
        default=1.0,
        help="how much of the enhancement to apply, 0 to 1 (default: 1)",
    )
    parser.add_argument("--force", action="store_true", help="replace existing results")


def run(options: Namespace) -> int:
    """Enhance what is asked for; returns the exit status."""
    from tqdm import tqdm

    from ..audio import notes_to
    from ..enhancement import enhance_file
    from ..features import SAMPLE_RATE

    def told(words):
        with tqdm.external_write_mode():
            complain("enhance", words)

    jobs, problems, there = plan_enhancement(options.inputs, options.output, options.force)
    for words in problems:
        complain("enhance", words)
    model = common.load_model(options.model) if jobs else None
    made, cut = set(), 0
    for source, target in tqdm(jobs, desc="files", unit="file", disable=len(jobs) < 2):
        try:
            if target.exists() and _identity(target) in made:
                raise ValueError(f"{target} is another's result on a disk that ignores case.")
            target.parent.mkdir(parents=True, exist_ok=True)
            with notes_to(told):
                rate = enhance_file(source, target, model, amount=options.amount)
            made.add(_identity(target))
            cut += rate > SAMPLE_RATE
        except Exception as error:  # whatever one file raises, the others are done
            words = _in_words(error)
            words = words if str(source) in words else f"{source}: {words}"
            problems.append(words)
            told(words)
        except KeyboardInterrupt:
            words = f"stopped; {len(made)} enhanced and kept. The same command does the rest."
            return complain("enhance", words, status=130)
    counts = [f"{len(made)} enhanced", f"{len(problems)} not" if problems else ""]
    counts += [f"{there} already there, left as they are (--force replaces)" if there else ""]
    print(", ".join(filter(None, counts)) + ".")
    if cut:
        print(f"Of {cut}, what lay above 8 kHz is lost: the network hears 16 kHz.")
    return 2 if problems else 0


def _in_words(error):
    """What any error means to the person who gave the file."""
    from ..scores.evaluation import NO_MEMORY

    words = str(error)
    if isinstance(error, MemoryError) or NO_MEMORY.search(words):
        return f"needs more memory than there is: close other programs ({words})."
    if isinstance(error, (ValueError, OSError)):
        return words
    return f"{type(error).__name__}: {words}"


def plan_enhancement(
    inputs: Sequence[str], output: str | Path, force: bool = False
) -> tuple[list[tuple[Path, Path]], list[str], int]:
    """Which recording goes where, decided before anything is done.

    Args:
        inputs: files, folders (with their sub-folders) and glob patterns, as text.
        output: a folder, or, for one single file, a name with an audio extension.
        force: results may replace existing files, but never an input.

    Returns:
        (jobs, problems, there): list of (source, target) paths; a line for each input that cannot
        be done; how many results are there already.

    Raises:
        ValueError: in words: `output` does not fit the inputs, or two results would have one name.
    """
    from ..audio import UNREADABLE, WRITABLE, how_to_convert

    if "-" in (*inputs, str(output)):
        raise ValueError("- is no file: enhance needs files, because it reads each of them twice.")
    meant_as_folder = str(output).endswith(("/", os.sep))
    output = Path(output)
    found, problems = [], []
    for text in inputs:
        some, more = _find(text, output)
        found += some
        problems += more
    problems += [how_to_convert(path) for path, _ in found if path.suffix.lower() in UNREADABLE]
    found = [pair for pair in dict.fromkeys(found) if pair[0].suffix.lower() not in UNREADABLE]
    single = len(inputs) == 1 and [Path(inputs[0])] == [path for path, _ in found]
    if output.is_dir() or meant_as_folder or not (output.suffix or output.exists()):
        targets = [_result(output / name) for _, name in found]
    elif output.suffix.lower() in WRITABLE:
        if not single and found:
            raise ValueError(f"{output} is one file, but there may be more results: give a folder.")
        targets = [output for _ in found]
    elif single or output.exists():
        raise ValueError(f"{output} is neither a folder nor one of {', '.join(WRITABLE)}.")
    else:
        targets = [_result(output / name) for _, name in found]

    jobs, owners, there = [], {}, 0
    identities = {_identity(source) for source, _ in found}
    for (source, _), target in zip(found, targets, strict=True):
        if target in owners:
            raise ValueError(f"{owners[target]} and {source} would both become {target}.")
        owners[target] = source
        if target.exists() and _identity(target) in identities:
            problems.append(f"{source}: the result would overwrite an input, {target}.")
        elif target.is_file() and not force:
            there += 1
        else:
            jobs.append((source, target))
    return jobs, problems, there


def _result(path):
    """The path, or one that ends in .wav where the file type can be read but not written."""
    from ..audio import WRITABLE

    return path if path.suffix.lower() in WRITABLE else path.with_suffix(".wav")


def _find(text, output):
    """What one input means: list of (path, name below the output folder), and of problems."""
    from ..audio import EXTENSIONS, UNREADABLE
    from ..corpora.pairs import recordings

    path, problems = Path(text), []
    if path.is_file():
        return [(path, Path(path.name))], []
    if path.is_dir():
        for _ in os.walk(path, onerror=lambda error: problems.append(str(error))):
            pass  # to hear of folders that may not be read; `recordings` is silent about them
        files = recordings(path) + recordings(path, UNREADABLE)
        folder, out = path.resolve(), output.resolve()
        if folder in out.parents:  # earlier results are no input
            files = [file for file in files if out not in file.resolve().parents]
        if not files:
            problems.append(f"{text}: this folder holds no recordings ({' '.join(EXTENSIONS)}).")
        return [(file, file.relative_to(path)) for file in files], problems
    hits = [Path(hit) for hit in sorted(glob.glob(text, recursive=True))]
    found = [(hit, Path(hit.name)) for hit in hits if hit.is_file()]
    if not found and glob.has_magic(text):
        problems.append(f"{text}: no file matches this pattern.")
    elif not found:
        problems.append(f"{text}: there is no such file or folder.")
    return found, problems


def _identity(path):
    """The same for two names of one file, links included."""
    state = os.stat(path)
    return state.st_dev, state.st_ino


def amount(text: str) -> float:
    """The type of --amount: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value
