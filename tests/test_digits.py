"""The author's tool that names the digits which another machine's arithmetic moves."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from rwsa_tutorial.making import digits
from rwsa_tutorial.scores.metrics import shown

BAD = Path(__file__).parent / "bad_notebooks"
AVX2_VARIABLES = {"ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS"}


def test_each_figure_that_moves_is_named_and_no_other(capsys):
    path, before = BAD / "moving_digits.ipynb", (BAD / "moving_digits.ipynb").read_bytes()
    assert digits.main([str(path), "--under", "nudged"]) == 1
    lines = capsys.readouterr().out.splitlines()
    places = [line.partition(": ")[0] for line in lines[:-1]]
    assert places == [  # a recording, weights, random numbers, a new network; not the rounded ones
        f"{path.name}, cell {cell}, line {line}" for cell, line in ((2, 1), (3, 1), (4, 1), (4, 2))
    ]
    assert lines[-1] == "1 notebook(s) under nudged: 4 figures may change."
    stored, came = map(float, re.findall(r"\d\.\d+", lines[2]))
    assert 0 < abs(came / stored - 1) <= 1.1 * digits.PART
    assert path.read_bytes() == before


def test_the_kernel_computes_under_the_variables_of_the_arithmetic(tmp_path, capsys):
    before = dict(os.environ)
    names = sorted({*AVX2_VARIABLES, "NUMBA_CPU_NAME", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"})
    text = f"{digits.CHECKED}\nimport os\nprint(*(os.environ.get(n) for n in {names}))\n1 / 0"
    path = tmp_path / "nn.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(text)]), path)
    assert digits.main([str(path), "--under", "AVX2"]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert "(avx2 AVX2 haswell 1 1 AVX2)" in shown[0]
    assert "(ZeroDivisionError: division by zero)" in shown[1]
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("stored", "came", "sure"),
    [
        ("5.2", ["5.23011", "5.22982"], True),
        ("5.3", ["5.25094", "5.24954"], False),  # moves
        ("126", ["125.5001", "125.5004"], False),  # did not, but on another machine it may
        ("126", ["125.5104", "125.5101"], True),
        ("1,074", ["1,074", "1,074"], True),
        ("5.2", ["5.40000", "5.40000"], False),  # was stored by another program
        ("-0.0", ["-0.00310", "0.00010"], False),
        ("0.0", ["-0.00310", "0.00010"], True),
        ("-0.0", ["-0.01310", "-0.01300"], True),
    ],
)
def test_a_figure_survives_away_from_where_rounding_tips_over(stored, came, sure):
    assert digits.survives(stored, came) == sure


@pytest.mark.parametrize(
    ("stored", "came", "found"),
    [
        (["a ( 5.2 %)", "b"], ["a (5.23 %)", "b"], []),
        (["a", "5.2 % of 7"], ["a", "5.3001 % of 8"], [(2, "5.2", "5.3001"), (2, "7", "8")]),
        (["PESQ 1.1"], ["PESQ –"], [(1, "PESQ 1.1", "PESQ –")]),
        (["[1, 2]"], ["[1, 2, 3]"], [(1, "[1, 2]", "[1, 2, 3]")]),
        (["a"], ["a", "b"], [(2, "", "b")]),
    ],
)
def test_figures_are_found_among_words(stored, came, found):
    assert list(digits.unsure(stored, [came, came])) == found


def test_figures_get_more_digits_wherever_they_are_written():
    source = """print(f"{x:6.1f} {x:.0f} {shown(x)} {shown(x, 1)} {round(x, 3)} {x:+.1%} {n:,}")"""
    x, n = 2 / 3, 1000
    printed = []
    exec(digits.finer(source), {"x": x, "n": n, "shown": shown, "print": printed.append})
    assert printed == ["0.66667 0.6667 0.666667 0.66667 0.6666667 +66.66667% 1,000"]


def test_of_a_cell_text_counts_and_neither_pictures_nor_notices():
    outputs = [
        new_output("stream", name="stdout", text="one\ntwo\n"),
        new_output("stream", name="stderr", text="Compiling\n"),
        new_output("display_data", {"image/png": "AAAA"}),
        new_output("execute_result", {"text/plain": "3"}, execution_count=1),
        new_output("error", ename="ValueError", evalue="no", traceback=[]),
    ]
    cell = new_code_cell(outputs=outputs)
    assert digits.printed(cell) == ["one", "two", "3", "ValueError: no"]
