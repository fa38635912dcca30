"""Do all imports of the package go down the map in CONTRIBUTING.md?

`upward` looks at every import, also inside functions, and at modules that are named in strings.
"""

import ast
import re
from pathlib import Path

LINE = re.compile(r"( *)(\w+/?(?:, \w+/?)*)(?:  .*)?")


def rooms(text):
    """The map as dotted names from the ground up: folders before what is in them.

    A line holds names, apart by commas, and after two spaces what they are; a name that ends in /
    is a folder, and the lines that are indented below it are in it.
    """
    found, folders = [], {}
    for line in text.splitlines():
        if not (match := LINE.fullmatch(line)):
            raise ValueError(f"this line of the map cannot be read: {line!r}")
        depth = len(match[1])
        above = [name for at, name in sorted(folders.items()) if at < depth]
        folders = {at: name for at, name in folders.items() if at < depth}
        for name in match[2].split(", "):
            found.append(".".join([*above, name.rstrip("/")]))
            if name.endswith("/"):
                folders[depth] = name.rstrip("/")
    return found


def modules(package):
    """Dotted name, without the package's own -> file; the package itself is ""."""
    found = {}
    for path in sorted(Path(package).rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def upward(package, text):
    """What breaks the order, a line each: imports that go up, rooms that one of the two lacks."""
    package = Path(package)
    there, listed = modules(package), rooms(text)
    inner = {name for name in there if name.rpartition(".")[2] == "__main__"}
    wrong = [f"{name} is not in the map" for name in there if name not in {"", *listed, *inner}]
    wrong += [f"{name} is in the map alone" for name in listed if name not in there]
    taken = {name: list(_taken(name, there, package.name)) for name in there}
    floor = {name: number for number, name in enumerate(_floors(there, listed, taken))}
    for name, targets in taken.items():
        for line, target in targets:
            if target != name and {name, target} <= floor.keys() and floor[target] > floor[name]:
                wrong.append(f"{name or package.name}, line {line}: imports {target} from above")
    return wrong


def _floors(there, listed, taken):
    """Modules from the ground up. A folder's own module is below what is in it, or above if it
    imports any of that; a __main__ is above all that lies beside it."""
    order = []

    def enter(folder):
        inside = [n for n in listed if n.rpartition(".")[0] == folder and n in there]
        facade = any(target.startswith(folder + ".") or not folder for _, target in taken[folder])
        order.extend([] if facade else [folder])
        for name in inside:
            enter(name)
        main = f"{folder}.__main__"
        order.extend([main] if main in there else [])
        order.extend([folder] if facade else [])

    enter("")
    return order


def _taken(name, there, package):
    """(line, module) for each module of the package that a module imports or names in a string."""
    folder = there[name].name == "__init__.py"
    base = name.split(".") if name else []
    base = base if folder else base[:-1]
    for node in ast.walk(ast.parse(there[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                source = [*base[: len(base) - node.level + 1], *(node.module or "").split(".")]
            elif (node.module or "").split(".")[0] == package:
                source = node.module.split(".")[1:]
            else:
                continue
            source = ".".join(filter(None, source))
            for alias in node.names:
                full = f"{source}.{alias.name}".lstrip(".")
                yield node.lineno, full if full in there else source
        else:
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named = [node.value]
                if folder and f"{name}.{node.value}".lstrip(".") in there:  # loaded when asked for
                    yield node.lineno, f"{name}.{node.value}".lstrip(".")
            for full in named:
                if full.startswith(package + ".") and full[len(package) + 1 :] in there:
                    yield node.lineno, full[len(package) + 1 :]
