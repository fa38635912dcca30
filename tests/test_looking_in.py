"""The kernels where a computation is looked into: derived twice, transformed, exported, hooked.

There they step aside or say so in words, and the numbers are those of plain PyTorch.
"""

import os
import signal
import subprocess
import sys
import warnings

import onnxruntime
import pytest
import torch
from torch import func, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import rwsa_tutorial as rt
from rwsa_tutorial.layers.attention import NARROW, SelfAttention, attention
from rwsa_tutorial.layers.mamba import BiMamba, MambaMixer
from rwsa_tutorial.layers.patch_embedding import PatchEmbedding
from rwsa_tutorial.model import set_scan_backend
from rwsa_tutorial.unet import ModelConfig

TINY = ModelConfig(channels=4, blocks=1, levels=2, d_state=2, heads=1, middle_heads=1)


def network(**options):
    torch.manual_seed(0)
    return rt.build_model(TINY, **options).eval()


def features(batch=1, frames=4, dtype=torch.float32):
    g = torch.Generator().manual_seed(1)
    shape = batch, 256, frames
    return torch.rand(shape, generator=g, dtype=dtype), torch.randn(shape, generator=g, dtype=dtype)


def layers():
    torch.manual_seed(0)
    return [MambaMixer(4, d_state=3), BiMamba(4, d_state=3), SelfAttention(4, 2)]


# Second derivatives


def hessian(layer, x):
    return torch.autograd.functional.hessian(lambda x: layer(x).square().sum(), x)


@pytest.mark.parametrize("layer", layers(), ids=lambda layer: type(layer).__name__)
def test_second_derivatives_are_refused_or_right(layer):
    layer, x = layer.double(), torch.randn(1, 5, 4, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="no second derivatives .*plain_pytorch.*RWSA_PLAIN"):
        hessian(layer, x)
    with rt.plain_pytorch():
        right = hessian(layer, x)
    set_scan_backend(layer, "reference")
    with rt.plain_pytorch():
        torch.testing.assert_close(right, hessian(layer, x), rtol=1e-9, atol=1e-12)
        assert torch.autograd.gradgradcheck(layer, (x.requires_grad_(),))
    assert right.norm() > 1e-3


def test_second_derivatives_of_heads_for_torchs_own_kernels_are_refused_or_right():
    g = torch.Generator().manual_seed(0)
    qkv = torch.randn(3, 1, 1, 4, NARROW + 1, generator=g, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="no second derivatives .*plain_pytorch.*RWSA_PLAIN"):
        hessian(lambda x: attention(*x), qkv)
    with sdpa_kernel(SDPBackend.MATH):
        right = hessian(lambda x: F.scaled_dot_product_attention(*x), qkv)
        torch.testing.assert_close(hessian(lambda x: attention(*x), qkv), right)
    with rt.plain_pytorch():
        torch.testing.assert_close(hessian(lambda x: attention(*x), qkv), right)
    assert right.norm() > 1e-3


def scan_penalty(backend):
    """The gradient in a weight w of sum of y + squared norm of dy/du, of a scan whose u is w x."""
    w = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    g = torch.Generator().manual_seed(0)
    x, delta, B, C = (
        torch.rand(1, 3, 6, generator=g, dtype=torch.float64, requires_grad=True) for _ in range(4)
    )
    u = w[:, None] * x
    y = rt.selective_scan(u, delta * u.square(), -B[0, :, :2] - 1, B[:, :2], C[:, :2], w, u,
                          delta_softplus=True, backend=backend)  # fmt: skip
    (du,) = torch.autograd.grad(y.sum(), u, create_graph=True)
    return torch.autograd.grad(y.sum() + du.square().sum(), w)[0]


def test_a_gradient_penalty_of_the_scan_is_right_or_refused():
    right = scan_penalty("reference")
    torch.testing.assert_close(scan_penalty("parallel"), right, rtol=1e-10, atol=1e-12)
    for backend in ("auto", "cpu"):
        with pytest.raises(RuntimeError, match='backend="parallel" or "reference"'):
            scan_penalty(backend)
        with rt.plain_pytorch():
            torch.testing.assert_close(scan_penalty(backend), right, rtol=1e-10, atol=1e-12)


def test_a_gradient_penalty_of_the_whole_network():
    model, (mag, phase) = network().double(), features(dtype=torch.float64)

    def penalty():
        x = mag.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model(x, phase)[0].sum(), x, create_graph=True)
        model.zero_grad()
        gradient.square().sum().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    with pytest.raises(RuntimeError, match="no second derivatives"):
        penalty()
    with rt.plain_pytorch():
        right = penalty()
        set_scan_backend(model, "reference")
        torch.testing.assert_close(penalty(), right, rtol=1e-7, atol=1e-9)
    assert right.norm() > 0


