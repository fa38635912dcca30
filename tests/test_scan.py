"""Every scan engine against mamba-ssm's reference, the loop, finite differences and float64.

Without a GPU the Triton engine runs in Triton's interpreter: the last tests start this file again
with TRITON_INTERPRET=1, and then the tests marked `engine` see that engine alone, and short inputs.
"""

import importlib
import importlib.util
import inspect
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import reference_mamba
import rounding
import torch
from fuzzing import some
from hypothesis import assume, example, given
from hypothesis import strategies as st

import rwsa_tutorial as rt
from rwsa_tutorial import scan
from rwsa_tutorial.scan import ENGINES

INTERPRETED = os.environ.get("TRITON_INTERPRET", "0") != "0"
AVAILABLE = [name for name, state in rt.scan_backends().items() if state is True]
HERE = ["gpu"] if INTERPRETED else AVAILABLE
DOUBLE = [name for name in HERE if name != "mamba_ssm"]  # which knows no float64
NAMES = ["y", "u", "delta", "A", "B", "C", "D", "z", "delta_bias"]

engine = pytest.mark.engine
needs_triton = pytest.mark.skipif(
    not importlib.util.find_spec("triton") and not os.environ.get("CI"),
    reason="triton is not installed; `make test` installs it where there is one for the system",
)


