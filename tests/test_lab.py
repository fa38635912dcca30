"""The network of laboratory size: what it sees and gives, and that its inside does the work."""

import math

import numpy as np
import pytest
import torch

import rwsa_tutorial as rt
from rwsa_tutorial import inside, lab
from rwsa_tutorial.layers.attention import SelfAttention
from rwsa_tutorial.layers.mamba import BiMamba
from rwsa_tutorial.losses import magnitude_loss
from rwsa_tutorial.training import Config


def network(**options):
    torch.manual_seed(0)
    return rt.build_model("lab", **options)


def features(batch=2, frames=21):
    torch.manual_seed(1)
    return rt.analyse(torch.randn(batch, 120 * (frames - 1) + 1))


def test_the_mel_weights_are_triangles_that_add_up_to_one():
    weights = lab.mel_weights().double().numpy()
    np.testing.assert_allclose(weights.sum(0), 1, atol=1e-6)
    assert ((weights > 0).sum(0) <= 2).all() and (weights.sum(1) > 0).all()
    # the tops lie evenly in mel: at the bin nearest to each, its own band weighs the most
    mel = np.linspace(0, 2595 * math.log10(1 + 8000 / 700), lab.BANDS)
    bins = (700 * (10 ** (mel / 2595) - 1) / (8000 / 255)).round().astype(int)
    assert (weights[:, bins].argmax(0) == np.arange(lab.BANDS)).all()


@pytest.mark.parametrize("frames", [1, 2, 3, 8, 21])
def test_it_takes_and_gives_what_the_whole_network_does(frames):
    model, (mag, phase) = network(), features(frames=frames)
    new_mag, new_phase, spec = model(mag, phase)
    assert new_mag.shape == mag.shape and spec.shape == (*mag.shape, 2)
    assert torch.equal(new_phase, phase)
    torch.testing.assert_close(torch.view_as_complex(spec).abs(), new_mag)
    assert (0 <= new_mag).all() and (new_mag <= mag).all()
    with pytest.raises(ValueError, match=r"mag must be \(B, 256, T\)"):
        model(mag[:, 1:], phase[:, 1:])


def test_a_picture_of_one_level_is_that_level_and_a_mask_of_one_value_that_value():
    model = network()
    level = torch.full((1, 256, 5), 0.7)
    picture = model.picture(level)
    assert picture.shape == (1, lab.BANDS, 3)  # two frames a column; the last stands alone
    torch.testing.assert_close(picture, torch.full_like(picture, 0.7))
    model.mask = lambda picture: torch.full_like(picture, 0.25)
    mag, _, _ = model(level, torch.zeros_like(level))
    torch.testing.assert_close(mag, 0.25 * level)


def test_silence_has_a_gradient():
    model = network()
    mag = torch.zeros(1, 256, 6, requires_grad=True)
    model(mag, torch.zeros(1, 256, 6))[0].sum().backward()
    assert mag.grad.isfinite().all()


@pytest.mark.parametrize(
    ("options", "parameters"),
    [({}, 65_121), ({"sharing": "block"}, 66_545), ({"sharing": "none"}, 71_841)],
)
def test_parameters(options, parameters):
    assert sum(p.numel() for p in network(**options).parameters()) == parameters


def test_networks_of_one_seed_begin_with_the_same_weights():
    """Whatever they share: what differs between them afterwards is what sharing did."""
    whole = network(sharing="none").state_dict()
    for options in ({"sharing": "rwsa"}, {"sharing": "block"}, {"attention": False}):
        other = network(**options)
        names = [n for n, _ in other.named_parameters()]  # of what is shared, the first use
        assert len(names) < len(whole)
        for name in names:
            assert torch.equal(other.state_dict()[name], whole[name]), name


def test_attention_and_mamba_learn_and_are_missed():
    """A few steps: both get gradients, the loss falls, and silencing either changes the answer."""
    model, (mag, phase) = network(), features(batch=2, frames=40)
    goal = mag * (torch.rand(2, 256, 1) > 0.5)
    optimiser = torch.optim.AdamW(model.parameters(), 5e-3)
    losses = []
    for _ in range(8):
        loss = magnitude_loss(model(mag, phase)[0], goal)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    for kind in (SelfAttention, BiMamba):
        for module in (m for m in model.modules() if isinstance(m, kind)):
            assert all(p.grad.abs().sum() > 0 for p in module.parameters()), kind
    with torch.no_grad():
        answer = model(mag, phase)[0]
        for part in ("attention", "mamba"):
            with inside.without(model, part):
                other = model(mag, phase)[0]
            assert (other - answer).square().mean() > 1e-4 * answer.square().mean(), part
        assert torch.equal(model(mag, phase)[0], answer)


def test_what_has_no_meaning_for_it_is_refused_in_words():
    with (
        pytest.raises(ValueError, match="this network is its U-Net"),
        inside.without(network(), "unet"),
    ):
        pass
    with pytest.raises(ValueError, match="lab has no encoder and no decoders"):
        Config(variant="lab", outer_steps=10, discriminator=False)
    with pytest.raises(ValueError, match="around must be one of codec, mel"):
        rt.build_model("lab", around="nothing")


def test_it_is_saved_loaded_and_enhances(tmp_path):
    model = network().eval()
    rt.save_weights(model, tmp_path / "lab.safetensors")
    loaded = rt.load_weights(tmp_path / "lab.safetensors")
    noisy = np.random.default_rng(0).normal(size=9001).astype(np.float32) / 10
    heard = rt.enhance(noisy, 16_000, loaded, progress=False)
    assert heard.shape == noisy.shape
    np.testing.assert_array_equal(heard, rt.enhance(noisy, 16_000, model, progress=False))
