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
from torch import Tensor

from .kernel import Kernel, flat, groups_for, padded, strides_of
from .simd import (
    LANES,
    base2,
    exp2,
    fetch,
    hint,
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

CHUNK = 64  # steps, as many as `hint` counts; the adjoint's work on them fits the second cache


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
                following = block + 1 if block + 1 < last else first
                soon = t0 if block + 1 < last else t0 + CHUNK
                # three short loops: in one, each step would wait for the softplus before it
                if soft:
                    for t in range(steps):
                        dt = load(step, t * LANES) + load(bias, d0)
                        store(step, t * LANES, softplus(dt))
                else:
                    for t in range(steps):
                        store(step, t * LANES, load(step, t * LANES) + load(bias, d0))
                for t in range(steps):
                    dt, ut = load(step, t * LANES), load(x, t * LANES)
                    rate, drive, y = base2(dt), dt * ut, load(D, d0) * ut
                    hint(u, strides[0], b, soon, t, following * LANES)
                    hint(delta, strides[1], b, soon, t, following * LANES)
                    hint(z, strides[2], b, soon, t, following * LANES)
                    for n in range(N):
                        i = own + n * LANES
                        decay = exp2(rate * load(A, (block * N + n) * LANES))
                        ht = decay * load(h, i) + drive * splat(Bs, t * row + n)
                        store(h, i, ht)
                        y = y + ht * splat(Cs, t * row + n)
                    store(x, t * LANES, y)
                if gated:
                    for t in range(steps):
                        zt = load(gate, t * LANES)
                        store(x, t * LANES, load(x, t * LANES) * zt * sigmoid(zt))
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
    out,
    dA,
    dB,
    dC,
    dD,
    dbias,
    strides,
    shape,
    soft,
    gated,
    again,
):
    """Gradients of `_forward`. Strides in the order u, delta, z, B, C, dout, du, ddelta, dz, out.
    again: compute the output as well, into `out`.

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
        result = np.zeros(CHUNK * LANES, u.dtype)
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

                if soft:
                    for t in range(steps):
                        dt = load(raw, t * LANES) + load(bias, d0)
                        store(step, t * LANES, softplus(dt))
                else:
                    for t in range(steps):
                        store(step, t * LANES, load(raw, t * LANES) + load(bias, d0))
                following = block + 1 if block + 1 < last else first
                soon = t0 if block + 1 < last else max(0, t0 - CHUNK)
                for t in range(steps):  # the states again
                    dt, ut = load(step, t * LANES), load(x, t * LANES)
                    rate, drive, y = base2(dt), dt * ut, load(D, d0) * ut
                    hint(u, strides[0], b, soon, t, following * LANES)
                    hint(delta, strides[1], b, soon, t, following * LANES)
                    hint(z, strides[2], b, soon, t, following * LANES)
                    hint(dout, strides[5], b, soon, t, following * LANES)
                    for n in range(N):
                        i = t * size + n * LANES
                        decay = exp2(rate * load(A, (block * N + n) * LANES))
                        ht = decay * load(h, i) + drive * splat(Bs, t * row + n)
                        store(decays, i, decay)
                        store(h, i + size, ht)
                        y = y + ht * splat(Cs, t * row + n)
                    store(result, t * LANES, y)
                if gated:
                    for t in range(steps):
                        zt, into = load(gate, t * LANES), load(dy, t * LANES)
                        y, s = load(result, t * LANES), sigmoid(zt)
                        store(result, t * LANES, y * zt * s)
                        store(gate, t * LANES, into * y * s * (ones(zt) + zt * (ones(zt) - s)))
                        store(dy, t * LANES, into * zt * s)
                    send(gate, dz, strides[8], b, t0, steps, d0, lanes)
                if again:
                    send(result, out, strides[9], b, t0, steps, d0, lanes)

                sums = (b * blocks + block) * LANES
                for t in range(steps - 1, -1, -1):  # the adjoint, backwards in time
                    dt, ut, dyt = load(step, t * LANES), load(x, t * LANES), load(dy, t * LANES)
                    drive, to_drive, to_step = dt * ut, zeros(dt), zeros(dt)
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
                    store(step, t * LANES, to_step + to_drive * ut)
                    store(x, t * LANES, to_drive * dt + dyt * load(D, d0))
                for t in range(steps):
                    d = load(step, t * LANES)
                    if soft:
                        d = d * sigmoid(load(raw, t * LANES) + load(bias, d0))
                    store(dbias, sums, load(dbias, sums) + d)
                    store(raw, t * LANES, d)
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


def forward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    bias: Tensor | None,
    softplus: bool,
    keep: bool,
) -> tuple[Tensor, Tensor]:
    """The scan without autograd, for tensors of one floating point type; arguments as in `scan`.

    Returns the output, and if `keep` the states that `backward` starts from (else one number).
    """
    (batch, inner, length), N = u.shape, A.shape[1]
    blocks, chunks = -(-inner // LANES), -(-length // CHUNK)
    out = torch.empty_like(u)
    gate = u if z is None else z
    states = u.new_empty(batch * blocks * chunks * N * LANES if keep else 1)
    _forward(
        *(flat(x) for x in (u, delta, B, C, gate)),
        _blocked(A),
        *(padded(x, inner, u.dtype).numpy() for x in (D, bias)),
        *(flat(x) for x in (out, states)),
        strides_of(u, delta, gate, B, C, out),
        (batch, inner, length, N, groups_for(batch, blocks)),
        softplus,
        z is not None,
        keep,
    )
    return out, states


def backward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    bias: Tensor | None,
    softplus: bool,
    states: Tensor,
    dout: Tensor,
    dz: Tensor | None = None,
    out: Tensor | None = None,
) -> tuple[Tensor | None, ...]:
    """Gradients of `forward` in u, delta, A, B, C, D, z and bias.

    dz, out: where to put the gradient of z and, once more, the output; (B, D, L), any strides.
    """
    (batch, inner, length), N = u.shape, A.shape[1]
    blocks = -(-inner // LANES)
    groups = groups_for(batch, blocks)
    gate = u if z is None else z
    du, ddelta = torch.empty_like(u), torch.empty_like(delta)
    if dz is None:
        dz = torch.empty_like(gate)
    again = out is not None
    dA = u.new_zeros(batch, blocks, N, LANES)
    dB, dC = u.new_empty(2, batch, groups, length, N)
    dD, dbias = u.new_zeros(2, batch, blocks * LANES)
    out = out if again else du
    _backward(
        *(flat(x) for x in (u, delta, B, C, gate)),
        _blocked(A),
        *(padded(x, inner, u.dtype).numpy() for x in (D, bias)),
        *(flat(x) for x in (dout, states, du, ddelta, dz, out, dA, dB, dC, dD, dbias)),
        strides_of(u, delta, gate, B, C, dout, du, ddelta, dz, out),
        (batch, inner, length, N, groups),
        softplus,
        z is not None,
        again,
    )
    dA = dA.sum(0).transpose(1, 2).flatten(0, 1)[:inner]
    dB, dC = ((x[:, 0] if groups == 1 else x.sum(1)).transpose(1, 2) for x in (dB, dC))
    dD, dbias = (x.sum(0)[:inner] for x in (dD, dbias))
    return du, ddelta, dA, dB, dC, dD, dz, dbias


def _blocked(A):
    """(D, N) as flat (blocks, N, LANES)."""
    wide = padded(A, len(A), A.dtype).view(-1, LANES, A.shape[1])
    return wide.transpose(1, 2).flatten().numpy()
