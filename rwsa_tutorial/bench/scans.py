"""The engines of the selective scan side by side: speed, memory, errors against float64."""

import math
import os
from collections.abc import Callable, Collection, Sequence
from functools import partial

import torch
from torch import Tensor

from .. import lab, machine, processes, scan
from ..features import BINS, HOP
from ..unet import ModelConfig
from .timing import PATIENCE, best_of

# what a fresh process finds loaded
LOADED = (__name__, "rwsa_tutorial.compiled.mixer")
LOOP = "reference"  # the readable loop, to which the others are compared
LARGEST_ERROR = 1e-4  # an engine that is further from float64 is wrong, not fast
TRAINING_SAMPLES = 30_600  # one training example of the paper: 256 frames
AT_ONCE = 2**22  # states that the float64 loop keeps at a time
WAYS = ("forward", "forward_backward")
SHAPE = ("batch", "channels", "length", "states")


class ScanInputs:
    """The inputs of one selective scan, and the gradient that reaches its output.

    batch, channels, length, states: B, D, L, N. Steps (softplus of delta + delta_bias) lie between
    0.001 and 5 and A is -1 ... -N, as Mamba starts; all else is standard normal, in float32.
    tensors: name -> tensor, named and shaped as in `selective_scan`, contiguous.
    """

    def __init__(
        self,
        batch: int = 128,
        channels: int = 64,
        length: int = 256,
        states: int = 16,
        device: str = "cpu",
        seed: int = 0,
    ):
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(*shape, generator=generator)

        sequence = (batch, channels, length)
        steps = 1e-3 * 5e3 ** torch.rand(*sequence, generator=generator, dtype=torch.float64)
        bias = normal(channels)
        tensors = {
            "u": normal(*sequence),
            "delta": (steps + torch.log(-torch.expm1(-steps))).float() - bias[:, None],
            "A": -torch.arange(1.0, states + 1).repeat(channels, 1),
            "B": normal(batch, states, length),
            "C": normal(batch, states, length),
            "D": normal(channels),
            "z": normal(*sequence),
            "delta_bias": bias,
        }
        self.shape = (batch, channels, length, states)
        self.tensors = {k: v.to(device).requires_grad_() for k, v in tensors.items()}
        self.grad_output = normal(*sequence).to(device)

    def part(self, start: int, stop: int, dtype: torch.dtype = torch.float32) -> "ScanInputs":
        """The same inputs for the sequences from `start` to `stop` alone, in another type."""
        part = object.__new__(ScanInputs)
        part.tensors = {
            name: (x[start:stop] if x.ndim == 3 else x).detach().to(dtype).requires_grad_()
            for name, x in self.tensors.items()
        }
        part.grad_output = self.grad_output[start:stop].to(dtype)
        part.shape = (len(part.grad_output), *self.shape[1:])
        return part

    def forward(self, engine: str) -> Tensor:
        """y (B, D, L), without a graph for gradients."""
        with torch.no_grad():
            return scan.selective_scan(**self.tensors, delta_softplus=True, backend=engine)

    def both(self, engine: str) -> tuple[Tensor, dict[str, Tensor]]:
        """y (B, D, L), and the gradient of every tensor: name -> tensor."""
        y = scan.selective_scan(**self.tensors, delta_softplus=True, backend=engine)
        gradients = torch.autograd.grad(y, list(self.tensors.values()), self.grad_output)
        return y.detach(), dict(zip(self.tensors, gradients, strict=True))

    def bytes_moved(self) -> tuple[int, int]:
        """Bytes that must be read and written: (forward, forward and backward).

        Forward reads every tensor and writes y; backward reads them again with the gradient of y,
        and writes one of each. What an engine keeps in between comes on top.
        """
        tensors = sum(x.numel() * x.element_size() for x in self.tensors.values())
        output = self.grad_output.numel() * self.grad_output.element_size()
        return tensors + output, 3 * tensors + 2 * output


def why_not(engine: str, inputs: ScanInputs) -> str | None:
    """None if an engine can be measured on these inputs, or the reason why not, in words."""
    unable = cannot_run(engine)
    if unable:
        return unable
    if engine in ("reference", "parallel") and (words := _too_large(inputs.shape, inputs)):
        return words
    try:
        inputs.part(0, 2).both(engine)
    except Exception as error:  # whatever a compiler or a driver raises is told in the table
        return processes.reason(error)
    return None


