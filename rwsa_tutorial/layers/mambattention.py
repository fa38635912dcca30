"""The MambAttention block (notebook 04). Kühne et al., arXiv 2507.00966; used in 2510.01958."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..compiled import plain
from ..shapes import Float
from .attention import SelfAttention
from .mamba import BiMamba

PART = 8192  # steps of sequences that go through a layer together on a CPU


def along_time(layer: Callable, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B C T F"]:
    """Apply a sequence layer along time: every frequency is a sequence of its own.

    The layer sees (B * F, T, C).
    """
    return _each(layer, x.permute(0, 3, 2, 1)).permute(0, 3, 2, 1)


def along_frequency(layer: Callable, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B C T F"]:
    """Apply a sequence layer along frequency: every frame is a sequence of its own.

    The layer sees (B * T, F, C).
    """
    return _each(layer, x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _each(layer, x):
    """The layer on every sequence: (B, S, L, C) -> the same.

    On a CPU it gets a few sequences at a time, so that what it computes stays in the cache.
    """
    B, S, L, C = x.shape
    size = max(1, PART // (B * L)) if x.device.type == "cpu" and not plain() else S
    parts = [layer(p.reshape(-1, L, C)).view(B, -1, L, C) for p in x.split(size, dim=1)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class MambAttentionBlock(nn.Module):
    """Attention, then BiMamba, along time; the same along frequency.

    time_attention and freq_attention are handed in, so that they can be one module, here and in
    other blocks; None leaves attention out.
    """

    def __init__(
        self,
        width: int,
        time_attention: SelfAttention | None = None,
        freq_attention: SelfAttention | None = None,
        **mixer: int,
    ):
        super().__init__()
        self.time_attention = time_attention
        self.freq_attention = freq_attention
        self.time_mamba = BiMamba(width, **mixer)
        self.freq_mamba = BiMamba(width, **mixer)

    def forward(self, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B C T F"]:
        def time(s):
            return _half(s, self.time_attention, self.time_mamba)

        def frequency(s):
            return _half(s, self.freq_attention, self.freq_mamba)

        return along_frequency(frequency, along_time(time, x))


def _half(s, attention, mamba):
    """Attention, where there is one, then BiMamba, each added to what goes in: (B, L, C)."""
    if attention is not None:
        s = s + attention(s)
    return s + mamba(s)
