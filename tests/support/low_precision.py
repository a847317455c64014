"""Arrays in formats of few bits, their gradients, and comparisons of them bit for bit."""

import ml_dtypes
import numpy as np
import pytest
from cases import DEFAULTS, SHELF

BF16, F16, F32, F64 = ml_dtypes.bfloat16, np.float16, np.float32, np.float64
RULES = pytest.mark.parametrize("case", DEFAULTS, ids=lambda case: case.id)
ROUNDED = [case for case in SHELF if not case.optimizer.rule.exact]
FEW = (DEFAULTS[0], DEFAULTS[-1])  # with two states and with one, where a rule is not the point
SMALLEST = {  # 7.06 bytes per parameter in all
    "compensation": "split8",
    "state_dtype": "int8",
    "rounding": "stochastic",
}


def weights(dtype=F32, sizes=(5000, 300), seed=0):
    """Arrays of which bfloat16 keeps every bit."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(n).astype(BF16).astype(dtype) for n in sizes]


SMALL = (300, 150)  # for plain Python: more and less than LEAST elements
LEAST = {"min_quantized_size": 250}


def grads(step, like, dtype=F32):
    rng = np.random.default_rng(1000 + step)
    return [rng.standard_normal(array.shape).astype(BF16).astype(dtype) for array in like]


def train(optimizer, params, steps, first=0, dtype=F32):
    for step in range(first, first + steps):
        optimizer.step(grads(step, params, dtype))


def same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one.view(np.uint8), other.view(np.uint8))