def inputs(batch, inner, length, states, dtype=torch.float64, largest_step=1.0, seed=0):
    """u, delta, A, B, C, D, z, delta_bias; delta is softplus'd later and reaches largest_step."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    delta = torch.rand(batch, inner, length, generator=g, dtype=torch.float64) * largest_step
    values = [
        draw(batch, inner, length),
        torch.log(torch.expm1(delta.clamp_min(1e-4))),
        -torch.rand(inner, states, generator=g, dtype=torch.float64) * states,
        draw(batch, states, length),
        draw(batch, states, length),
        draw(inner),
        draw(batch, inner, length),
        0.1 * draw(inner),
    ]
    return [v.to(dtype).requires_grad_() for v in values]


def device(backend):
    on_gpu = backend in ("gpu", "mamba_ssm") and not INTERPRETED
    return "cuda" if on_gpu else "cpu"


def value_and_gradients(values, backend, softplus=True, weight=None, scan=rt.selective_scan):
    """y and the gradients of a weighted sum of it, None for an absent tensor; all on the CPU."""
    leaves = [v if v is None else v.detach().to(device(backend)).requires_grad_() for v in values]
    y = scan(*leaves, delta_softplus=softplus, backend=backend)
    if weight is None:
        weight = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view(y.shape)
    present = [v for v in leaves if v is not None]
    gradients = iter(torch.autograd.grad(y, present, weight.to(y)))
    return [y.detach().cpu(), *(None if v is None else next(gradients).cpu() for v in leaves)]


def errors(got, exact):
    """Distance of each result from the exact one, as a norm relative to the exact one's.

    Below 1e-16 it is relative to 1e-16: decays such as exp(-90) are out of float32's range.
    """
    return {
        name: float((a.double() - b).norm() / b.norm().clamp_min(1e-16))
        for name, a, b in zip(NAMES, got, exact, strict=True)
        if a is not None
    }


@engine
@pytest.mark.parametrize("backend", DOUBLE)
@pytest.mark.parametrize("parts", ["all", "bare"])
def test_gradcheck(backend, parts):
    values = [v.detach().to(device(backend)).requires_grad_() for v in inputs(2, 3, 7, 8)]
    if parts == "bare":  # neither skip nor gate nor bias nor softplus
        values = values[:5]
        values[1] = torch.rand_like(values[1]).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *v: rt.selective_scan(*v, delta_softplus=parts == "all", backend=backend),
        values,
        fast_mode=INTERPRETED,
    )


@engine
@pytest.mark.parametrize("backend", HERE)
def test_second_derivatives_are_right_or_refused(backend):
    kind = torch.float32 if backend == "mamba_ssm" else torch.float64
    values = [v.detach().to(device(backend), kind).requires_grad_() for v in inputs(1, 2, 4, 2)]

    def scanned(*values):
        return rt.selective_scan(*values, delta_softplus=True, backend=backend)

    if backend in ("parallel", "reference"):
        assert torch.autograd.gradgradcheck(scanned, values)
    else:
        with pytest.raises(RuntimeError, match="no second derivatives"):
            torch.autograd.grad(scanned(*values).sum(), values, create_graph=True)


@engine
@pytest.mark.parametrize("backend", HERE)
@pytest.mark.parametrize(
    ("gate", "skip", "bias", "softplus"),
    [(1, 1, 1, 1), (0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 0, 1), (0, 0, 0, 0)],
)
def test_equals_mamba_ssm(backend, gate, skip, bias, softplus):
    theirs = reference_mamba.load().selective_scan_ref
    u, delta, A, B, C, D, z, delta_bias = (v.detach().float() for v in inputs(3, 5, 40, 16))
    if not softplus:
        delta = delta.abs()
    optional = [D if skip else None, z if gate else None, delta_bias if bias else None]
    expected = theirs(u, delta, A, B, C, *optional, delta_softplus=bool(softplus))
    got = value_and_gradients([u, delta, A, B, C, *optional], backend, bool(softplus))[0]
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@engine
@pytest.mark.parametrize("backend", [b for b in DOUBLE if b != "reference"])
@pytest.mark.parametrize(
    ("inner", "length"),
    # 35 channels are several blocks of any engine, the last of them not full
    [(5, n) for n in ([1, 2, 9, 40] if INTERPRETED else [1, 2, 3, 100, 257])] + [(35, 9)],
)
def test_equals_the_loop_with_all_gradients(backend, inner, length):
    values = inputs(3, inner, length, 16)
    for got, expected in zip(
        value_and_gradients(values, backend), value_and_gradients(values, "reference"), strict=True
    ):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@engine
@pytest.mark.parametrize(
    ("backend", "largest_step", "length"),
    [(b, step, 60 if INTERPRETED else 256) for b in HERE for step in (0.1, 1.0, 5.0)]
    # the loop is slow, and so is the interpreter
    + [(b, s, 8192) for b in HERE if b != "reference" and not INTERPRETED for s in (0.1, 5.0)],
)
def test_float32_is_as_good_as_it_should_be(backend, largest_step, length):
    values = inputs(1, 4, length, 16, largest_step=largest_step)
    exact = value_and_gradients(values, exact_engine(backend))
    rough = value_and_gradients([v.detach().float() for v in values], backend)
    assert max(errors(rough, exact).values()) < 1e-4


def exact_engine(backend):
    """Which engine to take in float64 as exact: one that shares no code with this one."""
    return "cpu" if backend == "parallel" and "cpu" in AVAILABLE else "parallel"


@engine
@pytest.mark.parametrize("states", [1, 3, 8, 40])
@pytest.mark.parametrize("backend", HERE)
def test_any_number_of_states(backend, states):
    values = [v.detach() for v in inputs(1, 6, 30, states)]
    exact = value_and_gradients(values, "reference")
    assert (
        max(errors(value_and_gradients([v.float() for v in values], backend), exact).values())
        < 1e-5
    )


# Random inputs. A kind of step size: what delta is drawn from, for use without softplus.
STEPS = {
    "usual": lambda r: r,
    "large": lambda r: 5 * r,
    "zero": lambda r: 0 * r,
    "tiny": lambda r: 1e-7 * r,
    "huge": lambda r: 1e5 * r,
    "of all kinds": lambda r: 10 ** (16 * r - 12),
}
DTYPES = {  # of the sequences and of the parameters
    "float64": (torch.float64, torch.float64),
    "float32": (torch.float32, torch.float32),
    "bfloat16": (torch.bfloat16, torch.bfloat16),
    "float16": (torch.float16, torch.float16),
    "bfloat16 and float32": (torch.bfloat16, torch.float32),
    "float32 and float16": (torch.float32, torch.float16),
}
LAYOUTS = {  # the same numbers, lying otherwise in memory
    "contiguous": lambda x: x.contiguous(),
    "channels last": lambda x: x.transpose(-2, -1).contiguous().transpose(-2, -1),
    "with gaps": lambda x: torch.stack([x, x + 1], -1)[..., 0],
    "a part": lambda x: torch.cat([x + 1, x, x + 1], -2).chunk(3, -2)[1],
    "one for all": lambda x: x[:1].expand_as(x),
}


@dataclass(frozen=True)
class Case:
    """A problem of the scan; its text can be pasted as an @example."""

    shape: tuple  # B, D, L, N
    steps: str
    softplus: bool
    dtype: str
    parts: tuple  # whether there are D, z and delta_bias
    layouts: tuple  # of u, delta, B, C, z and of the gradient of y
    seed: int


PLAIN = 6 * ("contiguous",)


@st.composite
def cases(draw):
    """A problem small enough that the slow engines can follow, but of any length."""
    length = draw(st.integers(1, 40 if INTERPRETED else 4097))
    room = (2_000 if INTERPRETED else 30_000) // length
    inner = draw(st.integers(1, max(1, min(40, room))))
    states = draw(st.integers(1, max(1, min(20, room // inner))))
    batch = draw(st.integers(1, max(1, min(4, room // inner // states))))
    steps = draw(st.sampled_from(list(STEPS)))
    kinds = list(DTYPES)
    if steps in ("tiny", "huge", "of all kinds"):  # out of float16's range
        kinds = [k for k in kinds if "float16" not in k.replace("bfloat16", "")]
    return Case(
        shape=(batch, inner, length, states),
        steps=steps,
        softplus=draw(st.booleans()),
        dtype=draw(st.sampled_from(kinds)),
        parts=draw(st.tuples(st.booleans(), st.booleans(), st.booleans())),
        layouts=draw(st.tuples(*6 * [st.sampled_from(list(LAYOUTS))])),
        seed=draw(st.integers(0, 1000)),
    )


def tensors(case):
    """The eight tensors of a case, and the gradient that comes back to y."""
    sequences, parameters = DTYPES[case.dtype]
    values = [v.detach() for v in inputs(*case.shape, seed=case.seed)]
    g = torch.Generator().manual_seed(case.seed)
    step = STEPS[case.steps](torch.rand(values[1].shape, generator=g, dtype=torch.float64))
    if case.softplus:  # delta whose softplus is this step
        step = torch.where(step > 30, step, torch.log(torch.expm1(step).clamp_min(1e-30)))
    values[1] = step
    for i, present in zip((5, 6, 7), case.parts, strict=True):
        values[i] = values[i] if present else None
    if not case.softplus and values[7] is not None:
        values[7] = values[7].abs()  # a negative step would make the states grow without bound
    weight = torch.randn(case.shape[:3], generator=g, dtype=torch.float64) / 30  # float16 ends soon
    lay = [LAYOUTS[name] for name in case.layouts]
    for i, place in zip((0, 1, 3, 4, 6), lay, strict=False):
        if values[i] is not None:
            values[i] = place(values[i].to(sequences))
    for i in (2, 5, 7):
        if values[i] is not None:
            values[i] = values[i].to(parameters)
    return values, lay[5](weight.to(sequences))


def disagreement(case, backend, scan=rt.selective_scan):
    """What an engine gets wrong on a case: name -> its largest error, as a multiple of what is due
    to rounding (see `rounding`), of those above 1 alone."""
    values, weight = tensors(case)
    got = value_and_gradients(values, backend, case.softplus, weight, scan)
    in_double = [v if v is None else v.double() for v in values]
    exact = value_and_gradients(in_double, exact_engine(backend), case.softplus, weight.double())
    kinds = [got[0].dtype, *(v if v is None else v.dtype for v in values)]
    assert [v if v is None else v.dtype for v in got] == [values[0].dtype, *kinds[1:]]
    cut = [torch.bfloat16] if INTERPRETED else []  # as Triton's interpreter does, unlike a GPU
    allowed = rounding.tolerances(values, case.softplus, weight, exact, cut)

    def within(x, kind):  # what is out of a type's range is infinite in it, and rightly so
        return x.double().clamp(-torch.finfo(kind).max, torch.finfo(kind).max)

    share = {
        name: float(((within(g, g.dtype) - within(e, g.dtype)).abs() / most).max())
        for name, g, e, most in zip(NAMES, got, exact, allowed, strict=True)
        if g is not None
    }
    return {name: s for name, s in share.items() if not s <= 1}  # NaN is wrong


@engine
@pytest.mark.parametrize("backend", HERE)
@some(20 if INTERPRETED else 100)
@example(Case((1, 1, 1, 1), "zero", False, "float16", (False, False, True), PLAIN, seed=1))
@example(Case((1, 1, 2, 1), "huge", False, "float64", (False, False, False), PLAIN, seed=0))
@example(Case((1, 1, 1, 1), "usual", False, "bfloat16", (False, False, False), PLAIN, seed=0))
@example(Case((1, 1, 66, 12), "tiny", False, "float64", (True, False, False), PLAIN, seed=0))
@example(Case((1, 39, 8, 1), "zero", True, "bfloat16", (False, True, False), PLAIN, seed=8))
@example(Case((1, 9, 3004, 1), "large", False, "float16", (False, False, False), PLAIN, seed=30))
@given(cases())
def test_random_inputs(backend, case):
    assume(not (backend == "mamba_ssm" and case.dtype == "float64"))  # which it does not know
    if backend == "reference" or INTERPRETED:  # which are slow
        batch, inner, length, states = case.shape
        case = replace(case, shape=(batch, inner, min(length, 40), states))
    assert disagreement(case, backend) == {}


STEP = "delta = step_size(delta, delta_bias, delta_softplus)"
BLUNDERS = {  # engine, a part of its code, what it might be by mistake, and what that must spoil
    "the skip's gradient": ("reference", "y, dim=2), u,", "y, dim=2), u.detach(),", "u"),
    "drive a step late": ("reference", "B[:, None, :, t]", "B[:, None, :, t - 1]", "y u B C z"),
    "output a step late": ("reference", "C[:, None, :, t]", "C[:, None, :, t - 1]", "y u B C z"),
    "no memory in the adjoint": ("reference", "decay * h +", "decay * h.detach() +", "u delta A B"),
    "no slope of softplus": (
        "reference",
        STEP,
        f"raw = step_size(delta, delta_bias); {STEP}; delta = raw + (delta - raw).detach()",
        "delta delta_bias",
    ),
    "the state after for that before": ("parallel", "return g * before, g", "return g * h, g", "A"),
    # the tempting closed form, which loses all digits
    "dividing cumulative products": (
        "parallel",
        "h = _doubling(a, b)",
        "p = a.cumprod(-1); h = p * (b / p).cumsum(-1)",
        "y A C",
    ),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("blunder", BLUNDERS)
def test_a_blunder_would_be_seen_in_every_type(blunder, dtype, tmp_path):
    backend, right, wrong, spoilt = BLUNDERS[blunder]
    case = replace(CASE, shape=(2, 3, 300 if backend == "parallel" else 30, 5), dtype=dtype)
    scan = blundering(backend, right, wrong, tmp_path)
    assert set(spoilt.split()) <= set(disagreement(case, backend, scan))


def blundering(backend, right, wrong, folder):
    """`selective_scan` with a mistake in the code of one engine."""
    mistaken = with_a_mistake(backend, right, wrong, folder)

    def scan(*values, delta_softplus, backend):
        kind = torch.promote_types(values[0].dtype, torch.float32)
        wide = [v if v is None else v.to(kind) for v in values]
        return mistaken.scan(*wide, delta_softplus).to(values[0].dtype)

    return scan


def with_a_mistake(backend, right, wrong, folder):
    """An engine's module with one part of its code replaced."""
    source = inspect.getsource(importlib.import_module(f"rwsa_tutorial.scan.{backend}"))
    assert right in source
    path = folder / "mistaken.py"
    path.write_text(source.replace(right, wrong))
    spec = importlib.util.spec_from_file_location("rwsa_tutorial.scan.mistaken", path)
    mistaken = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mistaken)
    return mistaken


