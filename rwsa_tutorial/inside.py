"""What the parts of a network get and choose while it enhances one recording (notebook 10).

`capture` runs the network once and keeps the images that its stages and blocks get; what happens
inside a block is then computed again for the place that is asked for. For looking, not for speed.
`without` silences a part, to see whether the others miss it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers.attention import SelfAttention
from .layers.mamba import BiMamba
from .layers.mambattention import along_frequency, along_time
from .scan.reference import states
from .shapes import Float
from .unet import Stage

AXES = {"time": along_time, "frequency": along_frequency}
SILENCED = ("attention", "mamba", "unet")


@dataclass(frozen=True)
class Scan:
    """One inner channel of one Mamba layer, at every point of the image that it scans.

    delta: (T, F), the step. state: (N, T, F), what it remembers there. memory: (N,), for how many
    steps each state remembers, -1 / (mean delta * A): after so many, a weight is down to 1/e.
    """

    delta: torch.Tensor
    state: torch.Tensor
    memory: torch.Tensor


@dataclass(frozen=True)
class Inside:
    """One recording in one network; `capture` makes it. All tensors are on the model's device.

    mask: (F, T), what multiplies the compressed magnitude. phase: (F, T) in radians.
    images: stage -> the image (1, C, T', F') that goes into it. block_images: stage -> the images
    that go into its blocks. Stages have the names of the model's modules ("down.0", "middle", ...),
    in the order in which the signal meets them.
    """

    mask: torch.Tensor
    phase: torch.Tensor
    images: dict
    block_images: dict
    _stages: dict = field(repr=False)
    _halves: dict = field(default_factory=dict, repr=False)  # those that were asked for

    @torch.no_grad()
    def offsets(self, stage: str) -> Float[Tensor, "18 T F"]:
        """Where the stage's patch embedding looks, as `deformable_conv` takes it."""
        return self._stages[stage].patch_embedding.offsets(self.images[stage])[0].clamp(-1, 1)

    @torch.no_grad()
    def halves(self, stage: str, block: int = 0) -> dict[str, Float[Tensor, "1 C T F"]]:
        """What attention and Mamba of a block get, along either axis.

        The names are "time attention", "time Mamba", "frequency attention", "frequency Mamba".
        """
        if (stage, block) in self._halves:
            return self._halves[stage, block]
        x, module = self.block_images[stage][block], self._stages[stage].blocks[block]
        seen = self._halves[stage, block] = {}
        for axis, along in AXES.items():
            attention, mamba = _parts(module, axis)
            seen[f"{axis} attention"] = x
            if attention is not None:
                x = x + along(attention, x)
            seen[f"{axis} Mamba"] = x
            if axis == "time":  # what follows the last part is not asked for
                x = x + along(mamba, x)
        return seen

    @torch.no_grad()
    def attention(
        self, stage: str, block: int, axis: str, place: int
    ) -> Float[Tensor, "heads L L"]:
        """The attention maps of one sequence; row i holds where step i looks.

        axis: "time" or "frequency". place: the sequence: a bin of the image for "time", a frame
        for "frequency". Raises ValueError where the block has no attention.
        """
        module, _ = _parts(self._stages[stage].blocks[block], axis)
        if module is None:
            raise ValueError(f"the blocks of {stage} have no attention")
        image = self.halves(stage, block)[f"{axis} attention"][0]  # (C, T', F')
        sequence = image[:, :, place] if axis == "time" else image[:, place]  # (C, L)
        return module.weights(sequence.T[None])[0]

    @torch.no_grad()
    def scan(self, stage: str, block: int, axis: str, direction: str, channel: int) -> Scan:
        """One inner channel of the Mamba layer that goes along (or against) an axis: a `Scan`.

        axis: "time" or "frequency". direction: "forwards" or "backwards". channel: 0 to D - 1.
        """
        _, bimamba = _parts(self._stages[stage].blocks[block], axis)
        layer = getattr(bimamba, direction)
        image = self.halves(stage, block)[f"{axis} Mamba"][0]  # (C, T', F')
        sequences = image.permute((2, 1, 0) if axis == "time" else (1, 2, 0))  # (S, L, C)
        if direction == "backwards":
            sequences = sequences.flip(1)
        u, delta, A, B, *_ = layer.mixer.scan_inputs(layer.norm(sequences))
        delta = F.softplus(delta)
        one = slice(channel, channel + 1)
        kept = list(states(u[:, one], delta[:, one], A[one], B))
        state = torch.stack(kept, dim=-1)[:, 0]  # (S, N, L)
        step = delta[:, channel]  # (S, L)
        memory = -1 / (step.mean() * A[channel])
        if direction == "backwards":
            state, step = state.flip(-1), step.flip(-1)
        if axis == "time":
            return Scan(step.T, state.permute(1, 2, 0), memory)
        return Scan(step, state.transpose(0, 1), memory)


def _parts(block, axis):
    """The attention (or None) and the BiMamba of a block that go along an axis."""
    short = {"time": "time", "frequency": "freq"}[axis]
    return getattr(block, f"{short}_attention"), getattr(block, f"{short}_mamba")


def stages(model: nn.Module) -> dict[str, Stage]:
    """The stages of a network in the order in which the signal meets them: name -> module."""
    found = {name: module for name, module in model.named_modules() if isinstance(module, Stage)}
    ways_up = [name for name in found if name.startswith("up.")]
    turned = dict(zip(ways_up, reversed(ways_up), strict=True))  # the deepest comes first
    return {turned.get(name, name): found[turned.get(name, name)] for name in found}


@torch.no_grad()
def capture(model: nn.Module, mag: Tensor, phase: Tensor) -> Inside:
    """Enhance one recording, and keep what the parts get to see.

    mag, phase: (1, F, T), as `analyse` gives them, on the model's device. Returns an `Inside`.
    Raises ValueError for more than one recording at once.
    """
    if len(mag) != 1:
        raise ValueError(f"capture looks at one recording at a time, not at {len(mag)}")
    parts, images, block_images, hooks = stages(model), {}, {}, []

    def keep(module, change):
        hooks.append(module.register_forward_pre_hook(lambda _, inputs: change(inputs[0])))

    for name, stage in parts.items():
        block_images[name] = []
        keep(stage, lambda x, name=name: images.update({name: x}))
        for block in stage.blocks:
            keep(block, block_images[name].append)
    try:
        new_mag, new_phase, _ = model(mag, phase)
    finally:
        for hook in hooks:
            hook.remove()
    mask = torch.where(mag > 0, new_mag / mag.clamp_min(1e-12), 1.0)
    return Inside(mask[0], new_phase[0], images, block_images, parts)


@contextmanager
def without(model: nn.Module, part: str) -> Iterator[nn.Module]:
    """While the block lasts, a part of the network adds nothing; its weights stay as they are.

    part: "attention" or "mamba", all of it, or "unet": everything between the encoder and the two
    decoders, which then get the encoder's output alone.
    Raises ValueError for another name, and for the U-Net of a network that is nothing else.
    """
    if part not in SILENCED:
        raise ValueError(f"part must be one of {', '.join(SILENCED)}, not {part!r}")
    if part == "unet":
        if not hasattr(model, "after_mag"):
            raise ValueError("this network is its U-Net: without it nothing would be left.")
        modules = [model.after_mag, model.after_phase]
    else:
        kind = SelfAttention if part == "attention" else BiMamba
        modules = {m for m in model.modules() if isinstance(m, kind)}
    hooks = [m.register_forward_hook(lambda _, inputs, out: torch.zeros_like(out)) for m in modules]
    try:
        yield model
    finally:
        for hook in hooks:
            hook.remove()
