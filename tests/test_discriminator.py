"""The metric discriminator: its layers, its loss, and whether it learns."""

import pytest
import torch

from rwsa_tutorial.discriminator import MetricDiscriminator, discriminator_loss, quality


def test_it_has_the_published_layers():
    network = MetricDiscriminator()
    # 4 x 4 kernels without bias; scale, shift and slope a channel; two linear layers; two slopes
    convs = sum(16 * a * b for a, b in ((2, 16), (16, 32), (32, 64), (64, 128)))
    norms = 3 * (16 + 32 + 64 + 128)
    head = 128 * 64 + 64 + 64 + 64 + 1
    assert sum(p.numel() for p in network.parameters()) == convs + norms + head + 1 == 181_650
    for frames in (16, 100, 256):
        mag = torch.rand(2, 256, frames)
        score = network(mag, mag.sqrt())
        assert score.shape == (2,) and (0 < score).all() and (score < 1).all()


def test_no_layer_amplifies():
    torch.manual_seed(0)
    network = MetricDiscriminator()
    mag = torch.rand(1, 32, 32)
    for _ in range(50):  # each pass refines the estimate of the largest singular value
        network(mag, mag)
    network.eval()
    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    layers = [x for x in network.modules() if isinstance(x, kinds)]
    assert len(layers) == 6
    for layer in layers:
        gain = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
        assert gain.item() == pytest.approx(1.0, abs=0.02)


def test_shapes_it_cannot_take_are_told_in_words():
    network = MetricDiscriminator()
    for clean, enhanced in (
        (torch.rand(1, 256, 12), torch.rand(1, 256, 12)),
        (torch.rand(1, 256, 20), torch.rand(1, 256, 21)),
        (torch.rand(256, 20), torch.rand(256, 20)),
    ):
        with pytest.raises(ValueError, match="at least 16, not"):
            network(clean, enhanced)


def test_the_goal_is_pesq_between_0_and_1():
    goal = quality([1.0, 2.75, 4.5, None])
    torch.testing.assert_close(goal[:3], torch.tensor([0.0, 0.5, 1.0]))
    assert goal[3].isnan()


def test_a_failed_pesq_drops_its_sample_and_no_other():
    clean = torch.tensor([0.9, 0.1, 0.6], requires_grad=True)
    enhanced = torch.tensor([0.5, 0.2, 0.7], requires_grad=True)
    goal = torch.tensor([0.3, torch.nan, 0.8])
    loss = discriminator_loss(clean, enhanced, goal)
    expected = ((0.9 - 1) ** 2 + (0.6 - 1) ** 2) / 2 + ((0.5 - 0.3) ** 2 + (0.7 - 0.8) ** 2) / 2
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    assert clean.grad[1] == 0 and enhanced.grad[1] == 0 and clean.grad[0] != 0
    nothing = discriminator_loss(clean, enhanced, torch.full((3,), torch.nan))
    assert nothing.item() == 0 and torch.autograd.grad(nothing, clean)[0].isfinite().all()


def test_it_learns_to_tell_more_noise_from_less():
    torch.manual_seed(0)
    network = MetricDiscriminator()
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3, betas=(0.8, 0.99))
    amount = torch.linspace(0, 1, 8)
    clean = torch.rand(8, 32, 32)
    noisy, goal = clean + amount[:, None, None] * torch.rand_like(clean), 1 - amount
    history = []
    for _ in range(40):
        loss = discriminator_loss(network(clean, clean), network(clean, noisy), goal)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(loss.item())
    assert sum(history[-5:]) < 0.2 * sum(history[:5])
    network.eval()
    with torch.no_grad():
        scores = network(clean, noisy)
    assert torch.corrcoef(torch.stack([scores, goal]))[0, 1] > 0.9
