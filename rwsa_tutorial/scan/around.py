"""What stands before and behind the recurrence, in plain PyTorch: the step; skip and gate."""

from torch import Tensor
from torch.nn import functional as F

from ..shapes import Float


def step_size(
    delta: Float[Tensor, "B D L"],
    delta_bias: Float[Tensor, " D"] | None = None,
    delta_softplus: bool = False,
) -> Float[Tensor, "B D L"]:
    """The step that is used: softplus(delta + delta_bias), each part if asked for."""
    if delta_bias is not None:
        delta = delta + delta_bias[:, None]
    return F.softplus(delta) if delta_softplus else delta


def skip_and_gate(
    y: Float[Tensor, "B D L"],
    u: Float[Tensor, "B D L"],
    D: Float[Tensor, " D"] | None = None,
    z: Float[Tensor, "B D L"] | None = None,
) -> Float[Tensor, "B D L"]:
    """What follows the recurrence: y + D u, then times silu(z), each if asked for."""
    if D is not None:
        y = y + D[:, None] * u
    return y if z is None else y * F.silu(z)
