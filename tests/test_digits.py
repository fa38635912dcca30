"""The author's tool that names the digits which another machine's arithmetic moves."""

import os
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_output

from rwsa_tutorial import digits

BAD = Path(__file__).parent / "bad_notebooks"
AVX2_VARIABLES = {"ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS"}


def test_each_digit_that_moves_is_named_and_no_other(capsys):
    path, before = BAD / "moving_digits.ipynb", (BAD / "moving_digits.ipynb").read_bytes()
    assert digits.main([str(path), "--under", "nudged otherwise"]) == 1
    lines = capsys.readouterr().out.splitlines()
    places = [line.split(", nudged otherwise: ")[0] for line in lines[:-1]]
    assert places == [  # a recording, weights, random numbers, a new network; not the rounded ones
        f"{path.name}, cell {cell}, line {line}" for cell, line in ((2, 1), (3, 1), (4, 1), (4, 2))
    ]
    assert lines[-1] == "1 notebooks under nudged otherwise: 4 lines moved."
    came, stored = (float(text.strip("'")) for text in lines[2].split(": ")[1].split(" for "))
    assert 0 < abs(came / stored - 1) <= 1.1 * digits.PART
    assert path.read_bytes() == before


def test_the_kernel_computes_under_the_variables_of_the_arithmetic(tmp_path, capsys):
    names = sorted({*AVX2_VARIABLES, "NUMBA_CPU_NAME", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"})
    text = f"{digits.CHECKED}\nimport os\nprint(*(os.environ.get(n) for n in {names}))\n1 / 0"
    (path := tmp_path / "nn.ipynb").write_text((BAD / "good.ipynb").read_text())
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [new_code_cell(text)]
    nbformat.write(notebook, path)
    assert digits.main([str(path), "--under", "AVX2"]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert "avx2 AVX2 haswell 1 1 AVX2" in shown[0]
    assert "ZeroDivisionError" in shown[1]
    assert not AVX2_VARIABLES & set(os.environ)


@pytest.mark.parametrize(
    ("stored", "came", "found"),
    [
        (["a 5.2 %", "b"], ["a 5.2 %", "b"], []),
        (["a", "5.2 % of 1,024, 7"], ["a", "5.3 % of 1,024, 8"], [(2, "5.2, 7", "5.3, 8")]),
        (["-0.0 dB"], ["+0.0 dB"], [(1, "-0.0", "+0.0")]),
        (["  9.9 dB"], [" 10.0 dB"], [(1, "9.9", "10.0")]),
        (["PESQ 1.1"], ["PESQ –"], [(1, "PESQ 1.1", "PESQ –")]),
        (["1  2"], ["1 2"], [(1, "1  2", "1 2")]),
        (["[1, 2]"], ["[1, 2, 3]"], [(1, "[1, 2]", "[1, 2, 3]")]),
        (["a"], ["a", "b"], [(2, "", "b")]),
    ],
)
def test_lines_that_differ_in_numbers_give_the_numbers(stored, came, found):
    assert list(digits.moved(stored, came)) == found


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
