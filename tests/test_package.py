"""What the package may import, and where."""

import ast
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
    for path in (PACKAGE / "layers").glob("*.py"):
        for name in modules_imported_at_the_top(path.read_text()):
            assert name in ("math", "torch", "torch.nn", "..scan", "..compiled") or (
                name.startswith(".") and not name.startswith("..")
            ), f"{path.name} imports {name}"
