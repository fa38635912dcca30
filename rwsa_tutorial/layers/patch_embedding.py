"""Patch embedding with a deformable convolution (notebook 06). Dai et al., arXiv 1703.06211."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..compiled import plain
from ..shapes import Float


def deformable_conv(
    x: Float[Tensor, "B C T F"],
    offsets: Float[Tensor, "B 18 T F"],
    weight: Float[Tensor, "C 1 3 3"],
) -> Float[Tensor, "B C T F"]:
    """Depthwise 3x3 convolution whose nine taps look where the offsets send them.

    offsets: in pixels; channel 2k moves tap k along T, channel
    2k + 1 along F; taps are counted row by row. Values between pixels are
    bilinear, outside the image zero. Equation 2 of Dai et al.
    """
    B, C, T, width = x.shape
    tap = torch.arange(-1, 2, device=x.device, dtype=x.dtype)
    rows = (
        torch.arange(T, device=x.device, dtype=x.dtype)[:, None]
        + tap.repeat_interleave(3)[:, None, None]
    )  # (9, T, 1): where each tap looks without offsets
    columns = torch.arange(width, device=x.device, dtype=x.dtype) + tap.repeat(3)[:, None, None]
    moved = offsets.view(B, 9, 2, T, width)
    if plain():
        seen = _between(x, rows + moved[:, :, 0], columns + moved[:, :, 1])
        return torch.einsum("bckt,ck->bct", seen.flatten(3), weight.flatten(1)).view_as(x)
    # grid_sample wants positions from -1 to 1 between the outer edges of the outer pixels
    grid = torch.stack(
        [
            (2 * (columns + moved[:, :, 1]) + 1) / width - 1,
            (2 * (rows + moved[:, :, 0]) + 1) / T - 1,
        ],
        dim=-1,
    )  # (B, 9, T, F, 2)
    seen = F.grid_sample(
        x[:, None].expand(B, 9, C, T, width).flatten(0, 1),
        grid.flatten(0, 1),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    ).view(B, 9, C, T, width)
    return torch.einsum("bkctf,ck->bctf", seen, weight.flatten(1))


def _between(x, rows, columns):
    """`grid_sample` in operations that can be derived twice. x: (B, C, T, F).

    rows, columns: (B, 9, T, F), positions in pixels. Returns (B, C, 9, T, F).
    """
    B, C, T, width = x.shape
    top, left = rows.floor(), columns.floor()
    seen = 0
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):  # the four pixels around a position
        row, column = top + down, left + right
        near = (1 - (rows - row).abs()) * (1 - (columns - column).abs())
        inside = (row >= 0) & (row < T) & (column >= 0) & (column < width)
        index = (row.clamp(0, T - 1) * width + column.clamp(0, width - 1)).long()
        pixels = x.flatten(2).gather(2, index.view(B, 1, -1).expand(-1, C, -1))
        seen = seen + pixels.view(B, C, *rows.shape[1:]) * (near * inside)[:, None]
    return seen


class DeformableConv(nn.Module):
    """A depthwise 3x3 kernel for `deformable_conv`."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, 1, 3, 3))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # as every convolution of PyTorch

    def forward(
        self, x: Float[Tensor, "B C T F"], offsets: Float[Tensor, "B 18 T F"]
    ) -> Float[Tensor, "B C T F"]:
        return deformable_conv(x, offsets, self.weight)


class PatchEmbedding(nn.Module):
    """Deformable depthwise 3x3 with its own offsets, 1x1, Hardswish."""

    def __init__(self, width: int):
        super().__init__()
        self.offsets = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
            nn.Conv2d(width, 18, 1, bias=False),
        )
        self.deformable = DeformableConv(width)
        self.pointwise = nn.Conv2d(width, width, 1, bias=False)
        for conv in (*self.offsets, self.pointwise):
            fan_out = conv.kernel_size[0] * conv.kernel_size[1] * conv.out_channels
            nn.init.normal_(conv.weight, std=(2 / fan_out) ** 0.5)

    def forward(self, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B C T F"]:
        offsets = self.offsets(x).clamp(-1, 1)
        return F.hardswish(self.pointwise(self.deformable(x, offsets)))
