"""The selective scan in plain PyTorch with log2(L) steps instead of L.

The recurrence h[t] = a[t] h[t-1] + b[t] composes: two steps (a1, b1), (a2, b2) are one step
(a2 a1, a2 b1 + b2). Doubling the span of every pair until it covers the sequence gives all h at
once (Hillis and Steele 1986). Products of decays only shrink, so nothing overflows; dividing
cumulative products instead would lose every digit.
"""

import torch
from torch import Tensor

from ..compiled import plain
from ..shapes import Float
from .around import skip_and_gate, step_size

STATES = 2**19  # that are computed together on a CPU


def _doubling(a, b):
    """All h of h[t] = a[t] h[t-1] + b[t] along the last axis. a, b: (..., L)."""
    span, length = 1, b.shape[-1]
    while span < length:
        b = torch.cat([b[..., :span], b[..., span:] + a[..., span:] * b[..., :-span]], -1)
        a = torch.cat([a[..., :span], a[..., span:] * a[..., :-span]], -1)
        span *= 2
    return b


class _Recurrence(torch.autograd.Function):
    """h[t] = a[t] h[t-1] + b[t]; its adjoint is the same recurrence run backwards in time.

    Without it PyTorch would keep all log2(L) steps for the way back.
    """

    @staticmethod
    def forward(ctx, a, b):
        h = _doubling(a, b)
        ctx.save_for_backward(a, h)
        return h

    @staticmethod
    def backward(ctx, grad):
        a, h = ctx.saved_tensors
        # g[t] = grad[t] + a[t+1] g[t+1]
        later = torch.cat([a[..., 1:], torch.zeros_like(a[..., :1])], -1)
        g = _Recurrence.apply(later.flip(-1), grad.flip(-1)).flip(-1)
        before = torch.cat([torch.zeros_like(h[..., :1]), h[..., :-1]], -1)
        return g * before, g


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
    """All time steps at once; memory B * D * N * L. Arguments as in `selective_scan`."""
    delta = step_size(delta, delta_bias, delta_softplus)
    size = u.shape[0]
    if u.device.type == "cpu" and not plain():  # few at a time: their states stay in the cache
        size = max(1, STATES // (A.numel() * u.shape[2]))
    parts = zip(*(x.split(size) for x in (u, delta, B, C)), strict=True)
    y = torch.cat([_mixed(u, delta, A, B, C) for u, delta, B, C in parts])
    return skip_and_gate(y, u, D, z)


def _mixed(u, delta, A, B, C):
    """The sum over the states of C h: (B, D, L)."""
    decay = torch.exp(delta[:, :, None] * A[:, :, None])  # (B, D, N, L)
    drive = (delta * u)[:, :, None] * B[:, None]
    recurrence = _doubling if plain() else _Recurrence.apply
    return (recurrence(decay, drive) * C[:, None]).sum(2)
