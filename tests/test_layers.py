"""Each layer against an independent formulation."""

import math

import numpy as np
import pytest
import reference_mamba
import torch
from torch import nn

from rwsa_tutorial.layers.attention import SelfAttention
from rwsa_tutorial.layers.codec import DenseBlock, Encoder, MaskDecoder, PhaseDecoder
from rwsa_tutorial.layers.mamba import BiMamba, MambaMixer
from rwsa_tutorial.layers.mambattention import MambAttentionBlock, along_frequency, along_time
from rwsa_tutorial.layers.patch_embedding import PatchEmbedding, deformable_conv
from rwsa_tutorial.layers.resample import Down, Up


def deformable_by_hand(x, offsets, weight):
    """Equation 2 of Dai et al. as nested loops over pixels, with its bilinear kernel."""
    C, T, F = x.shape
    out = np.zeros((C, T, F))
    for t in range(T):
        for f in range(F):
            for k in range(9):
                row = t + k // 3 - 1 + offsets[2 * k, t, f]
                column = f + k % 3 - 1 + offsets[2 * k + 1, t, f]
                for i in range(max(0, math.floor(row)), min(T, math.floor(row) + 2)):
                    for j in range(max(0, math.floor(column)), min(F, math.floor(column) + 2)):
                        near = max(0, 1 - abs(row - i)) * max(0, 1 - abs(column - j))
                        out[:, t, f] += weight[:, 0, k // 3, k % 3] * near * x[:, i, j]
    return out


@pytest.mark.parametrize(("T", "F"), [(5, 7), (1, 6), (4, 1)])
def test_deformable_convolution_against_loops(T, F):
    rng = np.random.default_rng(T * 10 + F)
    x, offsets = rng.standard_normal((2, 3, T, F)), rng.uniform(-1, 1, (2, 18, T, F))
    weight = rng.standard_normal((3, 1, 3, 3))
    got = deformable_conv(*(torch.from_numpy(a) for a in (x, offsets, weight))).numpy()
    for b in range(2):
        assert np.abs(got[b] - deformable_by_hand(x[b], offsets[b], weight)).max() < 1e-12


def test_without_offsets_it_is_an_ordinary_convolution():
    x, weight = torch.randn(2, 4, 9, 11), torch.randn(4, 1, 3, 3)
    plain = nn.functional.conv2d(x, weight, padding=1, groups=4)
    got = deformable_conv(x, torch.zeros(2, 18, 9, 11), weight)
    torch.testing.assert_close(got, plain, rtol=1e-4, atol=1e-4)


def test_an_offset_of_one_pixel_moves_the_image():
    x, weight = torch.randn(1, 2, 8, 9), torch.randn(2, 1, 3, 3)
    offsets = torch.zeros(1, 18, 8, 9)
    offsets[:, 1::2] = 1.0  # dx of every tap
    got = deformable_conv(x, offsets, weight)
    moved = deformable_conv(x, torch.zeros_like(offsets), weight)
    torch.testing.assert_close(got[..., 1:-2], moved[..., 2:-1], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(got[..., 1:-2], moved[..., 1:-2], atol=1e-2)


def test_deformable_gradients():
    torch.manual_seed(0)
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    offsets = (0.8 * torch.rand(1, 18, 4, 5, dtype=torch.float64) + 0.1).requires_grad_()
    weight = torch.randn(2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(deformable_conv, (x, offsets, weight))


@pytest.mark.parametrize(("width", "heads"), [(16, 4), (48, 8), (8, 1)])
def test_attention_equals_torch(width, heads):
    torch.manual_seed(1)
    ours = SelfAttention(width, heads).double()
    theirs = nn.MultiheadAttention(width, heads, batch_first=True).double()
    with torch.no_grad():
        for p in ours.parameters():
            p.normal_()
        theirs.in_proj_weight.copy_(ours.in_proj.weight)
        theirs.in_proj_bias.copy_(ours.in_proj.bias)
        theirs.out_proj.load_state_dict(ours.out_proj.state_dict())
    x = torch.randn(3, 11, width, dtype=torch.float64)
    normal = nn.functional.layer_norm(x, (width,), ours.norm.weight, ours.norm.bias)
    expected, maps = theirs(normal, normal, normal, average_attn_weights=False)
    torch.testing.assert_close(ours(x), expected)
    torch.testing.assert_close(ours.weights(x), maps)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="3 heads do not divide a width of 16"):
        SelfAttention(16, 3)


@pytest.mark.parametrize(("width", "length"), [(16, 30), (40, 1)])
def test_mixer_equals_mamba_ssm(width, length):
    """mamba-ssm's reference of the inner mixer has its own convolution, projections and scan."""
    interface = reference_mamba.load()
    torch.manual_seed(2)
    mixer = MambaMixer(width)
    x = torch.randn(2, length, width)
    xz = mixer.in_proj(x).transpose(1, 2)
    u, z = xz.chunk(2, dim=1)
    conv = nn.functional.conv1d(
        nn.functional.pad(u, (3, 0)), mixer.conv1d.weight, mixer.conv1d.bias, groups=u.shape[1]
    )
    u = conv * torch.sigmoid(conv)
    rows = torch.einsum("rd,bdl->brl", mixer.x_proj.weight, u)
    rank = mixer.split[0]
    delta = torch.einsum("dr,brl->bdl", mixer.dt_proj.weight, rows[:, :rank])
    y = interface.selective_scan_ref(
        u,
        delta,
        -mixer.A_log.exp(),
        rows[:, rank : rank + 16],
        rows[:, rank + 16 :],
        mixer.D,
        z,
        mixer.dt_proj.bias,
        delta_softplus=True,
    )
    expected = torch.einsum("wd,bdl->blw", mixer.out_proj.weight, y)
    torch.testing.assert_close(mixer(x), expected, rtol=1e-4, atol=1e-5)


def test_mixer_starts_as_published():
    torch.manual_seed(3)
    mixer = MambaMixer(32)
    assert mixer.split == [2, 16, 16] and mixer.in_proj.weight.shape == (256, 32)
    torch.testing.assert_close(mixer.A_log.exp(), torch.arange(1.0, 17).repeat(128, 1))
    step = nn.functional.softplus(mixer.dt_proj.bias)
    assert 1e-3 * 0.99 < step.min() < 0.005 and 0.04 < step.max() < 1e-1 * 1.01
    assert mixer.dt_proj.weight.abs().max() <= 2**-0.5


def test_mixer_is_causal_and_the_pair_is_not():
    torch.manual_seed(4)
    x = torch.randn(1, 20, 16)
    later = x.clone()
    later[:, 12:] += 1
    mixer, both = MambaMixer(16), BiMamba(16)
    torch.testing.assert_close(mixer(x)[:, :12], mixer(later)[:, :12])
    assert not torch.allclose(both(x)[:, :12], both(later)[:, :12], atol=1e-4)


def test_second_direction_is_the_first_on_the_reversed_sequence():
    torch.manual_seed(5)
    layer = BiMamba(16)
    swapped = BiMamba(16)
    swapped.forwards.load_state_dict(layer.backwards.state_dict())
    swapped.backwards.load_state_dict(layer.forwards.state_dict())
    with torch.no_grad():
        first, second = layer.proj.weight.chunk(2, dim=1)
        swapped.proj.weight.copy_(torch.cat([second, first], dim=1))
        swapped.proj.bias.copy_(layer.proj.bias)
    x = torch.randn(2, 13, 16)
    torch.testing.assert_close(swapped(x.flip(1)).flip(1), layer(x), rtol=1e-4, atol=1e-5)


def test_folding_runs_along_the_right_axis():
    x = torch.randn(2, 3, 5, 7)  # (B, C, T, F)
    torch.testing.assert_close(along_time(lambda s: s.cumsum(1), x), x.cumsum(2))
    torch.testing.assert_close(along_frequency(lambda s: s.cumsum(1), x), x.cumsum(3))
    shapes = []
    along_time(lambda s: shapes.append(s.shape) or s, x)
    along_frequency(lambda s: shapes.append(s.shape) or s, x)
    assert shapes == [(14, 5, 3), (10, 7, 3)]


def test_block_is_the_four_residual_steps():
    torch.manual_seed(6)
    attention = SelfAttention(16, 4)
    block = MambAttentionBlock(16, attention, attention)
    x = torch.randn(1, 16, 6, 5)
    columns = x[0].permute(2, 1, 0)  # (F, T, C): frequencies are the batch
    columns = columns + attention(columns)
    columns = columns + block.time_mamba(columns)
    rows = columns.transpose(0, 1)  # (T, F, C)
    rows = rows + attention(rows)
    rows = rows + block.freq_mamba(rows)
    torch.testing.assert_close(block(x)[0], rows.permute(2, 0, 1), rtol=1e-4, atol=1e-5)


def test_down_and_up_move_2x2_squares():
    down, up = Down(8, 16), Up(16, 8)
    x = torch.randn(1, 8, 6, 10)
    half = down(x)
    assert half.shape == (1, 16, 3, 5) and up(half).shape == x.shape
    thin = down[1](down[0](x))  # (1, 4, 6, 10), before the squares are folded
    torch.testing.assert_close(half[0, 5, 1, 2], thin[0, 1, 2, 5])  # channel 1, row 0, column 1


def test_dense_block_stacks_the_newest_in_front():
    torch.manual_seed(7)
    block = DenseBlock(4)
    seen = [torch.randn(1, 4, 12, 6)]
    for layer in block.layers:
        seen.insert(0, layer(torch.cat(seen, dim=1)))
    torch.testing.assert_close(block(seen[-1]), seen[0])
    assert [layer[0].dilation for layer in block.layers] == [(1, 1), (2, 1), (4, 1), (8, 1)]


def test_encoder_and_decoders_halve_and_double_frequency():
    features = Encoder(8)(torch.randn(2, 2, 5, 256))
    assert features.shape == (2, 8, 5, 128)
    mask, phase = MaskDecoder(8, 256)(features), PhaseDecoder(8)(features)
    assert mask.shape == phase.shape == (2, 5, 256)
    assert 0 <= mask.min() and mask.max() <= 2 and phase.abs().max() <= math.pi


def test_patch_embedding_keeps_offsets_within_one_pixel(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "rwsa_tutorial.layers.patch_embedding.deformable_conv",
        lambda x, offsets, weight: seen.append(offsets) or x,
    )
    torch.manual_seed(8)
    PatchEmbedding(8)(50 * torch.randn(1, 8, 6, 6))
    assert seen[0].abs().max() == 1
