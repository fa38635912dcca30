"""What the parts of a network get and choose: held against the network's own computation."""

import copy
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import silu, softplus

import rwsa_tutorial as rt
from rwsa_tutorial import inside
from rwsa_tutorial.layers import mambattention, patch_embedding
from rwsa_tutorial.layers.mamba import BiMamba, MambaMixer
from rwsa_tutorial.scan.reference import states

ORDER = ["down.0", "down.1", "middle", "up.1", "up.0", "refine_mag", "refine_phase"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = rt.ModelConfig(channels=8, blocks=2, heads=2, middle_heads=4, d_state=4, expand=2)
    return rt.build_model(config).eval()


@pytest.fixture(scope="module")
def recording():
    return rt.analyse(torch.randn(1, 2345, generator=torch.Generator().manual_seed(1)))


@pytest.fixture(scope="module")
def seen(model, recording):
    return inside.capture(model, *recording)


def test_mask_and_phase_are_the_networks(model, recording, seen):
    with torch.no_grad():
        mag, phase, _ = model(*recording)
    torch.testing.assert_close(recording[0][0] * seen.mask, mag[0])
    torch.testing.assert_close(seen.phase, phase[0])


def test_stages_come_in_the_order_of_the_signal(model, recording, seen):
    reached, hooks = [], []
    for name, stage in model.named_modules():
        if name in ORDER:
            hook = stage.register_forward_hook(lambda *_, name=name: reached.append(name))
            hooks.append(hook)
    with torch.no_grad():
        model(*recording)
    for hook in hooks:
        hook.remove()
    assert list(inside.stages(model)) == list(seen.images) == reached == ORDER


def test_no_hook_stays_behind_even_after_an_error(model, recording):
    def hooks():
        return [name for name, module in model.named_modules() if module._forward_pre_hooks]

    inside.capture(model, *recording)
    assert hooks() == []
    with pytest.raises(ValueError, match="mag must be"):
        inside.capture(model, recording[0][:, :9], recording[1])
    assert hooks() == []


def test_more_than_one_recording_is_refused(model, recording):
    with pytest.raises(ValueError, match="one recording at a time"):
        inside.capture(model, *(x.expand(2, -1, -1) for x in recording))


def test_offsets_are_those_that_the_convolution_gets(model, recording, seen, monkeypatch):
    got = []

    def listening(x, offsets, weight, whole=patch_embedding.deformable_conv):
        got.append(offsets[0])
        return whole(x, offsets, weight)

    monkeypatch.setattr(patch_embedding, "deformable_conv", listening)
    with torch.no_grad():
        model(*recording)
    for stage, offsets in zip(ORDER, got, strict=True):
        torch.testing.assert_close(seen.offsets(stage), offsets)


@pytest.mark.parametrize("stage", ["down.1", "middle", "refine_phase"])
def test_halves_lead_to_what_the_block_gives(model, seen, stage):
    first, second = inside.stages(model)[stage].blocks
    last = seen.halves(stage, 0)["frequency Mamba"]
    with torch.no_grad():
        out = last + mambattention.along_frequency(first.freq_mamba, last)
    torch.testing.assert_close(out, seen.block_images[stage][1])
    got = []
    with first.time_mamba.register_forward_pre_hook(lambda _, x: got.append(x[0])), torch.no_grad():
        first(seen.block_images[stage][0])
    image = seen.halves(stage, 0)["time Mamba"]
    torch.testing.assert_close(torch.cat(got), image[0].permute(2, 1, 0))


@pytest.mark.parametrize(("axis", "place"), [("time", 5), ("frequency", 3)])
def test_attention_maps_give_what_the_attention_gives(model, seen, axis, place):
    block = model.middle.blocks[1]
    module = block.time_attention if axis == "time" else block.freq_attention
    image = seen.halves("middle", 1)[f"{axis} attention"][0]
    sequence = (image[:, :, place] if axis == "time" else image[:, place]).T[None]  # (1, L, C)
    maps = seen.attention("middle", 1, axis, place)  # (heads, L, L)
    with torch.no_grad():
        values = module.project(sequence)[2][0]  # (heads, L, C / heads)
        by_map = module.out_proj((maps @ values).transpose(0, 1).flatten(1))
        torch.testing.assert_close(by_map[None], module(sequence))


def test_a_stage_without_attention_says_so(seen):
    with pytest.raises(ValueError, match="refine_mag have no attention"):
        seen.attention("refine_mag", 0, "time", 0)


def test_scan_inputs_and_states_give_what_the_mixer_gives():
    torch.manual_seed(2)
    mixer = MambaMixer(16, d_state=4).eval()
    x = torch.randn(3, 21, 16)
    with torch.no_grad():
        u, delta, A, B, C, D, z = mixer.scan_inputs(x)
        h = torch.stack(list(states(u, softplus(delta), A, B)), -1)  # (B, D, N, L)
        y = ((C[:, None] * h).sum(2) + D[:, None] * u) * silu(z)
        torch.testing.assert_close(mixer.out_proj(y.transpose(1, 2)), mixer(x))


@pytest.mark.parametrize("axis", ["time", "frequency"])
@pytest.mark.parametrize("direction", ["forwards", "backwards"])
def test_a_scan_is_laid_out_as_the_image(model, seen, axis, direction):
    scan = seen.scan("down.0", 1, axis, direction, channel=3)
    image = seen.halves("down.0", 1)[f"{axis} Mamba"]
    _, _, T, F = image.shape
    assert scan.delta.shape == (T, F) and scan.state.shape == (4, T, F)
    assert (scan.delta > 0).all()

    bimamba = getattr(model.down[0].blocks[1], "time_mamba" if axis == "time" else "freq_mamba")
    layer = getattr(bimamba, direction)
    t, f = T // 2, F // 3  # by hand, the one sequence through this point
    sequence = (image[0, :, :, f] if axis == "time" else image[0, :, t]).T[None]  # (1, L, C)
    order = slice(None) if direction == "forwards" else torch.arange(sequence.shape[1] - 1, -1, -1)
    with torch.no_grad():
        u, delta, A, B, *_ = layer.mixer.scan_inputs(layer.norm(sequence[:, order]))
        delta = softplus(delta)
        h = torch.stack(list(states(u, delta, A, B)), -1)[0, 3][:, order]  # (N, L)
    along = scan.state[:, :, f] if axis == "time" else scan.state[:, t]
    torch.testing.assert_close(along, h, rtol=1e-4, atol=1e-6)
    steps = scan.delta[:, f] if axis == "time" else scan.delta[t]
    torch.testing.assert_close(steps, delta[0, 3][order], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(scan.memory, -1 / (scan.delta.mean() * A[3]))


def test_silenced_attention_is_a_network_that_never_had_any(model, recording):
    torch.manual_seed(0)
    bare = rt.build_model(replace(model.config, attention=False)).eval()
    weights = {k: v for k, v in model.state_dict().items() if "attention" not in k}
    bare.load_state_dict(weights)
    with torch.no_grad():
        whole, wanted = model(*recording), bare(*recording)
        with inside.without(model, "attention"):
            got = model(*recording)
        again = model(*recording)
    torch.testing.assert_close(got, wanted)
    assert not torch.allclose(got[0], whole[0])
    torch.testing.assert_close(again, whole, rtol=0, atol=0)


def test_silenced_mamba_is_a_network_whose_layers_add_nothing(model, recording):
    bare = copy.deepcopy(model)
    for module in bare.modules():
        if isinstance(module, BiMamba):
            torch.nn.init.zeros_(module.proj.weight)
            torch.nn.init.zeros_(module.proj.bias)
    with torch.no_grad():
        wanted = bare(*recording)
        with inside.without(model, "mamba"):
            got = model(*recording)
        assert not torch.allclose(got[0], model(*recording)[0])
    torch.testing.assert_close(got, wanted)


def test_silenced_unet_leaves_encoder_and_decoders(model, recording):
    with torch.no_grad():
        features = model.encode(*recording)
        wanted = model.decode(recording[0], features, features)
        with inside.without(model, "unet"):
            torch.testing.assert_close(model(*recording), wanted)


def test_an_unknown_part_is_refused_in_words(model):
    with (
        pytest.raises(ValueError, match="attention, mamba, unet, not 'encoder'"),
        inside.without(model, "encoder"),
    ):
        pass
