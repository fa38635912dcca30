"""Which digits of a notebook's checked cells move when another machine does the arithmetic.

    python -m rwsa_tutorial.digits [NOTEBOOK or FOLDER ...]

For authors: each notebook is run once under each of ARITHMETICS, and what its cells with
`# NBVAL_CHECK_OUTPUT` print is compared with what is stored. A number that moves was printed with
more digits than survive: round it further, or let a `check` with a tolerance stand in its place.
"""

import argparse
import itertools
import os
import re
import sys

import numpy as np
from tqdm import tqdm

from .notebooks import execute, notebooks_in, tidy

CHECKED = "# NBVAL_CHECK_OUTPUT"
NUMBER = re.compile(r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?")
CELL_SECONDS = 3600
PART = 1e-6  # of a sample or weight: a few times what float32 rounds off
ONE_THREAD = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
AVX2 = {  # a processor without AVX-512, for all that computes
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "NUMBA_CPU_NAME": "haswell",
}
ARITHMETICS = {  # name -> variables of the environment, seed of the nudges
    "one thread": (ONE_THREAD, None),
    "two threads": ({"OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2"}, None),
    "AVX2": (ONE_THREAD | AVX2, None),
    "nudged": (ONE_THREAD, 1),
    "nudged otherwise": (ONE_THREAD, 2),
}


def nudge(seed, part=PART):
    """From now on, change in this process all that a lesson computes from by one part in 10^6.

    Each sample of a recording, each stored weight and each of torch's random numbers is multiplied
    by 1 + part * u with u from -1 to 1. u follows from the seed and from the array's shape, so what
    was equal stays equal.
    """
    import soundfile
    import torch

    from . import weights

    def factor(shape):
        return 1 + part * np.random.default_rng(seed).uniform(-1, 1, shape)

    def of_array(x):
        return (x * factor(x.shape)).astype(x.dtype) if x.dtype.kind == "f" else x

    def of_tensor(x):
        if x.is_floating_point():
            with torch.no_grad():
                x.mul_(torch.as_tensor(factor(tuple(x.shape))))
        return x

    def of_file(found):
        tensors, metadata = found
        return {name: of_tensor(tensor) for name, tensor in tensors.items()}, metadata

    def wrap(owner, name, change):
        plain = getattr(owner, name)
        setattr(owner, name, lambda *args, **kwargs: change(plain(*args, **kwargs)))

    wrap(soundfile.SoundFile, "read", of_array)
    wrap(weights, "read_tensors", of_file)
    for name in ("rand", "randn"):
        wrap(torch, name, of_tensor)
    for name in ("uniform_", "normal_"):  # by which new networks are filled
        wrap(torch.Tensor, name, of_tensor)


def printed(cell):
    """The lines of text that a cell shows, pictures and widgets left out."""
    shown = [o for o in cell.outputs if o.get("name") != "stderr"]
    texts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in shown]
    texts += [f"{o.ename}: {o.evalue}" for o in shown if o.output_type == "error"]
    return [line for text in texts for line in text.splitlines()]


def moved(stored, came):
    """What differs between two lists of lines: (line from 1, stored, came instead) of each.

    Of lines that differ in numbers alone these are the numbers, otherwise the whole lines.
    """
    for number, (old, new) in enumerate(itertools.zip_longest(stored, came, fillvalue=""), start=1):
        if old == new:
            continue
        pairs = zip(NUMBER.findall(old), NUMBER.findall(new), strict=False)
        pairs = [pair for pair in pairs if pair[0] != pair[1]]
        if pairs and NUMBER.sub("", old).split() == NUMBER.sub("", new).split():
            old, new = (", ".join(side) for side in zip(*pairs, strict=True))
        yield number, old, new


def moving_digits(path, arithmetic, after_cell=None):
    """Run one notebook under one of ARITHMETICS: a line of words for each line that moves.

    after_cell: called without arguments after each code cell, for a progress bar.
    """
    import nbformat

    variables, seed = ARITHMETICS[arithmetic]
    stored, fresh = (nbformat.read(path, as_version=4) for _ in range(2))
    prepare = "" if seed is None else f"__import__('rwsa_tutorial.digits').digits.nudge({seed})"
    fresh.cells.insert(0, nbformat.v4.new_code_cell(prepare))
    options = {"allow_errors": True}
    if after_cell:
        options["on_cell_complete"] = lambda cell, cell_index: cell_index and after_cell()
    execute(fresh, path.parent, CELL_SECONDS, os.environ | variables, **options)
    for place, (old, new) in enumerate(zip(stored.cells, tidy(fresh).cells[1:], strict=True)):
        if old.cell_type == "code" and CHECKED in old.source:
            for line, was, came in moved(printed(old), printed(new)):
                yield f"{path.name}, cell {place}, line {line}, {arithmetic}: {came!r} for {was!r}"


def cells_in(paths):
    """How many code cells these notebooks have."""
    import nbformat

    notebooks = [nbformat.read(path, as_version=4) for path in paths]
    return sum(cell.cell_type == "code" for notebook in notebooks for cell in notebook.cells)


def main(arguments=None):
    """Run the notebooks named under every arithmetic; return 1 when a digit of theirs moves."""
    parser = argparse.ArgumentParser(
        prog="python -m rwsa_tutorial.digits", description=main.__doc__
    )
    parser.add_argument("places", nargs="*", default=["notebooks"], metavar="NOTEBOOK_OR_FOLDER")
    parser.add_argument(
        "--under", nargs="+", choices=ARITHMETICS, default=ARITHMETICS, help="only these"
    )
    options = parser.parse_args(arguments)
    try:
        paths = notebooks_in(options.places)
    except FileNotFoundError as error:
        parser.error(str(error))
    found = []
    with tqdm(desc="moving digits", unit="cell", total=len(options.under) * cells_in(paths)) as bar:
        for path, arithmetic in itertools.product(paths, options.under):
            bar.set_postfix_str(f"{path.stem}, {arithmetic}")
            for words in moving_digits(path, arithmetic, bar.update):
                tqdm.write(words)
                found.append(words)
    names = ", ".join(options.under)
    print(f"{len(paths)} notebooks under {names}: {len(found) or 'no'} lines moved.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
