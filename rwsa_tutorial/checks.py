"""Checks: small ones for the lessons (`check`, `check_shape`), one for the whole machine.

The lesson checks print one plain line when all is well and raise an AssertionError in words when
it is not. What they print does not depend on the machine, so that stored notebook outputs can be
compared. `environment` is what `rwsa check` prints.
"""

import importlib.util
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PYTHON_NEEDED = (3, 11)
TORCH_NEEDED = (2, 8)
MEMORY_NEEDED_GB = 2.0
REQUIRED = ("numpy", "scipy", "torch", "safetensors", "librosa", "soundfile", "soxr", "numba")
REQUIRED += ("pyloudnorm", "matplotlib", "ipywidgets", "tqdm", "filelock", "platformdirs")
REQUIRED += ("pystoi", "accelerate", "yaml", "psutil")
MARKS = {"ok": "✓", "note": "·", "problem": "✗"}
OPTIONAL = {
    "pesq": "without it the PESQ score is missing; with a C compiler: `pip install -e .[pesq]`",
    "jupyterlab": "without it the notebooks need another Jupyter front end",
    "mamba_ssm": "only of use on an NVIDIA GPU, never required",
}


def check(name: str, got: object, expected: object, tolerance: float = 1e-5) -> None:
    """Compare a result with what it should be, and say so in one line.

    Arrays, tensors and numbers must have the same shape, hold no NaN where none is expected, and
    differ nowhere by more than `tolerance` (absolute; 0 asks for equality). Anything else (text,
    booleans, tuples of names, None) must be equal.

    Args:
        name: what is compared, as the learner would call it: "own STFT = package".
        got, expected: torch tensors (any device), NumPy arrays, nested lists or numbers.
        tolerance: largest absolute difference allowed, in the unit of the values.

    Raises:
        AssertionError: in words, with the place of the largest difference.
    """
    left, right = _as_array(got), _as_array(expected)
    if left is None or right is None:
        assert got == expected, f"✗ {name}: got {got!r}, expected {expected!r}."
        print(f"✓ {name}: equal")
        return

    import numpy as np

    assert left.shape == right.shape, (
        f"✗ {name}: the shapes differ: got {left.shape}, expected {right.shape}."
    )
    # A difference of infinities or NaN would itself be NaN, so equal places count as zero.
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(left - right))
    difference = np.where(np.isnan(difference), np.inf, difference)
    largest = difference.max(initial=0.0)
    if not largest <= tolerance:
        place = np.unravel_index(difference.argmax(), difference.shape)
        where = f" at index {tuple(int(i) for i in place)}" if place else ""
        raise AssertionError(
            f"✗ {name}: got {left[place]:.6g}{where}, expected {right[place]:.6g}: "
            f"a difference of {largest:.3g}, where at most {_plain(tolerance)} is allowed "
            f"({int((difference > tolerance).sum())} of {difference.size} values are off)."
        )
    print(f"✓ {name}: " + (f"no difference above {_plain(tolerance)}" if tolerance else "equal"))


def check_shape(x: object, shape: Sequence[int | str], name: str = "shape") -> None:
    """Compare the shape of a tensor or array with the one wanted, and say so in one line.

    Args:
        x: anything with a `.shape`.
        shape: sizes and names, for example `(2, 1, 4)` or `("B", "F", 24)`. A name stands for
            any size, but the same name must stand for the same size throughout.
        name: what is looked at, for the printed line.

    Raises:
        AssertionError: in words, naming the axis that is wrong.
        TypeError: if `x` has no shape.
    """
    if not hasattr(x, "shape"):
        raise TypeError(f"✗ {name}: a {type(x).__name__} has no shape; give a tensor or an array.")
    found, wanted = tuple(int(size) for size in x.shape), _shape_words(shape)
    assert len(found) == len(shape), (
        f"✗ {name}: got {found}, that is {len(found)} axes; expected {wanted}, {len(shape)} axes."
    )
    sizes = {}
    for axis, (size, want) in enumerate(zip(found, shape, strict=True)):
        expected = sizes.setdefault(want, size) if isinstance(want, str) else want
        assert size == expected, (
            f"✗ {name}: axis {axis} has size {size}, expected {expected}"
            f"{f' (the size of {want})' if isinstance(want, str) else ''}: "
            f"got {found}, expected {wanted}."
        )
    meaning = f" = {found}" if sizes else ""
    print(f"✓ {name}: {wanted}{meaning}")


def _as_array(value):
    """Tensor, array, number or nested list as a float64 or complex128 array, or None."""
    import numpy as np

    if value is None or isinstance(value, (str, bytes, bool, dict, set)):
        return None
    if hasattr(value, "detach"):
        value = value.detach().resolve_conj().resolve_neg().cpu()
        value = (value.cdouble() if value.is_complex() else value.double()).numpy()
    try:
        array = np.asarray(value)
    except ValueError:  # a ragged list: compared as it is
        return None
    if array.dtype.kind not in "biufc":
        return None
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _plain(number):
    return f"{number:g}".replace("e-0", "e-").replace("e+0", "e")


