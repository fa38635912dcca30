"""The compiled kernels of the CPU against plain PyTorch formulas, outputs and gradients."""

import os
import subprocess
import sys

import nbformat
import numba
import numpy as np
import pytest
import torch
from fuzzing import some
from hypothesis import example, given
from hypothesis import strategies as st
from nbclient import NotebookClient
from numba import njit, prange
from torch.nn import functional as F

import rwsa_tutorial as rt
from rwsa_tutorial import compiled
from rwsa_tutorial.compiled import attention as narrow
from rwsa_tutorial.compiled import causal_conv, kernel, mixer, usable
from rwsa_tutorial.compiled.simd import LANES, base2, exp2, load, sigmoid, softplus, store
from rwsa_tutorial.layers import attention as attention_layer
from rwsa_tutorial.layers import mamba, mambattention
from rwsa_tutorial.layers.attention import SelfAttention
from rwsa_tutorial.layers.mamba import MambaMixer
from rwsa_tutorial.layers.mambattention import MambAttentionBlock

KINDS = (torch.float64, torch.float32)
# relative norms; measured: 2e-15 and 1e-6 at most
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def far(got, exact, kind, floor=1e-12, terms=None):
    """Names of the results further from the exact ones than TOLERANCE, with their distances.

    floor: size of a number below which distances are not relative (where the exact result is 0).
    terms: what distances are relative to in place of the exact results, which may be the small
        sums of large terms.
    """
    assert got.keys() == exact.keys()
    for name, x in got.items():
        assert x.dtype == kind and x.shape == exact[name].shape, name
    distance = {
        name: (
            (got[name].double() - exact[name]).norm() / x.norm().clamp_min(floor * x.numel() ** 0.5)
        ).item()
        for name, x in (terms or exact).items()
    }
    return {name: d for name, d in distance.items() if not d <= TOLERANCE[kind]}  # NaN is far


# Vectors


@njit
def _all(x, power, soft, gate):
    for i in range(0, len(x), LANES):
        v = load(x, i)
        store(power, i, exp2(base2(v)))
        store(soft, i, softplus(v))
        store(gate, i, sigmoid(v))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_exponential_softplus_and_sigmoid(kind):
    x = np.concatenate([np.linspace(-80, 30, 4000), np.linspace(-1, 1, 496)]).astype(kind)
    results = [np.empty_like(x) for _ in range(3)]
    _all(x, *results)
    exact = torch.from_numpy(x.astype(np.float64))
    soft = torch.log1p(torch.exp(-exact.abs())) + exact.clamp_min(0)
    # x / log(2) is rounded before the power is taken, so the error grows with |x|
    limit = np.finfo(kind).eps * (4 + exact.abs())
    for got, right in zip(results, (exact.exp(), soft, torch.sigmoid(exact)), strict=True):
        assert ((torch.from_numpy(got).double() - right).abs() < limit * right).all()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_far_out_they_stay_finite_and_nan_stays_nan(kind):
    x = np.full(LANES, np.nan, kind)
    x[:6] = [-1e30, -1000, 1000, 1e30, -np.inf, 0]
    power, soft, gate = (np.empty_like(x) for _ in range(3))
    _all(x, power, soft, gate)
    tiny = np.finfo(kind).tiny
    assert (power[[0, 1, 4]] <= tiny).all() and (power[2:4] > 1e38).all() and power[5] == 1
    np.testing.assert_allclose(soft[:6], [0, 0, 1000, 1e30, 0, np.log(2)], rtol=1e-6, atol=1e-37)
    np.testing.assert_allclose(gate[:6], [0, 0, 1, 1, 0, 0.5], rtol=1e-6, atol=1e-37)
    for result in (power, soft, gate):
        assert np.isnan(result[6:]).all()


# The causal convolution


