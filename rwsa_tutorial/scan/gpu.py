"""The selective scan and its adjoint as two Triton kernels, one launch each (notebook 02).

A program (Triton's word for what a CUDA block does) takes one sequence and BLOCK_D channels and
walks along time. Its BLOCK_D x N states stay in registers, and softplus, discretisation,
recurrence, skip and gate happen while they are there: every input is read once, every output
written once. Only triton is needed, which comes with torch on Linux; no CUDA compiler.

Layout: at each step a program needs BLOCK_D channels and N states. Neighbouring threads must read
neighbouring addresses, so channels and states lie side by side in memory: (B, L, D) and (B, L, N).
That is also how a network computes them; the (B, D, L) views that it hands over cost no copy.
"""

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..compiled import first_order
from ..shapes import Float

# Steps between two states that are kept for the adjoint, which holds that many in registers.
CHUNK = 8
# Entries of a program's state: 4 for each of the 32 threads of its one warp.
TILE = 128


@triton.jit
def _log1p(x):
    """log(1 + x) for 0 <= x <= 1 with all digits, however small x is."""
    s = x / (2 + x)  # log(1 + x) = 2 atanh(s) = 2 (s + s^3 / 3 + s^5 / 5 + ...), s <= 1/3
    TERMS: tl.constexpr = 17 if x.dtype == tl.float64 else 8
    series = tl.zeros_like(x)
    for k in tl.static_range(TERMS):
        series = series * s * s + 1 / (2 * (TERMS - k) - 1)
    return 2 * s * series


@triton.jit
def _step_size(x, there, SOFTPLUS: tl.constexpr):
    """softplus(x) = max(x, 0) + log(1 + exp(-|x|)), or x as it is. A step that is not there, past
    the end of the sequence, gets size 0, which leaves the state as it was."""
    if SOFTPLUS:
        x = tl.maximum(x, 0) + _log1p(tl.exp(-tl.abs(x)))
    return tl.where(there, x, 0)