def test_a_deformable_convolution_without_grid_sample_gives_the_same():
    torch.manual_seed(0)
    layer, x = PatchEmbedding(4).double(), torch.randn(2, 4, 7, 5, dtype=torch.float64)
    for conv in layer.offsets:
        nn.init.normal_(conv.weight)  # offsets that reach out of the image
    whole = layer(x)
    with rt.plain_pytorch():
        torch.testing.assert_close(layer(x), whole, rtol=1e-12, atol=1e-12)


def test_the_environment_can_ask_for_plain_pytorch():
    code = (
        "import sys, torch, rwsa_tutorial as rt\n"
        "rt.build_model('nano')(torch.rand(1, 256, 2), torch.rand(1, 256, 2))\n"
        "sys.exit('numba' in sys.modules)"
    )
    for plain, status in (("1", 0), ("0", 1)):
        run = subprocess.run([sys.executable, "-c", code], env=os.environ | {"RWSA_PLAIN": plain})
        assert run.returncode == status


# Transforms, tracing, export


def close(got, expected):
    for name, a, b in zip(("mag", "phase", "spec"), got, expected, strict=True):
        if name == "phase":  # an angle turns where both its parts are small
            a, b = torch.cos(a - b), torch.ones_like(b)
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_torch_func_gives_what_autograd_and_a_batch_give():
    model, (mag, phase) = network().double(), features(batch=2, dtype=torch.float64)
    parameters = dict(model.named_parameters())

    def loss(parameters):
        return func.functional_call(model, parameters, (mag, phase))[0].sum()

    got = func.grad(loss)(parameters)
    expected = torch.autograd.grad(model(mag, phase)[0].sum(), list(parameters.values()),
                                   allow_unused=True)  # fmt: skip
    for (name, gradient), right in zip(got.items(), expected, strict=True):
        right = torch.zeros_like(gradient) if right is None else right
        torch.testing.assert_close(gradient, right, rtol=1e-8, atol=1e-8, msg=name)
    each = func.vmap(lambda m, p: model(m[None], p[None])[0][0])(mag, phase)
    torch.testing.assert_close(each, model(mag, phase)[0], rtol=1e-8, atol=1e-8)


def test_a_forward_derivative_is_the_same_as_the_backward_one():
    model, (mag, phase) = network().double(), features(dtype=torch.float64)
    along = torch.randn_like(mag)
    _, slope = func.jvp(lambda m: model(m, phase)[0].sum(), (mag,), (along,))
    (gradient,) = torch.autograd.grad(model(x := mag.requires_grad_(), phase)[0].sum(), x)
    torch.testing.assert_close(slope, (gradient * along).sum(), rtol=1e-9, atol=1e-9)


def test_a_traced_network_computes_the_same():
    model, inputs = network(), features()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # shapes become constants, and trace says so
        close(torch.jit.trace(model, inputs, check_trace=False)(*inputs), model(*inputs))


@pytest.mark.filterwarnings("ignore")
def test_an_exported_network_computes_the_same_also_as_onnx(tmp_path):
    model, inputs = network(), features(frames=2)
    right = model(*inputs)
    program = torch.export.export(model, inputs)
    close(program.module()(*inputs), right)
    options = {"dynamo": True, "verbose": False, "optimize": False}  # which takes a minute
    torch.onnx.export(program, (), tmp_path / "net.onnx", **options)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    names = [known.name for known in session.get_inputs()]
    got = session.run(None, {n: x.numpy() for n, x in zip(names, inputs, strict=True)})
    close(map(torch.from_numpy, got), right)


def test_torch_compile_before_the_first_plain_call():
    """In a fresh process, where the kernels were not loaded yet."""
    code = (
        "import torch, rwsa_tutorial as rt\n"
        "from rwsa_tutorial.layers.mamba import BiMamba\n"
        "from rwsa_tutorial.layers.attention import SelfAttention\n"
        "net = torch.nn.Sequential(SelfAttention(8, 2), BiMamba(8))\n"
        "x = torch.randn(1, 9, 8)\n"
        "y = torch.compile(net, backend='eager')(x)\n"
        "y.sum().backward()\n"
        "assert net[1].proj.weight.grad is not None\n"
        "torch.testing.assert_close(y, net(x))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]


# Forks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_child_computes_the_same_or_says_why_not():
    code = """
import os, signal, sys, torch, rwsa_tutorial as rt
from rwsa_tutorial.layers.mamba import BiMamba
torch.set_num_threads(2)
layer, x = BiMamba(16), torch.randn(64, 200, 16)
scanned = [torch.rand(2, 3, 5), torch.rand(2, 3, 5), -torch.rand(3, 2), torch.rand(2, 2, 5)]
with torch.no_grad():
    right = layer(x)
    if (child := os.fork()) == 0:
        torch.testing.assert_close(layer(x), right, rtol=1e-4, atol=1e-5)
        try:
            rt.selective_scan(*scanned, scanned[3], backend="cpu")
        except ValueError as error:
            os._exit(0 if "was forked" in str(error) else 4)
        os._exit(3)
    signal.alarm(60)
    _, status = os.waitpid(child, 0)
    torch.testing.assert_close(layer(x), right)
sys.exit(os.waitstatus_to_exitcode(status))
"""
    environment = os.environ | {"OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2"}
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment)
    assert run.returncode != -signal.SIGALRM, "the child hangs"
    assert run.returncode == 0


