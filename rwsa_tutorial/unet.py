"""The U-Net between encoder and decoders, and who shares attention in it (notebooks 05 and 06).

arXiv 2510.01958: stages of MambAttention blocks on two or three resolutions.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .features import BINS
from .layers.attention import SelfAttention
from .layers.mambattention import MambAttentionBlock
from .layers.patch_embedding import PatchEmbedding
from .layers.resample import Down, Up
from .shapes import Float

SHARING = ("rwsa", "block", "none")
AROUND = ("codec", "mel")
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
    around: what is around the U-Net: "codec", the paper's encoder and decoders (model.py), or
    "mel", next to nothing (lab.py).
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
    around: str = "codec"

    def __post_init__(self):
        for name, most in MOST.items():
            value = getattr(self, name)
            if type(value) is not int or value > most:
                raise ValueError(f"{name} must be a whole number up to {most}, not {value!r}")
        if not isinstance(self.attention, bool):
            raise ValueError(f"attention must be true or false, not {self.attention!r}")
        if self.sharing not in SHARING:
            raise ValueError(f"sharing must be one of {', '.join(SHARING)}, not {self.sharing!r}")
        if self.around not in AROUND:
            raise ValueError(f"around must be one of {', '.join(AROUND)}, not {self.around!r}")
        if type(self.levels) is not int or self.levels not in (2, 3):
            raise ValueError(f"levels must be 2 or 3, not {self.levels!r}")
        if self.channels < 4 or self.channels % 4:
            raise ValueError(f"channels must be a multiple of 4, not {self.channels}")
        for name in ("blocks", "heads", "middle_heads", "d_state", "d_conv", "expand"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    @property
    def mixer(self) -> dict[str, int]:
        """What the Mamba mixers of all blocks are made with."""
        return {"d_state": self.d_state, "d_conv": self.d_conv, "expand": self.expand}


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


def check_input(noisy_mag: Tensor, noisy_phase: Tensor) -> None:
    """Raise ValueError, in words, unless both are (B, F, T), F = 256, B and T at least 1."""
    if noisy_mag.ndim != 3 or noisy_mag.shape[1] != BINS or 0 in noisy_mag.shape:
        raise ValueError(
            f"mag must be (B, {BINS}, T), B and T at least 1, not {tuple(noisy_mag.shape)}"
        )
    if noisy_phase.shape != noisy_mag.shape:
        raise ValueError(
            f"phase {tuple(noisy_phase.shape)} must have mag's shape {tuple(noisy_mag.shape)}"
        )


class UNet(nn.Module):
    """Stages on several resolutions: down, in the middle, and up again.

    What stands before and behind it makes a network of it: see model.py and lab.py.
    In a network of laboratory size attention is drawn for every place, whoever shares it: networks
    of one seed which differ in sharing alone begin with the same weights wherever both have them.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        widths = [config.channels * (level + 1) for level in range(config.levels)]
        sets = {}  # the attention modules, by the name of their weight set

        def attend(path, level, block, axis):
            name, drawn = weight_set(config.sharing, path, level, block, axis), None
            if config.around == "mel" or (config.attention and name not in sets):
                heads = config.middle_heads if level == len(widths) - 1 else config.heads
                drawn = SelfAttention(widths[level], heads)
            return sets.setdefault(name, drawn) if config.attention else None

        def stage(path, level):
            blocks = []
            for i in range(config.blocks):
                both = [attend(path, level, i, axis) for axis in ("time", "frequency")]
                blocks.append(MambAttentionBlock(widths[level], *both, **config.mixer))
            return Stage(widths[level], blocks)

        outer = range(config.levels - 1)
        if config.around == "codec" and config.sharing == "rwsa":
            # drawn before all else, as the results in data/ were made
            for level, i in itertools.product(outer, range(config.blocks)):
                attend("down", level, i, "time")
        self.make_front(widths[0])
        pairs = list(zip(widths, widths[1:], strict=False))  # (this level, the one below)
        self.down = nn.ModuleList(stage("down", level) for level in outer)
        self.downsample = nn.ModuleList(Down(w, below) for w, below in pairs)
        self.middle = stage("middle", config.levels - 1)
        self.upsample = nn.ModuleList(Up(below, w) for w, below in pairs)
        self.merge = nn.ModuleList(nn.Conv2d(2 * w, w, 1, bias=False) for w in widths[:-1])
        self.up = nn.ModuleList(stage("up", level) for level in outer)

    def make_front(self, width: int) -> None:
        """Make the layers before the U-Net, as `RWSAMambaUNet` and `LabNetwork` do."""

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
