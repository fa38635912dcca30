"""The notebooks keep the rules, and each rule catches the notebook that breaks it."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import notebook_gates
import pytest
import torch
from notebook_definitions import (
    DEFINITIONS,
    NOTEBOOKS,
    Definition,
    defined_names,
    definitions,
)

import rwsa_tutorial as rt
from rwsa_tutorial.notebooks import WIDGET_VIEW, notebooks_in, run, tidy

BAD = Path(__file__).parent / "bad_notebooks"
LESSONS = notebooks_in([NOTEBOOKS])
GATE_NAMES = [gate.__name__ for gate in notebook_gates.GATES]
CAUGHT_BY_GATES = {  # each bad notebook is named after the gate that has to catch it
    path.stem: gate
    for path in sorted(BAD.glob("*.ipynb"))
    for gate in GATE_NAMES
    if path.stem.startswith(gate)
}


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)
def test_notebook_keeps_the_rules(path):
    assert notebook_gates.problems(path) == []


@pytest.mark.parametrize(("stem", "gate"), CAUGHT_BY_GATES.items())
def test_gate_catches_its_bad_notebook_and_no_other_gate_does(stem, gate):
    found = notebook_gates.problems(BAD / f"{stem}.ipynb")
    assert {line.split(":")[0] for line in found} == {gate}


def test_size_gate_catches_a_large_notebook(tmp_path):
    large = tmp_path / "large.ipynb"
    large.write_text((BAD / "good.ipynb").read_text() + " " * notebook_gates.SIZE_LIMIT)
    assert [line.split(":")[0] for line in notebook_gates.problems(large)] == ["size"]


def test_every_gate_has_a_bad_notebook():
    assert set(CAUGHT_BY_GATES.values()) | {"size"} == set(GATE_NAMES)


def test_gates_find_nothing_in_the_good_notebook():
    assert notebook_gates.problems(BAD / "good.ipynb") == []


@pytest.mark.parametrize(
    "text",
    [
        "see [the paper](https://example.org/tmp/paper)",
        "docs/tmp/file and ../data/home/x and a/b",
        "8000 / 120 frames, 1/2 and/or T/4",
        'src="data:audio/mpeg;base64,AAA/tmp/abc"',
        "ratio /var over noise",
    ],
)
def test_path_gate_leaves_other_slashes_alone(text):
    assert not notebook_gates.ABSOLUTE_PATH.search(notebook_gates.EMBEDDED.sub("", text))


def test_gates_command_fails_on_a_bad_notebook_only(capsys):
    assert notebook_gates.main([BAD / "good.ipynb"]) == 0
    assert notebook_gates.main([BAD / "good.ipynb", BAD / "network.ipynb"]) == 1
    assert "network.ipynb: network: cell 2 needs the network" in capsys.readouterr().out


# What a notebook prints and draws is checked by nbval, as `make test` runs it.


@pytest.mark.parametrize(
    ("stem", "complaint"),
    [
        ("good", None),
        ("runs_wrong_number", "mismatch 'stdout'"),
        ("runs_raises", "ZeroDivisionError"),
        ("runs_callback_raises", "ZeroDivisionError"),
        ("runs_slider_raises", "ZeroDivisionError"),
    ],
)
def test_nbval_catches_a_notebook_that_does_not_run_as_stored(stem, complaint):
    result = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-cell-timeout=120"),
            *("-p", "no:cacheprovider", str(BAD / f"{stem}.ipynb")),
        ],
        capture_output=True,
        text=True,
        cwd=BAD,
    )
    output = result.stdout + result.stderr
    if complaint is None:
        assert result.returncode == 0, output
        assert "1 passed" in output
    else:
        assert result.returncode == 1, output
        assert complaint in output


# What a lesson defines is what the package has.


def resolve(name):
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def assert_definition_agrees(definition, folder):
    own = definitions(folder / definition.notebook)[definition.name]
    package = resolve(definition.package)
    generator = torch.Generator().manual_seed(1)
    if isinstance(package, type):
        torch.manual_seed(1)
        own, package = own(**definition.init), package(**definition.init)
        own.load_state_dict(package.state_dict())
    for _ in range(3):
        inputs = definition.inputs(generator)
        torch.testing.assert_close(
            definition.view(own(*inputs)),
            definition.view(package(*inputs)),
            rtol=definition.tolerance,
            atol=definition.tolerance,
            check_dtype=False,
        )


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: f"{d.notebook}:{d.name}")
def test_definition_agrees_with_the_package(definition):
    assert_definition_agrees(definition, NOTEBOOKS)


@pytest.mark.parametrize(
    ("name", "package", "init", "complaint"),
    [
        ("square", "torch:square", {}, "not close"),
        ("sqrt", "torch:sqrt", {}, "shape"),
        ("Linear", "torch.nn:Linear", {"in_features": 8, "out_features": 3}, "not close"),
    ],
)
def test_definition_that_differs_is_caught(name, package, init, complaint):
    def inputs(generator):
        return (torch.rand(4, 8, generator=generator),)

    definition = Definition("definition_differs.ipynb", name, package, inputs, init)
    with pytest.raises(AssertionError, match=complaint):
        assert_definition_agrees(definition, BAD)


def names_without_a_line(path, public):
    held = {definition.name for definition in DEFINITIONS if definition.notebook == path.name}
    return (defined_names(path) & set(public)) - held


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)
def test_every_public_name_that_a_lesson_defines_is_compared(path):
    assert names_without_a_line(path, rt.__all__) == set()


def test_a_public_name_without_a_line_is_caught():
    found = names_without_a_line(BAD / "definition_differs.ipynb", {"square", "score"})
    assert found == {"square"}


def test_definitions_run_nothing_else(tmp_path):
    path = write_notebook(
        tmp_path / "nn.ipynb",
        "%matplotlib inline\nimport math\nN_FFT = 510\nlow = 1",
        "raise SystemExit",
        "def f():\n    return N_FFT",
        "def g(x=low):\n    return x",
    )
    namespace = definitions(path)
    assert namespace["f"]() == 510
    assert namespace["math"].pi > 3
    assert "low" not in namespace and "g" not in namespace
    assert defined_names(path) == {"f", "g"}


# `make notebooks`


def write_notebook(path, *sources):
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in sources]), path)
    return path


def test_running_stores_outputs_that_the_gates_accept_and_repeat(tmp_path):
    path = write_notebook(
        tmp_path / "nn.ipynb",
        "from rwsa_tutorial import widgets",
        "widgets.slider(lambda x: print(x), x=(0, 3, 1, 2))",
        "print('a')\nprint('b')",
    )
    run(path)
    first = path.read_bytes()
    stored = notebook_gates.read(path)
    gates = (notebook_gates.execution_order, notebook_gates.widget_metadata)
    assert [words for gate in gates for words in gate(path)] == []
    assert WIDGET_VIEW not in first.decode()
    assert stored.cells[2].outputs == [
        {"output_type": "stream", "name": "stdout", "text": "a\nb\n"}
    ]
    run(path)
    assert path.read_bytes() == first


def test_a_notebook_that_fails_is_left_as_it_was(tmp_path, capsys):
    from rwsa_tutorial.notebooks import main

    path = write_notebook(tmp_path / "nn.ipynb", "print('reached')", "1 / 0")
    before = path.read_bytes()
    assert main([str(path)]) == 1
    assert path.read_bytes() == before
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_tidy_takes_out_widget_state_and_timing():
    notebook = notebook_gates.read(BAD / "widget_metadata.ipynb")
    notebook.cells[1].metadata = {"execution": {"iopub.status.busy": "12:00"}, "tags": ["kept"]}
    tidy(notebook)
    assert "widgets" not in notebook.metadata
    assert notebook.cells[1].metadata == {"tags": ["kept"]}


def test_a_place_without_notebooks_is_refused_in_words(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder with notebooks"):
        notebooks_in([tmp_path])