def small(dtype=torch.float32):
    return [v.detach().to(dtype) for v in inputs(2, 3, 7, 4)]


def test_shapes_that_do_not_fit_are_named():
    u, delta, A, B, C, *_ = small()
    with pytest.raises(
        ValueError, match=r"B must have shape \(2, 4, 7\) .* u \(2, 3, 7\), not \(2, 4, 6\)"
    ):
        rt.selective_scan(u, delta, A, B[:, :, :-1], C)
    with pytest.raises(ValueError, match="C must have shape .*not None"):
        rt.selective_scan(u, delta, A, B, None)
    with pytest.raises(ValueError, match="none of them empty"):
        rt.selective_scan(u[..., :0], delta[..., :0], A, B[..., :0], C[..., :0])
    with pytest.raises(ValueError, match="no scan engine 'tpu'; there are gpu, "):
        rt.selective_scan(u, delta, A, B, C, backend="tpu")


@pytest.mark.parametrize("place", range(1, 8))
def test_every_argument_is_checked(place):
    name = NAMES[place + 1]
    for wrong, words in [
        (lambda x: x[..., None], rf"{name} must have shape .* to go with u \(2, 3, 7\), not \("),
        (lambda x: x.long(), f"{name} is torch.int64 and u torch.float32"),
        (lambda x: x.double(), f"{name} is torch.float64 and u torch.float32"),
        (lambda x: x.to(torch.complex64), f"{name} is torch.complex64 and u torch.float32"),
        (lambda x: x.to("meta"), f"{name} is on meta and u on cpu"),
    ]:
        values = small()
        if name == "A" and "shape" in words:
            words = r"A \(D, N\), none of them empty, not \(2, 3, 7\) and \(3, 4, 1\)"
        values[place] = wrong(values[place])
        with pytest.raises(ValueError, match=words):
            rt.selective_scan(*values)
    with pytest.raises(ValueError, match="delta is torch.float32 and u torch.int64"):
        rt.selective_scan(small()[0].long(), *small()[1:])


