"""Multi-head self-attention (notebook 03). Vaswani et al., arXiv 1706.03762, section 3.2."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..compiled import in_float32, plain, refuse_second_order, usable
from ..shapes import Float

NARROW = 16  # channels of a head up to which the compiled version is the quicker one on a CPU


def attention(
    q: Float[Tensor, "B heads L E"],
    k: Float[Tensor, "B heads L E"],
    v: Float[Tensor, "B heads L E"],
) -> Float[Tensor, "B heads L E"]:
    """softmax(q k^T / sqrt(E)) v by whatever is quickest here.

    Its own derivatives have none, which a RuntimeError says; inside `plain_pytorch()` they have.
    """
    if q.shape[-1] <= NARROW and usable(q):
        from ..compiled.attention import attention as compiled

        return compiled(q, k, v)
    if plain():
        return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, dim=-1) @ v
    out = F.scaled_dot_product_attention(q, k, v)
    # PyTorch's fused kernels have no second derivatives either; its plain formula has them
    if type(out.grad_fn).__name__.startswith("ScaledDotProduct"):
        out.register_hook(refuse_second_order)
    return out


class SelfAttention(nn.Module):
    """MHA(LN(x)) on sequences, with biases, no positions, no dropout.

    Raises ValueError when `heads` does not divide the width.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width} channels")
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.in_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj.weight)
        nn.init.zeros_(self.in_proj.bias)
        nn.init.zeros_(self.out_proj.bias)

    def project(self, x: Float[Tensor, "B L C"]) -> tuple[Float[Tensor, "B heads L E"], ...]:
        """Queries, keys and values, E = C / heads."""
        batch, length, width = x.shape
        qkv = self.in_proj(self.norm(x)).view(batch, length, 3, self.heads, width // self.heads)
        return qkv.permute(2, 0, 3, 1, 4).unbind(0)

    def weights(self, x: Float[Tensor, "B L C"]) -> Float[Tensor, "B heads L L"]:
        """The attention maps, each row adding up to 1; for looking, not speed."""
        q, k, _ = self.project(x)
        return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, dim=-1)

    @in_float32
    def forward(self, x: Float[Tensor, "B L C"]) -> Float[Tensor, "B L C"]:
        return self.out_proj(attention(*self.project(x)).transpose(1, 2).flatten(2))
