"""Causal depthwise convolution with its SiLU, forward and adjoint, compiled for the CPU by Numba.

    a[t] = bias + sum over k of weight[k] x[t - (K - 1) + k]        y[t] = a[t] sigmoid(a[t])

One pass over memory; the adjoint keeps x alone. Vectors and chunks as in scan.py.
"""

import numpy as np
import torch
from numba import prange
from torch import Tensor

from .kernel import Kernel, flat, padded, strides_of
from .simd import LANES, fetch, load, ones, send, sigmoid, store, zeros

CHUNK = 64


@Kernel
def _forward(x, weight, bias, out, strides, shape):
    """x, out: flat, strides a row each. weight: flat (K, blocks * LANES). shape: B, D, L, K."""
    batch, inner, length, K = shape
    blocks = -(-inner // LANES)
    for task in prange(batch * blocks):
        b, block = task // blocks, task % blocks
        d0 = block * LANES
        lanes = min(LANES, inner - d0)
        past = K - 1  # rows of the tile before the chunk
        tile = np.zeros((past + CHUNK) * LANES, x.dtype)
        result = np.empty(CHUNK * LANES, x.dtype)
        for t0 in range(0, length, CHUNK):
            steps = min(CHUNK, length - t0)
            fetch(x, strides[0], b, t0, steps, d0, lanes, tile, past * LANES, LANES)
            for t in range(steps):
                a = load(bias, d0)
                for k in range(K):
                    w = load(weight, (k * blocks + block) * LANES)
                    a = a + w * load(tile, (t + k) * LANES)
                store(result, t * LANES, a * sigmoid(a))
            send(result, out, strides[1], b, t0, steps, d0, lanes)
            for t in range(past):
                store(tile, t * LANES, load(tile, (steps + t) * LANES))


@Kernel
def _backward(x, weight, bias, dout, dx, dweight, dbias, strides, shape):
    """Gradients of `_forward`; strides of x, dout, dx. dweight (B, K, blocks * LANES) and
    dbias (B, blocks * LANES), flat and zero at first: the caller adds up over B."""
    batch, inner, length, K = shape
    blocks, chunks = -(-inner // LANES), -(-length // CHUNK)
    for task in prange(batch * blocks):
        b, block = task // blocks, task % blocks
        d0 = block * LANES
        lanes = min(LANES, inner - d0)
        past = K - 1
        tile = np.zeros((past + CHUNK) * LANES, x.dtype)
        da = np.zeros((CHUNK + past) * LANES, x.dtype)  # its last rows belong to later chunks
        for chunk in range(chunks - 1, -1, -1):
            t0 = chunk * CHUNK
            steps = min(CHUNK, length - t0)
            before = min(past, t0)
            for t in range(past - before):
                store(tile, t * LANES, zeros(load(tile, 0)))
            fetch(
                x,
                strides[0],
                b,
                t0 - before,
                before + steps,
                d0,
                lanes,
                tile,
                (past - before) * LANES,
                LANES,
            )
            fetch(dout, strides[1], b, t0, steps, d0, lanes, da, 0, LANES)
            for t in range(steps):
                a = load(bias, d0)
                for k in range(K):
                    w = load(weight, (k * blocks + block) * LANES)
                    a = a + w * load(tile, (t + k) * LANES)
                s = sigmoid(a)
                g = load(da, t * LANES) * s * (ones(a) + a * (ones(a) - s))
                store(da, t * LANES, g)
                store(dbias, task * LANES, load(dbias, task * LANES) + g)
                for k in range(K):
                    i = ((b * K + k) * blocks + block) * LANES
                    store(dweight, i, load(dweight, i) + g * load(tile, (t + k) * LANES))
            for t in range(steps):
                g = zeros(load(da, 0))
                for k in range(K):
                    w = load(weight, (k * blocks + block) * LANES)
                    g = g + w * load(da, (t + past - k) * LANES)
                store(tile, t * LANES, g)
            send(tile, dx, strides[2], b, t0, steps, d0, lanes)
            for t in range(past - 1, -1, -1):  # from the end: many taps overlap
                store(da, (CHUNK + t) * LANES, load(da, t * LANES))


def _taps(weight, bias):
    """weight (D, K) as flat (K, blocks * LANES), and bias, both with zeros at the end."""
    inner, kind = len(weight), weight.dtype
    taps = padded(weight, inner, kind).T.flatten()
    return taps.numpy(), padded(bias, inner, kind).numpy()


def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """silu(causal depthwise convolution): (B, D, L) in x's order of memory.

    x: (B, D, L); weight: (D, K); bias: (D,); all float32, or all float64.
    """
    out = torch.empty_like(x)
    shape = (*x.shape, weight.shape[1])
    _forward(flat(x), *_taps(weight, bias), flat(out), strides_of(x, out), shape)
    return out


def backward(
    x: Tensor, weight: Tensor, bias: Tensor, dout: Tensor, dx: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `forward` in x, weight and bias. dx: where to put the first, any strides."""
    inner, K = weight.shape
    dx = torch.empty_like(x) if dx is None else dx
    width = -(-inner // LANES) * LANES
    dweight, dbias = x.new_zeros(len(x), K, width), x.new_zeros(len(x), width)
    _backward(
        flat(x),
        *_taps(weight, bias),
        *(flat(v) for v in (dout, dx, dweight, dbias)),
        strides_of(x, dout, dx),
        (*x.shape, K),
    )
    return dx, dweight.sum(0).T[:inner], dbias.sum(0)[:inner]