def plain_conv(x, weight, bias, dout):
    """silu(causal depthwise convolution) by torch, and its gradients; all in float64."""
    x, weight, bias = (v.detach().double().requires_grad_() for v in (x, weight, bias))
    a = F.conv1d(F.pad(x, (weight.shape[1] - 1, 0)), weight[:, None], bias, groups=len(weight))
    y = a * torch.sigmoid(a)
    grads = torch.autograd.grad(y, (x, weight, bias), dout.double())
    return dict(zip(("y", "x", "weight", "bias"), (y.detach(), *grads), strict=True))


def conv_terms(x, weight, bias, dout):
    """Sums of the absolute values of all that is added up in `plain_conv`; silu's slope is < 1.1"""
    x, weight, bias = (v.detach().double().abs().requires_grad_() for v in (x, weight, bias))
    a = F.conv1d(F.pad(x, (weight.shape[1] - 1, 0)), weight[:, None], bias, groups=len(weight))
    grads = torch.autograd.grad(1.1 * a, (x, weight, bias), dout.double().abs())
    return dict(zip(("y", "x", "weight", "bias"), (a.detach(), *grads), strict=True))


def compiled_conv(x, weight, bias, dout, dx=None):
    y = causal_conv.forward(x, weight, bias)
    grads = causal_conv.backward(x, weight, bias, dout, dx)
    return dict(zip(("y", "x", "weight", "bias"), (y, *grads), strict=True))


def conv_inputs(batch, inner, length, taps, kind, seed=0):
    shapes = (batch, inner, length), (inner, taps), (inner,), (batch, inner, length)
    return [normal(*shape, seed=seed + i).to(kind) for i, shape in enumerate(shapes)]


def turned(x):
    """The same values with the channels next to each other in memory."""
    return x.transpose(1, 2).contiguous().transpose(1, 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ["time inside", "channels inside"])
def test_causal_convolution_at_every_edge(kind, order):
    for length in (1, 2, 3, 15, 16, 17, 62, 63, 64, 65, 66, 127, 128, 129, 130):
        # 70 taps reach over more than a whole chunk
        for inner, taps in ((1, 4), (16, 4), (19, 1), (33, 2), (35, 9), (5, 70)):
            values = conv_inputs(2, inner, length, taps, kind)
            x, weight, bias, dout = values
            if order == "channels inside":
                x, dout = turned(x), turned(dout)
            got = compiled_conv(x, weight, bias, dout)
            assert far(got, plain_conv(*values), kind) == {}, (length, inner, taps)


@some(60)
@example(2, 1, 144, 7, torch.float32, [0, 1, 2], [0, 1, 2], 52)  # bias: 288 terms cancel
@given(
    *(st.integers(1, most) for most in (3, 40, 200, 9)),
    st.sampled_from(KINDS),
    st.permutations(range(3)),
    st.permutations(range(3)),
    st.integers(0, 100),
)
def test_causal_convolution_of_any_shape_and_order_of_memory(
    batch, inner, length, taps, kind, order, other, seed
):
    def stored(x, order):
        """A slice of a larger tensor whose axes lie in memory in the given order."""
        room = torch.full([x.shape[i] + 3 for i in order], float("nan"), dtype=kind)
        room = room.permute([order.index(i) for i in range(3)])
        inside = room[tuple(slice(1, 1 + size) for size in x.shape)]
        return inside.copy_(x)

    values = conv_inputs(batch, inner, length, taps, kind, seed)
    x, weight, bias, dout = values
    got = compiled_conv(stored(x, order), weight, bias, stored(dout, other))
    assert far(got, plain_conv(*values), kind, terms=conv_terms(*values)) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_causal_convolution_in_half_of_a_tensor(kind):
    """As the mixer calls it: x is half of the channels, dx is written into half of another."""
    for inner, length in ((24, 70), (64, 129)):
        values = conv_inputs(2, inner, length, 4, kind)
        both = normal(2, length, 2 * inner).to(kind).transpose(1, 2)
        x, (_, weight, bias, dout) = both[:, :inner], values
        into = torch.full_like(both, 7.0)
        got = compiled_conv(x, weight, bias, turned(dout), into[:, :inner])
        assert far(got, plain_conv(x, weight, bias, dout), kind) == {}
        assert torch.equal(got["x"], into[:, :inner]) and (into[:, inner:] == 7).all()


