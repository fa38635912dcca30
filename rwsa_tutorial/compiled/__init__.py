"""What makes a CPU quick at this network: kernels compiled by Numba, and how they are run."""

import torch


def usable(*tensors):
    """Whether the kernels take these: on a CPU, all float32 or all float64, and Numba imports."""
    kinds = {x.dtype for x in tensors}
    if any(x.device.type != "cpu" for x in tensors) or torch.is_autocast_enabled("cpu"):
        return False
    if kinds not in ({torch.float32}, {torch.float64}):
        return False
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True
