"""The whole network: size, sharing, shapes."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

import rwsa_tutorial as rt
from rwsa_tutorial.layers.attention import SelfAttention
from rwsa_tutorial.model import count_parameters

SMALL = rt.ModelConfig(channels=8, blocks=1, heads=2, middle_heads=2, d_state=4, expand=1)


def image(batch, frames, seed=0):
    g = torch.Generator().manual_seed(seed)
    phase = 2 * torch.pi * torch.rand(batch, 256, frames, generator=g) - torch.pi
    return torch.rand(batch, 256, frames, generator=g), phase


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"variant": "xs"}, 1_024_360),
        ({"variant": "s"}, 1_946_664),
        ({"variant": "m"}, 3_914_424),
        # what sharing between the paths saves: 10 816, 21 632 and 47 808
        ({"variant": "xs", "sharing": "block"}, 1_024_360 + 10_816),
        ({"variant": "s", "sharing": "block"}, 1_946_664 + 21_632),
        ({"variant": "m", "sharing": "block"}, 3_914_424 + 47_808),
    ],
)
def test_parameter_counts(options, expected):
    assert count_parameters(rt.build_model(**options)) == expected


def test_nano_is_small():
    assert count_parameters(rt.build_model("nano")) < 200_000


def four_uses(model, level=0, block=0):
    down, up = model.down[level].blocks[block], model.up[level].blocks[block]
    return [down.time_attention, down.freq_attention, up.time_attention, up.freq_attention]


def test_one_weight_set_serves_four_uses():
    model = rt.build_model("xs")
    for level in range(2):
        for block in range(2):
            uses = four_uses(model, level, block)
            assert all(use is uses[0] for use in uses)
    assert model.down[0].blocks[0].time_attention is not model.down[0].blocks[1].time_attention
    middle = model.middle.blocks[0]
    assert middle.time_attention is middle.freq_attention
    modules = {id(m) for m in model.modules() if isinstance(m, SelfAttention)}
    assert len(modules) == 2 * 2 + 2  # two levels and the middle, two blocks each


def test_other_sharings_tie_what_they_say():
    time, freq, up_time, _ = four_uses(rt.build_model("nano", sharing="block"))
    assert time is freq and time is not up_time
    assert len({id(use) for use in four_uses(rt.build_model("nano", sharing="none"))}) == 4
    model = rt.build_model("nano", attention=False)
    assert four_uses(model) == [None] * 4
    assert not any(isinstance(m, SelfAttention) for m in model.modules())


def test_gradients_of_the_four_uses_add_up():
    """An untied copy gets four gradients; the shared module's gradient is their sum."""
    torch.manual_seed(0)
    tied = rt.build_model(SMALL).double()
    untied = rt.build_model(replace(SMALL, sharing="none")).double()
    with torch.no_grad():
        source = dict(tied.named_parameters(remove_duplicate=False))
        for name, p in untied.named_parameters():
            p.copy_(source[name])
    mag, phase = (x.double() for x in image(1, 8))
    for model in (tied, untied):
        model(mag, phase)[2].square().sum().backward()
    grads = [use.in_proj.weight.grad for use in four_uses(untied)]
    assert all(g.abs().max() > 0 for g in grads)
    shared = four_uses(tied)[0].in_proj.weight.grad
    torch.testing.assert_close(shared, sum(grads))
    assert not torch.allclose(shared, grads[0] + grads[1])


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 9, 30])
@pytest.mark.parametrize("levels", [2, 3])
def test_any_number_of_frames(frames, levels):
    model = rt.build_model(SMALL, levels=levels).eval()
    with torch.no_grad():
        mag, phase, spec = model(*image(1, frames))
    assert mag.shape == phase.shape == (1, 256, frames) and spec.shape == (1, 256, frames, 2)
    torch.testing.assert_close(spec[..., 0], mag * phase.cos())
    torch.testing.assert_close(spec[..., 1], mag * phase.sin())
    assert torch.isfinite(spec).all()


def test_examples_of_a_batch_do_not_meet():
    model = rt.build_model(SMALL).eval()
    mag, phase = image(3, 10)
    with torch.no_grad():
        together = model(mag, phase)[2]
        alone = model(mag[1:2], phase[1:2])[2]
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-4)


def biases_before_a_norm(model):
    """Names of the convolutions' biases that an InstanceNorm takes away again."""
    for name, stack in model.named_modules():
        if isinstance(stack, nn.Sequential):
            for i, (layer, behind) in enumerate(pairwise(stack)):
                if isinstance(behind, nn.InstanceNorm2d) and layer.bias is not None:
                    yield f"{name}.{i}.bias"


def test_every_parameter_learns():
    """All but the biases in front of a norm, whose gradients are rounding errors."""
    torch.manual_seed(1)
    model = rt.build_model(SMALL).double()
    spec = model(*(x.double() for x in image(1, 16)))[2]
    # a random direction, since the length of a spectrum does not depend on its phase
    (spec * torch.randn_like(spec)).sum().backward()
    dead = {n for n, p in model.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-10}
    assert dead == set(biases_before_a_norm(model)) != set()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sharing": "all"}, "sharing must be one of"),
        ({"levels": 4}, "levels must be 2 or 3"),
        ({"channels": 6}, "multiple of 4"),
        ({"blocks": 0}, "blocks must be at least 1"),
        ({"heads": 0}, "heads must be at least 1"),
        ({"d_state": 0}, "d_state must be at least 1"),
    ],
)
def test_impossible_configurations_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        rt.build_model("nano", **options)


def test_wrong_names_and_shapes_are_refused():
    with pytest.raises(ValueError, match="no variant 'xl'; there are nano, xs, s, m"):
        rt.build_model("xl")
    model = rt.build_model(SMALL)
    with pytest.raises(ValueError, match=r"mag must be \(B, 256, T\)"):
        model(torch.rand(1, 257, 5), torch.rand(1, 257, 5))
    with pytest.raises(ValueError, match="must have mag's shape"):
        model(torch.rand(1, 256, 5), torch.rand(1, 256, 6))
