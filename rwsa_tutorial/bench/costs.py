"""What each part of a network costs: parameters and operations."""

import math
import time

import torch
from torch import Tensor, nn

from .. import machine
from ..layers.attention import SelfAttention
from ..layers.mamba import MambaMixer
from ..layers.patch_embedding import PatchEmbedding
from ..model import RWSAMambaUNet

# the boxes of the map of the network (`plotting.network_map`) -> the modules that they stand for
PARTS = {
    "encoder": ("encoder",),
    "level1_down": ("down.0", "downsample.0"),
    "level2_down": ("down.1", "downsample.1"),
    "level3": ("middle",),
    "level2_up": ("upsample.1", "merge.1", "up.1"),
    "level1_up": ("upsample.0", "merge.0", "up.0"),
    "refine_mag": ("refine_mag", "after_mag"),
    "refine_phase": ("refine_phase", "after_phase"),
    "mask_decoder": ("mask_decoder",),
    "phase_decoder": ("phase_decoder",),
}


def part_costs(model: RWSAMambaUNet, mag: Tensor, phase: Tensor) -> dict[str, dict]:
    """What each part of a network with three levels takes in one forward pass: part -> dict.

    mag, phase: (B, F, T), where the model is; on "meta", where nothing is computed, seconds and
    bytes mean nothing. The dicts hold "parameters", where shared ones count in the first part that
    has them; "operations", multiplications with an addition, three for each step of a state of the
    scan; "seconds"; "memory_bytes", what is kept for a backward pass, without weights; "shape",
    that of the largest output. The first pass of a process compiles, so its seconds do not count.
    """
    rows = {
        part: {"parameters": 0, "operations": 0, "seconds": 0.0, "memory_bytes": 0, "shape": ()}
        for part in PARTS
    }
    part_of = {name: part for part, names in PARTS.items() for name in names}
    for name, p in model.named_parameters():
        part = next(part_of[n] for n in part_of if f"{name}.".startswith(f"{n}."))
        rows[part]["parameters"] += p.numel()
    known = {p.untyped_storage().data_ptr() for p in model.parameters()}
    row = None  # that of the part which is at work

    def begin(part):
        def hook(module, inputs):
            nonlocal row
            row = rows[part]
            machine.wait_for(mag.device)
            row["seconds"] -= time.perf_counter()

        return hook

    def end(module, inputs, output):
        machine.wait_for(mag.device)
        row["seconds"] += time.perf_counter()
        row["shape"] = max(row["shape"], tuple(output.shape[1:]), key=math.prod)

    def count(module, inputs, output):
        row["operations"] += _operations(module, inputs[0], output)

    def keep(tensor):
        storage = tensor.untyped_storage()
        if row is not None and storage.data_ptr() not in known:
            known.add(storage.data_ptr())
            row["memory_bytes"] += storage.nbytes()
        return tensor

    hooks = []
    try:
        for name, part in part_of.items():
            module = model.get_submodule(name)
            hooks += [module.register_forward_pre_hook(begin(part))]
            hooks += [module.register_forward_hook(end)]
        inside = {id(m) for x in model.modules() if isinstance(x, MambaMixer) for m in x.children()}
        hooks += [m.register_forward_hook(count) for m in model.modules() if id(m) not in inside]
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output = model(mag, phase)  # held until all is counted, so that no memory is used twice
        del output
    finally:
        for hook in hooks:
            hook.remove()
    return rows


def _operations(module, x, output):
    """Multiplications with an addition of one call, those of the children left out."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        return output.numel() * module.weight[0].numel()
    if isinstance(module, MambaMixer):
        projections = (module.in_proj, module.conv1d, module.x_proj, module.dt_proj)
        weights = sum(m.weight.numel() for m in (*projections, module.out_proj))
        return x.shape[:2].numel() * (weights + 3 * module.A_log.numel())
    if isinstance(module, SelfAttention):
        return 2 * x.numel() * x.shape[1]
    if isinstance(module, PatchEmbedding):
        return 9 * 5 * output.numel()  # nine taps, each between four pixels
    return 0
