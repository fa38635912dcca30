"""Every cell of every lesson, and again; every slider at its ends; every exercise, also solved."""

import ast
import re
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest
from going_back import Lesson, problems

from rwsa_tutorial import widgets
from rwsa_tutorial.paths import data_path

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted([*FOLDER.glob("[0-9]*.ipynb"), FOLDER / "_template.ipynb"])
NOTEBOOKS.sort(key=lambda path: "train" not in path.stem)  # first what takes longest
BAD = Path(__file__).parent / "bad_notebooks"
SOLUTION = re.compile(r"<b>Solution</b></summary>\s*```python\n(.*?)```", re.DOTALL)


class OfALesson:
    """The one execution of a lesson; a class for each, so that they are shared out to processes."""

    def test_cells_again_sliders_and_exercises(self, monkeypatch, capsys):
        run_through(self.path, monkeypatch, capsys)


for found in NOTEBOOKS:
    name = f"Test_{found.stem}"
    globals()[name] = type(name, (OfALesson,), {"path": found})


def run_through(path, monkeypatch, capsys):
    """All cells as stored, twice, after the end, without PESQ; exercises solved; sliders moved."""
    recorded, uploads, shown = {}, {}, []  # of each function the newest, as cells run again
    monkeypatch.setattr(widgets, "upload", lambda then: uploads.update({then.__name__: then}))
    monkeypatch.setattr(widgets, "follow", lambda leaders, panels: None)
    monkeypatch.setattr(
        widgets, "slider", lambda does, **sliders: recorded.update({does.__name__: (does, sliders)})
    )
    lesson = Lesson(path)
    lesson.namespace["display"] = shown.append
    # what takes long is run once
    quick = list(lesson.numbers(without=["long"]))
    cells, unsolved, wrong = lesson.cells, 0, []
    for number in lesson.numbers():
        source, where = cells[number].source, f"{path.name}, cell {number}"
        printed = lesson.run(number)
        wrong += lesson.unlike_stored(number)
        if number in quick:
            wrong += lesson.again(number, "run twice")
        if ": not yet" in source:
            unsolved += 1
            assert ": not yet" in printed and "✓" not in printed, f"{where}: {printed}"
            capsys.readouterr()
            solved(source, SOLUTION.findall(cells[number + 1].source), lesson.namespace, where)
            printed = capsys.readouterr().out
            assert "✓" in printed and ": not yet" not in printed, f"{where}: {printed}"
    wrong += lesson.again_after_the_end(quick)
    wrong += without_pesq(lesson, monkeypatch)
    assert not wrong, "\n".join(wrong)
    text = "".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert unsolved == len(re.findall(r"^#+ Exercise \d", text, re.MULTILINE))
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert len(recorded) >= sum("slider(" in source for source in code)
    for callback in uploads.values():
        callback("street.flac", data_path("examples", "noisy", "street.flac").read_bytes())
        assert "<audio" in shown.pop().data
        plt.close("all")
        with pytest.raises(ValueError, match="cannot be read as audio"):
            callback("letter.pdf", b"no sound at all")
    for function, sliders in recorded.values():
        start = {name: start_of(value) for name, value in sliders.items()}
        for values in [start, *({**start, n: end} for n, v in sliders.items() for end in ends(v))]:
            function(**values)
            plt.close("all")


@pytest.mark.parametrize(
    ("stem", "complaint"),
    [
        ("good", None),
        ("runs_wrong_number", "cell 1, prints\n42\nand stored is\n41"),
        ("runs_raises", "cell 2: ZeroDivisionError"),
        ("runs_slider_raises", "cell 2: ZeroDivisionError"),
        ("names_reused", "cell 2, after the end: TypeError"),
        ("state_changed", "cell 2, run twice, prints\n2 heard\nand not\n1 heard"),
        ("state_cleared", "cell 2, after the end, prints\n0 heard\nand not\n1 heard"),
    ],
)
def test_a_notebook_that_does_not_run_as_it_should_is_caught(stem, complaint):
    found = problems(BAD / f"{stem}.ipynb")
    assert complaint in found[0] if complaint else found == []


def without_pesq(lesson, monkeypatch):
    """Run what scores as if the package `pesq` were not installed; yields what is wrong then."""
    end = dict(lesson.namespace)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pesq", None)
        for number in lesson.numbers(without=["long"]):
            source, where = lesson.cells[number].source, f"{lesson.path.name}, cell {number}"
            if "pesq" in source or "score(" in source:
                try:
                    printed = lesson.run(number)
                except Exception as error:
                    yield f"{where}, without PESQ: {type(error).__name__}: {error}"
                    continue
                scores = re.search(r"\b(score|evaluate)\(", source)  # and does not read stored ones
                if scores and "PESQ" in printed and "PESQ –" not in printed:
                    yield f"{where}, without PESQ, prints\n{printed}"
    lesson.namespace.update(end)


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
