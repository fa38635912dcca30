"""The check to make before anything long: can the network learn one batch by heart?

If it cannot, more data will not help: the fault is in the signal path, the loss or the rate.
"""

from collections.abc import Callable, Mapping

import torch
from numpy.typing import ArrayLike
from torch import nn
from tqdm.auto import tqdm

from ..features import analyse, gain
from ..losses import WEIGHTS, enhancement_losses, total


def overfit(
    model: nn.Module,
    clean: ArrayLike,
    noisy: ArrayLike,
    steps: int = 100,
    goal_db: float = 15.0,
    lr: float = 1e-2,
    weights: Mapping[str, float] = WEIGHTS,
    progress: bool = True,
    callback: Callable | None = None,
) -> list[dict]:
    """Train a model on one batch and nothing else, until its SI-SDR reaches a goal.

    Adam with a warm-up of ten steps and gradients of at most length 5. Half a second of speech is
    enough of a batch: what counts is that the network can follow it at all.

    Args:
        model: is changed.
        clean, noisy: (B, n) or (n,) at 16 kHz, any level; tensors or arrays.
        steps: at most so many.
        goal_db: mean SI-SDR in dB at which to stop.
        lr: rather high, since nothing has to generalise.
        weights: of the terms of the loss; the metric takes no part.
        progress: show a bar.
        callback: called as callback(step, row) after each step.

    Returns:
        list of dict: for each step "step", the terms of the loss, and "si_sdr" in dB, measured
        before the step's update; the first row is that of the untrained network.

    Raises:
        ValueError: signals that are not of one shape, or a loss that is not finite.
    """
    device = next(model.parameters()).device
    clean, noisy = (torch.atleast_2d(torch.as_tensor(x)).float().to(device) for x in (clean, noisy))
    if clean.ndim != 2 or clean.shape != noisy.shape:
        raise ValueError(
            f"clean {tuple(clean.shape)} and noisy {tuple(noisy.shape)} must be two batches (B, n) "
            "of one shape."
        )
    level = gain(noisy)
    clean, noisy = clean * level, noisy * level
    features, target = analyse(noisy), analyse(clean)
    optimiser = torch.optim.Adam(model.parameters(), lr, betas=(0.8, 0.99))
    rows, was_training = [], model.training
    model.train()
    with tqdm(total=steps, desc="overfitting", unit="step", disable=not progress) as bar:
        for step in range(steps + 1):
            output = model(*features)
            terms = enhancement_losses(output, *target, clean)
            loss = total(terms, weights)
            row = {"step": step} | {name: value.item() for name, value in terms.items()}
            row["si_sdr"] *= -1
            rows.append(row)
            bar.set_postfix(si_sdr=f"{row['si_sdr']:.1f} dB")
            if callback:
                callback(step, row)
            if not loss.isfinite():
                raise ValueError(f"the loss is not finite at step {step}; try a smaller lr.")
            if row["si_sdr"] >= goal_db or step == steps:
                break
            for group in optimiser.param_groups:
                group["lr"] = lr * min(1, (step + 1) / 10)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            bar.update()
    model.train(was_training)
    return rows
