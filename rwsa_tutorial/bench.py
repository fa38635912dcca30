"""How fast is it here? The scan engines side by side, and the whole network (`rwsa bench`).

Times are wall-clock seconds and the best of several rounds. In each round every engine has its
turn on the same inputs, so that a busy moment of the machine hits all alike. Before the rounds
each engine has been called, so compilation does not count. Memory is that of a fresh process.
"""

import contextlib
import math
import os
import time
from functools import partial

import torch
from torch import nn

from . import machine, scan, tables
from .features import BINS, HOP, SAMPLE_RATE, analyse
from .layers.attention import SelfAttention
from .layers.mamba import MambaMixer
from .layers.patch_embedding import PatchEmbedding
from .losses import enhancement_losses, total
from .model import VARIANTS, build_model, set_scan_backend

LOOP = "reference"  # the readable loop, to which the others are compared
LARGEST_ERROR = 1e-4  # an engine that is further from float64 is wrong, not fast
TRAINING_SAMPLES = 30_600  # one training example of the paper: 256 frames
PATIENCE = 2.0  # seconds of measuring after which a slow engine leaves the rounds
AT_ONCE = 2**22  # states that the float64 loop keeps at a time
WAYS = ("forward", "forward_backward")
SHAPE = ("batch", "channels", "length", "states")
ERRORS = ("error of y", "worst gradient")
COLUMNS = (
    *("table", "case", "engine", *SHAPE),
    *("forward_s", "forward_ratio", "forward_rounds"),
    *("forward_backward_s", "forward_backward_ratio", "forward_backward_rounds"),
    *("forward_bytes_per_s", "forward_share"),
    *("forward_backward_bytes_per_s", "forward_backward_share"),
    *("output_error", "gradient_error", "worst_gradient"),
    *("seconds", "rounds", "real_time_factor", "memory_bytes"),
    *("not_measured", "memory_not_measured", "machine"),
)


class ScanInputs:
    """The inputs of one selective scan, and the gradient that reaches its output.

    batch, channels, length, states: B, D, L, N. Steps (softplus of delta + delta_bias) lie between
    0.001 and 5 and A is -1 ... -N, as Mamba starts; all else is standard normal, in float32.
    tensors: name -> tensor, named and shaped as in `selective_scan`, contiguous.
    """

    def __init__(self, batch=128, channels=64, length=256, states=16, device="cpu", seed=0):
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

    def part(self, start, stop, dtype=torch.float32):
        """The same inputs for the sequences from `start` to `stop` alone, in another type."""
        part = object.__new__(ScanInputs)
        part.tensors = {
            name: (x[start:stop] if x.ndim == 3 else x).detach().to(dtype).requires_grad_()
            for name, x in self.tensors.items()
        }
        part.grad_output = self.grad_output[start:stop].to(dtype)
        part.shape = (len(part.grad_output), *self.shape[1:])
        return part

    def forward(self, engine):
        """y (B, D, L), without a graph for gradients."""
        with torch.no_grad():
            return scan.selective_scan(**self.tensors, delta_softplus=True, backend=engine)

    def both(self, engine):
        """y (B, D, L), and the gradient of every tensor: name -> tensor."""
        y = scan.selective_scan(**self.tensors, delta_softplus=True, backend=engine)
        gradients = torch.autograd.grad(y, list(self.tensors.values()), self.grad_output)
        return y.detach(), dict(zip(self.tensors, gradients, strict=True))

    def bytes_moved(self):
        """Bytes that must be read and written: (forward, forward and backward).

        Forward reads every tensor and writes y; backward reads them again with the gradient of y,
        and writes one of each. What an engine keeps in between comes on top.
        """
        tensors = sum(x.numel() * x.element_size() for x in self.tensors.values())
        output = self.grad_output.numel() * self.grad_output.element_size()
        return tensors + output, 3 * tensors + 2 * output


