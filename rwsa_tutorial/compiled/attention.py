"""Softmax attention for heads of a few channels, forward and adjoint, compiled by Numba.

Matrix libraries are slow when a head has only four channels. Here LANES queries are one vector,
and the keys pass by in chunks with a running maximum and sum (Milakov and Gimelshein, arXiv
1805.02867), so that the L x L map is never stored.
"""

import math

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from ..shapes import Float
from . import first_order
from .kernel import Kernel, flat
from .simd import LANES, exp2, larger, load, splat, store

CHUNK = 64  # keys
FOUR = 4  # channels are taken four at a time, so that their vectors stay in registers


@njit
def _scores(q, keys, first, steps, width, scores):
    """scores[j] = sum over channels of q times key `first + j`, for LANES queries; the largest."""
    top = load(scores, 0)
    for e in range(0, width, FOUR):
        q0, q1 = load(q, e * LANES), load(q, (e + 1) * LANES)
        q2, q3 = load(q, (e + 2) * LANES), load(q, (e + 3) * LANES)
        for j in range(steps):
            k = (first + j) * width + e
            s = q0 * splat(keys, k) + q1 * splat(keys, k + 1)
            s = s + q2 * splat(keys, k + 2) + q3 * splat(keys, k + 3)
            if e > 0:
                s = s + load(scores, j * LANES)
            top = s if j == 0 else larger(top, s)
            store(scores, j * LANES, s)
    return top


@njit
def _gather(weights, values, first, steps, width, out):
    """out += sum over j of weights[j] times value `first + j`, for LANES queries."""
    for e in range(0, width, FOUR):
        a0, a1 = load(out, e * LANES), load(out, (e + 1) * LANES)
        a2, a3 = load(out, (e + 2) * LANES), load(out, (e + 3) * LANES)
        for j in range(steps):
            w, v = load(weights, j * LANES), (first + j) * width + e
            a0 = a0 + w * splat(values, v)
            a1 = a1 + w * splat(values, v + 1)
            a2 = a2 + w * splat(values, v + 2)
            a3 = a3 + w * splat(values, v + 3)
        store(out, e * LANES, a0)
        store(out, (e + 1) * LANES, a1)
        store(out, (e + 2) * LANES, a2)
        store(out, (e + 3) * LANES, a3)


