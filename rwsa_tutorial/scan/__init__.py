"""The selective scan, one function with several engines (notebook 02).

For every sequence b, channel d and state n (Gu and Dao, "Mamba", arXiv 2312.00752, eq. 2 and 4):

    h[t] = exp(delta[t] A) h[t-1] + delta[t] B[t] u[t]        h[-1] = 0
    y[t] = sum over n of C[t] h[t]  +  D u[t]                 and  y[t] * silu(z[t])  with a gate z
"""

from importlib import import_module

import torch
from torch import Tensor

from .. import compiled

# engine -> the package it needs beyond torch; listed in the order in which "auto" prefers them
ENGINES = {
    "gpu": "triton",
    "mamba_ssm": None,  # looks for its package itself, and only where there is a GPU
    "cpu": "numba",
    "parallel": None,
    "reference": None,
}
COMPILED = ("gpu", "mamba_ssm", "cpu")  # nothing can look into these
MIXABLE = (torch.float16, torch.bfloat16, torch.float32)


def scan_backends() -> dict[str, bool | str]:
    """Which engines can run here: name -> True, or the reason why not in words."""
    return {name: _can_run(name) for name in ENGINES}


def _can_run(name):
    """True, or the reason why not."""
    package = ENGINES[name]
    try:
        if package:
            import_module(package)
    except ImportError as error:
        return f"needs {package}, which does not import here ({error})"
    return _engine(name).can_run() if name in COMPILED else True


def _engine(name):
    return import_module(f"{__name__}.{name}")


def _pick(u, A):
    """The quickest engine for where the data is and for what is asked of it."""
    if compiled.plain():
        return "parallel"
    for name in {"cuda": ["gpu", "mamba_ssm"], "cpu": ["cpu"]}.get(u.device.type, []):
        too_much = name == "mamba_ssm" and _engine(name).too_much(u, A)
        if not too_much and _can_run(name) is True:
            return name
    return "parallel"


def _check(u, delta, A, B, C, D, z, delta_bias):
    """Raise ValueError, naming the argument, unless shapes, types and devices go together."""
    if u.ndim != 3 or A.ndim != 2 or 0 in u.shape or 0 in A.shape:
        raise ValueError(
            "u must be (B, D, L) and A (D, N), none of them empty, not "
            f"{tuple(u.shape)} and {tuple(A.shape)}"
        )
    (batch, inner, length), states = u.shape, A.shape[1]
    wanted = {
        "delta": (delta, (batch, inner, length)),
        "A": (A, (inner, states)),
        "B": (B, (batch, states, length)),
        "C": (C, (batch, states, length)),
        "D": (D, (inner,)),
        "z": (z, (batch, inner, length)),
        "delta_bias": (delta_bias, (inner,)),
    }
    mixable = MIXABLE if u.dtype in MIXABLE else (torch.float64,)
    for name, (tensor, shape) in wanted.items():
        if tensor is None and name in ("D", "z", "delta_bias"):
            continue
        found = None if tensor is None else tuple(tensor.shape)
        if found != shape:
            raise ValueError(
                f"{name} must have shape {shape} to go with u {tuple(u.shape)}, not {found}"
            )
        if not {u.dtype, tensor.dtype} <= set(mixable):
            raise ValueError(
                f"{name} is {tensor.dtype} and u {u.dtype}; the scan takes float16, bfloat16 and "
                "float32 in any mixture, or float64 for all"
            )
        if tensor.device != u.device:
            raise ValueError(
                f"{name} is on {tensor.device} and u on {u.device}; move all to one device"
            )


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    backend: str = "auto",
) -> Tensor:
    """Selective scan with mamba-ssm's argument order and shapes.

    u, delta: (B, D, L); A: (D, N), negative; B, C: (B, N, L); D, delta_bias: (D,) or None;
    z: (B, D, L) or None, the gate. delta_softplus: apply softplus to delta + delta_bias.
    backend: "reference" (the loop, to be read), "parallel" (plain PyTorch, log-depth),
    "cpu" (compiled by Numba), "gpu" (Triton), "mamba_ssm" (the upstream CUDA kernel) or "auto".
    All are differentiable in every tensor, the first two any number of times; "parallel" stands in
    for the last three inside `plain_pytorch()`, torch.func, tracing and export. float16, bfloat16
    and float32 may be mixed and are computed in float32; float64 stands alone. Returns y: (B, D, L)
    of the type of u.
    Raises ValueError for shapes, types or devices that do not go together and for a backend that
    is unknown or cannot run here.
    """
    tensors = u, delta, A, B, C, D, z, delta_bias
    _check(*tensors)
    if backend != "auto" and backend not in ENGINES:
        raise ValueError(f"no scan engine {backend!r}; there are {', '.join(ENGINES)} and auto")
    opaque = backend in COMPILED and compiled.plain()
    name = _pick(u, A) if backend == "auto" or opaque else backend
    reason = _can_run(name)
    if reason is not True:
        raise ValueError(f"the scan engine {name!r} cannot run here: {reason}")
    if name == "cpu" and u.device.type != "cpu":
        raise ValueError(f"the scan engine 'cpu' works on CPU tensors; u is on {u.device}")
    if name in ("parallel", "reference"):  # plain PyTorch computes in the type that it is given
        kind = torch.promote_types(u.dtype, torch.float32)
        tensors = [x if x is None else x.to(kind) for x in tensors]
    return _engine(name).scan(*tensors, delta_softplus).to(u.dtype)
