"""The selective scan and its adjoint, compiled for the CPU by Numba.

One pass over memory does softplus, discretisation, recurrence, skip and gate; the states of one
channel stay in registers. The adjoint keeps the inputs only and recomputes the states of one
channel at a time. Work is shared out over sequences and, where these are few, over channels.
"""

import math

import numba
import numpy as np
import torch
from numba import njit, prange, types
from numba.extending import intrinsic, overload
from torch.autograd.function import once_differentiable

# sums may be reordered and fused, but NaN and infinity keep their meaning
FAST = {"contract", "reassoc", "nsz", "arcp", "afn"}


@intrinsic
def _float_of_bits(typingctx, bits):
    """The float32 that has these 32 bits."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(types.float32))

    return types.float32(types.int32), codegen


def _exp(x):
    """exp(x); written out for float32 so that the compiler can use vector instructions."""
    return math.exp(x)


@overload(_exp, inline="always")
def _exp_for(x):
    if x != types.float32:
        return lambda x: math.exp(x)

    def exp32(x):
        x = min(max(x, np.float32(-87)), np.float32(88))
        k = np.floor(x * np.float32(1.44269504) + np.float32(0.5))  # x = k log 2 + r
        r = x - k * np.float32(0.693359375) + k * np.float32(2.12194440e-4)
        p = np.float32(1 / 5040)
        p = p * r + np.float32(1 / 720)  # Taylor: |r| <= 0.35, so the next term is below 1e-8
        p = p * r + np.float32(1 / 120)
        p = p * r + np.float32(1 / 24)
        p = p * r + np.float32(1 / 6)
        p = p * r + np.float32(1 / 2)
        p = p * r * r + r + np.float32(1)
        return p * _float_of_bits((np.int32(k) + np.int32(127)) << np.int32(23))

    return exp32


def _softplus(x):
    """log(1 + exp(x)) = max(x, 0) + log(1 + e) with e = exp(-|x|)."""
    return max(x, 0) + math.log1p(math.exp(-abs(x)))


@overload(_softplus, inline="always")
def _softplus_for(x):
    if x != types.float32:
        return lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x)))

    def softplus32(x):
        e = _exp(-abs(x))
        s = e / (np.float32(2) + e)  # log(1 + e) = 2 atanh(s) with s <= 1/3
        q = s * s
        p = np.float32(1 / 15)
        p = p * q + np.float32(1 / 13)
        p = p * q + np.float32(1 / 11)
        p = p * q + np.float32(1 / 9)
        p = p * q + np.float32(1 / 7)
        p = p * q + np.float32(1 / 5)
        p = p * q + np.float32(1 / 3)
        p = p * q + np.float32(1)
        return max(x, np.float32(0)) + np.float32(2) * s * p

    return softplus32


@njit(inline="always")
def _sigmoid(x, one):
    # one: 1 in the type of x, since an integer would turn float32 into float64
    return one / (one + _exp(-x))


@njit(fastmath=FAST)
def _steps(delta, bias, softplus, step):
    """step[t] = softplus(delta[t] + bias), or without the softplus."""
    for t in range(len(step)):
        step[t] = delta[t] + bias
    if softplus:
        for t in range(len(step)):
            step[t] = _softplus(step[t])


@njit(parallel=True, fastmath=FAST, cache=True)
def _forward(lanes, groups, softplus, gated, u, delta, A, B, C, D, z, bias, out):
    """out (B, D, L); B, C (B, L, N) so that the states of one step lie side by side.

    lanes: any tuple of length N, so that N is known to the compiler and states stay in registers.
    """
    batch, inner, length = u.shape
    one = u.dtype.type(1)
    for task in prange(batch * groups):
        b, group = task // groups, task % groups
        h = np.empty(len(lanes), u.dtype)
        step = np.empty(length, u.dtype)
        for d in range(inner * group // groups, inner * (group + 1) // groups):
            _steps(delta[b, d], bias[d], softplus, step)
            h[:] = 0
            for t in range(length):
                drive = step[t] * u[b, d, t]
                y = D[d] * u[b, d, t]
                for n in range(len(lanes)):
                    h[n] = _exp(step[t] * A[d, n]) * h[n] + drive * B[b, t, n]
                    y += h[n] * C[b, t, n]
                out[b, d, t] = y
            if gated:
                for t in range(length):
                    out[b, d, t] *= z[b, d, t] * _sigmoid(z[b, d, t], one)


@njit(parallel=True, fastmath=FAST, cache=True)
def _backward(
    lanes,
    groups,
    softplus,
    gated,
    u,
    delta,
    A,
    B,
    C,
    D,
    z,
    bias,
    dout,
    du,
    ddelta,
    dz,
    dA,
    dB,
    dC,
    dD,
):
    """Gradients of `_forward`. dA (B, D, N), dD (B, D) and dB, dC (B * groups, L, N) are partial
    sums that no two tasks share; the caller adds them up."""
    batch, inner, length = u.shape
    one = u.dtype.type(1)
    for task in prange(batch * groups):
        b, group = task // groups, task % groups
        h = np.empty((length + 1, len(lanes)), u.dtype)  # h[t + 1] is the state after step t
        decay = np.empty((length, len(lanes)), u.dtype)
        g = np.empty(len(lanes), u.dtype)  # gradient that reaches the state from later steps
        sum_A = np.empty(len(lanes), u.dtype)
        step = np.empty(length, u.dtype)
        dy = np.empty(length, u.dtype)  # gradient of y before the gate
        h[0] = 0
        for d in range(inner * group // groups, inner * (group + 1) // groups):
            _steps(delta[b, d], bias[d], softplus, step)
            for t in range(length):
                drive = step[t] * u[b, d, t]
                y = D[d] * u[b, d, t]
                for n in range(len(lanes)):
                    e = _exp(step[t] * A[d, n])
                    decay[t, n] = e
                    h[t + 1, n] = e * h[t, n] + drive * B[b, t, n]
                    y += h[t + 1, n] * C[b, t, n]
                dy[t] = y
            for t in range(length):
                if gated:
                    s = _sigmoid(z[b, d, t], one)
                    dz[b, d, t] = dout[b, d, t] * dy[t] * s * (one + z[b, d, t] * (one - s))
                    dy[t] = dout[b, d, t] * z[b, d, t] * s
                else:
                    dy[t] = dout[b, d, t]
            g[:] = 0
            sum_A[:] = 0
            for t in range(length - 1, -1, -1):
                drive = step[t] * u[b, d, t]
                to_drive = one - one
                to_step = one - one
                for n in range(len(lanes)):
                    reach = g[n] + dy[t] * C[b, t, n]
                    dC[task, t, n] += dy[t] * h[t + 1, n]
                    dB[task, t, n] += reach * drive
                    to_drive += reach * B[b, t, n]
                    g[n] = reach * decay[t, n]
                    through = g[n] * h[t, n]
                    to_step += through * A[d, n]
                    sum_A[n] += through * step[t]
                du[b, d, t] = to_drive * step[t] + dy[t] * D[d]
                ddelta[b, d, t] = to_step + to_drive * u[b, d, t]
            dA[b, d] = sum_A
            skip = one - one
            for t in range(length):
                skip += dy[t] * u[b, d, t]
                if softplus:
                    ddelta[b, d, t] *= _sigmoid(delta[b, d, t] + bias[d], one)
            dD[b, d] = skip


def _arrays(u, delta, A, B, C, D, z, bias):
    """Contiguous numpy views of one type, absent parts as zeros, B and C as (B, L, N)."""
    kind = torch.promote_types(u.dtype, torch.float32)  # half precision is computed in float32
    none = torch.zeros(A.shape[0], dtype=kind)
    parts = [
        u,
        delta,
        A,
        B.transpose(1, 2),
        C.transpose(1, 2),
        none if D is None else D,
        torch.zeros(1, 1, 1, dtype=kind) if z is None else z,
        none if bias is None else bias,
    ]
    return [p.detach().to(kind).contiguous().numpy() for p in parts]


def _run(kernel, groups, states, *arguments):
    """Call a kernel on as many threads as torch uses."""
    threads = torch.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    kernel((0,) * states, groups, *arguments)
    if torch.get_num_threads() != threads:  # Numba resets the OpenMP pool that both share
        torch.set_num_threads(threads)


def _groups(batch):
    """In how many parts to cut the channels so that few sequences keep all threads busy."""
    return max(1, 2 * torch.get_num_threads() // batch)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u, delta, A, B, C, D, z, bias, softplus):
        ctx.save_for_backward(u, delta, A, B, C, D, z, bias)
        ctx.softplus = softplus
        parts = _arrays(u, delta, A, B, C, D, z, bias)
        out = np.empty_like(parts[0])
        _run(_forward, _groups(u.shape[0]), A.shape[1], softplus, z is not None, *parts, out)
        return torch.from_numpy(out).to(u.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, dout):
        saved = ctx.saved_tensors
        parts = _arrays(*saved)
        u, _, A, B = parts[:4]
        gated, groups = saved[6] is not None, _groups(u.shape[0])
        du, ddelta = np.empty_like(u), np.empty_like(u)
        dz = np.empty_like(u) if gated else np.empty((1, 1, 1), u.dtype)
        dA, dD = np.zeros((u.shape[0], *A.shape), u.dtype), np.empty(u.shape[:2], u.dtype)
        dB, dC = (np.zeros((u.shape[0] * groups, *B.shape[1:]), u.dtype) for _ in range(2))
        dout = dout.to(torch.from_numpy(u).dtype).contiguous().numpy()
        outputs = du, ddelta, dz, dA, dB, dC, dD
        _run(_backward, groups, A.shape[1], ctx.softplus, gated, *parts, dout, *outputs)
        dB, dC = (
            x.reshape(u.shape[0], groups, *B.shape[1:]).sum(1).transpose(0, 2, 1) for x in (dB, dC)
        )
        grads = [du, ddelta, dA.sum(0), dB, dC, dD.sum(0), dz, ddelta.sum((0, 2))]
        return *(
            None if t is None else torch.from_numpy(np.ascontiguousarray(g)).to(t.dtype)
            for t, g in zip(saved, grads, strict=True)
        ), None


def scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus):
    """Compiled scan, differentiable in every tensor. Arguments as in `selective_scan`."""
    return _Scan.apply(u, delta, A, B, C, D, z, delta_bias, delta_softplus)
