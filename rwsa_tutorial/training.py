"""Train a network on mixtures made on the fly (one process, CPU or GPU).

    python -m rwsa_tutorial.corpora.recorded DATA        gathers recorded speech and noise
    python -m rwsa_tutorial.training DATA --run runs/nano --variant nano --steps 8000

A run is a folder: config.json, log.jsonl, checkpoint.pt (written whole or not at all) and, at
the end, model.safetensors. The same command continues where an interrupted run stopped.
"""

import argparse
import inspect
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .corpora.datasets import Mixtures
from .corpora.packing import sounds
from .features import HOP, SAMPLE_RATE, analyse, synthesise
from .losses import WEIGHTS, enhancement_losses, total
from .metrics import si_sdr
from .model import build_model, count_parameters
from .paths import whole_file
from .weights import save_weights


def mixtures(folder, split, examples, samples, seed=0):
    """The examples of a folder packed by `rwsa_tutorial.corpora.recorded`: `datasets.Mixtures`.

    split: "train" or "valid". The SNR is uniform between -5 and 15 dB.
    Raises FileNotFoundError when the folder is not packed.
    """
    return Mixtures(
        **sounds(folder, split),
        examples=examples,
        samples=samples,
        seed=seed,
        speech_tilt_db=4,
        noise_tilt_db=6,
        second_noise=0.4,
    )


def batch_of(data, indices):
    """Clean and noisy (B, samples) of these examples."""
    return tuple(torch.stack(x) for x in zip(*(data[i] for i in indices), strict=True))


def _validate(model, data, count, device):
    """Mean SI-SDR gain in dB over the first `count` validation mixtures, one at a time."""
    gains = []
    for i in range(count):
        clean, noisy = batch_of(data, [i])
        with torch.inference_mode():
            mag, phase, _ = model(*analyse(noisy.to(device)))
            wave = synthesise(mag, phase, length=noisy.shape[1]).cpu()
        pair = [x[0].numpy() for x in (clean, noisy, wave)]
        gains.append(si_sdr(pair[0], pair[2]) - si_sdr(pair[0], pair[1]))
    return float(np.mean(gains))


def _keep_settings(run, config, change):
    """Write config.json, the list of settings with the step from which each held.

    Raises ValueError when the run has had others and `change` does not allow it.
    """
    path, log = run / "config.json", run / "log.jsonl"
    history = json.loads(path.read_text()) if path.exists() else []
    if history and {**history[-1], "from_step": 0} == {**config, "from_step": 0}:
        return
    if history and not change:
        raise ValueError(
            f"{run} is a run with other settings ({path}); choose another --run, or go on with "
            "the new ones by --change"
        )
    step = json.loads(log.read_text().splitlines()[-1])["step"] if log.exists() else 0
    history.append({"from_step": step, **config})
    with whole_file(path) as part:
        part.write_text(json.dumps(history, indent=1) + "\n")


