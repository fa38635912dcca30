"""Weights for the parity test: every tensor is drawn from its own official name.

Whoever implements the network can rebuild them: the name's CRC-32 seeds the generator. Residual
branches and offsets are made small, so that float32 and float64 agree closely.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
SMALLER = {
    "tlinear.weight": 0.15,
    "flinear.weight": 0.15,
    "attn.out_proj.weight": 0.3,
    "offset_generator.1.weight": 0.25,
}


def draw(name, shape):
    """The tensor of one official name."""
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    last = name.rpartition(".")[2]
    if last == "A_log":
        value = np.log(np.arange(1, shape[1] + 1))[None] + 0.1 * noise
    elif last in ("D", "slope"):
        value = 1 + 0.1 * noise
    elif name.endswith("dt_proj.bias"):
        value = -4 + 0.5 * noise
    elif len(shape) <= 1:
        value = float(last == "weight") + 0.1 * noise
    else:
        value = noise / np.sqrt(np.prod(shape[1:]))
    factor = next((f for end, f in SMALLER.items() if name.endswith(end)), 1.0)
    return torch.from_numpy((value * factor).astype(np.float32))


def official_weights(aliases=True):
    """XS under the authors' names; `aliases` keeps the second names of shared tensors."""
    shapes = json.loads((HERE / "xs_shapes.json").read_text())
    same = json.loads((HERE / "xs_aliases.json").read_text())
    return {n: draw(same.get(n, n), s) for n, s in shapes.items() if aliases or n not in same}
