"""What makes a CPU quick at this network: kernels compiled by Numba, and when they step aside.

The kernels are opaque: nothing that looks into a computation (second derivatives, torch.func,
torch.export, ONNX, hooks on their parts) finds anything there. Where they are asked to be looked
into they step aside, and the same numbers are computed by plain PyTorch.
"""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

HALVES = (torch.float16, torch.bfloat16)
HOOKS = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"
NUMBA = find_spec("numba") is not None
_state = {"plain": os.environ.get("RWSA_PLAIN", "0") != "0", "forked": False}


@contextmanager
def plain_pytorch() -> Iterator[None]:
    """While the block lasts, the whole network is plain PyTorch, and can be looked into.

    Slower, and with second derivatives: `with rt.plain_pytorch(): loss = f(model(mag, phase))`.
    The environment variable RWSA_PLAIN=1 does the same for a whole process. It holds for every scan
    engine that is not plain PyTorch, too: "parallel" takes its place.
    """
    before, _state["plain"] = _state["plain"], True
    try:
        yield
    finally:
        _state["plain"] = before


def plain() -> bool:
    """Whether all is to be plain PyTorch: asked for, or traced, exported, or inside torch.func."""
    if _state["plain"]:
        return True
    if torch.compiler.is_compiling():  # to torch.compile the kernels are opaque; export sees all
        return torch.compiler.is_exporting()
    return (
        torch.jit.is_tracing()
        or torch._C._functorch.peek_interpreter_stack() is not None  # vmap, grad, jvp ...
        or torch._C._len_torch_dispatch_stack() > 0  # fake tensors, counters of operations
        or forward_ad._current_level >= 0
    )


def usable(*tensors: Tensor | None) -> bool:
    """Whether the kernels take these: on a CPU, all float32 or all float64, and Numba is there."""
    kinds = {x.dtype for x in tensors}
    return (
        NUMBA
        and kinds in ({torch.float32}, {torch.float64})
        and all(x.device.type == "cpu" for x in tensors)
        and all(type(x) in (torch.Tensor, nn.Parameter) for x in tensors)
        and not _state["forked"]
        and not plain()
    )


def untouched(*modules: nn.Module | None) -> bool:
    """Whether these layers may be left uncalled: just PyTorch's own, and nobody listens to them."""
    everywhere = nn.modules.module
    return not any(getattr(everywhere, f"_global{hooks}") for hooks in HOOKS) and all(
        type(m) in (nn.Linear, nn.Conv1d)
        and "forward" not in vars(m)
        and not any(getattr(m, hooks) for hooks in HOOKS)
        for m in modules
    )


def in_float32(forward: Callable) -> Callable:
    """For a layer's forward(self, x): on a CPU it runs in float32 under autocast, too.

    The kernels know no bfloat16, and are quicker than bfloat16 without them.
    """

    @functools.wraps(forward)
    def layer(self, x):
        if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return forward(self, x)
        with torch.autocast("cpu", enabled=False):
            return forward(self, x.float() if x.dtype in HALVES else x)

    return layer


def first_order(backward: Callable) -> Callable:
    """For the adjoint of a kernel, which has no derivative of its own: words instead of zeros."""

    @functools.wraps(backward)
    def guarded(ctx, *gradients):
        refuse_second_order()
        with torch.autocast("cpu", enabled=False):
            return backward(ctx, *gradients)

    return guarded


def refuse_second_order(_: object = None) -> None:
    """Raise RuntimeError, in words, where an adjoint is asked for its own derivative.

    The argument is that of a tensor's hook.
    """
    if torch.is_grad_enabled():  # create_graph=True
        raise RuntimeError(
            "a compiled kernel has no second derivatives (create_graph=True): compute the network "
            "inside `with rwsa_tutorial.plain_pytorch():`, or set RWSA_PLAIN=1; for selective_scan "
            'alone, backend="parallel" or "reference" has them.'
        )


def in_child() -> None:
    """Called in a forked child of a process that ran kernels: its threads are not there."""
    _state["forked"] = True
    torch.set_num_threads(1)  # or PyTorch itself would wait for its own


def why_not() -> str | None:
    """Why no kernel can run in this process, in words, or None."""
    if _state["forked"]:
        return (
            "this process was forked from one whose kernels have threads: start processes by "
            "`spawn`, or leave the engine to `auto`"
        )
    return None
