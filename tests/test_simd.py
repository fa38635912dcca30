"""The functions of compiled/simd.py against float64."""

import numpy as np
import pytest
import torch
from numba import njit

from rwsa_tutorial.compiled.simd import LANES, base2, exp2, load, sigmoid, softplus, store


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
