"""One step of training: the network, what it is told, and how its weights move (notebook 08).

Loops, logs and checkpoints are around it, in trainer.py. Every random choice follows from the seed
and the number of the step alone, so that a run that was stopped goes on as if it had not been.
"""

import copy
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..discriminator import MetricDiscriminator, discriminator_loss, quality
from ..features import analyse, synthesise
from ..losses import WEIGHTS, enhancement_losses, metric_loss, total
from ..model import RWSAMambaUNet
from ..unet import UNet
from ..weights import find_weights
from .config import Config
from .scorer import Scorer


def rate(config: Config, step: int, epoch_steps: int | None = None) -> float:
    """The learning rate of a step, counted from 0.

    It falls by epochs or along a half cosine, after a linear warm-up, which is repeated when the
    U-Net joins the encoder and the decoders. epoch_steps: steps in an epoch; a cosine needs none.
    """
    since = step if step < config.outer_steps else step - config.outer_steps
    warm = min((since + 1) / config.warmup, 1) if config.warmup else 1
    if config.schedule == "cosine":
        return config.lr * warm * 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return config.lr * warm * config.lr_decay ** (step // epoch_steps)


def begin_with(config: Config) -> UNet:
    """The network that config.start names. Raises ValueError when the settings ask for another."""
    model, wanted = find_weights(config.start), config.model_config()
    if model.config != wanted:
        raise ValueError(
            f"{config.start} holds another network than the settings ask for: {model.config}, not "
            f"{wanted}."
        )
    return model


def outer_output(model: RWSAMambaUNet, mag: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
    """The network without its U-Net: encoder and decoders alone."""
    features = model.encode(mag, phase)
    return model.decode(mag, features, features)


class Learner:
    """A network that learns, step by step; with a discriminator, two that learn from each other.

    model: the network. mean: the running mean of its weights, or None. critic: the discriminator,
    or None. done: steps taken. recent: of each step since the last row of the log, the terms of the
    loss, the loss, and the length of the gradient, in the order of `names`.
    """

    def __init__(
        self,
        config: Config,
        device: torch.device,
        scorer: Scorer,
        epoch_steps: int,
        processes: int = 1,
        rank: int = 0,
        mean_of: Callable | None = None,
    ):
        """
        Args:
            config: `Config`.
            device: torch.device.
            scorer: `Scorer`, whose PESQ the discriminator learns from.
            epoch_steps: steps in an epoch, for the learning rate.
            processes, rank: how many learn together, and which of them this is.
            mean_of: gives for a tensor its mean over all processes.
        """
        self.config, self.device, self.scorer = config, device, scorer
        self.epoch_steps, self.processes, self.rank = epoch_steps, processes, rank
        self.mean_of = mean_of

        torch.manual_seed(config.seed)  # every process begins with the same weights
        self.model = config.build_model().to(device)
        if config.start:
            self.model.load_state_dict(begin_with(config).state_dict())
        elif config.outer_steps:
            for conv in (self.model.after_mag, self.model.after_phase):
                torch.nn.init.zeros_(conv.weight)  # the U-Net joins without a jolt
        self.mean = copy.deepcopy(self.model) if config.ema else None
        self.critic = MetricDiscriminator().to(device) if config.discriminator else None
        self.networks = {"model": self.model, "critic": self.critic, "mean": self.mean}
        self.networks = {name: net for name, net in self.networks.items() if net is not None}
        self.optimisers = {
            name: torch.optim.AdamW(
                self.networks[name].parameters(),
                config.lr,
                betas=config.betas,
                weight_decay=config.weight_decay,
            )
            for name in ("model", "critic")
            if name in self.networks
        }
        self.terms_used = [n for n in WEIGHTS if n != "metric" or self.critic]
        self.names = [*self.terms_used, "loss", "gradient"]  # the last is the gradient's length
        # what has no weight may be infinite without harm
        self.counted = torch.tensor(
            [name not in WEIGHTS or config.loss[name] > 0 for name in self.names]
        )
        self.done = 0
        self.recent, self.critic_losses = [], []
        self.unscored = []  # what the discriminator is to learn from: (clean, enhanced, futures)

    def step(self, batches: Sequence[tuple[Tensor, Tensor]]) -> None:
        """One update of the weights, from `accumulate` batches of (clean, noisy), (B, n) each."""
        number = self.done
        self._draw_from(number)
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = rate(self.config, number, self.epoch_steps)
        self.teach_critic()
        sums = 0
        for clean, noisy in batches:
            terms = self.terms(clean.to(self.device), noisy.to(self.device), number)
            loss = total(terms, self.config.loss) / len(batches)
            loss.backward()
            values = torch.stack([terms[name] for name in self.terms_used]).detach()
            sums = sums + torch.cat([values / len(batches), loss.detach()[None]])
        self.recent.append(torch.cat([sums, self._update("model")[None]]))
        if self.mean:
            decay = min(self.config.ema, (number + 1) / (number + 10))  # short memory at first
            with torch.no_grad():
                for mean, now in zip(self.mean.parameters(), self.model.parameters(), strict=True):
                    mean.lerp_(now, 1 - decay)
        self.done += 1

    def terms(self, clean: Tensor, noisy: Tensor, number: int) -> dict[str, Tensor]:
        """The unweighted terms of the loss; with a discriminator, PESQ is begun for the batch."""
        outer = number < self.config.outer_steps
        short = torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"
        )
        features = analyse(noisy)
        with short:
            output = outer_output(self.model, *features) if outer else self.model(*features)
        mag, phase, spec = (x.float() for x in output)
        goal = torch.lerp(clean, noisy, self.config.keep_noise)
        terms = enhancement_losses((mag, phase, spec), *analyse(goal), goal)
        if self.critic:
            clean_mag, _ = analyse(clean)
            self.critic.requires_grad_(False)
            terms["metric"] = metric_loss(self.critic(clean_mag, mag))
            with torch.no_grad():
                waves = synthesise(mag, phase, length=clean.shape[1]).cpu().numpy()
            futures = [self.scorer.submit(*pair) for pair in zip(clean.cpu(), waves, strict=True)]
            self.unscored.append((clean_mag, mag.detach(), futures))
        return terms

    def teach_critic(self) -> None:
        """Update the discriminator from the step before, whose PESQ was computed meanwhile.

        One step late, always: the network need not wait, and nothing depends on how fast PESQ is.
        """
        if not self.unscored:
            return
        self.critic.requires_grad_(True)
        for clean, enhanced, futures in self.unscored:
            goal = quality(self.scorer.results(futures)).to(self.device)
            loss = discriminator_loss(
                self.critic(clean, clean), self.critic(clean, enhanced), goal
            ) / len(self.unscored)
            loss.backward()
            self.critic_losses.append(loss.detach() * len(self.unscored))
        self.unscored = []
        self._update("critic")

    def _update(self, name):
        """Let all processes take the mean of their gradients, and the optimiser its step.

        Returns the length of the mean gradient, before it was clipped.
        """
        network, optimiser = self.networks[name], self.optimisers[name]
        grads = [p.grad for p in network.parameters() if p.grad is not None]
        if self.processes > 1:
            flat = torch.cat([g.flatten() for g in grads])
            flat = self.mean_of(flat)
            for grad, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
                grad.copy_(part.view_as(grad))
        longest = self.config.clip or math.inf
        length = torch.nn.utils.clip_grad_norm_(network.parameters(), longest)
        optimiser.step()
        optimiser.zero_grad()
        return length

    def _draw_from(self, number):
        """Dropout's random numbers, from the seed, the step and the process alone."""
        seeds = np.random.SeedSequence([self.config.seed, number, self.rank])
        torch.manual_seed(int(seeds.generate_state(1)[0]))
