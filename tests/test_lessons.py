"""Every slider of every lesson at its ends and its start; every exercise, unsolved and solved."""

import ast
import linecache
import re
import shutil
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import nbformat
import pytest

from rwsa_tutorial import training, widgets
from rwsa_tutorial.paths import data_path

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted([*FOLDER.glob("[0-9]*.ipynb"), FOLDER / "_template.ipynb"])
SHORT = ["steps=4", "outer_steps=2", "valid_every=2", "checkpoint_every=2", "valid_pairs=1"]
SOLUTION = re.compile(r"<b>Solution</b></summary>\s*```python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_sliders_and_exercises(path, monkeypatch, capsys):
    recorded, uploads, shown = [], [], []
    monkeypatch.setattr(training, "train", train_shortly)
    monkeypatch.setattr(training, "overfit", overfit_shortly)
    monkeypatch.setattr(widgets, "upload", uploads.append)
    monkeypatch.setattr(widgets, "follow", lambda leaders, panels: None)
    monkeypatch.setattr(
        widgets, "slider", lambda function, **sliders: recorded.append((function, sliders))
    )
    cells = nbformat.read(path, as_version=4).cells
    namespace = {"__name__": "__main__", "display": shown.append}
    unsolved = 0
    for number, cell in enumerate(cells):
        if cell.cell_type != "code" or "alone" in cell.metadata.get("tags", []):
            continue  # what no later cell needs, and takes long, is left to nbval
        where = f"{path.name}, cell {number}"
        capsys.readouterr()
        lines = cell.source.splitlines(keepends=True)
        linecache.cache[where] = len(cell.source), None, lines, where  # Triton reads its kernels
        exec(compile(cell.source, where, "exec"), namespace)
        plt.close("all")
        if ": not yet" in cell.source:
            unsolved += 1
            printed = capsys.readouterr().out
            assert ": not yet" in printed and "✓" not in printed, f"{where}: {printed}"
            solved(cell.source, SOLUTION.findall(cells[number + 1].source), namespace, where)
            printed = capsys.readouterr().out
            assert "✓" in printed and ": not yet" not in printed, f"{where}: {printed}"
    text = "".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert unsolved == len(re.findall(r"^#+ Exercise \d", text, re.MULTILINE))
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert len(recorded) >= sum("slider(" in source for source in code)
    for callback in uploads:
        callback("street.flac", data_path("examples", "noisy", "street.flac").read_bytes())
        assert "<audio" in shown.pop().data
        plt.close("all")
        with pytest.raises(ValueError, match="cannot be read as audio"):
            callback("letter.pdf", b"no sound at all")
    for function, sliders in recorded:
        start = {name: start_of(value) for name, value in sliders.items()}
        for values in [start, *({**start, n: end} for n, v in sliders.items() for end in ends(v))]:
            function(**values)
            plt.close("all")


def train_shortly(config, *words, whole=training.train, **more):
    """A run of four steps that ends in the shipped weights; nbval trains the lessons in full."""
    best = whole(config and config.changed(SHORT), *words, **more)
    shutil.copyfile(data_path("weights", "nano.safetensors"), best)
    return best


def overfit_shortly(model, clean, noisy, *words, whole=training.overfit, **more):
    """An eighth of a second learnt by heart."""
    return whole(model, clean[:2000], noisy[:2000], *words, **more)


def solved(exercise, solutions, namespace, where):
    """Run an exercise cell again with the folded solution in place of the stub."""
    assert len(solutions) == 1, f"{where}: one solution must stand in the cell below the exercise"
    given = ast.parse(solutions[0])
    names = {node.name for node in given.body if hasattr(node, "name")}
    assert names, f"{where}: the solution defines nothing"
    rest = ast.parse(exercise)
    rest.body = [node for node in rest.body if getattr(node, "name", None) not in names]
    exec(compile(given, f"{where}, solution", "exec"), namespace)
    exec(compile(rest, f"{where}, solved", "exec"), namespace)
    plt.close("all")


def ends(value):
    """Values to try for one slider: both ends, or every choice."""
    if isinstance(value, bool):
        return [False, True]
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, tuple) and isinstance(value[0], list):
        return value[0]
    return value if isinstance(value, list) else value[:2]


def start_of(value):
    """Where a slider stands at first."""
    if isinstance(value, bool):
        return value
    return value[-1] if isinstance(value, tuple) else ends(value)[0]