def best_of(tasks, rounds, device="cpu", patience=None, tick=lambda: None, least=1):
    """Time functions in turn: name -> (best seconds of a call, rounds taken).

    tasks: name -> function without arguments. A call of under 10 ms is repeated within a round; a
    task that has taken more than its `patience` (name -> seconds) takes no further round, once it
    has had `least`. tick: called after each round.
    """
    best, taken = dict.fromkeys(tasks, math.inf), dict.fromkeys(tasks, 0)
    calls, spent = dict.fromkeys(tasks, 1), dict.fromkeys(tasks, 0.0)
    for _ in range(rounds):
        for name, run in tasks.items():
            if patience and spent[name] > patience[name] and taken[name] >= least:
                continue
            machine.wait_for(device)
            start = time.perf_counter()
            for _ in range(calls[name]):
                run()
            machine.wait_for(device)
            seconds = time.perf_counter() - start
            spent[name] += seconds
            taken[name] += 1
            best[name] = min(best[name], seconds / calls[name])
            calls[name] = min(1000, math.ceil(0.01 * calls[name] / seconds))
        tick()
    return {name: (best[name], taken[name]) for name in tasks}


def why_not(engine, inputs):
    """None if an engine can be measured on these inputs, or the reason why not, in words."""
    unable = _unable(engine)
    if unable:
        return unable
    if engine in ("reference", "parallel") and (words := _too_large(inputs.shape, inputs)):
        return words
    try:
        inputs.part(0, 2).both(engine)
    except Exception as error:  # whatever a compiler or a driver raises is told in the table
        return machine.reason(error)
    return None


def _unable(engine):
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


def float64_result(inputs):
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


def errors(engine, inputs, exact):
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


def compare_scans(engines, inputs, rounds=5, patience=PATIENCE, tick=lambda: None):
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
                row["not_measured"] = machine.reason(error)
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


def scan_rows(engines, shape, rounds=5, device="cpu", patience=PATIENCE, tick=lambda: None):
    """`compare_scans` on B, D, L, N, with the memory that forward and backward take on top of the
    inputs: a row (dict) for each engine."""
    rows = compare_scans(engines, ScanInputs(*shape, device=device), rounds, patience, tick)
    for row in rows:
        row["table"] = "scan"
        if row["not_measured"] is None:
            found = machine.in_fresh_process(_scan_memory, row["engine"], shape, device)
            row["memory_bytes"] = found.get("memory_bytes")
            row["memory_not_measured"] = found.get("not_measured")
            tick()
    return rows


