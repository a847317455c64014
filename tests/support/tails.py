"""Arrays and optimizers with the whole tail of a training step, for its tests."""

import pickle

import numpy as np
import pytest
from cases import DEFAULTS

import fastadam as fa

ml_dtypes = pytest.importorskip("ml_dtypes")
SHAPES = ((3, 50), (), (0, 4), (25_000,), (1025,))
each_default = pytest.mark.parametrize("case", DEFAULTS, ids=lambda case: case.id)


def arrays(seed, dtype=np.float32, scale=1.0):
    rng = np.random.default_rng(seed)
    return [np.asarray(scale * rng.standard_normal(shape), dtype) for shape in SHAPES]


def rounded(array, dtype):
    return array.astype(dtype).view(np.uint16)


def same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def everything(params, **more):
    options = {"ema_decay": 0.9, "shadow_dtype": "float16", "accumulate_steps": 2, **more}
    return fa.AdamW(params, lr=fa.schedules.linear(0.1, end=0.0, steps=10), **options)


def trace(opt):
    """All that a step could change."""
    numbers = pickle.dumps((opt.params, opt.state, opt.state_dict()))
    return numbers, opt.ema.buffer.copy(), opt.shadow.buffer.copy(), repr(opt)
