"""A network that learns to predict PESQ, so that there is a gradient to follow (notebook 07).

PESQ itself cannot be differentiated. MetricGAN (arXiv 1905.04874) trains a discriminator on pairs
of clean and enhanced magnitudes to give the score that PESQ gives, and the enhancer to make it
give the best. The layers are those of MP-SENet (arXiv 2305.13686), which RWSA-MambaUNet uses too.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from .shapes import Float

SMALLEST = 16  # frames and bins, which four halvings leave as one


class MetricDiscriminator(nn.Module):
    """Compressed magnitudes of clean and enhanced speech -> predicted quality, 0 to 1.

    Spectral normalisation keeps every layer's largest gain at 1, so that a small change of the
    magnitudes cannot turn the score over. The maximum over time and frequency leaves 128 numbers
    whatever the length.
    """

    def __init__(self, widths: Sequence[int] = (2, 16, 32, 64, 128), dropout: float = 0.3):
        super().__init__()
        layers = []
        for before, after in pairwise(widths):
            conv = nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False)
            layers += [
                spectral_norm(conv),
                nn.InstanceNorm2d(after, affine=True),
                nn.PReLU(after),
            ]
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            spectral_norm(nn.Linear(widths[-1], widths[-1] // 2)),
            nn.Dropout(dropout),
            nn.PReLU(widths[-1] // 2),
            spectral_norm(nn.Linear(widths[-1] // 2, 1)),
        )
        self.slope = nn.Parameter(torch.ones(1))  # of the sigmoid at the end

    def forward(self, clean: Tensor, enhanced: Tensor) -> Float[Tensor, " B"]:
        """Compressed magnitudes (B, F, T), F and T at least 16 -> scores (B,).

        Raises ValueError for other or unequal shapes.
        """
        if clean.ndim != 3 or min(clean.shape[1:]) < SMALLEST or clean.shape != enhanced.shape:
            raise ValueError(
                f"the discriminator needs two magnitudes (B, F, T) of one shape, F and T at least "
                f"{SMALLEST}, not {tuple(clean.shape)} and {tuple(enhanced.shape)}"
            )
        x = self.features(torch.stack([clean, enhanced], dim=1))
        return torch.sigmoid(self.slope * self.head(x.amax(dim=(2, 3)))[:, 0])


def quality(pesq: Sequence[float | None]) -> Float[Tensor, " B"]:
    """PESQ as the discriminator is to give it, (PESQ - 1) / 3.5; NaN where there is none.

    Wide-band PESQ ends at 4.64, thus the goal at 1.04.
    """
    scores = torch.tensor([torch.nan if p is None else p for p in pesq])
    return (scores - 1) / 3.5


def discriminator_loss(
    of_clean: Float[Tensor, " B"], of_enhanced: Float[Tensor, " B"], goal: Float[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Mean (D(clean, clean) - 1)^2 plus mean (D(clean, enhanced) - goal)^2, over what has a goal.

    of_clean, of_enhanced: scores. goal: from `quality`; an example whose goal is NaN,
    since PESQ failed on it, is left out of both. Zero where none is left.
    """
    known = ~goal.isnan()
    errors = (of_clean - 1).square() + (of_enhanced - goal.nan_to_num()).square()
    return torch.where(known, errors, 0.0).sum() / known.sum().clamp(min=1)
