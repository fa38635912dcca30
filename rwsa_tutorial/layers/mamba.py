"""Mamba, one direction and two (notebook 02). Gu and Dao, "Mamba", arXiv 2312.00752, figure 3."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..compiled import in_float32, untouched, usable
from ..scan import selective_scan
from ..shapes import Float


class MambaMixer(nn.Module):
    """Mamba-1 mixer.

    The input is projected to D = expand * width channels and a gate z; a causal depthwise
    convolution of d_conv taps and SiLU follow; delta, B and C are computed from the result, and the
    selective scan with N = d_state states mixes along L. `backend` names the scan engine.
    """

    def __init__(self, width: int, d_state: int = 16, d_conv: int = 4, expand: int = 4):
        super().__init__()
        inner = expand * width
        rank = math.ceil(width / 16)
        self.split = [rank, d_state, d_state]
        self.backend = "auto"
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, d_conv, padding=d_conv - 1, groups=inner)
        self.x_proj = nn.Linear(inner, sum(self.split), bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        self.out_proj = nn.Linear(inner, width, bias=False)
        self.A_log = nn.Parameter(torch.arange(1.0, d_state + 1).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        nn.init.kaiming_uniform_(self.out_proj.weight, a=math.sqrt(5))
        # steps (no unit) start log-uniform in 0.001 to 0.1; the bias is softplus^-1 of them
        step = torch.exp(torch.empty(inner).uniform_(math.log(1e-3), math.log(1e-1))).clamp_min(
            1e-4
        )
        with torch.no_grad():
            self.dt_proj.bias.copy_(step + torch.log(-torch.expm1(-step)))

    @in_float32
    def forward(self, x: Float[Tensor, "B L C"]) -> Float[Tensor, "B L C"]:
        if self.backend in ("auto", "cpu") and usable(x, *self.parameters()) and self._replaceable:
            from ..compiled.mixer import mix  # the same in one piece, quicker and with less memory

            return mix(x, self)
        y = selective_scan(*self.scan_inputs(x), delta_softplus=True, backend=self.backend)
        return self.out_proj(y.transpose(1, 2))

    def scan_inputs(self, x: Float[Tensor, "B L C"]) -> tuple[Tensor, ...]:
        """What the scan gets: u, delta (before softplus), A, B, C, D, z as of `selective_scan`."""
        u, z = self.in_proj(x).transpose(1, 2).chunk(2, dim=1)  # each (B, D, L)
        u = F.silu(self.conv1d(u)[..., : x.shape[1]])
        delta, B, C = self.x_proj(u.transpose(1, 2)).split(self.split, dim=-1)
        delta, B, C = (part.transpose(1, 2) for part in (self.dt_proj(delta), B, C))
        return u, delta, -torch.exp(self.A_log), B, C, self.D, z

    @property
    def _replaceable(self):
        """Whether one kernel may do the work of the layers, which are then not called."""
        without_bias = self.in_proj, self.x_proj, self.out_proj
        with_bias = self.conv1d, self.dt_proj
        return (
            untouched(*without_bias, *with_bias)
            and all(layer.bias is None for layer in without_bias)
            and all(layer.bias is not None for layer in with_bias)
        )


class MambaLayer(nn.Module):
    """mixer(RMSNorm(x)) + x."""

    def __init__(self, width: int, **mixer: int):
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.mixer = MambaMixer(width, **mixer)

    @in_float32
    def forward(self, x: Float[Tensor, "B L C"]) -> Float[Tensor, "B L C"]:
        return self.mixer(self.norm(x)) + x


class BiMamba(nn.Module):
    """Two separate Mamba layers, one along L and one against it.

    Their outputs are concatenated to 2C and projected back to C.
    """

    def __init__(self, width: int, **mixer: int):
        super().__init__()
        self.forwards = MambaLayer(width, **mixer)
        self.backwards = MambaLayer(width, **mixer)
        self.proj = nn.Linear(2 * width, width)
        for p in self.proj.parameters():  # as a transposed convolution starts, the authors' choice
            nn.init.uniform_(p, -(width**-0.5), width**-0.5)

    @in_float32
    def forward(self, x: Float[Tensor, "B L C"]) -> Float[Tensor, "B L C"]:
        against = self.backwards(x.flip(1)).flip(1)
        return self.proj(torch.cat([self.forwards(x), against], dim=-1))