@triton.jit(do_not_specialize=["length"])  # or each length is compiled anew
def _forward(
    u,
    delta,
    A,
    B,
    C,
    D,
    z,
    bias,
    out,
    kept,
    length,
    inner,
    states,
    SOFTPLUS: tl.constexpr,
    GATED: tl.constexpr,
    KEEP: tl.constexpr,
    REAL: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """out (B, L, D); with KEEP also kept (B, chunks, D, N), the state before each chunk."""
    sequence = tl.program_id(0).to(tl.int64)  # 64 bits: large tensors have over 2^31 entries
    d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    n = tl.arange(0, BLOCK_N)
    # blocks are powers of two, so the last ones stick out: what is not there is neither read
    # (0 instead) nor written
    is_d, is_n = d < inner, n < states
    is_dn = is_d[:, None] & is_n[None, :]
    dn = d[:, None] * states + n[None, :]
    chunks = tl.cdiv(length, CHUNK)

    a = tl.load(A + dn, is_dn, 0).to(REAL)
    skip = tl.load(D + d, is_d, 0).to(REAL)
    offset = tl.load(bias + d, is_d, 0).to(REAL)
    h = tl.zeros([BLOCK_D, BLOCK_N], REAL)
    for chunk in range(chunks):
        if KEEP:
            tl.store(kept + (sequence * chunks + chunk) * inner * states + dn, h, is_dn)
        for k in range(CHUNK):
            t = chunk * CHUNK + k
            td, is_td = (sequence * length + t) * inner + d, is_d & (t < length)
            tn, is_tn = (sequence * length + t) * states + n, is_n & (t < length)
            x = tl.load(u + td, is_td, 0).to(REAL)
            step = _step_size(tl.load(delta + td, is_td, 0).to(REAL) + offset, is_td, SOFTPLUS)
            b = tl.load(B + tn, is_tn, 0).to(REAL)
            c = tl.load(C + tn, is_tn, 0).to(REAL)
            h = tl.exp(step[:, None] * a) * h + (step * x)[:, None] * b[None, :]
            y = tl.sum(h * c[None, :], 1) + skip * x
            if GATED:
                gate = tl.load(z + td, is_td, 0).to(REAL)
                y *= gate * tl.sigmoid(gate)
            tl.store(out + td, y, is_td)


@triton.jit(do_not_specialize=["length"])
def _backward(
    u,
    delta,
    A,
    B,
    C,
    D,
    z,
    bias,
    dout,
    kept,
    du,
    ddelta,
    dz,
    dA,
    dB,
    dC,
    dD,
    dbias,
    length,
    inner,
    states,
    SOFTPLUS: tl.constexpr,
    GATED: tl.constexpr,
    REAL: tl.constexpr,
    CHUNK: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Gradients of `_forward`: du, ddelta, dz (B, L, D), and sums that no two programs share:
    dA (B, D, N), dD, dbias (B, D), dB, dC (B, L, programs, N); the caller adds them up."""
    sequence = tl.program_id(0).to(tl.int64)
    group, groups = tl.program_id(1), tl.num_programs(1)
    d = group * BLOCK_D + tl.arange(0, BLOCK_D)
    n = tl.arange(0, BLOCK_N)
    is_d, is_n = d < inner, n < states
    is_dn = is_d[:, None] & is_n[None, :]
    dn = d[:, None] * states + n[None, :]
    chunks = tl.cdiv(length, CHUNK)

    a = tl.load(A + dn, is_dn, 0).to(REAL)
    skip = tl.load(D + d, is_d, 0).to(REAL)
    offset = tl.load(bias + d, is_d, 0).to(REAL)
    g = tl.zeros([BLOCK_D, BLOCK_N], REAL)  # gradient that reaches the state from later steps
    sum_A = tl.zeros([BLOCK_D, BLOCK_N], REAL)
    sum_D = tl.zeros([BLOCK_D], REAL)
    sum_bias = tl.zeros([BLOCK_D], REAL)
    for later in range(chunks):
        chunk = chunks - 1 - later
        # once more through the chunk, from the state that was kept before it; the loop is
        # unrolled, so the tuple is not stored anywhere: each state has registers of its own
        h = tl.load(kept + (sequence * chunks + chunk) * inner * states + dn, is_dn, 0)
        hs = (h,)
        for k in tl.static_range(CHUNK):
            t = chunk * CHUNK + k
            td, is_td = (sequence * length + t) * inner + d, is_d & (t < length)
            tn, is_tn = (sequence * length + t) * states + n, is_n & (t < length)
            x = tl.load(u + td, is_td, 0).to(REAL)
            step = _step_size(tl.load(delta + td, is_td, 0).to(REAL) + offset, is_td, SOFTPLUS)
            b = tl.load(B + tn, is_tn, 0).to(REAL)
            h = tl.exp(step[:, None] * a) * h + (step * x)[:, None] * b[None, :]
            hs = hs + (h,)
        # and back: hs[i + 1] is the state after step i of the chunk, hs[i] the one before it
        for i in tl.static_range(CHUNK - 1, -1, -1):
            t = chunk * CHUNK + i
            td, is_td = (sequence * length + t) * inner + d, is_d & (t < length)
            tn, is_tn = (sequence * length + t) * states + n, is_n & (t < length)
            x = tl.load(u + td, is_td, 0).to(REAL)
            raw = tl.load(delta + td, is_td, 0).to(REAL) + offset
            step = _step_size(raw, is_td, SOFTPLUS)
            b = tl.load(B + tn, is_tn, 0).to(REAL)
            c = tl.load(C + tn, is_tn, 0).to(REAL)
            dy = tl.load(dout + td, is_td, 0).to(REAL)
            if GATED:
                gate = tl.load(z + td, is_td, 0).to(REAL)
                open = tl.sigmoid(gate)
                y = tl.sum(hs[i + 1] * c[None, :], 1) + skip * x
                tl.store(dz + td, dy * y * open * (1 + gate * (1 - open)), is_td)
                dy *= gate * open
            reach = g + dy[:, None] * c[None, :]  # all that reaches the state after this step
            to_drive = tl.sum(reach * b[None, :], 1)
            g = reach * tl.exp(step[:, None] * a)
            through = g * hs[i]
            to_step = tl.sum(through * a, 1) + to_drive * x
            if SOFTPLUS:
                to_step *= tl.sigmoid(raw)
            tl.store(du + td, to_drive * step + dy * skip, is_td)
            tl.store(ddelta + td, to_step, is_td)
            part = ((sequence * length + t) * groups + group) * states + n
            tl.store(dB + part, tl.sum(reach * (step * x)[:, None], 0), is_tn)
            tl.store(dC + part, tl.sum(hs[i + 1] * dy[:, None], 0), is_tn)
            sum_A += through * step[:, None]
            sum_D += dy * x
            sum_bias += to_step
    tl.store(dA + sequence * inner * states + dn, sum_A, is_dn)
    tl.store(dD + sequence * inner + d, sum_D, is_d)
    tl.store(dbias + sequence * inner + d, sum_bias, is_d)


# TRITON_INTERPRET=1, set before triton is imported, runs kernels in NumPy on CPU tensors.
INTERPRETED = not isinstance(_forward, triton.JITFunction)


@cache
def can_run() -> bool | str:
    """True, or the reason why not in words: a small scan is tried."""
    if INTERPRETED:
        return True
    if not torch.cuda.is_available():
        return "needs a CUDA GPU, and torch finds none"
    try:
        x = torch.ones(1, 1, 1, device="cuda")
        scan(x, x, x[0], x, x, None, None, None, False)
    except Exception as error:  # Triton raises many kinds: old GPU, no C compiler, full disk
        return f"Triton's kernels do not run on this GPU ({' '.join(str(error).split())[:300]})"
    return True


def _channels_last(x):
    """(B, D, L) or (B, N, L) -> (B, L, D) or (B, L, N), copied only if it does not lie so."""
    return x.transpose(1, 2).contiguous()


def _arguments(u, delta, A, B, C, D, z, bias):
    """The kernels' first eight arguments; an absent D or bias is 0, an absent z is never read."""
    zeros = A.new_zeros(A.shape[0])
    rows = [_channels_last(x) for x in (u, delta, B, C)]
    vectors = [zeros if x is None else x.contiguous() for x in (D, bias)]
    gate = rows[0] if z is None else _channels_last(z)
    return *rows[:2], A.contiguous(), *rows[2:], vectors[0], gate, vectors[1]


def _launch(kernel, u, A, tensors, **options):
    """Run a kernel on every sequence and block of channels. u: (B, D, L), A: (D, N)."""
    (batch, inner, length), states = u.shape, A.shape[1]
    block_n = triton.next_power_of_2(states)
    block_d = _block_d(inner, states)
    with torch.cuda.device_of(u):
        kernel[batch, triton.cdiv(inner, block_d)](
            *tensors,
            length,
            inner,
            states,
            REAL=tl.float64 if u.dtype == torch.float64 else tl.float32,
            CHUNK=CHUNK,
            BLOCK_D=block_d,
            BLOCK_N=block_n,
            num_warps=1,
            **options,
        )


def _block_d(inner, states):
    """How many channels a program takes."""
    fits = max(1, TILE // triton.next_power_of_2(states))
    return min(fits, triton.next_power_of_2(inner))


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, keep, softplus, u, delta, A, B, C, D, z, bias):
        (batch, inner, length), states = u.shape, A.shape[1]
        real = torch.promote_types(u.dtype, torch.float32)  # half precision: computed in float32
        out = u.new_empty(batch, length, inner)
        chunks = triton.cdiv(length, CHUNK) if keep else 0
        kept = u.new_empty(batch, chunks, inner, states, dtype=real)
        tensors = *_arguments(u, delta, A, B, C, D, z, bias), out, kept
        _launch(_forward, u, A, tensors, SOFTPLUS=softplus, GATED=z is not None, KEEP=keep)
        ctx.save_for_backward(u, delta, A, B, C, D, z, bias, kept)
        ctx.softplus = softplus
        return out.transpose(1, 2)

    @staticmethod
    @first_order
    def backward(ctx, dout):
        *saved, kept = ctx.saved_tensors
        u, delta, A, B, C, D, z, bias = saved
        (batch, inner, length), states = u.shape, A.shape[1]
        programs = triton.cdiv(inner, _block_d(inner, states))
        du, ddelta, dz = (
            None if x is None else x.new_empty(batch, length, inner) for x in (u, delta, z)
        )
        dA = kept.new_empty(batch, inner, states)
        dB, dC = (kept.new_empty(batch, length, programs, states) for _ in range(2))
        dD, dbias = (kept.new_empty(batch, inner) for _ in range(2))
        results = du, ddelta, du if dz is None else dz, dA, dB, dC, dD, dbias
        tensors = *_arguments(*saved), _channels_last(dout), kept, *results
        _launch(_backward, u, A, tensors, SOFTPLUS=ctx.softplus, GATED=z is not None)
        grads = [du, ddelta, dA.sum(0), dB.sum(2), dC.sum(2), dD.sum(0), dz, dbias.sum(0)]
        return (
            None,
            None,
            *(
                None if x is None else (g.transpose(1, 2) if g.ndim == 3 else g).to(x.dtype)
                for x, g in zip(saved, grads, strict=True)
            ),
        )


def scan(
    u: Float[Tensor, "B D L"],
    delta: Float[Tensor, "B D L"],
    A: Float[Tensor, "D N"],
    B: Float[Tensor, "B N L"],
    C: Float[Tensor, "B N L"],
    D: Float[Tensor, " D"] | None,
    z: Float[Tensor, "B D L"] | None,
    delta_bias: Float[Tensor, " D"] | None,
    delta_softplus: bool,
) -> Float[Tensor, "B D L"]:
    """Scan on the GPU, differentiable in every tensor. Arguments as in `selective_scan`."""
    if u.device.type != "cuda" and not INTERPRETED:
        raise ValueError(f"the scan engine 'gpu' works on CUDA tensors; u is on {u.device}")
    tensors = u, delta, A, B, C, D, z, delta_bias
    keep = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)
    return _Scan.apply(keep, bool(delta_softplus), *tensors)