def cannot_run(engine: str) -> str | None:
    state = scan.scan_backends()[engine]
    if state is not True:
        return state
    if engine == "gpu" and os.environ.get("TRITON_INTERPRET", "0") != "0":
        return "TRITON_INTERPRET is set, and the interpreter's speed says nothing"
    return None


def _too_large(shape, inputs, width=4):
    """In words why the plain engines cannot keep their states, of `width` bytes; or None."""
    needed, free = 10 * width * math.prod(shape), machine.free_memory(inputs.grad_output.device)
    if free is None or needed <= free:
        return None
    return f"it keeps every state: about {machine.size(needed)}; {machine.size(free)} are free"


def float64_result(inputs: ScanInputs) -> tuple[Tensor, dict[str, Tensor]] | None:
    """y (B, D, L) and the gradients of the readable loop in float64, some sequences at a time.

    None where even one sequence is too long for the memory.
    """
    batch, *rest = inputs.shape
    at_once = min(batch, max(1, AT_ONCE // math.prod(rest)))
    if _too_large((at_once, *rest), inputs, width=8):
        return None
    outputs, parts = [], []
    for start in range(0, batch, at_once):
        y, gradients = inputs.part(start, start + at_once, torch.float64).both(LOOP)
        outputs.append(y)
        parts.append(gradients)
    return torch.cat(outputs), {
        name: torch.cat([part[name] for part in parts])
        if inputs.tensors[name].ndim == 3
        else sum(part[name] for part in parts)
        for name in inputs.tensors
    }


def errors(engine: str, inputs: ScanInputs, exact: tuple[Tensor, dict[str, Tensor]]) -> dict:
    """How far an engine is from `float64_result`, as a norm relative to the exact one's.

    Returns {"output_error", "gradient_error", "worst_gradient"}: that of y, the largest of the
    gradients, and the name of its tensor.
    """
    y, gradients = inputs.both(engine)
    distance = {name: _relative(gradients[name], exact[1][name]) for name in gradients}
    # NaN compares with nothing, so it is put above all
    worst = max(distance, key=lambda name: (math.isnan(distance[name]), distance[name]))
    return {
        "output_error": _relative(y, exact[0]),
        "gradient_error": distance[worst],
        "worst_gradient": worst,
    }


def compare_scans(
    engines: Collection[str],
    inputs: ScanInputs,
    rounds: int = 5,
    patience: float = PATIENCE,
    tick: Callable[[], object] = lambda: None,
) -> list[dict]:
    """Time and errors of several engines on the same `ScanInputs`: a row (dict) for each.

    The loop is measured in any case, since the others are compared with it. Rows hold the names
    of COLUMNS: times, ratios (how many times as fast as the loop), errors; or "not_measured" with
    the reason in words. An engine that has taken `patience` seconds leaves the rounds; the loop
    has five times as much. tick: called after each round and after each engine's errors.
    """
    rows = {
        engine: dict(zip(SHAPE, inputs.shape, strict=True)) | {"engine": engine}
        for engine in scan.scan_backends()
        if engine in engines or engine == LOOP
    }
    for engine, row in rows.items():
        row["not_measured"] = why_not(engine, inputs)
    exact = float64_result(inputs)
    for engine, row in rows.items():
        if row["not_measured"] is None and exact is not None:
            try:  # also the first call of full size, which the rounds do not count
                row |= errors(engine, inputs, exact)
            except Exception as error:  # the memory of a GPU, say
                row["not_measured"] = processes.reason(error)
            tick()
    able = [engine for engine, row in rows.items() if row["not_measured"] is None]
    ways = dict(zip(WAYS, (inputs.forward, inputs.both), strict=True))
    tasks = {(way, engine): partial(run, engine) for engine in able for way, run in ways.items()}
    limits = {task: patience * (5 if task[1] == LOOP else 1) for task in tasks}
    times = best_of(tasks, rounds, inputs.grad_output.device, limits, tick)
    for (way, engine), (seconds, taken) in times.items():
        loop = times.get((way, LOOP))
        rows[engine] |= {f"{way}_s": seconds, f"{way}_rounds": taken}
        rows[engine][f"{way}_ratio"] = loop[0] / seconds if loop else None
    return list(rows.values())


def scan_rows(
    engines: Collection[str],
    shape: Sequence[int],
    rounds: int = 5,
    device: str = "cpu",
    patience: float = PATIENCE,
    tick: Callable[[], object] = lambda: None,
) -> list[dict]:
    """`compare_scans` on B, D, L, N, with the memory that forward and backward take on top of the
    inputs: a row (dict) for each engine."""
    rows = compare_scans(engines, ScanInputs(*shape, device=device), rounds, patience, tick)
    for row in rows:
        row["table"] = "scan"
        if row["not_measured"] is None:
            found = processes.in_fresh_process(
                _scan_memory, row["engine"], shape, device, preload=LOADED
            )
            row["memory_bytes"] = found.get("memory_bytes")
            row["memory_not_measured"] = found.get("not_measured")
            tick()
    return rows


def level_shapes(
    config: ModelConfig, batch: int = 1, samples: int = TRAINING_SAMPLES
) -> dict[tuple[int, str], tuple[int, int, int, int]]:
    """The scans of a network: (level, axis) -> (sequences, D, L, N).

    config: ModelConfig. batch: examples. samples: of each, at 16 kHz. Level 1 has all frames and,
    behind the encoder, half of the frequencies (a network of laboratory size: half of the frames,
    mel bands); each further level has half of both. Along time every frequency of every example is
    a sequence, along frequency every frame.
    """
    shapes = {}
    halvings = config.levels - 1
    frames, bands = 1 + samples // HOP, BINS // 2
    if config.around == "mel":
        frames, bands = math.ceil(frames / lab.FRAMES), lab.BANDS
    frames = math.ceil(frames / 2**halvings) * 2**halvings  # as the U-Net pads
    for level in range(config.levels):
        inner = config.expand * config.channels * (level + 1)
        time, freq = frames // 2**level, bands // 2**level
        shapes[level + 1, "time"] = (batch * freq, inner, time, config.d_state)
        shapes[level + 1, "frequency"] = (batch * time, inner, freq, config.d_state)
    return shapes


def level_rows(
    engines: Collection[str],
    config: ModelConfig,
    batches: Sequence[int] = (1,),
    rounds: int = 5,
    device: str = "cpu",
    patience: float = PATIENCE,
    tick: Callable[[], object] = lambda: None,
) -> list[dict]:
    """`compare_scans` on every shape of `level_shapes`, with bandwidths: a row (dict) for each.

    The bandwidth is `ScanInputs.bytes_moved` by the time; its share is that of a plain copy which
    moves as many bytes (half read, half written), timed in the same run.
    """
    rows = []
    for batch in batches:
        for (level, axis), shape in level_shapes(config, batch).items():
            inputs = ScanInputs(*shape, device=device)
            moved = dict(zip(WAYS, inputs.bytes_moved(), strict=True))
            copy = {way: _copy_bandwidth(count, rounds, device) for way, count in moved.items()}
            for row in compare_scans(engines, inputs, rounds, patience, tick):
                row |= {"table": "levels", "case": f"batch {batch}, level {level}, along {axis}"}
                for way in moved if row["not_measured"] is None else ():
                    row[f"{way}_bytes_per_s"] = moved[way] / row[f"{way}_s"]
                    row[f"{way}_share"] = row[f"{way}_bytes_per_s"] / copy[way]
                rows.append(row)
    return rows


def _scan_memory(engine, shape, device):
    inputs = ScanInputs(*shape, device=device)
    inputs.part(0, 2).both(engine)  # compiles
    before = machine.reset_peak(device)
    inputs.both(engine)
    return {"memory_bytes": max(0, machine.peak(device) - before)}


def _relative(got, exact):
    size = exact.norm().item()
    return (got.double() - exact).norm().item() / (size or 1.0)  # of one step, dA is exactly 0


def _copy_bandwidth(count, rounds, device):
    """Bytes per second, read and written together, of a copy that moves `count` bytes."""
    source = torch.zeros(count // 8, device=device)
    target = torch.ones_like(source)
    seconds, _ = best_of({"": lambda: target.copy_(source)}, rounds, device)[""]
    return 8 * source.numel() / seconds
