"""Compile the kernels that a network needs, so that nobody waits for them later:

python -m rwsa_tutorial.compiled
"""

import torch

from ..model import build_model


def main() -> None:
    """A short forward and backward pass of the smallest network, in float32."""
    model = build_model("nano")
    mag, phase, _ = model(torch.rand(1, 256, 8), torch.zeros(1, 256, 8))
    (mag.sum() + phase.sum()).backward()


if __name__ == "__main__":
    main()