@njit
def _rows(source, strides, b, h, length, channels, scale, target):
    """target[l, e] = scale * source[b, h, l, e]; target is flat, its rows a multiple of FOUR."""
    width = -(-channels // FOUR) * FOUR
    start = b * strides[0] + h * strides[1]
    for i in range(length):
        for e in range(channels):
            target[i * width + e] = scale * source[start + i * strides[2] + e * strides[3]]


@njit
def _lanes(rows, first, length, width, target):
    """target[e, lane] = rows[first + lane, e], and zeros behind the last row."""
    for lane in range(LANES):
        for e in range(width):
            inside = first + lane < length
            target[e * LANES + lane] = rows[(first + lane) * width + e] if inside else 0


@njit
def _put(tile, first, length, channels, scale, target, strides, b, h):
    """target[b, h, first + lane, e] = scale * tile[e, lane]: the way back of both."""
    start = b * strides[0] + h * strides[1]
    for lane in range(min(LANES, length - first)):
        for e in range(channels):
            at = start + (first + lane) * strides[2] + e * strides[3]
            target[at] = scale * tile[e * LANES + lane]


@Kernel
def _forward(q, k, v, out, log_sums, constants, strides, shape):
    """out = softmax(q k^T / sqrt(E)) v, all flat (B, H, L, E), strides a row each.

    log_sums: (B, H, L), of the row sums, base 2. constants: 1, and 1 / (sqrt(E) log(2))."""
    batch, heads, length, channels = shape
    width = -(-channels // FOUR) * FOUR
    one, scale = constants[0], constants[1]
    for task in prange(batch * heads):
        b, h = task // heads, task % heads
        queries = np.zeros(length * width, q.dtype)
        keys = np.zeros(length * width, q.dtype)
        values = np.zeros(length * width, q.dtype)
        _rows(q, strides[0], b, h, length, channels, scale, queries)
        _rows(k, strides[1], b, h, length, channels, one, keys)
        _rows(v, strides[2], b, h, length, channels, one, values)
        own = np.zeros(width * LANES, q.dtype)
        mean = np.zeros(width * LANES, q.dtype)
        scores = np.zeros(CHUNK * LANES, q.dtype)
        sums = np.zeros(LANES, q.dtype)
        most = np.zeros(LANES, q.dtype)
        for i in range(0, length, LANES):
            _lanes(queries, i, length, width, own)
            mean[:] = 0
            sums[:] = 0
            for j in range(0, length, CHUNK):
                steps = min(CHUNK, length - j)
                top = _scores(own, keys, j, steps, width, scores)
                before = top if j == 0 else load(most, 0)
                top = larger(top, before)
                shrink = exp2(before - top)
                total = load(sums, 0) * shrink
                for e in range(width):
                    store(mean, e * LANES, load(mean, e * LANES) * shrink)
                for t in range(steps):
                    p = exp2(load(scores, t * LANES) - top)
                    total = total + p
                    store(scores, t * LANES, p)
                store(most, 0, top)
                store(sums, 0, total)
                _gather(scores, values, j, steps, width, mean)
            for e in range(width):
                store(mean, e * LANES, load(mean, e * LANES) / load(sums, 0))
            _put(mean, i, length, channels, one, out, strides[3], b, h)
            for lane in range(min(LANES, length - i)):
                log_sums[task * length + i + lane] = most[lane] + math.log2(sums[lane])


@Kernel
def _backward(q, k, v, out, dout, log_sums, dq, dk, dv, constants, strides, shape):
    """Gradients of `_forward`, in two sweeps: over the keys for q, over the queries for k and v.

    constants: 1, 1 / (sqrt(E) log(2)), 1 / sqrt(E), log(2)."""
    batch, heads, length, channels = shape
    width = -(-channels // FOUR) * FOUR
    one, scale, root, log2 = constants[0], constants[1], constants[2], constants[3]
    for task in prange(batch * heads):
        b, h = task // heads, task % heads
        queries = np.zeros(length * width, q.dtype)
        keys = np.zeros(length * width, q.dtype)
        values = np.zeros(length * width, q.dtype)
        results = np.zeros(length * width, q.dtype)
        into = np.zeros(length * width, q.dtype)
        _rows(q, strides[0], b, h, length, channels, scale, queries)
        _rows(k, strides[1], b, h, length, channels, one, keys)
        _rows(v, strides[2], b, h, length, channels, one, values)
        _rows(out, strides[3], b, h, length, channels, one, results)
        _rows(dout, strides[4], b, h, length, channels, one, into)
        padded = -(-length // LANES) * LANES
        logs = np.zeros(padded, q.dtype)
        inner = np.zeros(padded, q.dtype)  # sum over channels of out dout
        for i in range(length):
            logs[i] = log_sums[task * length + i]
            for e in range(width):
                inner[i] += results[i * width + e] * into[i * width + e]
        own = np.zeros(width * LANES, q.dtype)
        other = np.zeros(width * LANES, q.dtype)
        first = np.zeros(width * LANES, q.dtype)
        second = np.zeros(width * LANES, q.dtype)
        weights = np.zeros(CHUNK * LANES, q.dtype)
        slopes = np.zeros(CHUNK * LANES, q.dtype)
        for i in range(0, length, LANES):
            _lanes(queries, i, length, width, own)
            _lanes(into, i, length, width, other)
            first[:] = 0
            for j in range(0, length, CHUNK):
                steps = min(CHUNK, length - j)
                _scores(own, keys, j, steps, width, weights)
                _scores(other, values, j, steps, width, slopes)
                for t in range(steps):
                    p = exp2(load(weights, t * LANES) - load(logs, i))
                    store(slopes, t * LANES, p * (load(slopes, t * LANES) - load(inner, i)))
                _gather(slopes, keys, j, steps, width, first)
            _put(first, i, length, channels, root, dq, strides[5], b, h)
        for j in range(0, length, LANES):
            _lanes(keys, j, length, width, own)
            _lanes(values, j, length, width, other)
            first[:] = 0
            second[:] = 0
            for i in range(0, length, CHUNK):
                steps = min(CHUNK, length - i)
                _scores(own, queries, i, steps, width, weights)
                _scores(other, into, i, steps, width, slopes)
                for t in range(steps):
                    p = exp2(load(weights, t * LANES) - splat(logs, i + t))
                    store(weights, t * LANES, p)
                    store(slopes, t * LANES, p * (load(slopes, t * LANES) - splat(inner, i + t)))
                _gather(slopes, queries, i, steps, width, first)
                _gather(weights, into, i, steps, width, second)
            _put(first, j, length, channels, log2, dk, strides[6], b, h)
            _put(second, j, length, channels, one, dv, strides[7], b, h)


def _strides(*tensors):
    return np.array([x.stride() for x in tensors])


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v):
        B, H, L, E = q.shape
        out = q.new_empty(B, L, H, E).transpose(1, 2)
        logs = q.new_empty(B * H * L)
        root = E**-0.5
        constants = q.new_tensor([1, root / math.log(2), root, math.log(2)]).numpy()
        _forward(
            *(flat(x) for x in (q, k, v, out, logs)),
            constants[:2],
            _strides(q, k, v, out),
            (B, H, L, E),
        )
        ctx.save_for_backward(q, k, v, out, logs)
        ctx.constants = constants
        return out

    @staticmethod
    @first_order
    def backward(ctx, dout):
        q, k, v, out, logs = ctx.saved_tensors
        B, H, L, E = q.shape
        grads = q.new_empty(B, L, 3, H, E).permute(2, 0, 3, 1, 4).unbind(0)
        _backward(
            *(flat(x) for x in (q, k, v, out, dout, logs, *grads)),
            ctx.constants,
            _strides(q, k, v, out, dout, *grads),
            (B, H, L, E),
        )
        return grads


@torch.compiler.disable
def attention(
    q: Float[Tensor, "B H L E"], k: Float[Tensor, "B H L E"], v: Float[Tensor, "B H L E"]
) -> Float[Tensor, "B H L E"]:
    """softmax(q k^T / sqrt(E)) v, once differentiable. All (B, H, L, E), float32 or float64."""
    return _Attention.apply(q, k, v)
