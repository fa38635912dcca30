"""The selective scan, one function with several engines (notebook 02).

For every sequence b, channel d and state n (Gu and Dao, "Mamba", arXiv 2312.00752, eq. 2 and 4):

    h[t] = exp(delta[t] A) h[t-1] + delta[t] B[t] u[t]        h[-1] = 0
    y[t] = sum over n of C[t] h[t]  +  D u[t]                 and  y[t] * silu(z[t])  with a gate z
"""

from importlib import import_module

import torch

# engine -> the package it needs beyond torch; listed in the order in which "auto" prefers them
ENGINES = {"cpu": "numba", "parallel": None, "reference": None}


def scan_backends():
    """Which engines can run here: name -> True, or the reason why not in words."""
    return {name: _can_run(name) for name in ENGINES}


def _can_run(name):
    """True, or the reason why not."""
    package = ENGINES[name]
    try:
        if package:
            import_module(package)
        return True
    except ImportError as error:
        return f"needs {package}, which does not import here ({error})"


def _pick(u):
    """The quickest engine for where the data is."""
    return "cpu" if u.device.type == "cpu" and _can_run("cpu") is True else "parallel"


def selective_scan(
    u,
    delta,
    A,
    B,
    C,
    D=None,
    z=None,
    delta_bias=None,
    delta_softplus=False,
    backend="auto",
):
    """Selective scan with mamba-ssm's argument order and shapes.

    u, delta: (B, D, L); A: (D, N), negative; B, C: (B, N, L); D, delta_bias: (D,) or None;
    z: (B, D, L) or None, the gate. delta_softplus: apply softplus to delta + delta_bias.
    backend: "reference" (the loop, to be read), "parallel" (plain PyTorch, log-depth),
    "cpu" (compiled by Numba) or "auto". All are differentiable in every tensor.
    Returns y: (B, D, L) of u's type. Raises ValueError for shapes that do not fit and for a
    backend that is unknown or cannot run here.
    """
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
    for name, (tensor, shape) in wanted.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ValueError(
                f"{name} must have shape {shape} to go with u {tuple(u.shape)}, "
                f"not {tuple(tensor.shape)}"
            )
    name = _pick(u) if backend == "auto" else backend
    if name not in ENGINES:
        raise ValueError(f"no scan engine {name!r}; there are {', '.join(ENGINES)} and auto")
    reason = _can_run(name)
    if reason is not True:
        raise ValueError(f"the scan engine {name!r} cannot run here: {reason}")
    if name == "cpu" and u.device.type != "cpu":
        raise ValueError(f"the scan engine 'cpu' works on CPU tensors; u is on {u.device}")
    engine = import_module(f"{__name__}.{name}")
    return engine.scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus)


def step_size(delta, delta_bias=None, delta_softplus=False):
    """The step that is used: softplus(delta + delta_bias), each part if asked for. (B, D, L)."""
    if delta_bias is not None:
        delta = delta + delta_bias[:, None]
    return torch.nn.functional.softplus(delta) if delta_softplus else delta


def skip_and_gate(y, u, D=None, z=None):
    """What follows the recurrence: y + D u, then times silu(z), each if asked for. (B, D, L)."""
    if D is not None:
        y = y + D[:, None] * u
    return y if z is None else y * torch.nn.functional.silu(z)
