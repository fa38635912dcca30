"""Shapes in signatures: that they are checked in all tests, and read where nothing checks them."""

import subprocess
import sys

import pytest
import torch
from beartype import beartype
from jaxtyping import TypeCheckError, jaxtyped
from shape_checker import checked
from torch import Tensor

from rwsa_tutorial import losses
from rwsa_tutorial.layers.mamba import BiMamba
from rwsa_tutorial.shapes import Float


def test_every_call_of_the_network_is_checked():
    with pytest.raises(TypeCheckError, match=r"B L C"):
        BiMamba(4, d_state=2)(torch.ones(2, 3, 4, 5))
    with pytest.raises(TypeCheckError, match=r"B F T"):  # which torch would broadcast
        losses.magnitude_loss(torch.ones(2, 3, 4), torch.ones(1, 3, 4))


def test_a_signature_that_lies_is_caught():
    @jaxtyped(typechecker=beartype)
    def turned(x: Float[Tensor, "B L C"]) -> Float[Tensor, "B L C"]:
        return x.transpose(1, 2)

    turned(torch.ones(2, 3, 3))
    with pytest.raises(TypeCheckError):
        turned(torch.ones(2, 3, 4))


def test_without_the_checker_a_shape_is_a_word():
    code = (
        "import sys\nsys.modules.update(dict.fromkeys(['jaxtyping', 'beartype']))\n"
        "import torch, rwsa_tutorial as rt\nfrom rwsa_tutorial.layers.mamba import BiMamba\n"
        "print(BiMamba.forward.__annotations__['x'].__name__)\n"
        "print(rt.analyse(torch.ones(1, 9))[0].shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "Tensor\ntorch.Size([1, 256, 1])\n", done.stderr


def test_shapes_inside_other_types_are_found_and_nothing_else_is_checked():
    def pair(x) -> tuple[Float[Tensor, "B C"], int]:
        return x, 1

    def plain(x: int) -> str:
        return x

    with pytest.raises(TypeCheckError):
        jaxtyped(typechecker=checked)(pair)(torch.ones(3))
    assert jaxtyped(typechecker=checked)(plain)(1) == 1