def level_shapes(config, batch=1, samples=TRAINING_SAMPLES):
    """The scans of a network: (level, axis) -> (sequences, D, L, N).

    config: ModelConfig. batch: examples. samples: of each, at 16 kHz. Level 1 has all frames and,
    behind the encoder, half of the frequencies; each further level has half of both. Along time
    every frequency of every example is a sequence, along frequency every frame.
    """
    shapes = {}
    halvings = config.levels - 1
    frames = math.ceil((1 + samples // HOP) / 2**halvings) * 2**halvings  # as the U-Net pads
    for level in range(config.levels):
        inner = config.expand * config.channels * (level + 1)
        time, freq = frames // 2**level, BINS // 2 // 2**level
        shapes[level + 1, "time"] = (batch * freq, inner, time, config.d_state)
        shapes[level + 1, "frequency"] = (batch * time, inner, freq, config.d_state)
    return shapes


def level_rows(
    engines, config, batches=(1,), rounds=5, device="cpu", patience=PATIENCE, tick=lambda: None
):
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


def network_rows(engines=("auto",), rounds=5, device="cpu", patience=PATIENCE, tick=lambda: None):
    """Enhancement of 10 s by nano and XS, and a training step of XS: a row (dict) for each.

    Each is measured in a process of its own, whose peak memory is given; weights are random. On a
    GPU there is a training step of batch 8 as well. What has taken `patience` seconds and two
    rounds takes no further one.
    """
    tasks = {
        "enhance 10 s, nano": (_enhance, "nano", 10),
        "enhance 10 s, xs": (_enhance, "xs", 10),
        "training step, xs, batch 1": (_train, "xs", 1),
    }
    if torch.device(device).type == "cuda":
        tasks["training step, xs, batch 8"] = (_train, "xs", 8)
    rows = []
    for engine in engines:
        unable = None if engine == "auto" else _unable(engine)
        for case, task in tasks.items():
            row = {"table": "network", "case": case, "engine": engine, "not_measured": unable}
            if unable is None:
                row |= machine.in_fresh_process(*task, engine, rounds, device, patience)
            rows.append(row)
            tick()
    return rows


def _scan_memory(engine, shape, device):
    inputs = ScanInputs(*shape, device=device)
    inputs.part(0, 2).both(engine)  # compiles
    before = machine.reset_peak(device)
    inputs.both(engine)
    return {"memory_bytes": max(0, machine.peak(device) - before)}


def _enhance(variant, seconds, engine, rounds, device, patience):
    from .enhancement import enhance

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


def _relative(got, exact):
    size = exact.norm().item()
    return (got.double() - exact).norm().item() / (size or 1.0)  # of one step, dA is exactly 0


def _copy_bandwidth(count, rounds, device):
    """Bytes per second, read and written together, of a copy that moves `count` bytes."""
    source = torch.zeros(count // 8, device=device)
    target = torch.ones_like(source)
    seconds, _ = best_of({"": lambda: target.copy_(source)}, rounds, device)[""]
    return 8 * source.numel() / seconds


def measure(
    shape=(128, 64, 256, 16),
    engines=None,
    device=None,
    threads=None,
    rounds=5,
    patience=PATIENCE,
    only=None,
    levels=None,
    batches=(1,),
):
    """All that `rwsa bench` measures, with bars: gives the rows of one table after the other.

    shape: B, D, L, N of the scan. engines: names; by default all for the scan and auto for the
    network. device: "cpu" or "cuda", by default CUDA if it is there. threads: of the CPU. only:
    "scan" or "network". levels: a variant whose scans are measured instead, for each of `batches`.
    rounds, patience: as for `compare_scans`.
    Raises ValueError for an engine, a variant or a device that there is none of.
    """
    known = scan.scan_backends()
    for name in engines or ():
        if name not in known:
            raise ValueError(f"There is no scan engine {name!r}; there are {', '.join(known)}.")
    if levels is not None and levels not in VARIANTS:
        raise ValueError(f"There is no network {levels!r}; there are {', '.join(VARIANTS)}.")
    if levels is not None and only is not None:
        raise ValueError("The scans of the levels are measured alone: leave out --only.")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("There is no CUDA GPU here, or this torch cannot use it.")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    chosen = {"rounds": rounds, "device": device, "patience": patience}
    compared = sum(_unable(name) is None for name in {*(engines or known), LOOP})
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        if levels is not None:
            steps = len(batches) * 2 * VARIANTS[levels].levels * (rounds + compared)
            with _bar("scans of each level", steps) as tick:
                rows = level_rows(engines or known, VARIANTS[levels], batches, **chosen, tick=tick)
            yield rows
            return
        if only != "network":
            with _bar("scan engines", rounds + 2 * compared) as tick:
                rows = scan_rows(engines or known, shape, **chosen, tick=tick)
            yield rows
        if only != "scan":
            engines = engines or ["auto"]
            with _bar("whole network", 3 * len(engines)) as tick:
                rows = network_rows(engines, **chosen, tick=tick)
            yield rows
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _bar(words, steps):
    """A bar on the terminal that is gone at the end; gives the function that moves it on."""
    from tqdm import tqdm

    with tqdm(total=steps, desc=words, unit="step", leave=False) as bar:
        yield bar.update


def table(rows):
    """Rows of one table as text: what was measured, a Markdown table, notes."""
    return {"scan": _scan_table, "levels": _level_table, "network": _network_table}[
        rows[0]["table"]
    ](rows)


def _scan_table(rows):
    batch, channels, length, states = (rows[0][name] for name in SHAPE)
    title = (
        f"Selective scan: B = {batch}, D = {channels}, L = {length}, N = {states}, float32, with "
        f"softplus, bias, skip and gate; {_rounds(rows)}. Memory: of forward and backward, on top "
        "of the inputs. Errors: against the loop in float64, relative norms"
    )
    head = ["engine", "forward", "× loop", "forward + backward", "× loop", "memory", *ERRORS]
    cells = [
        [row["engine"], *_timed(row, "forward"), *_timed(row, "forward_backward")]
        + [_known(row, "memory_bytes", machine.size), *_errors(row)]
        for row in rows
    ]
    return _text(title, [head, *cells], rows)


def _level_table(rows):
    title = (
        f"Selective scans of a network on {TRAINING_SAMPLES} samples, level by level; "
        f"{_rounds(rows)}; GB/s that must be moved, and its share of what a plain copy reaches"
    )
    timed = ["× loop", "GB/s", "of copy"]
    head = ["scan", "B, D, L, N", "engine", "forward", *timed, "forward + backward", *timed]
    cells = [
        [row["case"], ", ".join(str(row[name]) for name in SHAPE), row["engine"]]
        + [
            cell
            for way in WAYS
            for cell in (
                *_timed(row, way),
                _known(row, f"{way}_bytes_per_s", lambda x: f"{x / 1e9:.3g}"),
                _known(row, f"{way}_share", lambda x: f"{100 * x:.2g} %"),
            )
        ]
        + _errors(row)
        for row in rows
    ]
    return _text(title, [[*head, *ERRORS], *cells], rows)


def _network_table(rows):
    title = (
        f"Whole network, each row in its own process, whose peak memory is given; a training "
        f"example has {TRAINING_SAMPLES} samples. Real-time factor: computing by playing time"
    )
    head = ["network", "engine", "time", "best of", "real-time factor", "peak memory"]
    cells = [
        [row["case"], row["engine"], _known(row, "seconds", machine.duration)]
        + [_known(row, "rounds", str), _known(row, "real_time_factor", "{:.2f}".format)]
        + [_known(row, "memory_bytes", machine.size)]
        for row in rows
    ]
    return _text(title, [head, *cells], rows)


def write_csv(path, rows, words=""):
    """Write rows of any table as CSV with the columns of COLUMNS; what is absent stays empty.

    words: about the machine, repeated in each row. The file appears whole or not at all, and
    replaces an existing one.
    """
    tables.write(path, COLUMNS, [row | {"machine": words} for row in rows])


def _rounds(rows):
    most = max((row.get("forward_rounds", 0) for row in rows), default=0)
    return f"best of {most}"


def _timed(row, way):
    return [_known(row, f"{way}_s", machine.duration), _known(row, f"{way}_ratio", "{:.3g}".format)]


def _errors(row):
    worst = row.get("worst_gradient")
    return [
        _known(row, "output_error", "{:.1e}".format),
        _known(row, "gradient_error", lambda x: f"{x:.1e} ({worst})"),
    ]


def _known(row, name, words):
    """The cell of a value in words, "not measured", or "–" where there is none to measure."""
    if row.get(name) is not None:
        return words(row[name])
    return "not measured" if row["not_measured"] else "–"


def _notes(rows):
    """What the cells cannot say: who is missing and why, who left early, who is wrong."""
    most = max((row.get("forward_rounds", 0) for row in rows), default=0)
    for row in rows:
        engine, where = row["engine"], f" ({row['case']})" if "case" in row else ""
        if row["not_measured"]:
            yield f"{engine} is not measured{where}: {row['not_measured']}."
        if row.get("memory_not_measured"):
            yield f"The memory of {engine} is not measured: {row['memory_not_measured']}."
        if any(not row[e] <= LARGEST_ERROR for e in ("output_error", "gradient_error") if e in row):
            yield f"{engine} is WRONG{where}: further than {LARGEST_ERROR:g} from float64."
        taken = [row[f"{way}_rounds"] for way in WAYS if f"{way}_rounds" in row]
        if taken and min(taken) < most:
            yield f"{engine} is slow{where}: best of {taken[0]} forward, {taken[1]} with backward."


def _text(title, cells, rows):
    """Title, a Markdown table that is readable as text too, and a list of notes."""
    notes = [f"- {note}" for note in _notes(rows)]
    return "\n".join([f"{title}.", "", tables.markdown(cells), *([""] if notes else []), *notes])


# the boxes of the map of the network (`plotting.network_map`) -> the modules that they stand for
PARTS = {
    "encoder": ("encoder",),
    "level1_down": ("down.0", "downsample.0"),
    "level2_down": ("down.1", "downsample.1"),
    "level3": ("middle",),
    "level2_up": ("upsample.1", "merge.1", "up.1"),
    "level1_up": ("upsample.0", "merge.0", "up.0"),
    "refine_mag": ("refine_mag", "after_mag"),
    "refine_phase": ("refine_phase", "after_phase"),
    "mask_decoder": ("mask_decoder",),
    "phase_decoder": ("phase_decoder",),
}


def part_costs(model, mag, phase):
    """What each part of a network with three levels takes in one forward pass: part -> dict.

    mag, phase: (B, F, T), where the model is; on "meta", where nothing is computed, seconds and
    bytes mean nothing. The dicts hold "parameters", where shared ones count in the first part that
    has them; "operations", multiplications with an addition, three for each step of a state of the
    scan; "seconds"; "memory_bytes", what is kept for a backward pass, without weights; "shape",
    that of the largest output. The first pass of a process compiles, so its seconds do not count.
    """
    rows = {
        part: {"parameters": 0, "operations": 0, "seconds": 0.0, "memory_bytes": 0, "shape": ()}
        for part in PARTS
    }
    part_of = {name: part for part, names in PARTS.items() for name in names}
    for name, p in model.named_parameters():
        part = next(part_of[n] for n in part_of if f"{name}.".startswith(f"{n}."))
        rows[part]["parameters"] += p.numel()
    known = {p.untyped_storage().data_ptr() for p in model.parameters()}
    row = None  # that of the part which is at work

    def begin(part):
        def hook(module, inputs):
            nonlocal row
            row = rows[part]
            machine.wait_for(mag.device)
            row["seconds"] -= time.perf_counter()

        return hook

    def end(module, inputs, output):
        machine.wait_for(mag.device)
        row["seconds"] += time.perf_counter()
        row["shape"] = max(row["shape"], tuple(output.shape[1:]), key=math.prod)

    def count(module, inputs, output):
        row["operations"] += _operations(module, inputs[0], output)

    def keep(tensor):
        storage = tensor.untyped_storage()
        if row is not None and storage.data_ptr() not in known:
            known.add(storage.data_ptr())
            row["memory_bytes"] += storage.nbytes()
        return tensor

    hooks = []
    try:
        for name, part in part_of.items():
            module = model.get_submodule(name)
            hooks += [module.register_forward_pre_hook(begin(part))]
            hooks += [module.register_forward_hook(end)]
        inside = {id(m) for x in model.modules() if isinstance(x, MambaMixer) for m in x.children()}
        hooks += [m.register_forward_hook(count) for m in model.modules() if id(m) not in inside]
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output = model(mag, phase)  # held until all is counted, so that no memory is used twice
        del output
    finally:
        for hook in hooks:
            hook.remove()
    return rows


def _operations(module, x, output):
    """Multiplications with an addition of one call, those of the children left out."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        return output.numel() * module.weight[0].numel()
    if isinstance(module, MambaMixer):
        projections = (module.in_proj, module.conv1d, module.x_proj, module.dt_proj)
        weights = sum(m.weight.numel() for m in (*projections, module.out_proj))
        return x.shape[:2].numel() * (weights + 3 * module.A_log.numel())
    if isinstance(module, SelfAttention):
        return 2 * x.numel() * x.shape[1]
    if isinstance(module, PatchEmbedding):
        return 9 * 5 * output.numel()  # nine taps, each between four pixels
    return 0
