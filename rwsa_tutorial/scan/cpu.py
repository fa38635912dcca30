"""The selective scan by the kernels of compiled/scan.py: one pass over memory for all of it."""

import torch
from torch import Tensor

from ..compiled import first_order, why_not
from ..compiled.kernel import working_type
from ..compiled.scan import backward, forward
from ..shapes import Float


def can_run() -> bool | str:
    """True, or the reason why not in words."""
    return why_not() or True


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, keep, softplus, *tensors):
        kind = working_type(*tensors)
        parts = [None if x is None else x.detach().to(kind) for x in tensors]
        out, states = forward(*parts, softplus, keep and any(ctx.needs_input_grad))
        ctx.save_for_backward(*tensors, states)
        ctx.softplus = softplus
        return out.to(tensors[0].dtype)

    @staticmethod
    @first_order
    def backward(ctx, dout):
        *tensors, states = ctx.saved_tensors
        parts = [None if x is None else x.to(states.dtype) for x in tensors]
        grads = backward(*parts, ctx.softplus, states, dout.to(states.dtype))
        grads = (None if x is None else g.to(x.dtype) for x, g in zip(tensors, grads, strict=True))
        return None, None, *grads


@torch.compiler.disable
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
    """Compiled scan, once differentiable in every tensor. Arguments as in `selective_scan`."""
    keep = torch.is_grad_enabled()  # inside the function it would always be off
    return _Scan.apply(keep, delta_softplus, u, delta, A, B, C, D, z, delta_bias)
