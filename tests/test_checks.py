"""The checks of the lessons, and the one of the whole machine."""

import importlib.util
import io
import sys

import numpy as np
import pytest
import torch

import rwsa_tutorial.checks as checks
from rwsa_tutorial.checks import Finding, check, check_shape, environment, survey


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (torch.ones(3, 4), np.ones((3, 4)) + 1e-7),
        (torch.tensor([1.0], requires_grad=True), [1.0]),
        (torch.tensor(1 + 1j).conj(), 1 - 1j),
        (0.1 + 0.2, 0.3),
        (np.float32(2), 2),
        ([1.0, float("nan"), float("inf")], np.array([1.0, np.nan, np.inf])),
        (torch.zeros(0, 3), np.zeros((0, 3))),
        ("nano", "nano"),
        (True, True),
        (None, None),
        (("a", "b"), ("a", "b")),
    ],
)
def test_equal_things_pass_and_say_so(capsys, got, expected):
    check("own STFT = package", got, expected)
    line = capsys.readouterr().out
    assert line.startswith("✓ own STFT = package: ")
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("got", "expected", "words"),
    [
        (
            [[1.0, 2.0], [3.0, 4.5]],
            [[1.0, 2.0], [3.0, 4.0]],
            r"got 4.5 at index \(1, 1\), expected",
        ),
        (1.0, 1.001, "difference of 0.001, where at most 1e-5"),
        ([1.0, 2.0], [1.0, 2.0, 3.0], r"shapes differ: got \(2,\), expected \(3,\)"),
        (torch.ones(2, 1), torch.ones(2), "shapes differ"),
        (float("nan"), 1.0, "got nan, expected 1"),
        (1.0, float("inf"), "expected inf"),
        (float("inf"), -float("inf"), "expected -inf"),
        (1j, 0.1 + 1j, "difference of 0.1"),
        ("nano", "xs", "got 'nano', expected 'xs'"),
        (None, 3.0, "got None, expected 3.0"),
        (True, False, "got True"),
        ([1, 2], "ab", r"got \[1, 2\]"),
    ],
)
def test_different_things_fail_in_words(capsys, got, expected, words):
    with pytest.raises(AssertionError, match=words) as error:
        check("own STFT = package", got, expected)
    assert str(error.value).startswith("✗ own STFT = package: ")
    assert capsys.readouterr().out == ""


def test_tolerance_is_the_border_and_what_is_printed_hides_the_digits(capsys):
    check("close", 1.0, 1.0 + 0.9e-3, tolerance=1e-3)
    check("close", 1.0, 1.0 + 0.1e-3, tolerance=1e-3)
    first, second = capsys.readouterr().out.splitlines()
    assert first == second == "✓ close: no difference above 0.001"
    with pytest.raises(AssertionError, match="2 of 3 values"):
        check("close", [1.0, 2.0, 3.0], [1.0, 2.1, 3.1], tolerance=1e-3)
    check("equal", [1, 2], [1, 2], tolerance=0)
    with pytest.raises(AssertionError, match="at most 0 is"):
        check("equal", [1.0], [1.0 + 1e-12], tolerance=0)


def test_shapes_by_size_and_by_name(capsys):
    check_shape(torch.ones(2, 1, 4), (2, 1, 4))
    check_shape(np.ones((3, 256, 24)), ("B", "F", 24), "mag")
    check_shape(torch.ones(5, 5), ("L", "L"))
    check_shape(torch.tensor(1.0), ())
    assert capsys.readouterr().out.splitlines() == [
        "✓ shape: (2, 1, 4)",
        "✓ mag: (B, F, 24) = (3, 256, 24)",
        "✓ shape: (L, L) = (5, 5)",
        "✓ shape: ()",
    ]


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((2, 4), "axis 1 has size 3, expected 4: got"),
        (("B", "B"), r"axis 1 has size 3, expected 2 \(the size of B\)"),
        (("B",), "2 axes; expected"),
        (("B", "C", "T"), "2 axes; expected"),
    ],
)
def test_wrong_shapes_fail_in_words(shape, words):
    with pytest.raises(AssertionError, match=words):
        check_shape(torch.ones(2, 3), shape)


