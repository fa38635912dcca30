"""Whole networks: enhancing ten seconds, and a step of training."""

from collections.abc import Callable, Sequence

import torch

from .. import machine, processes
from ..features import SAMPLE_RATE, analyse
from ..losses import enhancement_losses, total
from ..model import build_model, set_scan_backend
from .scans import TRAINING_SAMPLES, cannot_run
from .timing import PATIENCE, best_of

# what a fresh process finds loaded
LOADED = (
    __name__,
    "rwsa_tutorial.enhancement",
    "rwsa_tutorial.compiled.mixer",
)


def network_rows(
    engines: Sequence[str] = ("auto",),
    rounds: int = 5,
    device: str = "cpu",
    patience: float = PATIENCE,
    tick: Callable[[], object] = lambda: None,
) -> list[dict]:
    """Enhancement of 10 s by nano and XS, training steps of lab, nano, XS: a row (dict) for each.

    Each is measured in a process of its own, whose peak memory is given; weights are random. On a
    GPU there is a training step of batch 8 as well. What has taken `patience` seconds and two
    rounds takes no further one.
    """
    tasks = {
        "enhance 10 s, nano": (_enhance, "nano", 10),
        "enhance 10 s, xs": (_enhance, "xs", 10),
        "training step, lab, batch 8": (_train, "lab", 8),
        "training step, nano, batch 1": (_train, "nano", 1),
        "training step, xs, batch 1": (_train, "xs", 1),
    }
    if torch.device(device).type == "cuda":
        tasks["training step, xs, batch 8"] = (_train, "xs", 8)
    rows = []
    for engine in engines:
        unable = None if engine == "auto" else cannot_run(engine)
        for case, task in tasks.items():
            row = {"table": "network", "case": case, "engine": engine, "not_measured": unable}
            if unable is None:
                row |= processes.in_fresh_process(
                    *task, engine, rounds, device, patience, preload=LOADED
                )
            rows.append(row)
            tick()
    return rows


def _enhance(variant, seconds, engine, rounds, device, patience):
    from ..enhancement import enhance

    torch.manual_seed(0)
    model = set_scan_backend(build_model(variant), engine).to(device).eval()
    wave = torch.randn(seconds * SAMPLE_RATE).numpy() / 10

    def run(samples=None):
        enhance(wave[:samples], SAMPLE_RATE, model, progress=False)

    run(SAMPLE_RATE)  # compiles
    row = _network_row(run, rounds, device, patience)
    return row | {"real_time_factor": row["seconds"] / seconds}


def _train(variant, batch, engine, rounds, device, patience):
    torch.manual_seed(0)
    model = set_scan_backend(build_model(variant), engine).to(device)
    optimiser = torch.optim.AdamW(model.parameters())
    clean, noisy = torch.randn(2, batch, TRAINING_SAMPLES, device=device)

    def step():
        output = model(*analyse(noisy))
        loss = total(enhancement_losses(output, *analyse(clean), clean))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    step()  # compiles, and fetches the memory that later steps use again
    return _network_row(step, rounds, device, patience)


def _network_row(run, rounds, device, patience):
    seconds, taken = best_of({"": run}, rounds, device, {"": patience}, least=2)[""]
    return {"seconds": seconds, "rounds": taken, "memory_bytes": machine.peak(device)}
