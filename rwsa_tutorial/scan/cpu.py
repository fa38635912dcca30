"""The selective scan and its adjoint, compiled for the CPU by Numba.

One pass over memory does softplus, discretisation, recurrence, skip and gate. LANES channels are
one vector (simd.py), so nothing has to be added up across lanes; their N states lie in the first
cache. Time goes in chunks of CHUNK steps, for which the inputs are brought into the order
(time, channel) whatever their own order is. The adjoint keeps the inputs and the states before each
chunk, and recomputes the rest. Work is shared out over sequences and blocks of channels.
"""

import numpy as np
import torch
from numba import prange
from torch.autograd.function import once_differentiable

from ..compiled.kernel import Kernel, flat, groups_for, padded, strides_of, working_type
from ..compiled.simd import (
    LANES,
    base2,
    exp2,
    fetch,
    load,
    ones,
    send,
    sigmoid,
    softplus,
    splat,
    store,
    total,
    zeros,
)

CHUNK = 64  # steps; the adjoint's work on one block and chunk fits the second cache


@Kernel
def _forward(u, delta, B, C, z, A, D, bias, out, states, strides, shape, soft, gated, keep):
    """out = scan(...). The first five and out: flat, strides: a row each in the order u, delta, z,
    B, C, out. A: flat (blocks, N, LANES); D, bias: (blocks * LANES). shape: B, D, L, N, groups.
    keep: store the states before each chunk in `states`, flat (B, blocks, chunks, N, LANES)."""
    batch, inner, length, N, groups = shape
    blocks, chunks = -(-inner // LANES), -(-length // CHUNK)
    row = -(-N // LANES) * LANES
    for task in prange(batch * groups):
        b, group = task // groups, task % groups
        first, last = blocks * group // groups, blocks * (group + 1) // groups
        h = np.zeros((last - first) * N * LANES, u.dtype)
        x = np.zeros(CHUNK * LANES, u.dtype)
        step = np.zeros(CHUNK * LANES, u.dtype)
        gate = np.zeros(CHUNK * LANES, u.dtype)
        Bs = np.zeros(CHUNK * row, u.dtype)
        Cs = np.zeros(CHUNK * row, u.dtype)
        for chunk in range(chunks):
            t0 = chunk * CHUNK
            steps = min(CHUNK, length - t0)
            for n in range(0, N, LANES):
                lanes = min(LANES, N - n)
                fetch(B, strides[3], b, t0, steps, n, lanes, Bs, n, row)
                fetch(C, strides[4], b, t0, steps, n, lanes, Cs, n, row)
            for block in range(first, last):
                d0 = block * LANES
                lanes = min(LANES, inner - d0)
                own = (block - first) * N * LANES
                fetch(u, strides[0], b, t0, steps, d0, lanes, x, 0, LANES)
                fetch(delta, strides[1], b, t0, steps, d0, lanes, step, 0, LANES)
                if gated:
                    fetch(z, strides[2], b, t0, steps, d0, lanes, gate, 0, LANES)
                if keep:
                    kept = ((b * blocks + block) * chunks + chunk) * N * LANES
                    for i in range(0, N * LANES, LANES):
                        store(states, kept + i, load(h, own + i))
                for t in range(0, steps):
                    dt = load(step, t * LANES) + load(bias, d0)
                    if soft:
                        dt = softplus(dt)
                    rate = base2(dt)
                    ut = load(x, t * LANES)
                    drive = dt * ut
                    y = load(D, d0) * ut
                    for n in range(N):
                        i = own + n * LANES
                        decay = exp2(rate * load(A, (block * N + n) * LANES))
                        ht = decay * load(h, i) + drive * splat(Bs, t * row + n)
                        store(h, i, ht)
                        y = y + ht * splat(Cs, t * row + n)
                    if gated:
                        zt = load(gate, t * LANES)
                        y = y * zt * sigmoid(zt)
                    store(x, t * LANES, y)
                send(x, out, strides[5], b, t0, steps, d0, lanes)


@Kernel
def _backward(
    u,
    delta,
    B,
    C,
    z,
    A,
    D,
    bias,
    dout,
    states,
    du,
    ddelta,
    dz,
    dA,
    dB,
    dC,
    dD,
    dbias,
    strides,
    shape,
    soft,
    gated,
):
    """Gradients of `_forward`. Strides in the order u, delta, z, B, C, dout, du, ddelta, dz.

    dA (B, blocks, N, LANES), dD and dbias (B, blocks * LANES), dB and dC (B * groups, L, N), all
    flat and zero at first, are partial sums that no two tasks share; the caller adds them up."""
    batch, inner, length, N, groups = shape
    blocks, chunks = -(-inner // LANES), -(-length // CHUNK)
    row = -(-N // LANES) * LANES
    size = N * LANES
    for task in prange(batch * groups):
        b, group = task // groups, task % groups
        first, last = blocks * group // groups, blocks * (group + 1) // groups
        g = np.zeros((last - first) * size, u.dtype)  # what reaches the state from later steps
        h = np.zeros((CHUNK + 1) * size, u.dtype)  # row t + 1 is the state after step t
        decays = np.zeros(CHUNK * size, u.dtype)
        to_B = np.zeros(CHUNK * size, u.dtype)  # gradients of B and C, still a channel a lane
        to_C = np.zeros(CHUNK * size, u.dtype)
        x = np.zeros(CHUNK * LANES, u.dtype)
        raw = np.zeros(CHUNK * LANES, u.dtype)
        step = np.zeros(CHUNK * LANES, u.dtype)
        gate = np.zeros(CHUNK * LANES, u.dtype)
        dy = np.zeros(CHUNK * LANES, u.dtype)
        Bs = np.zeros(CHUNK * row, u.dtype)
        Cs = np.zeros(CHUNK * row, u.dtype)
        for chunk in range(chunks - 1, -1, -1):
            t0 = chunk * CHUNK
            steps = min(CHUNK, length - t0)
            for n in range(0, N, LANES):
                lanes = min(LANES, N - n)
                fetch(B, strides[3], b, t0, steps, n, lanes, Bs, n, row)
                fetch(C, strides[4], b, t0, steps, n, lanes, Cs, n, row)
            for block in range(first, last):
                d0 = block * LANES
                lanes = min(LANES, inner - d0)
                own = (block - first) * size
                fetch(u, strides[0], b, t0, steps, d0, lanes, x, 0, LANES)
                fetch(delta, strides[1], b, t0, steps, d0, lanes, raw, 0, LANES)
                fetch(dout, strides[5], b, t0, steps, d0, lanes, dy, 0, LANES)
                if gated:
                    fetch(z, strides[2], b, t0, steps, d0, lanes, gate, 0, LANES)
                kept = ((b * blocks + block) * chunks + chunk) * size
                for i in range(0, size, LANES):
                    store(h, i, load(states, kept + i))

                for t in range(steps):  # the states again
                    dt = load(raw, t * LANES) + load(bias, d0)
                    if soft:
                        dt = softplus(dt)
                    store(step, t * LANES, dt)
                    rate = base2(dt)
                    ut = load(x, t * LANES)
                    drive = dt * ut
                    y = load(D, d0) * ut
                    for n in range(N):
                        i = t * size + n * LANES
                        decay = exp2(rate * load(A, (block * N + n) * LANES))
                        ht = decay * load(h, i) + drive * splat(Bs, t * row + n)
                        store(decays, i, decay)
                        store(h, i + size, ht)
                        y = y + ht * splat(Cs, t * row + n)
                    if gated:
                        zt, into = load(gate, t * LANES), load(dy, t * LANES)
                        s = sigmoid(zt)
                        store(gate, t * LANES, into * y * s * (ones(zt) + zt * (ones(zt) - s)))
                        store(dy, t * LANES, into * zt * s)
                if gated:
                    send(gate, dz, strides[8], b, t0, steps, d0, lanes)

                sums = (b * blocks + block) * LANES
                for t in range(steps - 1, -1, -1):  # the adjoint, backwards in time
                    dt, ut, dyt = load(step, t * LANES), load(x, t * LANES), load(dy, t * LANES)
                    drive = dt * ut
                    to_drive, to_step = zeros(dt), zeros(dt)
                    for n in range(N):
                        i = t * size + n * LANES
                        j = own + n * LANES
                        a = (block * N + n) * LANES
                        reach = load(g, j) + dyt * splat(Cs, t * row + n)
                        later = reach * load(decays, i)
                        through = later * load(h, i)
                        store(g, j, later)
                        store(to_C, i, load(to_C, i) + dyt * load(h, i + size))
                        store(to_B, i, load(to_B, i) + reach * drive)
                        to_drive = to_drive + reach * splat(Bs, t * row + n)
                        to_step = to_step + through * load(A, a)
                        a = sums * N + n * LANES
                        store(dA, a, load(dA, a) + through * dt)
                    store(dD, sums, load(dD, sums) + dyt * ut)
                    d = to_step + to_drive * ut
                    if soft:
                        d = d * sigmoid(load(raw, t * LANES) + load(bias, d0))
                    store(dbias, sums, load(dbias, sums) + d)
                    store(raw, t * LANES, d)
                    store(x, t * LANES, to_drive * dt + dyt * load(D, d0))
                send(x, du, strides[6], b, t0, steps, d0, lanes)
                send(raw, ddelta, strides[7], b, t0, steps, d0, lanes)

            for t in range(steps):
                for n in range(N):
                    i = t * size + n * LANES
                    at = (task * length + t0 + t) * N + n
                    dB[at] = total(load(to_B, i))
                    dC[at] = total(load(to_C, i))
                    store(to_B, i, zeros(load(to_B, i)))
                    store(to_C, i, zeros(load(to_C, i)))


def _blocked(A, kind):
    """(D, N) as flat (blocks, N, LANES)."""
    return padded(A, len(A), kind).view(-1, LANES, A.shape[1]).transpose(1, 2).flatten().numpy()


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u, delta, A, B, C, D, z, bias, softplus):
        kind = working_type(u, delta, A, B, C, D, z, bias)
        (batch, inner, length), N = u.shape, A.shape[1]
        blocks, keep = -(-inner // LANES), any(ctx.needs_input_grad)
        shape = batch, inner, length, N, groups_for(batch, blocks)
        x, dt, Bs, Cs = (v.detach().to(kind) for v in (u, delta, B, C))
        gate = x if z is None else z.detach().to(kind)
        out = torch.empty_like(x)
        chunks = -(-length // CHUNK)
        states = torch.empty(batch * blocks * chunks * N * LANES if keep else 1, dtype=kind)
        _forward(
            *(flat(v) for v in (x, dt, Bs, Cs, gate)),
            _blocked(A, kind),
            *(padded(v, inner, kind).numpy() for v in (D, bias)),
            flat(out),
            states.numpy(),
            strides_of(x, dt, gate, Bs, Cs, out),
            shape,
            softplus,
            z is not None,
            keep,
        )
        ctx.save_for_backward(u, delta, A, B, C, D, z, bias, states)
        ctx.softplus, ctx.kind, ctx.shape = softplus, kind, shape
        return out.to(u.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, dout):
        *saved, states = ctx.saved_tensors
        u, delta, A, B, C, D, z, bias = saved
        kind, (batch, inner, length, N, groups) = ctx.kind, ctx.shape
        blocks = -(-inner // LANES)
        x, dt, Bs, Cs, dy = (v.detach().to(kind) for v in (u, delta, B, C, dout))
        gate = x if z is None else z.detach().to(kind)
        du, ddelta, dz = torch.empty_like(x), torch.empty_like(dt), torch.empty_like(gate)
        dA = torch.zeros(batch, blocks, N, LANES, dtype=kind)
        dB, dC = torch.empty(2, batch, groups, length, N, dtype=kind)
        dD, dbias = torch.zeros(2, batch, blocks * LANES, dtype=kind)
        _backward(
            *(flat(v) for v in (x, dt, Bs, Cs, gate)),
            _blocked(A, kind),
            *(padded(v, inner, kind).numpy() for v in (D, bias)),
            flat(dy),
            states.numpy(),
            *(flat(v) for v in (du, ddelta, dz)),
            *(v.flatten().numpy() for v in (dA, dB, dC, dD, dbias)),
            strides_of(x, dt, gate, Bs, Cs, dy, du, ddelta, dz),
            ctx.shape,
            ctx.softplus,
            z is not None,
        )
        dA = dA.sum(0).transpose(1, 2).flatten(0, 1)[:inner]
        dB, dC = (v.sum(1).transpose(1, 2) for v in (dB, dC))
        dD, dbias = (v.sum(0)[:inner] for v in (dD, dbias))
        grads = du, ddelta, dA, dB, dC, dD, dz, dbias
        return *(
            None if v is None else g.to(v.dtype) for v, g in zip(saved, grads, strict=True)
        ), None


def scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus):
    """Compiled scan, differentiable in every tensor. Arguments as in `selective_scan`."""
    return _Scan.apply(u, delta, A, B, C, D, z, delta_bias, delta_softplus)
