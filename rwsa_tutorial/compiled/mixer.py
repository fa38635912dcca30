"""The whole Mamba mixer with a hand-written adjoint, which keeps its input and few states only.

PyTorch would keep some twenty numbers for each number that goes in. Here the projections and the
convolution are computed again on the way back, and every gradient is written where it is needed.
The equations are those of layers/mamba.py, where the mixer is to be read.
"""

import torch
from torch import Tensor, nn

from . import causal_conv, first_order, scan


def _prepare(x, w_in, w_conv, b_conv, w_x, w_dt, N):
    """What the scan gets: xz (B, L, 2D), u (B, L, D), [dt, B, C] (B, L, rank + 2N), delta."""
    xz = x @ w_in.T
    before, _ = _channels(xz).chunk(2, dim=1)
    u = causal_conv.forward(before, w_conv, b_conv).transpose(1, 2)
    dbc = u @ w_x.T
    return xz, u, dbc, dbc[..., : -2 * N] @ w_dt.T


def _channels(x):
    """(B, L, D) seen as (B, D, L)."""
    return x.transpose(1, 2)


class _Mixer(torch.autograd.Function):
    @staticmethod
    def forward(ctx, keep, x, w_in, w_conv, b_conv, w_x, w_dt, b_dt, A, D, w_out):
        N = A.shape[1]
        xz, u, dbc, delta = _prepare(x, w_in, w_conv, b_conv, w_x, w_dt, N)
        _, B, C = _channels(dbc).split([w_dt.shape[1], N, N], dim=1)
        z = _channels(xz)[:, len(A) :]
        y, states = scan.forward(_channels(u), _channels(delta), A, B, C, D, z, b_dt, True, keep)
        ctx.save_for_backward(x, w_in, w_conv, b_conv, w_x, w_dt, b_dt, A, D, w_out, states)
        return _channels(y) @ w_out.T

    @staticmethod
    @first_order
    def backward(ctx, dout):
        x, w_in, w_conv, b_conv, w_x, w_dt, b_dt, A, D, w_out, states = ctx.saved_tensors
        inner, N = A.shape
        rank = w_dt.shape[1]
        xz, u, dbc, delta = _prepare(x, w_in, w_conv, b_conv, w_x, w_dt, N)
        dt, B, C = _channels(dbc).split([rank, N, N], dim=1)
        before, z = _channels(xz).chunk(2, dim=1)

        y, dxz = torch.empty_like(u), torch.empty_like(xz)
        dbefore, dz = _channels(dxz).chunk(2, dim=1)
        scanned = _channels(u), _channels(delta), A, B, C, D, z, b_dt, True
        du, ddelta, dA, dB, dC, dD, _, db_dt = scan.backward(
            *scanned, states, _channels(dout @ w_out), dz=dz, out=_channels(y)
        )
        ddt = _channels(ddelta) @ w_dt
        ddbc = torch.cat([ddt, _channels(dB), _channels(dC)], dim=-1)
        du = _channels(du).flatten(0, 1).addmm_(ddbc.flatten(0, 1), w_x).view_as(u)
        _, dw_conv, db_conv = causal_conv.backward(
            before, w_conv, b_conv, _channels(du), dx=dbefore
        )
        return (
            None,
            dxz @ w_in,
            _outer(dxz, x),
            dw_conv,
            db_conv,
            _outer(ddbc, u),
            _outer(_channels(ddelta), _channels(dt)),
            db_dt,
            dA,
            dD,
            _outer(dout, y),
        )


def _outer(gradient, x):
    """Gradient of the weight of x @ weight.T, summed over the batch and the steps."""
    return gradient.flatten(0, 1).T @ x.flatten(0, 1)


@torch.compiler.disable
def mix(x: Tensor, mixer: nn.Module) -> Tensor:
    """`MambaMixer.forward`, once differentiable. x: (B, L, width), float32 or float64."""
    return _Mixer.apply(
        torch.is_grad_enabled(),  # inside the function it would always be off
        x,
        mixer.in_proj.weight,
        mixer.conv1d.weight[:, 0],
        mixer.conv1d.bias,
        mixer.x_proj.weight,
        mixer.dt_proj.weight,
        mixer.dt_proj.bias,
        -torch.exp(mixer.A_log),
        mixer.D,
        mixer.out_proj.weight,
    )
