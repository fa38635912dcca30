"""How far off a scan may be that adds up the right terms in numbers of a few digits.

A result is a sum of products, and where the terms cancel it may be much smaller than they are. So
its error is held against the terms. The scan is computed once more in float64 with the absolute
value of every factor, forward and backward, which gives the sum of the terms' absolute values; and
again with everything that is rounded larger by a grain for each rounding. What the results gain by
that is a bound on what the roundings can do to them, to first order (Higham, "Accuracy and
Stability of Numerical Algorithms", 2nd ed., sections 3.1 and 3.3).
"""

import torch
from torch.nn.functional import pad, softplus

GRAIN = 1e-9  # small, so that its square does not count; large beside float64's own roundings
SAFETY = 2  # the engine that is taken as exact rounds too


def unit(kind):
    """The largest relative error of a number that is rounded to this type."""
    return torch.finfo(kind).eps / 2


def tolerances(values, delta_softplus, weight, exact, cut=()):
    """Bounds, entry by entry, of the errors of y and of the gradients, None for an absent tensor.

    values: the eight tensors of the scan, weight: the gradient of y, all in their own types;
    exact: the results in float64, whose own rounding to those types comes on top. A result that
    is subnormal in its type is known to one of the steps between subnormal numbers.
    cut: types to which numbers are cut off, not rounded, and so twice as far off, and whose
        subnormal numbers are wrong.
    """
    work = torch.promote_types(values[0].dtype, torch.float32)
    bare, larger = (_sizes(values, delta_softplus, weight, grain, work) for grain in (0, GRAIN))
    bounds = []
    for tensor, low, high, right in zip([values[0], *values], bare, larger, exact, strict=True):
        if tensor is None:
            bounds.append(None)
            continue
        inside = SAFETY * unit(work) * (high - low) / GRAIN
        kind, stored = torch.finfo(tensor.dtype), unit(tensor.dtype)
        least = kind.smallest_normal * kind.eps
        if tensor.dtype in cut:
            stored, least = 2 * stored, kind.smallest_normal
        bounds.append(inside + stored * (right.abs() + inside) + least)
    return bounds


class _Rounded(torch.autograd.Function):
    """x larger by so many grains, and its gradient likewise: each may have been rounded so often.

    What is too small for a normal number may be lost, which is worth `floor` grains.
    """

    @staticmethod
    def forward(ctx, x, there, back, grain, floor):
        ctx.enlarge = lambda x, count: x * (1 + count * grain) + floor * grain
        ctx.back = back
        return ctx.enlarge(x, there)

    @staticmethod
    def backward(ctx, gradient):
        return ctx.enlarge(gradient, ctx.back), None, None, None, None


class _Recurrence(torch.autograd.Function):
    """h[t] = a[t] h[t-1] + b[t] along the last axis, for a and b that are not negative."""

    @staticmethod
    def forward(ctx, a, b):
        h = _recurrence(a, b)
        ctx.save_for_backward(a, h)
        return h

    @staticmethod
    def backward(ctx, gradient):
        a, h = ctx.saved_tensors
        later = _recurrence(pad(a, (0, 1))[..., 1:].flip(-1), gradient.flip(-1)).flip(-1)
        return later * pad(h, (1, 0))[..., :-1], later


def _recurrence(a, b):
    a, b, span = a.clone(), b.clone(), 1
    while span < b.shape[-1]:
        b[..., span:] += a[..., span:] * b[..., :-span]
        a[..., span:] = a[..., span:] * a[..., :-span]
        span *= 2
    return b


def _sizes(values, delta_softplus, weight, grain, work):
    """y and all gradients of the scan of absolute values, everything larger by its grains."""
    floor = torch.finfo(work).smallest_normal / unit(work)

    def rounded(x, there=1, back=1):
        return _Rounded.apply(x, there, back, grain, floor)

    signed = (1, 7)  # delta and its bias: only their sum has a sign that is known
    leaves = [v if v is None else v.detach().double() for v in values]
    leaves = [v if v is None or i in signed else v.abs() for i, v in enumerate(leaves)]
    leaves = [v if v is None else v.requires_grad_() for v in leaves]
    u, delta, A, B, C, D, z, bias = leaves
    batch, inner, length = u.shape
    # the roundings of a long sum walk at random, to the square root of their number (Higham and
    # Mary, SIAM J. Sci. Comput. 41, 2019)
    over_time, over_channels = (batch * length) ** 0.5, inner**0.5
    A, B, C = rounded(A, 0, over_time), rounded(B, 0, over_channels), rounded(C, 0, over_channels)
    raw, sum_ = delta, delta.abs()
    if bias is not None:
        raw = delta + rounded(bias, 0, over_time)[:, None]
        sum_ = sum_ + bias.abs()[:, None]
    if delta_softplus:
        # how far the rounding of its argument carries; and torch takes softplus(x) = x above 20
        step = softplus(raw, threshold=700)
        off = 3 + sum_ * torch.sigmoid(raw) / step + torch.exp(-raw) * (raw > 20) / unit(work)
    else:
        step, off = raw, 1
    exact = (step[:, :, None] * A[:, :, None]).detach()
    step = rounded(step, off, off)
    x = rounded(step[:, :, None] * A[:, :, None])  # (B, D, N, L)
    # the value of exp(-x), but a derivative that is positive: both grow with the error of x
    grown = torch.exp(-exact) * torch.exp((x - exact).detach().clamp_max(1)) + floor * grain
    decay = rounded(grown * torch.exp(x - x.detach()), 4 + 2, 4 + 2)
    drive = rounded(rounded(step * u)[:, :, None] * B[:, None])
    h = _Recurrence.apply(decay, drive)
    y = rounded(h * C[:, None]).sum(2)
    if D is not None:
        y = y + rounded(rounded(D, 0, over_time)[:, None] * u)
    y = rounded(y, 1 + A.shape[1] ** 0.5)  # the skip may be what the states are added to
    if z is not None:  # silu and the absolute values of the terms of its derivative
        open_ = torch.sigmoid(values[6].double())
        silu = z * open_ * torch.exp((1 - open_) * (z - z.detach()))
        y = rounded(y * rounded(silu, 4 + z.detach(), 4 + z.detach()))
    present = [v for v in leaves if v is not None]
    into = rounded(weight.double().abs())
    gradients = iter(torch.autograd.grad(y, present, into, materialize_grads=True))
    return [y.detach(), *(None if v is None else next(gradients) for v in leaves)]