# Attention


def attended(attention, q, k, v, dout):
    q, k, v = (x.detach().requires_grad_() for x in (q, k, v))
    out = attention(q, k, v)
    grads = torch.autograd.grad(out, (q, k, v), dout)
    return dict(zip(("out", "q", "k", "v"), (out.detach(), *grads), strict=True))


def far_attention(q, k, v, dout, floor=0.1):
    exact = attended(F.scaled_dot_product_attention, *(x.double() for x in (q, k, v, dout)))
    # the gradients of q and k are 0 where there is one key only
    return far(attended(narrow.attention, q, k, v, dout), exact, q.dtype, floor=floor)


def queries(batch, heads, length, channels, kind, seed=0):
    """q, k and v as `SelfAttention` cuts them out of one tensor, and a gradient of the output."""
    qkv = normal(batch, length, 3, heads, channels, seed=seed).to(kind)
    dout = normal(batch, length, heads, channels, seed=seed + 1).to(kind).transpose(1, 2)
    return *qkv.permute(2, 0, 3, 1, 4).unbind(0), dout


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1, 15, 16, 17, 63, 64, 65, 130, 400])
def test_attention_equals_torch(kind, length):
    for channels in (1, 4, 7, 16):
        values = queries(2, 3, length, channels, kind)
        assert far_attention(*values) == {}, channels
        assert far_attention(*(x.contiguous() for x in values)) == {}, channels


@some(40)
@given(
    *(st.integers(1, most) for most in (3, 4, 150, 16)),
    st.sampled_from(KINDS),
    st.floats(0.01, 30),
    st.integers(0, 100),
)
def test_attention_of_any_shape(batch, heads, length, channels, kind, size, seed):
    q, k, v, dout = queries(batch, heads, length, channels, torch.float64, seed)
    q = q * size / q.norm(dim=-1).max()
    k = k / k.norm(dim=-1).max()
    # with large scores one key takes nearly all, and what is left of the gradient is a difference
    # of terms as large as the queries: torch loses as many digits there
    assert far_attention(*(x.to(kind) for x in (q, k, v, dout)), floor=0.1 * max(1, size)) == {}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1e3, -1e3, 1e6])
def test_huge_scores_choose_one_key(kind, scale):
    q, k, v, dout = queries(1, 2, 130, 4, kind)
    got = attended(narrow.attention, scale * q, k, v, dout)
    exact = attended(F.scaled_dot_product_attention, *(x.double() for x in (scale * q, k, v, dout)))
    assert all(torch.isfinite(x).all() for x in got.values())
    # in float32 the scores themselves are known to 1e-7 of their size alone
    rows = (got["out"].double() - exact["out"]).abs().amax(-1) < 1e-3
    assert rows.all() if kind == torch.float64 else rows.float().mean() > 0.95


def test_equal_scores_take_the_mean():
    q, k, v, _ = queries(1, 1, 70, 4, torch.float32)
    out = narrow.attention(torch.zeros_like(q), 1e4 * k, v)
    torch.testing.assert_close(out, v.mean(2, keepdim=True).expand_as(v), rtol=1e-5, atol=1e-6)


def test_attention_that_is_not_a_number_stays_so():
    q, k, v, _ = queries(1, 1, 20, 4, torch.float32)
    q[0, 0, 3] = float("nan")
    out = narrow.attention(q, k, v)[0, 0]
    assert out[3].isnan().all() and not out[[0, 1, 2, *range(4, 20)]].isnan().any()


# The mixer