@pytest.mark.parametrize(("name", "package"), [("cpu", "numba"), ("gpu", "triton")])
def test_an_engine_whose_package_is_missing_says_so(monkeypatch, name, package):
    monkeypatch.setattr(scan, "import_module", _without(package))
    assert f"needs {package}" in rt.scan_backends()[name]
    with pytest.raises(ValueError, match=f"'{name}' cannot run here: needs {package}"):
        rt.selective_scan(*small(), backend=name)
    assert rt.selective_scan(*small(), backend="auto").shape == (2, 3, 7)


def _without(package):
    def load(name):
        if name == package:
            raise ImportError(f"No module named {package!r}")
        return importlib.import_module(name)

    return load


def test_every_engine_is_available_or_says_why_not():
    backends = rt.scan_backends()
    assert list(backends) == list(ENGINES)
    assert backends["parallel"] is backends["reference"] is True
    if not torch.cuda.is_available():
        words = "needs a CUDA GPU, and torch finds none"
        assert backends["mamba_ssm"] == words
        if importlib.util.find_spec("triton"):
            assert backends["gpu"] == words


def test_mamba_ssm_without_its_extension_says_so(monkeypatch):
    from rwsa_tutorial.scan import mamba_ssm

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "selective_scan_cuda", None)
    why = mamba_ssm.can_run.__wrapped__()
    assert why.startswith("needs mamba-ssm with its CUDA extension, which does not import here (")
    assert "selective_scan_cuda" in why


