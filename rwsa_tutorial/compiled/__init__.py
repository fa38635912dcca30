"""What a CPU needs to be quick at this network, compiled by Numba: kernels, and how they are run."""

import torch


def usable(x):
    """Whether the kernels take this tensor: on a CPU, float32 or float64, and Numba is there."""
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        return False
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True
