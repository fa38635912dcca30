"""The notebooks keep the rules, and each rule catches the notebook that breaks it."""

import io
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import matplotlib.pyplot as plt
import notebook_gates
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from notebook_definitions import (
    DEFINITIONS,
    NOTEBOOKS,
    Definition,
    defined_names,
    definitions,
)
from PIL import Image

import rwsa_tutorial as rt
from rwsa_tutorial import plotting
from rwsa_tutorial.making.notebooks import (
    WIDGET_VIEW,
    WIDGET_WORDS,
    notebooks_in,
    packed,
    run,
    thumbnail,
    tidy,
)

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


@pytest.mark.parametrize(
    ("source", "as_a_number"),
    [
        ("""f"{row['pesq']:.2f}\"""", True),
        ("""f"{row['noisy_pesq'][0]:5.1f}\"""", True),
        ("""f'{score(a, b)["pesq"]:.1f}'""", True),
        ("""f"{shown(row['pesq']):>4}\"""", False),
        ("""f"{row['si_sdr']:.2f}\"""", False),
    ],
)
def test_a_pesq_taken_for_a_number_is_seen(source, as_a_number):
    assert bool(notebook_gates.PESQ_AS_A_NUMBER.search(source)) == as_a_number


def test_the_first_lesson_shows_a_missing_pesq_as_a_dash(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pesq", None)
    monkeypatch.chdir(NOTEBOOKS)
    namespace = {}
    for _, cell in notebook_gates.code_cells(LESSONS[0]):
        exec(cell.source, namespace)
        if "plotting.scores" in cell.source:
            break
    assert "noisy     PESQ –  SI-SDR  2.5 dB\nenhanced  PESQ –" in capsys.readouterr().out
    plt.close("all")


def test_gates_command_fails_on_a_bad_notebook_only(capsys):
    assert notebook_gates.main([BAD / "good.ipynb"]) == 0
    assert notebook_gates.main([BAD / "good.ipynb", BAD / "network.ipynb"]) == 1
    assert "network.ipynb: network: cell 2 needs the network" in capsys.readouterr().out


# What cells print is compared in test_lessons.py. In a kernel, nbval does it.


@pytest.mark.parametrize(
    ("stem", "complaint"),
    [
        ("good", None),
        ("runs_callback_raises", "ZeroDivisionError"),
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
    names = "execution_order", "language", "widget_metadata"
    gates = [getattr(notebook_gates, name) for name in names]
    assert [words for gate in gates for words in gate(path)] == []
    assert WIDGET_VIEW not in first.decode()
    assert stored.cells[2].outputs == [
        {"output_type": "stream", "name": "stdout", "text": "a\nb\n"}
    ]
    run(path)
    assert path.read_bytes() == first


def test_a_notebook_that_fails_is_left_as_it_was(tmp_path, capsys):
    from rwsa_tutorial.making.notebooks import main

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


def test_a_stored_notebook_converts_to_a_python_file():
    from nbconvert import ScriptExporter

    def extension(notebook):
        return ScriptExporter().from_notebook_node(notebook)[1]["output_extension"]

    notebook = notebook_gates.read(BAD / "language.ipynb")
    assert extension(notebook) == ".txt"
    assert extension(tidy(notebook)) == ".py"


def test_a_progress_bar_leaves_nothing_and_a_slider_its_sentence(tmp_path):
    bar = "from tqdm.auto import tqdm\nprint(*tqdm(range(2)))"
    slider = "from ipywidgets import interact\ninteract(lambda n: print('10%'), n=(0, 3));"
    run(path := write_notebook(tmp_path / "nn.ipynb", bar, slider))
    cells = notebook_gates.read(path).cells
    assert [output.output_type for output in cells[0].outputs] == ["stream"]
    assert cells[1].outputs[0].data["text/plain"] == WIDGET_WORDS


def test_a_thin_line_beside_a_spectrogram_keeps_its_colour():
    rng = np.random.default_rng(0)
    picture = plt.get_cmap("magma")(np.kron(rng.random((30, 40)), np.ones((10, 10))))[..., :3]
    picture[:100] = 1
    picture[50, :], picture[60:62, :] = to_rgb(plotting.CLEAN), to_rgb(plotting.ENHANCED)
    png = io.BytesIO()
    plt.imsave(png, picture)
    kind, small = packed(png.getvalue())
    line = np.asarray(Image.open(io.BytesIO(small)).convert("RGB"))[50].mean(0) / 255
    assert kind == "image/png" and len(small) < len(png.getvalue())
    assert np.abs(line - to_rgb(plotting.CLEAN)).max() < 0.1


def test_a_place_without_notebooks_is_refused_in_words(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder with notebooks"):
        notebooks_in([tmp_path])


# The contents page, notebooks/README.md


def contents_problems(page, lessons):
    """Where the contents page differs from the lessons: order, titles, times, pictures."""
    rows = [row for row in page.splitlines() if row.startswith("| ![")]
    if len(rows) != len(lessons):
        yield f"{len(rows)} rows for {len(lessons)} lessons"
    for row, path in zip(rows, lessons, strict=False):
        notebook = notebook_gates.read(path)
        text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
        title = re.search(r"^# (.*)$", text, flags=re.MULTILINE).group(1)
        time = re.search(r"\*\*Time:\*\* (.*?)\. ", text).group(1)
        pictured = f"thumbnails/{path.stem}.png"
        for words in (f"**[{title}]({path.name})**", f"*{time}*", f"]({pictured})"):
            if words not in row:
                yield f"{path.name}: {words} is not in its row"
        shown = thumbnail(notebook)
        if shown is None:
            yield f"{path.name}: no cell is tagged as its thumbnail"
        elif not (path.parent / pictured).is_file():
            yield f"{path.name}: there is no {pictured}"
        else:
            kept = Image.open(path.parent / pictured).convert("RGB")
            if kept.size != shown.size or np.abs(np.subtract(kept, shown, dtype=float)).mean() > 4:
                yield f"{path.name}: {pictured} is not its picture; `make notebooks` makes it anew"


CONTENTS = (NOTEBOOKS / "README.md").read_text()
NUMBERED = [path for path in LESSONS if path.name[0].isdigit()]


def test_the_contents_page_says_what_the_lessons_say():
    assert list(contents_problems(CONTENTS, NUMBERED)) == []


def test_the_readme_gives_the_times_of_the_contents_page():
    readme = (NOTEBOOKS.parent / "README.md").read_text()
    for path in NUMBERED:
        row = next(row for row in CONTENTS.splitlines() if f"]({path.name})" in row)
        minutes = " + ".join(re.findall(r"(\d+) minutes", row))
        assert re.search(rf"\]\(notebooks/{path.name}\).*\| {re.escape(minutes)} min \|", readme)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("45 minutes to read", "40 minutes to read", "45 minutes to read"),
        ("03_attention.png", "02_mamba_scan.png", "thumbnails/03_attention.png"),
        ("a memory that selects", "a memory", "a memory that selects"),
        ("| ![A training run", "| A training run", "10 rows for 11 lessons"),
    ],
)
def test_a_contents_page_that_says_otherwise_is_caught(old, new, complaint):
    assert old in CONTENTS
    found = list(contents_problems(CONTENTS.replace(old, new), NUMBERED))
    assert found and any(complaint in words for words in found)


def test_a_thumbnail_of_another_picture_is_caught(tmp_path):
    path = Path(shutil.copy(NUMBERED[0], tmp_path))
    (tmp_path / "thumbnails").mkdir()
    kept = tmp_path / "thumbnails" / f"{path.stem}.png"
    shutil.copy(NOTEBOOKS / "thumbnails" / kept.name, kept)
    row = next(row for row in CONTENTS.splitlines() if path.name in row)
    assert list(contents_problems(row, [path])) == []
    shutil.copy(NOTEBOOKS / "thumbnails" / f"{NUMBERED[1].stem}.png", kept)
    assert "is not its picture" in "".join(contents_problems(row, [path]))


def test_running_keeps_the_tagged_picture_only(tmp_path):
    import nbformat

    path = write_notebook(
        tmp_path / "nn.ipynb",
        "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);",
        "print('no picture')",
    )
    run(path)
    assert not (tmp_path / "thumbnails").exists()
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].metadata["tags"] = ["thumbnail"]
    nbformat.write(notebook, path)
    run(path)
    assert (tmp_path / "thumbnails" / "nn.png").is_file()
    notebook.cells[1].metadata["tags"] = ["thumbnail"]
    with pytest.raises(ValueError, match="2 cells are tagged"):
        thumbnail(notebook)
    notebook.cells[0].metadata["tags"] = []
    with pytest.raises(ValueError, match="shows 0 pictures"):
        thumbnail(notebook)
