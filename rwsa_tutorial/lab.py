"""A network of laboratory size: the same U-Net on a small picture, and next to nothing around it.

In the whole network encoder and decoders are a good network by themselves, and whoever silences
the U-Net hears little of it. Here there is little else that could do the work, and it is learnt in
minutes: a network for experiments. It takes and gives what the whole network does, so that
training, enhancement and scores are the same.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .features import BINS, COMPRESSION, SAMPLE_RATE, real_and_imaginary
from .shapes import Float
from .unet import ModelConfig, UNet, check_input

BANDS = 24
FRAMES = 2  # of the STFT in one column of the picture, 15 ms


def mel_weights(bands: int = BANDS) -> Float[Tensor, "M F"]:
    """Triangles over the STFT's bins whose tops lie evenly from 0 to 8 kHz in mel.

    mel = 2595 log10(1 + f / 700 Hz). At every bin the weights add up to 1, so that the same
    triangles also carry a value for each band back to the bins, as straight lines between the tops.
    """
    hertz = torch.linspace(0, SAMPLE_RATE / 2, BINS)
    place = torch.log10(1 + hertz / 700) / math.log10(1 + SAMPLE_RATE / 2 / 700) * (bands - 1)
    return (1 - (place - torch.arange(bands)[:, None]).abs()).clamp_min(0)


class LabNetwork(UNet):
    """Noisy magnitude and phase in, magnitude times a mask and the noisy phase out."""

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        self.outlet = nn.Conv2d(config.channels, 1, 3, padding=1)
        self.register_buffer("mel", mel_weights(), persistent=False)

    def make_front(self, width: int) -> None:
        """One small convolution."""
        self.inlet = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.InstanceNorm2d(width, affine=True),
            nn.PReLU(width),
        )

    def picture(self, mag: Float[Tensor, "B F T"]) -> Float[Tensor, "B M T2"]:
        """Compressed magnitude of mel bands, two frames in a column: the root of the mean power."""
        power = mag ** (2 / COMPRESSION)
        power = self.mel / self.mel.sum(1, keepdim=True) @ power
        power = F.avg_pool1d(power, FRAMES, ceil_mode=True)  # an odd last frame stands alone
        return power.clamp_min(1e-12) ** (COMPRESSION / 2)  # of silence, too, there is a gradient

    def mask(self, picture: Float[Tensor, "B M T2"]) -> Float[Tensor, "B M T2"]:
        """What the U-Net makes of the picture: 0 to 1 for each of its points."""
        x = self.unet(self.inlet(picture[:, None].transpose(2, 3)))
        return torch.sigmoid(self.outlet(x))[:, 0].transpose(1, 2)

    def forward(
        self, noisy_mag: Tensor, noisy_phase: Tensor
    ) -> tuple[Float[Tensor, "B F T"], Float[Tensor, "B F T"], Float[Tensor, "B F T 2"]]:
        """As of `RWSAMambaUNet`; the phase stays as it is."""
        check_input(noisy_mag, noisy_phase)
        mask = self.mel.T @ self.mask(self.picture(noisy_mag))
        mask = mask.repeat_interleave(FRAMES, dim=2)[..., : noisy_mag.shape[2]]
        mag = noisy_mag * mask
        return mag, noisy_phase, real_and_imaginary(mag, noisy_phase)