def train(
    data,
    run,
    variant="nano",
    steps=4200,
    outer_steps=1500,
    batch=1,
    frames=128,
    lr=2e-3,
    warmup=100,
    phase_weight=WEIGHTS["phase"],
    complex_weight=WEIGHTS["complex"],
    wave_weight=WEIGHTS["wave"],
    si_sdr_weight=WEIGHTS["si_sdr"],
    average=0.999,
    seed=0,
    every=400,
    valid=12,
    change=False,
    device=None,
):
    """Train a variant and write the run folder; returns the path of the averaged weights.

    The first `outer_steps` train the encoder and the decoders alone, without the U-Net between
    them: a small part of the work, and enough to learn to hand the phase on. Then the U-Net joins,
    silent at first since the convolutions behind it start at zero.

    data: folder of `corpora.recorded`. frames: T of a crop. lr: peak of AdamW's rate; it warms up
    over `warmup` steps at the start and when the U-Net joins, and falls to 0 by a cosine.
    phase_weight ... si_sdr_weight: of these terms of the loss. average: decay of the
    running average of the weights, which is what is validated and kept. every: steps between
    validation and checkpoint. change: let a run go on with other settings; each set is kept.
    Raises ValueError when the loss is not finite and when the run's configuration differs.
    """
    config = {k: v for k, v in locals().items() if k not in ("data", "run", "change", "device")}
    run = Path(run)
    run.mkdir(parents=True, exist_ok=True)
    _keep_settings(run, config, change)

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    samples = HOP * (frames - 1)
    training, validation = (
        mixtures(data, "train", steps * batch, samples, seed),
        mixtures(data, "valid", valid, 4 * SAMPLE_RATE, seed),
    )
    weights = {
        **WEIGHTS,
        "phase": phase_weight,
        "complex": complex_weight,
        "wave": wave_weight,
        "si_sdr": si_sdr_weight,
    }
    torch.manual_seed(seed)
    model = build_model(variant).to(device)
    for conv in (model.after_mag, model.after_phase):
        torch.nn.init.zeros_(conv.weight)
    mean = build_model(variant).to(device)
    mean.load_state_dict(model.state_dict())
    optimiser = torch.optim.AdamW(model.parameters(), lr, betas=(0.8, 0.99), weight_decay=0.01)
    first, hours = 0, 0.0
    checkpoint = run / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        mean.load_state_dict(state["mean"])
        optimiser.load_state_dict(state["optimiser"])
        first, hours = state["step"], state["hours"]
    print(f"{variant}: {count_parameters(model)} parameters on {device}, step {first} of {steps}")

    begun, sums, summed = time.monotonic(), {}, 0
    for step in tqdm(
        range(first, steps), initial=first, total=steps, desc="training", mininterval=5
    ):
        since = step if step < outer_steps else step - outer_steps  # the U-Net joins then
        rate = min((since + 1) / warmup, 1) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = lr * rate
        clean, noisy = (
            x.to(device) for x in batch_of(training, range(step * batch, (step + 1) * batch))
        )
        if step < outer_steps:
            mag, phase = analyse(noisy)
            features = model.encode(mag, phase)
            output = model.decode(mag, features, features)
        else:
            output = model(*analyse(noisy))
        terms = enhancement_losses(output, *analyse(clean), clean)
        loss = total(terms, weights)
        if not torch.isfinite(loss):
            bad = [name for name, value in terms.items() if not torch.isfinite(value)]
            raise ValueError(
                f"the loss is not finite at step {step} ({', '.join(bad)}); last good: {checkpoint}"
            )
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        decay = min(average, (step + 1) / (step + 10))
        with torch.no_grad():
            for m, p in zip(mean.parameters(), model.parameters(), strict=True):
                m.lerp_(p, 1 - decay)
        summed += 1
        for name, value in {**terms, "loss": loss}.items():
            sums[name] = sums.get(name, 0.0) + value.item()
        if (step + 1) % every == 0 or step + 1 == steps:
            spent = hours + (time.monotonic() - begun) / 3600
            row = {name: value / summed for name, value in sums.items()}
            row |= {"step": step + 1, "hours": spent}
            row["si_sdr_gain"] = _validate(mean.eval(), validation, valid, device)
            with (run / "log.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
            tqdm.write(json.dumps(row))
            sums, summed = {}, 0
            state = {
                "model": model.state_dict(),
                "mean": mean.state_dict(),
                "optimiser": optimiser.state_dict(),
                "step": step + 1,
                "hours": spent,
            }
            with whole_file(checkpoint) as part:
                torch.save(state, part)
            save_weights(mean, run / "model.safetensors")
    return run / "model.safetensors"


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m rwsa_tutorial.training", description=__doc__.split("\n")[0]
    )
    parser.add_argument("data", help="folder packed by rwsa_tutorial.corpora.recorded")
    parser.add_argument("--run", required=True, help="folder for this run; resumed if it exists")
    for name, option in list(inspect.signature(train).parameters.items())[2:-1]:
        if option.default is False:
            parser.add_argument(f"--{name}", action="store_true")
            continue
        parser.add_argument(
            f"--{name}",
            type=type(option.default),
            default=option.default,
            help="default %(default)s",
        )
    try:
        train(**vars(parser.parse_args(arguments)))
    except (ValueError, OSError) as error:
        print(f"training: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
