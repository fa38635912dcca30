"""What stands before and behind the recurrence, in plain PyTorch: the step; skip and gate."""

from torch.nn import functional as F


def step_size(delta, delta_bias=None, delta_softplus=False):
    """The step that is used: softplus(delta + delta_bias), each part if asked for. (B, D, L)."""
    if delta_bias is not None:
        delta = delta + delta_bias[:, None]
    return F.softplus(delta) if delta_softplus else delta


def skip_and_gate(y, u, D=None, z=None):
    """What follows the recurrence: y + D u, then times silu(z), each if asked for. (B, D, L)."""
    if D is not None:
        y = y + D[:, None] * u
    return y if z is None else y * F.silu(z)
