"""`rwsa bench`: what the tables hold, and that a wrong engine is found out. Nothing is timed."""

import csv
import importlib
import math
import re
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import pytest
import torch
from matplotlib import pyplot
from small_runs import refuse_shared_memory

matplotlib.use("Agg")

from rwsa_tutorial import (
    VARIANTS,
    ModelConfig,
    bench,
    build_model,
    cli,
    machine,
    plotting,
    processes,
    scan,
)
from rwsa_tutorial.bench import networks, scans, timing
from rwsa_tutorial.features import BINS, HOP, SAMPLE_RATE
from rwsa_tutorial.layers.mamba import MambaMixer
from rwsa_tutorial.model import count_parameters
from rwsa_tutorial.scan.around import step_size

DEFAULT = {"batch": 128, "channels": 64, "length": 256, "states": 16}
SMALL = ["--batch", "3", "--channels", "4", "--length", "9", "--states", "2", "--rounds", "2"]


def cells(text):
    """The rows of the Markdown tables in a text, headings and rules left out."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


@pytest.fixture
def alike(monkeypatch):
    """Engines that are the loop under other names, and one that this machine cannot run."""
    states = {"twin": True, "reference": True, "rocket": "needs a launch pad"}
    monkeypatch.setattr(scan, "scan_backends", lambda: states)
    calls, loop = [], scan.selective_scan

    def run(*, backend, **arguments):
        calls.append(backend)
        return loop(**arguments, backend="reference")

    monkeypatch.setattr(scan, "selective_scan", run)
    return SimpleNamespace(states=states, calls=calls, loop=loop)


@pytest.fixture
def no_child(monkeypatch):
    """Measure in this process, where the engines above are known."""
    monkeypatch.setattr(processes, "in_fresh_process", lambda does, *given, **_: does(*given))


def test_inputs_have_the_scan_s_shapes_and_the_steps_that_are_promised():
    inputs = bench.ScanInputs(3, 4, 500, 2)
    shapes = {name: tuple(x.shape) for name, x in inputs.tensors.items()}
    assert shapes["u"] == shapes["delta"] == shapes["z"] == (3, 4, 500)
    assert shapes["B"] == shapes["C"] == (3, 2, 500)
    assert (shapes["A"], shapes["D"], shapes["delta_bias"]) == ((4, 2), (4,), (4,))
    assert all(x.is_contiguous() and x.dtype == torch.float32 for x in inputs.tensors.values())
    step = step_size(inputs.tensors["delta"], inputs.tensors["delta_bias"], True)
    assert 0.99e-3 < step.min() < 2e-3 and 4.9 < step.max() < 5.01


def test_bytes_are_those_of_every_tensor_read_and_written_once():
    B, D, L, N = 3, 4, 9, 2
    inputs = 3 * B * D * L + 2 * B * N * L + D * N + 2 * D  # u, delta, z; B, C; A; skip, bias
    forward = inputs + B * D * L
    backward = inputs + B * D * L + inputs  # with the gradient of y; a gradient of each
    moved = bench.ScanInputs(B, D, L, N).bytes_moved()
    assert moved == (4 * forward, 4 * (forward + backward))


def test_the_float64_result_in_parts_is_that_of_the_whole(monkeypatch):
    inputs = bench.ScanInputs(5, 4, 9, 2)
    parts, whole = [], inputs.part(0, 5, torch.float64).both("parallel")
    cut = bench.ScanInputs.part
    monkeypatch.setattr(bench.ScanInputs, "part", lambda *a: parts.append(a) or cut(*a))
    monkeypatch.setattr(scans, "AT_ONCE", 2 * 4 * 9 * 2)  # two sequences
    y, gradients = scans.float64_result(inputs)
    assert len(parts) == 3
    assert y.dtype == torch.float64 and torch.allclose(y, whole[0], rtol=1e-12)
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, whole[1][name], rtol=1e-10, atol=1e-12), name


def test_every_engine_has_times_a_ratio_and_small_errors():
    rows = bench.compare_scans(scan.scan_backends(), bench.ScanInputs(3, 4, 9, 2), rounds=2)
    assert [row["engine"] for row in rows] == list(scan.scan_backends())
    able = {row["engine"]: row for row in rows if row["not_measured"] is None}
    assert {"reference", "parallel"} <= set(able)
    for row in able.values():
        for way in bench.WAYS:
            loop = able["reference"][f"{way}_s"]
            assert row[f"{way}_ratio"] == pytest.approx(loop / row[f"{way}_s"])
            assert row[f"{way}_s"] > 0 and row[f"{way}_rounds"] == 2
        assert 0 < row["output_error"] < 1e-5 and 0 < row["gradient_error"] < 1e-5
        assert row["worst_gradient"] in bench.ScanInputs(1, 1, 1, 1).tensors
    for row in rows:
        assert ("forward_s" in row) == (row["not_measured"] is None)


def test_one_step_and_one_sequence_can_be_measured():
    (row,) = bench.compare_scans(["reference"], bench.ScanInputs(1, 1, 1, 1), rounds=1)
    assert row["gradient_error"] < 1e-5


@pytest.mark.parametrize("factor", [1 + 1e-3, math.nan])
@pytest.mark.parametrize("where", ["output", "gradient"])
def test_a_wrong_engine_is_found_out(alike, monkeypatch, where, factor):
    right = scan.selective_scan

    def wrong(*, backend, u, **arguments):
        if backend == "twin" and where == "gradient":
            u = u.detach() + (u - u.detach()) * factor  # the same value, another gradient
        y = right(backend=backend, u=u, **arguments)
        return y * factor if backend == "twin" and where == "output" else y

    monkeypatch.setattr(scan, "selective_scan", wrong)
    rows = bench.compare_scans(["twin"], bench.ScanInputs(3, 4, 9, 2), rounds=1)
    text = bench.table([row | {"table": "scan"} for row in rows])
    assert "- twin is WRONG: further than 0.0001 from float64." in text
    assert "reference is WRONG" not in text
    twin, loop = rows
    if where == "gradient" and not math.isnan(factor):
        assert twin["worst_gradient"] == "u"
        assert twin["gradient_error"] == pytest.approx(1e-3, rel=1e-2)
        assert twin["output_error"] == loop["output_error"]
    if where == "output" and not math.isnan(factor):
        assert twin["output_error"] == pytest.approx(1e-3, rel=1e-2)


def test_engines_take_turns_and_the_first_calls_do_not_count(alike):
    rows = bench.compare_scans(["twin"], bench.ScanInputs(3, 4, 9, 2), rounds=1)
    # to compile, the float64 loop, errors; then forward and both of each engine
    assert alike.calls == ["twin", "reference"] + ["reference"] + ["twin", "reference"] + [
        "twin",
        "twin",
        "reference",
        "reference",
    ]
    assert [row["forward_rounds"] for row in rows] == [1, 1]


def test_slow_tasks_leave_and_quick_ones_are_repeated(monkeypatch):
    now, log = [0.0], []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def task(name, seconds):
        def run():
            log.append(name)
            now[0] += seconds.pop(0) if isinstance(seconds, list) else seconds

        return run

    tasks = {"slow": task("slow", [3.0, 2.0]), "quick": task("quick", 0.004)}
    best = bench.best_of(tasks, 4, patience={"slow": 4.0, "quick": 4.0})
    assert best["slow"] == (pytest.approx(2.0), 2)
    assert best["quick"] == (pytest.approx(0.004), 4)
    turns = ["slow", "quick", "slow", *["quick"] * 3, *["quick"] * 3, *["quick"] * 3]
    assert log == turns
    # after one round the patience is spent, but two are asked for; there is no third
    tasks = {"slow": task("slow", [3.0, 2.0, 1.0])}
    best = bench.best_of(tasks, 4, patience={"slow": 2.5}, least=2)
    assert best["slow"] == (pytest.approx(2.0), 2)


def test_the_reason_stands_where_an_engine_cannot_run(alike, monkeypatch):
    alike.states["reference"] = "is out"
    rows = bench.compare_scans(["rocket", "twin"], bench.ScanInputs(3, 4, 9, 2), rounds=1)
    text = bench.table([row | {"table": "scan"} for row in rows])
    assert "- rocket is not measured: needs a launch pad." in text
    (rocket,) = [line for line in cells(text) if line[0] == "rocket"]
    assert rocket[1:] == ["not measured"] * 7
    (twin,) = [line for line in cells(text) if line[0] == "twin"]
    assert twin[2] == twin[4] == "–"  # no loop, no ratio


def test_an_engine_that_fails_is_told_and_the_others_are_measured(alike, monkeypatch):
    right = scan.selective_scan

    def failing(*, backend, **arguments):
        if backend == "twin":
            raise RuntimeError("no\ncompiler")
        return right(backend=backend, **arguments)

    monkeypatch.setattr(scan, "selective_scan", failing)
    twin, loop, _ = bench.compare_scans(alike.states, bench.ScanInputs(3, 4, 9, 2), rounds=1)
    assert twin["not_measured"] == "RuntimeError: no compiler"
    assert loop["forward_s"] > 0


def test_the_interpreter_and_what_does_not_fit_are_not_measured(alike, monkeypatch):
    alike.states["gpu"] = True
    inputs = bench.ScanInputs(3, 4, 9, 2)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert bench.why_not("gpu", inputs) is None
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert "TRITON_INTERPRET" in bench.why_not("gpu", inputs)
    (row, *_) = bench.network_rows(["gpu"])
    assert "TRITON_INTERPRET" in row["not_measured"]
    monkeypatch.setattr(machine, "free_memory", lambda device: 3 * 4 * 9 * 2 * 40 - 1)
    assert "keeps every state" in bench.why_not("reference", inputs)
    assert bench.why_not("twin", inputs) is None
    assert scans.float64_result(inputs) is None
    twin, *_ = bench.compare_scans(["twin"], inputs, rounds=1)
    assert twin["forward_s"] > 0 and twin["forward_ratio"] is None and "output_error" not in twin


def test_memory_is_that_of_a_fresh_process():
    row = processes.in_fresh_process(scans._scan_memory, "parallel", (64, 64, 64, 16), "cpu")
    states = 4 * 64 * 64 * 64 * 16
    assert 2 * states < row["memory_bytes"] < 40 * states
    failed = processes.in_fresh_process(scans._scan_memory, "warp", (1, 1, 1, 1), "cpu")
    assert "no scan engine 'warp'" in failed["not_measured"]


def test_memory_that_cannot_be_measured_is_told_with_what_to_do(monkeypatch):
    refuse_shared_memory(monkeypatch)
    failed = processes.in_fresh_process(scans._scan_memory, "parallel", (1, 1, 1, 1), "cpu")
    assert re.search("fresh process cannot be started.*/dev/shm must", failed["not_measured"])


@pytest.mark.parametrize("around", ["codec", "mel"])
def test_level_shapes_are_those_of_the_network(around):
    sizes = {"channels": 4, "blocks": 1, "heads": 2, "middle_heads": 2, "d_state": 2, "expand": 2}
    config = ModelConfig(**sizes, around=around)
    frames = 24
    seen = set()

    def note(mixer, arguments):
        batch, length, _ = arguments[0].shape
        seen.add((batch, *mixer.A_log.shape[:1], length, mixer.A_log.shape[1]))

    model = build_model(config).eval()
    for module in model.modules():
        if isinstance(module, MambaMixer):
            module.register_forward_pre_hook(note)
    with torch.no_grad():
        model(torch.rand(2, BINS, frames), torch.rand(2, BINS, frames))
    shapes = bench.level_shapes(config, 2, HOP * (frames - 1))
    assert set(shapes.values()) == seen
    assert bench.level_shapes(VARIANTS["xs"], 8)[1, "time"] == (8 * 128, 64, 256, 16)


def test_bandwidth_is_bytes_by_time(monkeypatch):
    monkeypatch.setattr(
        scans, "level_shapes", lambda config, batch: {(1, "time"): (batch, 4, 9, 2)}
    )
    monkeypatch.setattr(scans, "_copy_bandwidth", lambda *_: 1e9)
    rows = bench.level_rows(["reference"], None, batches=(2, 3), rounds=1)
    assert [row["case"] for row in rows] == [f"batch {b}, level 1, along time" for b in (2, 3)]
    for row, batch in zip(rows, (2, 3), strict=True):
        moved = bench.ScanInputs(batch, 4, 9, 2).bytes_moved()
        for way, count in zip(bench.WAYS, moved, strict=True):
            assert row[f"{way}_bytes_per_s"] == pytest.approx(count / row[f"{way}_s"])
            assert row[f"{way}_share"] == pytest.approx(count / row[f"{way}_s"] / 1e9)
    assert cells(bench.table(rows))[1][1] == "3, 4, 9, 2"


def test_a_copy_moves_the_bytes_that_are_asked_for(monkeypatch):
    monkeypatch.setattr(scans, "best_of", lambda tasks, *_: {name: (0.5, 1) for name in tasks})
    assert scans._copy_bandwidth(8000, 1, "cpu") == 16_000


def test_the_network_is_measured_on_the_engine_that_is_asked_for(monkeypatch, no_child):
    small = {"d_state": 2, "heads": 2, "middle_heads": 2, "expand": 1}
    tiny = ModelConfig(channels=4, blocks=1, **small)
    monkeypatch.setattr(networks, "build_model", lambda variant: build_model(tiny))
    monkeypatch.setattr(networks, "TRAINING_SAMPLES", 4800)
    enhance = importlib.import_module("rwsa_tutorial.enhancement")  # the function hides the module
    whole = enhance.enhance
    monkeypatch.setattr(
        enhance,
        "enhance",
        lambda wave, *a, **k: lengths.append(len(wave)) or whole(wave[:5000], *a, **k),
    )
    lengths, engines, loop = [], [], scan.selective_scan
    monkeypatch.setattr(
        "rwsa_tutorial.layers.mamba.selective_scan",
        lambda *a, backend, **k: engines.append(backend) or loop(*a, backend="auto", **k),
    )
    steps, total = [], networks.total
    monkeypatch.setattr(networks, "total", lambda losses: steps.append(1) or total(losses))
    rows = bench.network_rows(["parallel"], rounds=1)
    assert set(engines) == {"parallel"}
    assert len(steps) == 6  # of each, one whole step to compile, and the one that is timed
    assert lengths == [SAMPLE_RATE, 10 * SAMPLE_RATE] * 2  # to compile, and what is timed
    cases = [row["case"].split(",")[0] for row in rows]
    assert cases == ["enhance 10 s"] * 2 + ["training step"] * 3
    for row in rows[:2]:
        assert row["real_time_factor"] == pytest.approx(row["seconds"] / 10)
    assert rows[2].get("real_time_factor") is None
    assert all(row["memory_bytes"] > 1e7 and row["rounds"] == 1 for row in rows)
    assert [line[4] == "–" for line in cells(bench.table(rows))] == [False] * 2 + [True] * 3


def rwsa_bench(*words):
    return cli.main(["bench", *map(str, words)])


def test_the_command_writes_what_it_shows(alike, no_child, tmp_path, capsys):
    threads = torch.get_num_threads()
    files = ["--csv", tmp_path / "a.csv", "--plot", tmp_path / "a.png"]
    assert rwsa_bench("--only", "scan", *SMALL, "--threads", 1, *files) == 0
    assert torch.get_num_threads() == threads
    shown = capsys.readouterr().out
    assert "1 CPU thread(s)" in shown and "B = 3, D = 4, L = 9, N = 2" in shown
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert [row["engine"] for row in read] == ["twin", "reference", "rocket"]
    for row, line in zip(read, cells(shown), strict=True):
        if row["not_measured"]:
            assert (row["not_measured"], line[1]) == ("needs a launch pad", "not measured")
            continue
        expected = [row["engine"]]
        for way in bench.WAYS:
            expected.append(machine.duration(float(row[f"{way}_s"])))
            expected.append(f"{float(row[f'{way}_ratio']):.3g}")
        expected.append(machine.size(float(row["memory_bytes"])))
        expected.append(f"{float(row['output_error']):.1e}")
        expected.append(f"{float(row['gradient_error']):.1e} ({row['worst_gradient']})")
        assert line == expected
        assert row["machine"] + "." == shown.splitlines()[0]
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.png"]


def test_the_figure_has_a_bar_for_each_measured_engine(alike):
    rows = bench.compare_scans(alike.states, bench.ScanInputs(3, 4, 9, 2), rounds=1)
    fig, axes = plotting.scan_times(rows)
    for ax, way in zip(axes, bench.WAYS, strict=True):
        assert [bar.get_width() for bar in ax.patches] == [row[f"{way}_s"] for row in rows[:2]]
        assert (ax.get_xscale(), ax.get_xlabel()) == ("log", "time (s)")
        texts = " ".join(text.get_text() for text in ax.texts)
        assert "not measured" in texts and "(the loop)" in texts
        assert f"({rows[0][f'{way}_ratio']:.2g} ×)" in texts
    assert [label.get_text() for label in axes[0].get_yticklabels()] == list(alike.states)
    pyplot.close(fig)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--engines", "warp"], "There is no scan engine 'warp'"),
        (["--levels", "xxl"], "There is no network 'xxl'"),
        (["--device", "cuda"], "There is no CUDA GPU here"),
        (["--csv", "there.csv"], "there.csv exists: give another name, or --force"),
        (["--csv", "none/a.csv"], "There is no folder none"),
        (["--plot", "a.txt"], "a.txt must end in one of .png, .pdf, .svg"),
        (["--plot", "a.png", "--only", "network"], "--plot draws the engines on one shape"),
        (["--plot", "a.png", "--levels", "xs"], "--plot draws the engines on one shape"),
        (["--only", "scan", "--levels", "xs"], "leave out --only"),
        (["--batch", "0"], "0 is not a whole number above 0"),
        (["--threads", "x"], "x is not a whole number above 0"),
    ],
)
def test_bad_options_are_one_line(words, complaint, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "there.csv").write_text("precious")
    try:
        status = rwsa_bench(*SMALL, *words)
    except SystemExit as stop:
        status = stop.code
    printed = capsys.readouterr()
    assert status == 2
    assert complaint in printed.err and printed.err.count("\n") == 1 and printed.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["there.csv"]
    assert (tmp_path / "there.csv").read_text() == "precious"


def test_the_readme_shows_what_the_command_prints_today(alike):
    readme = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- rwsa bench: begin -->\n(.*?)<!-- rwsa bench: end -->", readme, re.S)[1]
    assert re.match(r".+ logical cores, .+ GB, .+; .+, Python .+, torch .+, \d+ CPU thr", shown)
    scans = [{"table": "scan", "engine": "rocket", "not_measured": "x"} | DEFAULT]
    networks = bench.network_rows(["rocket"])
    for rows in (scans, networks):
        title, _, head, *_ = bench.table(rows).splitlines()
        assert title.split(";")[0] in shown
        assert re.sub(" +", " ", head) in re.sub(" +", " ", shown)
    found = [line[0] for line in cells(shown)]
    assert found[: len(scan.ENGINES)] == list(scan.ENGINES)
    assert found[-len(networks) :] == [row["case"] for row in networks]


def test_the_parts_of_the_network_add_up():
    """Against torch's own counter, which sees matrix products and convolutions however called."""
    from torch.utils.flop_counter import FlopCounterMode

    assert set(bench.PARTS) < set(plotting.NETWORK_PARTS)
    with torch.device("meta"):
        model, inputs = build_model("nano"), torch.empty(2, 1, 256, 64)
        costs = bench.part_costs(model, *inputs)
        with FlopCounterMode(display=False) as counter:
            model(*inputs)
    assert sum(row["parameters"] for row in costs.values()) == count_parameters(model)
    mixers = {1: 8, 2: 4, 3: 2}  # along one axis: down, up, and two refinements, in two directions
    shapes = bench.level_shapes(VARIANTS["nano"], samples=63 * HOP)  # B, D, L, N
    scans = sum(3 * math.prod(shape) * mixers[level] for (level, _), shape in shapes.items())
    taps = {8: 4 * 64 * 128, 16: 2 * 32 * 64, 24: 16 * 32}  # width -> pixels of its embeddings
    between = sum(9 * 4 * width * pixels for width, pixels in taps.items())  # of four pixels each
    counted = counter.get_total_flops() / 2 + scans + between
    assert sum(row["operations"] for row in costs.values()) == pytest.approx(counted, rel=0.001)
    assert costs["level2_up"]["shape"] == (16, 32, 64)
    assert costs["mask_decoder"]["shape"] == (64, 256)


def test_the_parts_are_timed_and_their_memory_is_that_of_the_backward_pass():
    model = build_model("nano")
    mag = torch.rand(1, 256, 8)
    costs = bench.part_costs(model, mag, mag)
    assert all(row["seconds"] > 0 for row in costs.values())
    # a convolution keeps its input, and the norm and the PReLU behind it keep theirs
    pictures = 4 * 256 * 8 * (2 + 2 * 8) + sum(4 * 8 * 256 * 8 * (i + 1 + 2) for i in range(4))
    assert pictures < costs["encoder"]["memory_bytes"] < 1.5 * pictures
    assert costs["level1_down"]["memory_bytes"] > costs["level2_down"]["memory_bytes"]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    with torch.no_grad():
        assert all(row["memory_bytes"] == 0 for row in bench.part_costs(model, mag, mag).values())
