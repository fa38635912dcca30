"""What holds a signature to the shapes that it states, at every call of every test."""

import typing
from pathlib import Path

from beartype import beartype
from jaxtyping import AbstractArray, install_import_hook

KERNELS = {"compiled", "gpu.py"}  # no Python that could be checked
PACKAGE = Path(__file__).resolve().parent.parent / "rwsa_tutorial"


def checked(function):
    """The function, checked if it states a shape; other types are for readers and editors."""
    states = any(map(_is_shape, function.__annotations__.values()))
    return beartype(function) if states else function


def _is_shape(hint):
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(map(_is_shape, typing.get_args(hint)))


def check_all():
    """Have every module checked that is imported from now on and states shapes."""
    for path in PACKAGE.rglob("*.py"):
        module = path.relative_to(PACKAGE.parent)
        if "shapes import" in path.read_text(encoding="utf-8") and not set(module.parts) & KERNELS:
            name = ".".join(module.with_suffix("").parts).removesuffix(".__init__")
            install_import_hook(name, "shape_checker.checked")