def test_what_has_no_shape_is_said():
    with pytest.raises(TypeError, match="a list has no shape"):
        check_shape([1, 2], (2,))


def found(topic, folder="."):
    return [finding for finding in survey(folder) if finding.topic == topic]


def test_this_machine_is_described(tmp_path, capsys):
    problems = environment(tmp_path)
    printed = capsys.readouterr().out
    for topic in ("Python", "packages", "torch", "device", "scan engine", "memory", "writing"):
        assert topic in printed
    assert torch.__version__ in printed
    assert ("The course can run here." in printed) == (problems == [])
    assert not [problem for problem in problems if not problem.startswith(("weights", "memory"))]
    assert environment(tmp_path, quiet=True) == problems
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_marks_are_words_where_the_terminal_lacks_them(encoding, monkeypatch, tmp_path):
    findings = [Finding("Python", "ok", "3.13"), Finding("memory", "problem", "none")]
    monkeypatch.setattr(checks, "survey", lambda folder: findings)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw := io.BytesIO(), encoding))
    environment(tmp_path)
    sys.stdout.flush()
    fine, bad = ("✓", "✗") if encoding == "utf-8" else ("ok     ", "problem")
    lines = raw.getvalue().decode(encoding).splitlines()
    assert lines[:2] == [f"{fine} Python       3.13", f"{bad} memory       none"]
    assert lines[3].endswith(f"1 problem(s), marked {bad} above.")


def test_every_scan_engine_is_listed_with_its_reason(monkeypatch):
    import rwsa_tutorial.scan

    assert len(found("scan engine")) == len(rwsa_tutorial.scan.scan_backends())
    answers = {"reference": True, "gpu": "needs an NVIDIA GPU"}
    monkeypatch.setattr(rwsa_tutorial.scan, "scan_backends", lambda: answers)
    states = [(finding.state, finding.words) for finding in found("scan engine")]
    assert states == [("ok", "reference: available"), ("note", "gpu: needs an NVIDIA GPU")]
    answers.pop("reference")
    assert found("scan engine")[-1].state == "problem"


def test_a_folder_that_cannot_be_written_to_is_a_problem(tmp_path):
    (finding,) = found("writing", tmp_path / "absent")
    assert finding.state == "problem"
    assert "absent cannot be written to" in finding.words
    assert any("absent" in problem for problem in environment(tmp_path / "absent", quiet=True))


def test_missing_packages_are_named(monkeypatch):
    real = importlib.util.find_spec
    hidden = {"soxr", "numba", "pesq", "psutil"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in hidden else real(name)
    )
    (packages,) = found("packages")
    assert packages.state == "problem"
    assert "not installed: soxr, numba, psutil." in packages.words
    assert ("note", True) in [(f.state, f.words.startswith("pesq")) for f in found("optional")]
    assert found("memory")[0].state == "note"


def test_too_old_or_too_little_is_a_problem(monkeypatch, tmp_path):
    monkeypatch.setattr(torch, "__version__", "2.7.1+cpu")
    assert found("torch")[0].state == "problem"
    monkeypatch.setattr(torch, "__version__", "2.13.0a0+gitabc")
    assert found("torch")[0].state == "ok"
    monkeypatch.setattr(checks, "PYTHON_NEEDED", (9, 0))
    assert "needs 9.0 or newer" in found("Python")[0].words
    monkeypatch.setattr(checks, "MEMORY_NEEDED_GB", 1e6)
    assert found("memory")[0].state == "problem"
    monkeypatch.setenv("RWSA_DATA", str(tmp_path))
    assert found("weights")[0].state == "problem"
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "nano.safetensors").touch()
    assert found("weights")[0].state == "ok"