def mixed(layer, x, backend, dout):
    """Output and gradients of a mixer: in x and in those parameters that ask for one, by name."""
    layer.backend = backend
    named = {"x": x, **dict(layer.named_parameters())}
    wanted = {name: p for name, p in named.items() if p.requires_grad}
    out = layer(x)
    grads = torch.autograd.grad(out, list(wanted.values()), dout)
    return {"out": out.detach()} | dict(zip(wanted, grads, strict=True))


def random_mixer(width, kind, seed=0, **options):
    torch.manual_seed(seed)
    layer = MambaMixer(width, **options).to(kind)
    with torch.no_grad():
        layer.D.normal_()
        layer.conv1d.bias.normal_()
        layer.dt_proj.bias.uniform_(-3, 1)
    return layer


def far_mixer(layer, x, dout):
    kind = x.dtype
    got = mixed(layer, x, "cpu", dout)
    with torch.no_grad():
        twice = x.double().requires_grad_(x.requires_grad)
    exact = mixed(layer.double(), twice, "parallel", dout.double())
    layer.to(kind)
    return far(got, exact, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("width", "states", "taps", "expand", "length"),
    [
        (16, 16, 4, 4, 300),
        (8, 16, 4, 2, 65),
        (24, 5, 3, 4, 64),
        (7, 1, 1, 3, 1),
        (33, 20, 4, 2, 17),
    ],
)
def test_mixer_equals_its_parts_in_every_gradient(kind, width, states, taps, expand, length):
    layer = random_mixer(width, kind, d_state=states, d_conv=taps, expand=expand)
    x = normal(3, length, width).to(kind).requires_grad_()
    dout = normal(3, length, width, seed=1).to(kind)
    assert far_mixer(layer, x, dout) == {}
    turned_x = turned(x.detach()).requires_grad_()
    assert far_mixer(layer, turned_x, turned(dout)) == {}


def test_mixer_with_frozen_parameters_and_without_gradients():
    layer = random_mixer(16, torch.float64)
    x, dout = normal(2, 70, 16), normal(2, 70, 16, seed=1)
    for name, p in layer.named_parameters():
        p.requires_grad_(name in ("A_log", "x_proj.weight"))
    assert far_mixer(layer, x, dout) == {}
    layer.requires_grad_(False)
    assert not layer(x).requires_grad
    layer.backend = "parallel"
    with torch.inference_mode():
        plain = layer(x)
        layer.backend = "auto"
        torch.testing.assert_close(layer(x), plain, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("place", "name", "caught"),
    [
        (1, "weight of the convolution", "conv1d.weight"),
        (2, "bias of the convolution", "conv1d.bias"),
    ],
)
def test_a_mistake_in_one_gradient_of_the_mixer_is_caught(monkeypatch, place, name, caught):
    right = causal_conv.backward

    def wrong(*arguments, **options):
        grads = list(right(*arguments, **options))
        grads[place] = grads[place] * 1.0001
        return tuple(grads)

    monkeypatch.setattr(mixer.causal_conv, "backward", wrong)
    layer = random_mixer(16, torch.float64)
    x = normal(2, 70, 16).requires_grad_()
    assert far_mixer(layer, x, normal(2, 70, 16, seed=1)).keys() == {caught}, name


def test_states_are_kept_for_gradients_only(monkeypatch):
    right, kept = mixer.scan.forward, []

    def forward(*arguments):
        kept.append(arguments[-1])
        return right(*arguments)

    monkeypatch.setattr(mixer.scan, "forward", forward)
    layer, x = random_mixer(16, torch.float32), normal(1, 5, 16).float()
    layer(x)
    with torch.no_grad():
        layer(x)
    with torch.inference_mode():
        layer(x)
    assert kept == [True, False, False]


# Where the kernels are used, and where not


def test_usable_says_no_where_the_kernels_cannot_go(monkeypatch):
    x = torch.zeros(3)
    assert usable(x) and usable(x, x) and usable(x.double())
    assert not usable(x.half()) and not usable(x.bfloat16()) and not usable(x.long())
    assert not usable(x, x.double()) and not usable(x.to("meta"))
    with rt.plain_pytorch():
        assert not usable(x)
    monkeypatch.setattr(compiled, "NUMBA", False)
    assert not usable(x)


