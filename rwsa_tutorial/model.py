"""RWSA-MambaUNet (arXiv 2510.01958), assembled from its layers (notebook 06)."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from .features import BINS, real_and_imaginary
from .lab import LabNetwork
from .layers.codec import Encoder, MaskDecoder, PhaseDecoder
from .layers.mambattention import MambAttentionBlock
from .shapes import Float
from .unet import ModelConfig, Stage, UNet, check_input

VARIANTS = {
    "nano": ModelConfig(channels=8, blocks=1, heads=2, middle_heads=4, expand=2),
    "xs": ModelConfig(channels=16, blocks=2),
    "s": ModelConfig(channels=16, blocks=4),
    "m": ModelConfig(channels=24, blocks=4),
}
# with the U-Net alone (lab.py), for experiments that take minutes
NETWORKS = VARIANTS | {
    "lab": ModelConfig(8, 1, heads=2, middle_heads=4, d_state=8, expand=2, around="mel"),
}


class RWSAMambaUNet(UNet):
    """The whole network: noisy magnitude and phase in, enhanced ones out."""

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        width = config.channels

        def plain_stage():
            blocks = [MambAttentionBlock(width, **config.mixer) for _ in range(config.blocks)]
            return Stage(width, blocks)

        self.refine_mag = plain_stage()
        self.refine_phase = plain_stage()
        self.after_mag = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.after_phase = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.mask_decoder = MaskDecoder(width, BINS)
        self.phase_decoder = PhaseDecoder(width)

    def make_front(self, width: int) -> None:
        """The encoder."""
        self.encoder = Encoder(width)

    def forward(
        self, noisy_mag: Tensor, noisy_phase: Tensor
    ) -> tuple[Float[Tensor, "B F T"], Float[Tensor, "B F T"], Float[Tensor, "B F T 2"]]:
        """Enhance compressed magnitude and phase, as `analyse` gives them.

        noisy_mag, noisy_phase: (B, F, T), F = 256, any T. Returns mag (B, F, T), phase (B, F, T)
        and spec (B, F, T, 2), which is (mag cos(phase), mag sin(phase)), still compressed.
        Raises ValueError for other shapes, B = 0 or T = 0.
        """
        check_input(noisy_mag, noisy_phase)
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
        return mag, phase, real_and_imaginary(mag, phase)


def build_model(variant: str | ModelConfig = "xs", **options: object) -> UNet:
    """A network with fresh weights: a name of NETWORKS, or a ModelConfig, and options over it.

    options: any field of ModelConfig, e.g. `build_model("xs", sharing="block")`.
    Raises ValueError for an unknown variant, TypeError for an unknown option.
    """
    if isinstance(variant, str):
        if variant not in NETWORKS:
            raise ValueError(f"no variant {variant!r}; there are {', '.join(NETWORKS)}")
        variant = NETWORKS[variant]
    config = replace(variant, **options)
    return LabNetwork(config) if config.around == "mel" else RWSAMambaUNet(config)


def set_scan_backend(model: nn.Module, backend: str) -> nn.Module:
    """Let every scan of a model run on one engine ("auto", "reference", ...). Returns the model."""
    for module in model.modules():
        if hasattr(module, "backend"):
            module.backend = backend
    return model


def count_parameters(model: nn.Module) -> int:
    """Trainable numbers in a model; shared ones count once."""
    return sum(p.numel() for p in model.parameters())
