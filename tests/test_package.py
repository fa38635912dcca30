"""What the package may import, and where."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "rwsa_tutorial"
# what a bare GPU machine, with torch, numpy and safetensors alone, does not have
ABSENT = ["librosa", "soundfile", "soxr", "numba", "pesq", "pystoi", "scipy", "matplotlib"]
ABSENT += ["ipywidgets", "IPython", "tqdm"]
BARE = f"""
import sys
sys.modules.update(dict.fromkeys({ABSENT}))
import torch, rwsa_tutorial as rt
rt.load_official, rt.save_weights, rt.load_pretrained
model = rt.build_model(rt.ModelConfig(8, 1, heads=2, middle_heads=2, d_state=2, expand=1)).eval()
mag, phase = rt.analyse(torch.randn(1, 500))
with torch.no_grad():
    print(tuple(rt.synthesise(*model(mag, phase)[:2], length=500).shape))
"""


def test_the_network_runs_on_torch_numpy_and_safetensors_alone():
    done = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True)
    assert done.stdout == "(1, 500)\n", done.stderr


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, rwsa_tutorial; print(*(m.split('.')[0] for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", *ABSENT} & set(done.stdout.split())


def modules_imported_at_the_top(source):
    """Full names of what a module imports when it is imported itself; relative ones with dots."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


@pytest.mark.parametrize(
    ("package", "allowed"), [("ipywidgets", {"widgets.py"}), ("matplotlib", {"plotting"})]
)
def test_one_module_alone_imports_it(package, allowed):
    found = {
        path.relative_to(PACKAGE).parts[0]
        for path in PACKAGE.rglob("*.py")
        if any(n.split(".")[0] == package for n in modules_imported_at_the_top(path.read_text()))
    }
    assert found == allowed


def test_layers_know_the_scan_the_compiled_kernels_and_each_other_only():
    allowed = ("math", "collections.abc", "torch", "torch.nn", "..scan", "..compiled", "..shapes")
    for path in (PACKAGE / "layers").glob("*.py"):
        for name in modules_imported_at_the_top(path.read_text()):
            assert name in allowed or (name.startswith(".") and not name.startswith("..")), (
                f"{path.name} imports {name}"
            )


COMPILED = {
    "njit",
    "intrinsic",
    "_function",
    "Kernel",
    "triton.jit",
}  # their types are the compiler's


def signatures_without_types(source):
    """The public functions of a module that leave out the type of an argument or of the result."""

    def look(body, prefix, method):
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from look(node.body, f"{node.name}.", True)
            elif isinstance(node, ast.FunctionDef) and (
                not node.name.startswith("_") or node.name == "__init__"
            ):
                marks = {ast.unparse(mark).split("(")[0] for mark in node.decorator_list}
                told = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                told = told[method and "staticmethod" not in marks :]
                told += [a for a in (node.args.vararg, node.args.kwarg) if a]
                typed = all(argument.annotation for argument in told)
                if not marks & COMPILED and not (
                    typed and (node.returns or node.name == "__init__")
                ):
                    yield prefix + node.name

    return list(look(ast.parse(source).body, "", False))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f(a: int) -> int: ...", []),
        ("def f(a) -> int: ...", ["f"]),
        ("def f(a: int): ...", ["f"]),
        ("def f(*a) -> int: ...", ["f"]),
        ("def f(*, a=1) -> int: ...", ["f"]),
        ("class C:\n def __init__(self, a): ...\n def m(self) -> int: ...", ["C.__init__"]),
        ("@njit\ndef f(a): ...\ndef _g(a): ...", []),
    ],
)
def test_a_signature_without_types_is_found(source, found):
    assert signatures_without_types(source) == found


def test_every_public_signature_has_types():
    found = {
        str(path.relative_to(PACKAGE)): names
        for path in PACKAGE.rglob("*.py")
        if (names := signatures_without_types(path.read_text()))
    }
    assert not found


def test_docstrings_have_one_style():
    """Names between single backquotes, and no fields of reStructuredText."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                words = ast.get_docstring(node) or ""
                assert not re.search("``|:(param|func|class|return)", words), (path, words)
