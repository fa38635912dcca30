"""Encoder and the two decoders around the U-Net (notebook 06). After MP-SENet, arXiv 2305.13686."""

import torch
from torch import Tensor, nn

from ..shapes import Float


class DenseBlock(nn.Module):
    """Four dilated convolutions, each of which sees all earlier results.

    Layer i reaches 2^i frames to either side; the newest result stands in front of the older ones.
    """

    def __init__(self, width: int, depth: int = 4):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d((i + 1) * width, width, 3, padding=(2**i, 1), dilation=(2**i, 1)),
                nn.InstanceNorm2d(width, affine=True),
                nn.PReLU(width),
            )
            for i in range(depth)
        )

    def forward(self, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B C T F"]:
        for i, layer in enumerate(self.layers):
            newest = layer(x)
            if i + 1 < len(self.layers):
                x = torch.cat([newest, x], dim=1)
        return newest


class Encoder(nn.Module):
    """Magnitude and phase into features, at half the frequencies."""

    def __init__(self, width: int):
        super().__init__()
        self.project = nn.Sequential(
            nn.Conv2d(2, width, 1), nn.InstanceNorm2d(width, affine=True), nn.PReLU(width)
        )
        self.dense = DenseBlock(width)
        self.halve = nn.Sequential(
            nn.Conv2d(width, width, (1, 3), (1, 2), (0, 1)),
            nn.InstanceNorm2d(width, affine=True),
            nn.PReLU(width),
        )

    def forward(self, x: Float[Tensor, "B 2 T F"]) -> Float[Tensor, "B C T F//2"]:
        return self.halve(self.dense(self.project(x)))


def _widen_frequency(width):
    """Back to all frequencies: shuffle doubles T and F, the strided convolution halves T again."""
    return nn.Sequential(
        nn.Conv2d(width, 4 * width, 1, bias=False),
        nn.PixelShuffle(2),
        nn.Conv2d(width, width, (1, 3), (2, 1), (0, 1), groups=width, bias=False),
    )


class MaskDecoder(nn.Module):
    """Features into a mask between 0 and 2, for the compressed magnitude."""

    def __init__(self, width: int, bins: int):
        super().__init__()
        self.dense = DenseBlock(width)
        self.widen = _widen_frequency(width)
        self.head = nn.Sequential(
            nn.Conv2d(width, 1, 1),
            nn.InstanceNorm2d(1, affine=True),
            nn.PReLU(1),
            nn.Conv2d(1, 1, 1),
        )
        self.slope = nn.Parameter(torch.ones(bins))  # one steepness a frequency

    def forward(self, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B T 2*F"]:
        x = self.head(self.widen(self.dense(x)))[:, 0]  # (B, T, F)
        return 2 * torch.sigmoid(self.slope * x)


class PhaseDecoder(nn.Module):
    """Features into a phase in radians, as the angle of two images."""

    def __init__(self, width: int):
        super().__init__()
        self.dense = DenseBlock(width)
        self.widen = nn.Sequential(
            *_widen_frequency(width), nn.InstanceNorm2d(width, affine=True), nn.PReLU(width)
        )
        self.real = nn.Conv2d(width, 1, 1)
        self.imaginary = nn.Conv2d(width, 1, 1)

    def forward(self, x: Float[Tensor, "B C T F"]) -> Float[Tensor, "B T 2*F"]:
        x = self.widen(self.dense(x))
        return torch.atan2(self.imaginary(x), self.real(x))[:, 0]
