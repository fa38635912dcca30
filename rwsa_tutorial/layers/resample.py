"""Half and double resolution (notebook 06). PixelShuffle: Shi et al., arXiv 1609.05158."""

from torch import nn


def _conv(width, out):
    return (
        nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
        nn.Conv2d(width, out, 1, bias=False),
    )


class Down(nn.Sequential):
    """(B, width, T, F) -> (B, out, T / 2, F / 2): each 2x2 square becomes four channels."""

    def __init__(self, width: int, out: int):
        super().__init__(*_conv(width, out // 4), nn.PixelUnshuffle(2))


class Up(nn.Sequential):
    """(B, width, T, F) -> (B, out, 2T, 2F): four channels become each 2x2 square."""

    def __init__(self, width: int, out: int):
        super().__init__(*_conv(width, 4 * out), nn.PixelShuffle(2))