def test_gpu_engines_refuse_cpu_tensors_in_words(monkeypatch):
    for name in ("gpu", "mamba_ssm"):
        if name == "gpu" and not importlib.util.find_spec("triton"):
            continue
        module = importlib.import_module(f"rwsa_tutorial.scan.{name}")
        monkeypatch.setattr(module, "can_run", lambda: True)
        with pytest.raises(ValueError, match=f"'{name}' .*works on CUDA tensors; u is on cpu"):
            rt.selective_scan(*small(), backend=name)


def test_mamba_ssm_gets_what_its_kernel_can_take(monkeypatch):
    """Checked without a GPU: their reference stands in for their kernel, with its conditions."""
    from rwsa_tutorial.scan import mamba_ssm

    theirs = reference_mamba.load().selective_scan_ref

    def kernel(u, delta, A, B, C, D, z, bias, softplus):
        assert u.dtype == delta.dtype == B.dtype == C.dtype == z.dtype
        assert A.dtype == D.dtype == bias.dtype == torch.float32
        assert all(x.stride(-1) == 1 for x in (u, delta, B, C, z, A))
        return theirs(u, delta, A, B, C, D, z, bias, softplus)

    monkeypatch.setattr(mamba_ssm, "too_much", lambda u, A: None)
    monkeypatch.setattr(mamba_ssm, "_upstream", lambda: kernel)
    values = [LAYOUTS["channels last"](v) if v.ndim == 3 else v for v in small(torch.bfloat16)]
    values[1] = values[1].float()
    y = mamba_ssm.scan(*values, True)
    exact = rt.selective_scan(*[v.double() for v in values], True, backend="reference")
    assert y.dtype == torch.bfloat16
    assert (y.double() - exact).norm() < 1e-2 * exact.norm()


@pytest.mark.parametrize(
    ("where", "dtype", "able", "choice"),
    [
        ("cuda", torch.float32, ["gpu", "mamba_ssm", "cpu"], "gpu"),
        ("cuda", torch.float32, ["mamba_ssm", "cpu"], "mamba_ssm"),
        ("cuda", torch.float64, ["mamba_ssm", "cpu"], "parallel"),
        ("cuda", torch.float32, ["cpu"], "parallel"),
        ("cpu", torch.float32, ["gpu", "mamba_ssm", "cpu"], "cpu"),
        ("cpu", torch.float32, ["gpu"], "parallel"),
        ("mps", torch.float32, ["gpu", "cpu"], "parallel"),
    ],
)
def test_auto_takes_the_quickest_that_works(monkeypatch, where, dtype, able, choice):
    monkeypatch.setattr(scan, "_can_run", lambda name: name in able or "cannot")
    u = SimpleNamespace(device=torch.device(where), dtype=dtype)
    assert scan._pick(u, torch.ones(2, 4)) == choice