# Modules that somebody listens to, or has changed


def leaves(model):
    return {n: m for n, m in model.named_modules() if not list(m.children())}


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_every_layer_is_called_where_somebody_listens(backend):
    model, called = set_scan_backend(network(), backend), set()
    for name, layer in leaves(model).items():
        layer.register_forward_hook(lambda *_, name=name: called.add(name))
    model(*features())
    assert called == set(leaves(model))


def test_hooks_for_all_modules_see_every_layer():
    model, seen = network(), set()
    hook = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.add(module))
    try:
        model(*features())
    finally:
        hook.remove()
    assert seen >= set(leaves(model).values())


class Adapter(nn.Module):
    """A small change beside a layer, as in LoRA."""

    def __init__(self, layer, wide):
        super().__init__()
        self.layer, self.change = layer, nn.Parameter(torch.full((wide,), 0.1))

    def forward(self, x, *rest):
        y = self.layer(x, *rest)
        return y + (self.change[:, None] if y.ndim == 3 and len(self.change) == y.shape[1] else
                    self.change)  # fmt: skip


@pytest.mark.parametrize("name", ["in_proj", "conv1d", "x_proj", "dt_proj", "out_proj"])
def test_an_adapter_on_any_projection_counts_and_learns(name):
    torch.manual_seed(0)
    mixer, x = MambaMixer(4, d_state=3), torch.randn(2, 6, 4)
    before, layer = mixer(x), getattr(mixer, name)
    adapter = Adapter(layer, layer.weight.shape[0])
    setattr(mixer, name, adapter)
    after = mixer(x)
    after.sum().backward()
    assert (after - before).abs().max() > 1e-6
    assert adapter.change.grad.norm() > 0


def test_a_parametrised_weight_is_the_one_that_is_used():
    mixer, x = MambaMixer(4, d_state=3), torch.randn(2, 6, 4)
    nn.utils.parametrizations.weight_norm(mixer.in_proj)
    right = mixer(x)
    with rt.plain_pytorch():
        torch.testing.assert_close(mixer(x), right)
    assert mixer.in_proj.parametrizations.weight.original0.requires_grad
    right.sum().backward()
    assert mixer.in_proj.parametrizations.weight.original0.grad.norm() > 0


# Autocast


@pytest.mark.parametrize("layer", layers(), ids=lambda layer: type(layer).__name__)
def test_under_autocast_the_layers_run_in_float32(layer, recwarn):
    x = torch.randn(2, 7, 4)

    def run(x, enabled):
        x = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            y = layer(x)
        return y, *torch.autograd.grad(y.sin().sum(), [x, *layer.parameters()])

    for got, right in zip(run(x, True), run(x, False), strict=True):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, right, rtol=1e-6, atol=1e-6)
    halved = run(x.bfloat16(), True)[0]  # what a convolution gives under autocast
    torch.testing.assert_close(halved, run(x.bfloat16().float(), False)[0], rtol=1e-6, atol=1e-6)
    assert not [w for w in recwarn if "rms_norm" in str(w.message)]


def test_under_autocast_the_network_is_right_to_the_precision_of_bfloat16():
    model, (mag, phase) = network(), features(frames=8)

    def run(enabled):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            out = model(mag, phase)[0]
        out.float().square().mean().backward()
        gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        return out.float(), torch.cat(gradients)

    for got, right in zip(run(True), run(False), strict=True):
        assert (got - right).norm() < 0.1 * right.norm()


# Sizes


def test_an_empty_batch_gets_words():
    model = network()
    for batch, frames in ((0, 4), (1, 0)):
        with pytest.raises(ValueError, match="B and T at least 1"):
            model(torch.rand(batch, 256, frames), torch.rand(batch, 256, frames))
