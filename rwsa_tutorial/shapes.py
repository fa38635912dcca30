"""Shapes in signatures, `Float[Tensor, "B C T F"]`: the tests check each of them at every call.

The letters are those of CONTRIBUTING.md; one letter is one number within a call. jaxtyping knows
how to check them; where it is not installed, as on a bare GPU machine, they are there to be read.
"""

try:
    from jaxtyping import Complex, Float
except ModuleNotFoundError:

    class Float:
        """`Float[Tensor, "B L"]` is `Tensor`."""

        def __class_getitem__(cls, item):
            return item[0]

    Complex = Float

__all__ = ["Complex", "Float"]
