"""The floors of the package: imports go down the map in CONTRIBUTING.md."""

import re
from pathlib import Path

import import_order
import pytest

ROOT = Path(__file__).parents[1]
MAP = "ground\nhouse/  a folder\n  low\n  high\nroof"


def the_map():
    told = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    (text,) = re.findall(r"(?s)The package has floors.*?```\n(.*?)\n```", told)
    return text


def test_every_import_goes_down_and_every_room_is_in_the_map():
    assert import_order.upward(ROOT / "rwsa_tutorial", the_map()) == []


SOUND = {
    "__init__.py": "PUBLIC = {'x': 'roof'}",
    "ground.py": "import os",
    "house/__init__.py": "from . import high",
    "house/low.py": "from .. import ground",
    "house/high.py": "from .low import x\nfrom ..ground import y",
    "roof.py": "from .house import z\nimport package.house.low",
}
BAD = {  # kind -> (file, what is in it, what is said of it)
    "up": ("ground.py", "from .roof import x", "ground, line 1: imports roof"),
    "up by name": ("ground.py", "import package.roof", "ground, line 1: imports roof"),
    "in a folder": ("house/low.py", "from . import high", "house.low, line 1: imports house.high"),
    "out of a folder": ("house/low.py", "from .. import roof", "house.low, line 1: imports roof"),
    "in a function": ("ground.py", "def f():\n    import package.house", "ground, line 2: imports"),
    "in a string": (
        "ground.py",
        "load('package.house.high')",
        "ground, line 1: imports house.high",
    ),
    "a circle": ("house/low.py", "from . import anything", "house.low, line 1: imports house"),
    "not in the map": ("house/attic.py", "", "house.attic is not in the map"),
}


def written(folder, files):
    for name, text in files.items():
        (folder / "package" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "package" / name).write_text(text)
    return folder / "package"


def test_a_house_in_order_passes(tmp_path):
    assert import_order.upward(written(tmp_path, SOUND), MAP) == []


@pytest.mark.parametrize("kind", BAD)
def test_each_kind_of_disorder_is_caught(kind, tmp_path):
    name, text, found = BAD[kind]
    (wrong,) = import_order.upward(written(tmp_path, SOUND | {name: text}), MAP)
    assert wrong.startswith(found)


def test_a_room_that_is_not_there_and_a_map_that_cannot_be_read(tmp_path):
    package = written(tmp_path, SOUND)
    assert import_order.upward(package, MAP + "\nattic") == ["attic is in the map alone"]
    with pytest.raises(ValueError, match="cannot be read"):
        import_order.upward(package, MAP + "\n- attic")