def _shape_words(shape):
    return "(" + ", ".join(str(size) for size in shape) + ("," if len(shape) == 1 else "") + ")"


@dataclass(frozen=True)
class Finding:
    """One line of `environment`: a topic, "ok" | "note" | "problem", and plain words."""

    topic: str
    state: str
    words: str


def environment(folder: str | Path = ".", quiet: bool = False) -> list[str]:
    """Look at this machine and say in plain words whether the course can run on it.

    Args:
        folder: working folder that must be writable.
        quiet: print nothing.

    Returns:
        list of str: the problems that stop the course; empty when it can run.
    """
    findings = survey(folder)
    problems = [f"{f.topic}: {f.words}" for f in findings if f.state == "problem"]
    if not quiet:
        marks = _marks(sys.stdout.encoding)
        for finding in findings:
            print(f"{marks[finding.state]} {finding.topic:<12} {finding.words}")
        print()
        print(
            f"The course cannot run yet: {len(problems)} problem(s), marked {marks['problem']} "
            "above."
            if problems
            else "The course can run here."
        )
    return problems


def _marks(encoding):
    """How the state of a finding is written: by a mark, or by a word where there are no marks."""
    try:
        "".join(MARKS.values()).encode(encoding or "utf-8")  # a notebook's stream may name none
    except UnicodeEncodeError:  # as in cp1252, the encoding of many Windows terminals
        return {state: f"{state:7}" for state in MARKS}
    return MARKS


def survey(folder: str | Path = ".") -> list[Finding]:
    """All findings about this machine, in reading order: list of `Finding`."""
    findings = [_python(), *_packages()]
    if importlib.util.find_spec("torch") and importlib.util.find_spec("numpy"):
        findings += [_torch(), _device(), *_engines(), _weights()]
    return [*findings, _memory(), _write_access(folder)]


def _python():
    version = platform.python_version()
    if sys.version_info[:2] < PYTHON_NEEDED:
        needed = ".".join(map(str, PYTHON_NEEDED))
        return Finding("Python", "problem", f"{version}; the course needs {needed} or newer")
    if (platform.system(), platform.machine()) == ("Darwin", "x86_64"):
        words = "built for Intel Macs, for which there is no torch new enough: on a Mac with Apple "
        words += "silicon take a Python for arm64, on an Intel Mac use Linux (README)"
        return Finding("Python", "problem", f"{version} {words}")
    return Finding("Python", "ok", f"{version} on {platform.system()} {platform.machine()}")


def _packages():
    missing = [name for name in REQUIRED if importlib.util.find_spec(name) is None]
    if missing:
        words = f"not installed: {', '.join(missing)}. Run `pip install -e .` in the project folder"
        yield Finding("packages", "problem", words)
    else:
        yield Finding("packages", "ok", f"all {len(REQUIRED)} required packages are installed")
    for name, why in OPTIONAL.items():
        if importlib.util.find_spec(name) is None:
            yield Finding("optional", "note", f"{name} is not installed: {why}")
        elif name == "mamba_ssm" and importlib.util.find_spec("selective_scan_cuda") is None:
            words = "mamba_ssm is here without its CUDA scan: the tests compare with its Python one"
            yield Finding("optional", "note", words)
        else:
            yield Finding("optional", "ok", f"{name} is installed")


def _torch():
    import torch

    number = tuple(int("".join(filter(str.isdigit, p)) or 0) for p in torch.__version__.split("."))
    if number[:2] < TORCH_NEEDED:
        needed = ".".join(map(str, TORCH_NEEDED))
        return Finding(
            "torch", "problem", f"{torch.__version__}; the course needs {needed} or newer"
        )
    return Finding("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} CPU thread(s)")


def _device():
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        return Finding("device", "ok", f"{name}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free")
    return Finding("device", "ok", "CPU (no CUDA GPU was found, and none is needed)")


def _engines():
    from .scan import scan_backends

    backends = scan_backends()
    usable = [name for name, state in backends.items() if state is True]
    for name, state in backends.items():
        if name in usable:
            yield Finding("scan engine", "ok", f"{name}: available")
        else:
            yield Finding("scan engine", "note", f"{name}: {state}")
    if not usable:
        yield Finding("scan engine", "problem", "no engine for the selective scan works here")


def _weights():
    from .paths import data_path

    try:
        path = data_path("weights", "nano.safetensors")
    except FileNotFoundError as error:
        return Finding("weights", "problem", str(error))
    return Finding("weights", "ok", f"the shipped network is there: {path.name}")


def _memory():
    if importlib.util.find_spec("psutil") is None:
        return Finding("memory", "note", "not measured (psutil is not installed)")
    import psutil

    free = psutil.virtual_memory().available / 1e9
    words = f"{free:.1f} GB available, {MEMORY_NEEDED_GB:.0f} GB needed"
    if free < MEMORY_NEEDED_GB:
        return Finding("memory", "problem", f"{words}: close other programs")
    return Finding("memory", "ok", words)


def _write_access(folder):
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        words = f"{os.path.abspath(folder)} cannot be written to ({reason}): choose another folder"
        return Finding("writing", "problem", words)
    return Finding("writing", "ok", "the working folder can be written to")
