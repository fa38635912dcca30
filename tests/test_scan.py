"""Every scan engine against mamba-ssm's reference, the loop and finite differences."""

import importlib

import pytest
import reference_mamba
import torch

import rwsa_tutorial as rt
from rwsa_tutorial.scan import ENGINES

ALL = list(ENGINES)


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


def value_and_gradients(values, backend, **options):
    leaves = [v.detach().clone().requires_grad_() for v in values]
    y = rt.selective_scan(*leaves, delta_softplus=True, backend=backend, **options)
    weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    return [y.detach(), *torch.autograd.grad((y * weight).sum(), leaves)]


@pytest.mark.parametrize("backend", ALL)
@pytest.mark.parametrize("parts", ["all", "bare"])
def test_gradcheck(backend, parts):
    values = inputs(2, 3, 7, 8)
    if parts == "bare":  # neither skip nor gate nor bias nor softplus
        values[1] = torch.rand(2, 3, 7, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(
            lambda *v: rt.selective_scan(*v, backend=backend), values[:5]
        )
    else:
        assert torch.autograd.gradcheck(
            lambda *v: rt.selective_scan(*v, delta_softplus=True, backend=backend), values
        )


@pytest.mark.parametrize("backend", ALL)
@pytest.mark.parametrize(
    ("gate", "skip", "bias", "softplus"),
    [(1, 1, 1, 1), (0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 0, 1), (0, 0, 0, 0)],
)
def test_equals_mamba_ssm(backend, gate, skip, bias, softplus):
    theirs = reference_mamba.load().selective_scan_ref
    u, delta, A, B, C, D, z, delta_bias = (v.detach().float() for v in inputs(3, 5, 40, 16))
    optional = {
        "D": D if skip else None,
        "z": z if gate else None,
        "delta_bias": delta_bias if bias else None,
        "delta_softplus": bool(softplus),
    }
    if not softplus:
        delta = delta.abs()
    expected = theirs(u, delta, A, B, C, **optional)
    got = rt.selective_scan(u, delta, A, B, C, **optional, backend=backend)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", [b for b in ALL if b != "reference"])
@pytest.mark.parametrize("length", [1, 2, 3, 100, 257])
def test_equals_the_loop_with_all_gradients(backend, length):
    values = inputs(2, 5, length, 16)
    for got, expected in zip(
        value_and_gradients(values, backend), value_and_gradients(values, "reference"), strict=True
    ):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("backend", "largest_step", "length"),
    [(b, step, 256) for b in ALL for step in (0.1, 1.0, 5.0)]
    + [(b, 5.0, 2048) for b in ALL if b != "reference"],  # the loop is slow
)
def test_float32_is_as_good_as_it_should_be(backend, largest_step, length):
    values = inputs(1, 4, length, 16, largest_step=largest_step)
    exact = value_and_gradients(values, "cpu")
    rough = value_and_gradients([v.detach().float() for v in values], backend)
    for got, expected in zip(rough, exact, strict=True):
        assert (got.double() - expected).norm() < 1e-4 * expected.norm()


@pytest.mark.parametrize("states", [1, 8])
def test_compiled_engine_takes_any_number_of_states(states):
    values = [v.detach().float() for v in inputs(1, 6, 30, states)]
    for got, expected in zip(
        value_and_gradients(values, "cpu"), value_and_gradients(values, "reference"), strict=True
    ):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_half_precision_goes_in_and_comes_out():
    values = [v.detach().bfloat16() for v in inputs(1, 4, 20, 16)]
    got = rt.selective_scan(*values, delta_softplus=True, backend="cpu")
    exact = rt.selective_scan(*[v.double() for v in values], delta_softplus=True, backend="cpu")
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.double(), exact, rtol=1e-2, atol=1e-2)


def test_compiled_exponential_and_softplus():
    from numba import njit

    from rwsa_tutorial.scan import cpu

    @njit
    def both(x):
        return [(cpu._exp(v), cpu._softplus(v)) for v in x]

    x = torch.cat([torch.linspace(-80, 30, 4001), torch.linspace(-1, 1, 501)]).numpy()
    got = torch.tensor(both(x), dtype=torch.float64)
    exact = torch.from_numpy(x).double()
    assert ((got[:, 0] - exact.exp()) / exact.exp()).abs().max() < 3e-7
    soft = torch.log1p(torch.exp(-exact.abs())) + exact.clamp_min(0)
    assert ((got[:, 1] - soft) / soft).abs().max() < 5e-7


def test_dividing_cumulative_products_would_be_caught():
    """The tempting closed form h = P * cumsum(b / P) loses all digits; the bound must see it."""
    values = [v.detach() for v in inputs(1, 4, 256, 16, largest_step=1.0)]
    u, delta, A, B = (v.float() for v in values[:4])
    step = torch.nn.functional.softplus(delta)
    decay = torch.exp(step[:, :, None] * A[:, :, None])
    product = decay.cumprod(-1)
    naive = product * ((step * u)[:, :, None] * B[:, None] / product).cumsum(-1)
    y = (naive * values[4].float()[:, None]).sum(2)
    exact = rt.selective_scan(*values[:5], delta_softplus=True, backend="reference")
    assert not (y.double() - exact).norm() < 1e-4 * exact.norm()


def test_shapes_that_do_not_fit_are_named():
    u, delta, A, B, C, *_ = (v.detach() for v in inputs(2, 3, 7, 4))
    with pytest.raises(ValueError, match=r"B must have shape \(2, 4, 7\)"):
        rt.selective_scan(u, delta, A, B[:, :, :-1], C)
    with pytest.raises(ValueError, match="none of them empty"):
        rt.selective_scan(u[..., :0], delta[..., :0], A, B[..., :0], C[..., :0])
    with pytest.raises(ValueError, match="no scan engine 'gpu'"):
        rt.selective_scan(u, delta, A, B, C, backend="gpu")


def test_backends_say_why_one_is_missing(monkeypatch):
    assert rt.scan_backends() == {"cpu": True, "parallel": True, "reference": True}
    monkeypatch.setattr("rwsa_tutorial.scan.import_module", _without("numba"))
    reason = rt.scan_backends()["cpu"]
    assert "numba" in reason
    values = [v.detach() for v in inputs(1, 2, 5, 3)]
    with pytest.raises(ValueError, match="'cpu' cannot run here: needs numba"):
        rt.selective_scan(*values, backend="cpu")
    assert rt.selective_scan(*values, backend="auto").shape == (1, 2, 5)


def _without(package):
    def load(name):
        if name == package:
            raise ImportError(f"No module named {package!r}")
        return importlib.import_module(name)

    return load
