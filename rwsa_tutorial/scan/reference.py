"""The selective scan as a loop over time: slow, and meant to be read."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ..shapes import Float
from .around import skip_and_gate, step_size


def states(
    u: Float[Tensor, "B D L"],
    delta: Float[Tensor, "B D L"],
    A: Float[Tensor, "D N"],
    B: Float[Tensor, "B N L"],
) -> Iterator[Float[Tensor, "B D N"]]:
    """The state h after each step, one after the other; delta: the steps themselves."""
    h = u.new_zeros(u.shape[0], u.shape[1], A.shape[1])
    for t in range(u.shape[2]):
        step = delta[:, :, t, None]  # (B, D, 1)
        decay = torch.exp(step * A)  # (B, D, N)
        h = decay * h + step * B[:, None, :, t] * u[:, :, t, None]
        yield h


def scan(
    u: Float[Tensor, "B D L"],
    delta: Float[Tensor, "B D L"],
    A: Float[Tensor, "D N"],
    B: Float[Tensor, "B N L"],
    C: Float[Tensor, "B N L"],
    D: Float[Tensor, " D"] | None,
    z: Float[Tensor, "B D L"] | None,
    delta_bias: Float[Tensor, " D"] | None,
    delta_softplus: bool,
) -> Float[Tensor, "B D L"]:
    """One step of the recurrence per turn of the loop; arguments as in `selective_scan`."""
    delta = step_size(delta, delta_bias, delta_softplus)
    y = [(h * C[:, None, :, t]).sum(-1) for t, h in enumerate(states(u, delta, A, B))]  # (B, D)
    return skip_and_gate(torch.stack(y, dim=2), u, D, z)
