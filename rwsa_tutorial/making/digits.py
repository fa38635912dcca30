"""Which digits of a notebook's checked cells another machine may print differently.

    python -m rwsa_tutorial.making.digits [NOTEBOOK or FOLDER ...]

For authors: each notebook is run once under each of ARITHMETICS, and its cells with
`# NBVAL_CHECK_OUTPUT` print their figures with MORE further digits. A figure is named when it is
not rounded to what is stored, or would not be if it moved SAFETY times as far as it did. Such a
figure shows more digits than survive: round it further, or put a `check` with a tolerance there.
"""

import argparse
import ast
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .notebooks import execute, notebooks_in, tidy

CHECKED = "# NBVAL_CHECK_OUTPUT"
NUMBER = re.compile(r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?")
FORMAT = re.compile(r"(?<=\.)\d+(?=[f%])")
MORE = 4  # digits
SAFETY = 10
CELL_SECONDS = 3600
PART = 1e-6  # of a sample or weight: what rounding in float32 adds up to within a few layers
ONE_THREAD = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
AVX2 = {  # an x86 processor without AVX-512, for all that computes
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "NUMBA_CPU_NAME": "haswell",
}
ARITHMETICS = {  # name -> (variables of the environment, size of the nudges)
    "one thread": (ONE_THREAD, 0),
    "two threads": ({"OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2"}, 0),
    "AVX2": (ONE_THREAD | AVX2, 0),
    "nudged": (ONE_THREAD, PART),
}


def nudge(part: float, seed: int = 2) -> None:
    """From now on, change in this process all that a lesson computes from by a small part.

    Each sample of a recording, each stored weight and each of torch's random numbers is multiplied
    by 1 + part * u with u from -1 to 1. u follows from the seed and from the array's shape, so what
    was equal stays equal.
    """
    import soundfile
    import torch

    from .. import weights

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


class _Finer(ast.NodeTransformer):
    """More digits wherever a number of them is written down: {x:.2f}, round(x, 2), shown(x, 2)."""

    def visit_FormattedValue(self, node):
        self.generic_visit(node)
        for part in node.format_spec.values if node.format_spec else ():
            if isinstance(part, ast.Constant):
                part.value = FORMAT.sub(lambda digits: str(int(digits[0]) + MORE), part.value)
        return node

    def visit_Call(self, node):
        self.generic_visit(node)
        if getattr(node.func, "id", None) in ("round", "shown"):
            digits = node.args[1:] or [ast.Constant(2 if node.func.id == "shown" else 0)]
            node.args[1:] = [ast.BinOp(digits[0], ast.Add(), ast.Constant(MORE))]
        return node


def finer(source: str) -> str:
    """A cell's source with MORE digits in its figures."""
    return ast.unparse(_Finer().visit(ast.parse(source)))


def printed(cell: Mapping) -> list[str]:
    """The lines of text that a cell shows, pictures, widgets and notices left out."""
    shown = [o for o in cell.outputs if o.get("name") != "stderr"]
    texts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in shown]
    texts += [f"{o.ename}: {o.evalue}" for o in shown if o.output_type == "error"]
    return [line for text in texts for line in text.splitlines()]


def survives(stored: str, came: Sequence[str]) -> bool:
    """Whether a figure, as text, is what all of `came` (texts, with more digits) round to.

    They are taken to lie SAFETY times as far apart as they do.
    """
    if set(came) == {stored}:
        return True
    places = len(stored.partition(".")[2])
    value, *values = (float(text.replace(",", "")) for text in (stored, *came))
    spread = (SAFETY - 1) / 2 * (max(values) - min(values))
    ends = min(values) - spread, max(values) + spread
    sign_in_doubt = value == 0 and stored[0] in "+-" and ends[0] < 0 <= ends[1]
    return {round(end, places) for end in ends} == {value} and not sign_in_doubt


def unsure(stored: Sequence[str], came: Sequence[Sequence[str]]) -> Iterator[tuple[int, str, str]]:
    """The figures of a cell that do not survive: (line from 1, stored, what came instead) of each.

    stored: lines; came: the lines under each arithmetic. Where other words than figures differ,
    these are whole lines.
    """
    for number, (old, *new) in enumerate(itertools.zip_longest(stored, *came, fillvalue=""), 1):
        if len({"".join(NUMBER.sub("#", line).split()) for line in (old, *new)}) > 1:
            yield number, old, " | ".join(dict.fromkeys(new))
            continue
        for figure, *others in zip(*(NUMBER.findall(line) for line in (old, *new)), strict=True):
            if not survives(figure, others):
                yield number, figure, " ".join(dict.fromkeys(others))


def run_under(
    path: str | Path, arithmetic: str, after_cell: Callable[[], object] | None = None
) -> list:
    """The cells of a notebook, with finer checked ones, run under one of ARITHMETICS.

    after_cell: called without arguments after each code cell, for a progress bar.
    """
    import nbformat

    variables, part = ARITHMETICS[arithmetic]
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code" and CHECKED in cell.source:
            cell.source = finer(cell.source)
    prepare = f"from rwsa_tutorial.making import digits\ndigits.nudge({part})" if part else ""
    notebook.cells.insert(0, nbformat.v4.new_code_cell(prepare))
    options = {"allow_errors": True}
    if after_cell:
        options["on_cell_complete"] = lambda cell, cell_index: cell_index and after_cell()
    execute(notebook, path.parent, CELL_SECONDS, os.environ | variables, **options)
    return tidy(notebook).cells[1:]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the notebooks named under all arithmetics; return 1 when a figure does not survive."""
    import nbformat

    parser = argparse.ArgumentParser(
        prog="python -m rwsa_tutorial.making.digits", description=main.__doc__
    )
    parser.add_argument("places", nargs="*", default=["notebooks"], metavar="NOTEBOOK_OR_FOLDER")
    parser.add_argument(
        "--under", nargs="+", choices=ARITHMETICS, default=ARITHMETICS, help="only these"
    )
    options = parser.parse_args(arguments)
    try:
        stored = {p: nbformat.read(p, as_version=4).cells for p in notebooks_in(options.places)}
    except FileNotFoundError as error:
        parser.error(str(error))
    cells = sum(cell.cell_type == "code" for own in stored.values() for cell in own)
    found = 0
    with tqdm(desc="digits", unit="cell", total=len(options.under) * cells) as bar:
        for path, own in stored.items():
            runs = []
            for name in options.under:
                bar.set_postfix_str(f"{path.stem}, {name}")
                runs.append(run_under(path, name, bar.update))
            for place, (cell, *came) in enumerate(zip(own, *runs, strict=True)):
                if cell.cell_type != "code" or CHECKED not in cell.source:
                    continue
                for line, old, new in unsure(printed(cell), [printed(c) for c in came]):
                    tqdm.write(f"{path.name}, cell {place}, line {line}: {old} ({new})")
                    found += 1
    names = ", ".join(options.under)
    print(f"{len(stored)} notebook(s) under {names}: {found or 'no'} figures may change.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