def block_results(block, x, dout):
    x = x.clone().requires_grad_()
    y = block(x)
    named = {"x": x, **dict(block.named_parameters())}
    grads = torch.autograd.grad(y, list(named.values()), dout)
    return {"y": y.detach()} | dict(zip(named, grads, strict=True))


def test_a_block_gives_the_same_numbers_compiled_and_plain_whole_and_in_parts(monkeypatch):
    torch.manual_seed(0)
    attention = SelfAttention(8, 2)
    block = MambAttentionBlock(8, attention, attention).double()
    x, dout = normal(2, 8, 33, 20), normal(2, 8, 33, 20, seed=1)
    whole = block_results(block, x, dout)
    monkeypatch.setattr(mambattention, "PART", 100)
    calls = []
    block.time_mamba.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    parts = block_results(block, x, dout)
    assert len(calls) > 5 and sum(calls) == 2 * 20  # 20 frequencies of 2 examples, few at a time
    for layer in (attention_layer, mamba):
        monkeypatch.setattr(layer, "usable", lambda *tensors: False)
    for module in block.modules():
        if isinstance(module, MambaMixer):
            module.backend = "parallel"
    plain = block_results(block, x, dout)
    assert far(whole, plain, torch.float64) == {}
    assert far(parts, plain, torch.float64) == {}


def test_half_precision_takes_the_plain_way():
    layer = random_mixer(16, torch.float32)
    x = normal(2, 30, 16)
    exact = layer.double()(x)
    got = layer.bfloat16()(x.bfloat16())
    assert got.dtype == torch.bfloat16
    assert (got.double() - exact).norm() < 0.05 * exact.norm()


# Running a kernel


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads_gives_the_same_and_leaves_torch_alone(threads):
    before = torch.get_num_threads()
    layer = random_mixer(16, torch.float64)
    x, dout = normal(1, 200, 16).requires_grad_(), normal(1, 200, 16, seed=1)
    try:
        torch.set_num_threads(threads)
        assert far_mixer(layer, x, dout) == {}
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


CALLS = """
import sys, torch
from rwsa_tutorial.compiled import causal_conv
causal_conv.forward(torch.zeros(1, 2, 3), torch.zeros(2, 4), torch.zeros(2))
_ = causal_conv.forward(*(torch.zeros(*s).double() for s in ((1, 2, 3), (2, 4), (2,))))
"""


def test_compiling_is_announced_once_and_not_where_all_is_on_the_disk(tmp_path):
    for notice in (kernel.NOTICE + "\n", ""):
        run = subprocess.run(
            [sys.executable, "-c", CALLS],
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert (run.returncode, run.stdout, run.stderr) == (0, "", notice)


def test_the_notice_is_no_part_of_what_a_cell_prints(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # or Jupyter's kernel would leave the terminal alone
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CALLS)])
    NotebookClient(notebook, kernel_name="python3").execute()
    assert list(tmp_path.rglob("*.nbc")) != []  # it was compiled
    assert notebook.cells[0].outputs == []
    assert kernel.NOTICE in capfd.readouterr().err


def test_a_kernel_is_known_by_the_vectors_it_was_compiled_with(monkeypatch):
    def nothing(x):
        x[0] = 1

    monkeypatch.setattr(kernel, "VERSION", 0x1234ABCD)
    assert kernel.Kernel(nothing).compiled.py_func.__qualname__.endswith("nothing_1234abcd")


def test_a_kernel_runs_where_nothing_can_be_kept(monkeypatch):
    right = numba.njit

    def no_folder(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return right(**options)

    def one(x):
        for i in prange(len(x)):
            x[i] = 1

    monkeypatch.setattr(kernel.numba, "njit", no_folder)
    x = np.zeros(1)
    kernel.Kernel(one)(x)
    assert x[0] == 1
