"""The selective scan by mamba-ssm's CUDA kernel, where that is installed with its extension."""

from functools import cache

import torch
from torch import Tensor

from ..compiled import refuse_second_order
from ..shapes import Float


def _upstream():
    # the extension first: most installations have the Python part alone
    import selective_scan_cuda  # noqa: F401
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    return selective_scan_fn


@cache
def can_run() -> bool | str:
    """True, or the reason why not in words."""
    if not torch.cuda.is_available():
        return "needs a CUDA GPU, and torch finds none"
    try:
        _upstream()
    except Exception as error:  # the package imports much, which can fail in any way
        words = " ".join(str(error).split())[:300]
        return f"needs mamba-ssm with its CUDA extension, which does not import here ({words})"
    return True


def too_much(u: Tensor, A: Tensor) -> str | None:
    """Why the kernel cannot take these tensors, in words, or None. u: (B, D, L), A: (D, N)."""
    if u.device.type != "cuda":
        return f"it works on CUDA tensors; u is on {u.device}"
    if u.dtype == torch.float64:
        return "it knows no float64"
    if A.shape[1] > 256:
        return f"it takes at most 256 states; A has {A.shape[1]}"
    return None


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
    """The upstream scan, differentiable in every tensor. Arguments as in `selective_scan`."""
    reason = too_much(u, A)
    if reason:
        raise ValueError(f"the scan engine 'mamba_ssm' cannot take this: {reason}")
    # sequences in u's type with time contiguous, parameters in float32
    u, delta, B, C, z = (
        x if x is None else x.to(u.dtype).contiguous() for x in (u, delta, B, C, z)
    )
    A, D, bias = (x if x is None else x.float().contiguous() for x in (A, D, delta_bias))
    y = _upstream()(u, delta, A, B, C, D, z, bias, delta_softplus)
    if y.requires_grad:
        y.register_hook(refuse_second_order)
    return y