# The Triton engine on a machine without a GPU.

MISTAKES = {  # a line of the kernels, what it might be by mistake, and what that must spoil
    "h = tl.exp(step[:, None] * a) * h + (step * x)[:, None]": (
        "h = tl.exp(step[:, None] * a) * h + x[:, None]",
        {"y", "A", "C"},
    ),
    "chunk = chunks - 1 - later": ("chunk = later", {"u", "delta", "A", "B"}),
    "g = reach * tl.exp(step[:, None] * a)": ("g = reach", {"u", "delta", "A", "B"}),
    "tl.sum(hs[i + 1] * dy[:, None], 0)": ("tl.sum(hs[i] * dy[:, None], 0)", {"C"}),
    "tl.sum(reach * (step * x)[:, None], 0)": ("tl.sum(reach * x[:, None], 0)", {"B"}),
    "through = g * hs[i]": ("through = g * hs[i + 1]", {"delta", "A", "delta_bias"}),
    "to_step *= tl.sigmoid(raw)": ("to_step *= tl.sigmoid(step)", {"delta", "delta_bias"}),
    "* (1 + gate * (1 - open))": ("", {"z"}),
    "dy *= gate * open": ("dy *= open", {"u", "delta", "A", "B", "C", "D"}),
    "to_drive * step + dy * skip": ("to_drive * step", {"u"}),
    "sum_A += through": ("sum_A = through", {"A"}),
    "sum_D += dy * x": ("sum_D += dy", {"D"}),
    "sum_bias += to_step": ("sum_bias = to_step", {"delta_bias"}),
    "part = ((sequence * length + t) * groups + group)": (
        "part = ((sequence * length + t) * groups)",
        {"B", "C"},
    ),
}
CASE = Case(
    shape=(1, 11, 19, 13),
    steps="usual",
    softplus=True,
    dtype="float32",
    parts=(True, True, True),
    layouts=6 * ("channels last",),
    seed=0,
)


@engine
@pytest.mark.parametrize("backend", HERE)
def test_the_kernels_without_a_mistake(backend):
    assert disagreement(CASE, backend) == {}


@engine
@needs_triton
@pytest.mark.skipif("gpu" not in HERE, reason="runs in the interpreter or on a GPU")
@pytest.mark.parametrize("right", MISTAKES)
def test_a_mistake_in_the_kernels_would_be_seen(right, tmp_path):
    wrong, spoilt = MISTAKES[right]
    mistaken = with_a_mistake("gpu", right, wrong, tmp_path)

    def scan(*values, delta_softplus, backend):
        engine = (
            mistaken
            if backend == "gpu"
            else importlib.import_module(f"rwsa_tutorial.scan.{backend}")
        )
        return engine.scan(*values, delta_softplus)

    assert spoilt <= set(disagreement(CASE, "gpu", scan))


@needs_triton
@pytest.mark.skipif("gpu" in AVAILABLE, reason="the tests above have run the engine itself")
def test_triton_engine_in_the_interpreter():
    command = [sys.executable, "-m", "pytest", "-q", "-m", "engine", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [*command, __file__],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@needs_triton
@pytest.mark.skipif(INTERPRETED, reason="the interpreter compiles nothing")
def test_kernels_compile_for_a_gpu_that_is_not_there():
    """The interpreter takes what the compiler refuses, so the compiler is asked as well."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from rwsa_tutorial.scan import gpu

    sizes = {"length": "i32", "inner": "i32", "states": "i32"}
    fixed = {"SOFTPLUS": True, "GATED": True, "KEEP": True, "CHUNK": gpu.CHUNK}
    fixed |= {"REAL": triton.language.float32, "BLOCK_D": 8, "BLOCK_N": 16}
    for kernel in (gpu._forward, gpu._backward):
        here = {name: value for name, value in fixed.items() if name in kernel.arg_names}
        types = dict.fromkeys(kernel.arg_names, "*bf16") | sizes
        types |= dict.fromkeys(here, "constexpr")
        source = ASTSource(kernel, types, here)
        made = triton.compile(source, GPUTarget("cuda", 80, 32), {"num_warps": 1})
        assert made.asm["cubin"]
