"""RWSA-MambaUNet (arXiv 2510.01958), assembled from its layers (notebook 06)."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .features import BINS
from .layers.attention import SelfAttention
from .layers.codec import Encoder, MaskDecoder, PhaseDecoder
from .layers.mambattention import MambAttentionBlock
from .layers.patch_embedding import PatchEmbedding
from .layers.resample import Down, Up
from .shapes import Float

SHARING = ("rwsa", "block", "none")
# far beyond the paper's networks; a slip of the hand asks for more than any memory holds
MOST = {"channels": 1024, "blocks": 64, "heads": 1024, "middle_heads": 1024}
MOST |= {"d_state": 1024, "d_conv": 64, "expand": 64}


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the network's shape. Raises ValueError for impossible values.

    channels: C; level l is (l + 1) C wide. blocks: N per stage. levels: resolutions, 2 or 3.
    sharing: who shares one attention module. "rwsa": block i of the down path and block i of the
    up path of a resolution, along time and along frequency (four uses of one weight set); "block":
    time and frequency of each block (two uses); "none": nobody. attention=False leaves it out.
    heads, middle_heads: attention heads of the outer levels and of the middle one.
    d_state, d_conv, expand: the Mamba mixers' N, convolution taps, and D / width.
    """

    channels: int
    blocks: int
    levels: int = 3
    sharing: str = "rwsa"
    attention: bool = True
    heads: int = 4
    middle_heads: int = 8
    d_state: int = 16
    d_conv: int = 4
    expand: int = 4

    def __post_init__(self):
        for name, most in MOST.items():
            value = getattr(self, name)
            if type(value) is not int or value > most:
                raise ValueError(f"{name} must be a whole number up to {most}, not {value!r}")
        if not isinstance(self.attention, bool):
            raise ValueError(f"attention must be true or false, not {self.attention!r}")
        if self.sharing not in SHARING:
            raise ValueError(f"sharing must be one of {', '.join(SHARING)}, not {self.sharing!r}")
        if type(self.levels) is not int or self.levels not in (2, 3):
            raise ValueError(f"levels must be 2 or 3, not {self.levels!r}")
        if self.channels < 4 or self.channels % 4:
            raise ValueError(f"channels must be a multiple of 4, not {self.channels}")
        for name in ("blocks", "heads", "middle_heads", "d_state", "d_conv", "expand"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")


VARIANTS = {
    "nano": ModelConfig(channels=8, blocks=1, heads=2, middle_heads=4, expand=2),
    "xs": ModelConfig(channels=16, blocks=2),
    "s": ModelConfig(channels=16, blocks=4),
    "m": ModelConfig(channels=24, blocks=4),
}


def weight_set(sharing: str, path: str, level: int, block: int, axis: str) -> tuple:
    """Which weight set the attention at this place uses: equal names, one module (notebook 05).

    sharing: one of SHARING. path: "down", "middle" or "up". level: 0 is the outermost. block: 0 to
    N - 1 of the stage. axis: "time" or "frequency". Returns a tuple of those that matter.
    """
    if sharing == "rwsa":
        return level, block
    return (path, level, block) if sharing == "block" else (path, level, block, axis)


class Stage(nn.Module):
    """y = x + blocks(patch_embedding(x))."""

    def __init__(self, width: int, blocks: Sequence[nn.Module]):
        super().__init__()
        self.patch_embedding = PatchEmbedding(width)
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B C T F"]:
        return x + self.blocks(self.patch_embedding(x))


class RWSAMambaUNet(nn.Module):
    """The whole network: noisy magnitude and phase in, enhanced ones out."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        widths = [config.channels * (level + 1) for level in range(config.levels)]
        mixer = {"d_state": config.d_state, "d_conv": config.d_conv, "expand": config.expand}

        sets = {}  # the attention modules, by the name of their weight set

        def attend(*place):
            if not config.attention:
                return None
            name, level = weight_set(config.sharing, *place), place[1]
            if name not in sets:
                heads = config.middle_heads if level == len(widths) - 1 else config.heads
                sets[name] = SelfAttention(widths[level], heads)
            return sets[name]

        def stage(path, level):
            blocks = []
            for i in range(config.blocks):
                both = [attend(path, level, i, axis) for axis in ("time", "frequency")]
                blocks.append(MambAttentionBlock(widths[level], *both, **mixer))
            return Stage(widths[level], blocks)

        def plain_stage(width):
            return Stage(width, [MambAttentionBlock(width, **mixer) for _ in range(config.blocks)])

        outer = range(config.levels - 1)
        if config.sharing == "rwsa":  # the first to be drawn, as the results in data/ were made
            for level, i in itertools.product(outer, range(config.blocks)):
                attend("down", level, i, "time")
        pairs = list(zip(widths, widths[1:], strict=False))  # (this level, the one below)
        self.encoder = Encoder(widths[0])
        self.down = nn.ModuleList(stage("down", level) for level in outer)
        self.downsample = nn.ModuleList(Down(w, below) for w, below in pairs)
        self.middle = stage("middle", config.levels - 1)
        self.upsample = nn.ModuleList(Up(below, w) for w, below in pairs)
        self.merge = nn.ModuleList(nn.Conv2d(2 * w, w, 1, bias=False) for w in widths[:-1])
        self.up = nn.ModuleList(stage("up", level) for level in outer)
        self.refine_mag = plain_stage(widths[0])
        self.refine_phase = plain_stage(widths[0])
        self.after_mag = nn.Conv2d(widths[0], widths[0], 3, padding=1, bias=False)
        self.after_phase = nn.Conv2d(widths[0], widths[0], 3, padding=1, bias=False)
        self.mask_decoder = MaskDecoder(widths[0], BINS)
        self.phase_decoder = PhaseDecoder(widths[0])

    def unet(self, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B C T F"]:
        """Down, middle and up, for any T."""
        frames = x.shape[2]
        x = F.pad(x, (0, 0, 0, -frames % 2 ** len(self.down)))  # zeros behind the last frame
        skips = []
        for stage, downsample in zip(self.down, self.downsample, strict=True):
            skips.append(stage(x))
            x = downsample(skips[-1])
        x = self.middle(x)
        for level in reversed(range(len(self.up))):
            x = torch.cat([self.upsample[level](x), skips[level]], dim=1)
            x = self.up[level](self.merge[level](x))
        return x[:, :, :frames]

    def forward(
        self, noisy_mag: Tensor, noisy_phase: Tensor
    ) -> tuple[Float[Tensor, "B F T"], Float[Tensor, "B F T"], Float[Tensor, "B F T 2"]]:
        """Enhance compressed magnitude and phase, as `analyse` gives them.

        noisy_mag, noisy_phase: (B, F, T), F = 256, any T. Returns mag (B, F, T), phase (B, F, T)
        and spec (B, F, T, 2), which is (mag cos(phase), mag sin(phase)), still compressed.
        Raises ValueError for other shapes, B = 0 or T = 0.
        """
        if noisy_mag.ndim != 3 or noisy_mag.shape[1] != BINS or 0 in noisy_mag.shape:
            raise ValueError(
                f"mag must be (B, {BINS}, T), B and T at least 1, not {tuple(noisy_mag.shape)}"
            )
        if noisy_phase.shape != noisy_mag.shape:
            raise ValueError(
                f"phase {tuple(noisy_phase.shape)} must have mag's shape {tuple(noisy_mag.shape)}"
            )
        encoded = self.encode(noisy_mag, noisy_phase)
        x = self.unet(encoded)
        # the second skip, from the encoder, is in the authors' code but not in the paper's figure
        return self.decode(
            noisy_mag,
            self.after_mag(self.refine_mag(x)) + encoded,
            self.after_phase(self.refine_phase(x)) + encoded,
        )

    def encode(
        self, noisy_mag: Float[Tensor, "B F T"], noisy_phase: Float[Tensor, "B F T"]
    ) -> Float[Tensor, "B C T F//2"]:
        """Magnitude and phase into features."""
        return self.encoder(torch.stack([noisy_mag, noisy_phase], dim=1).transpose(2, 3))

    def decode(
        self,
        noisy_mag: Float[Tensor, "B F T"],
        mag_features: Float[Tensor, "B C T F//2"],
        phase_features: Float[Tensor, "B C T F//2"],
    ) -> tuple[Float[Tensor, "B F T"], Float[Tensor, "B F T"], Float[Tensor, "B F T 2"]]:
        """Features for each decoder into the network's three outputs."""
        mag = noisy_mag * self.mask_decoder(mag_features).transpose(1, 2)
        phase = self.phase_decoder(phase_features).transpose(1, 2)
        return mag, phase, torch.stack([mag * phase.cos(), mag * phase.sin()], dim=-1)


def build_model(variant: str | ModelConfig = "xs", **options: object) -> RWSAMambaUNet:
    """A network with fresh weights: a name of VARIANTS, or a ModelConfig, and options over it.

    options: any field of ModelConfig, e.g. `build_model("xs", sharing="block")`.
    Raises ValueError for an unknown variant, TypeError for an unknown option.
    """
    if isinstance(variant, str):
        if variant not in VARIANTS:
            raise ValueError(f"no variant {variant!r}; there are {', '.join(VARIANTS)}")
        variant = VARIANTS[variant]
    return RWSAMambaUNet(replace(variant, **options))


def set_scan_backend(model: nn.Module, backend: str) -> nn.Module:
    """Let every scan of a model run on one engine ("auto", "reference", ...). Returns the model."""
    for module in model.modules():
        if hasattr(module, "backend"):
            module.backend = backend
    return model


def count_parameters(model: nn.Module) -> int:
    """Trainable numbers in a model; shared ones count once."""
    return sum(p.numel() for p in model.parameters())
