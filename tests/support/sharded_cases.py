"""Parameters and gradients of sharded optimizers, and comparisons of their states."""

import numpy as np

import fastadam as fa
from fastadam.distributed import Sharded

FORMATS = {
    "float32": {},
    "int8": {"state_dtype": "int8"},
    "split8": {"state_dtype": "int8", "compensation": "split8"},
    "stochastic": {"rounding": "stochastic"},
}
TAILS = {
    "plain": {},
    "clip": {"clip_norm": 0.5},
    "clip per tensor": {"clip_norm": 0.1, "clip_norm_per": "tensor"},
    "skip and average": {"clip_norm": 0.5, "skip_nonfinite": True, "ema_decay": 0.9},
    "accumulate": {"accumulate_steps": 2},
}
CASES = [  # each optimizer, format and tail with each size, pairwise
    (2, fa.AdamW, "float32", "plain"),
    (3, fa.AdamW, "int8", "clip"),
    (2, fa.AdamW, "split8", "skip and average"),
    (2, fa.AdamW, "stochastic", "accumulate"),
    (3, fa.SGD, "float32", "accumulate"),
    (2, fa.SGD, "int8", "skip and average"),
    (3, fa.SGD, "split8", "clip per tensor"),
    (3, fa.Lion, "float32", "clip per tensor"),
    (2, fa.Lion, "int8", "plain"),
    (3, fa.Lion, "stochastic", "skip and average"),
    (5, fa.NAdam, "float32", "clip"),
    (2, fa.LAMB, "float32", "accumulate"),
    (3, fa.LAMB, "int8", "skip and average"),
    (2, fa.Prodigy, "float32", "clip"),
]
OPTIONS = {  # of checkpoints: in the middle of a window
    "lr": 0.01,
    "clip_norm": 1.0,
    "state_dtype": "int8",
    "accumulate_steps": 2,
    "ema_decay": 0.9,
}
SHAPES = {"w": (70, 90), "b": (300,), "one": (), "u": (40, 150), "none": (3, 0)}


def parameters(dtype="float32", flat=True):
    rng = np.random.default_rng(1)
    tree = {n: np.asarray(rng.standard_normal(s)).astype(dtype) for n, s in SHAPES.items()}
    return fa.flatten(tree) if flat else tree


def gradients(step, dtype="float32", off=0.0):
    """Small integers, and `off` times others: sums over processes and their means are exact."""
    rng = np.random.default_rng(step)
    return {
        name: np.asarray(rng.integers(-8, 8, shape) / 4 + off * rng.integers(-4, 4, shape)).astype(
            dtype
        )
        for name, shape in SHAPES.items()
    }


def off_of(comm):
    return comm.rank - (comm.size - 1) / 2


def assert_same_state(one, other):
    assert one["state"].keys() == other["state"].keys()
    for number, entry in one["state"].items():
        assert entry.keys() == other["state"][number].keys()
        for name, array in entry.items():
            np.testing.assert_array_equal(array, other["state"][number][name])
            assert array.dtype == other["state"][number][name].dtype
    assert one.get("ema", {}).keys() == other.get("ema", {}).keys()
    for number, array in one.get("ema", {}).items():
        np.testing.assert_array_equal(array, other["ema"][number])


def flat_of(opt):
    return np.concatenate([array.reshape(-1) for array in opt.params.values()])


def dtype_of(kept):
    if kept in ("split8", "stochastic"):
        import ml_dtypes

        return ml_dtypes.bfloat16
    return "float32"


def gradients_of(step, dtype, tail, off=0.0):
    """Those of a step, one of which is skipped where that is an option."""
    grads = gradients(step, dtype, off)
    if step == 1 and tail == "skip and average":
        grads["w"][3, 3] = np.inf
    return grads


def assert_bits_of_one_process(comm, cls, kept, tail, flat=True, shared=False):
    """Compare an optimizer of several processes with one of this process alone."""
    dtype = dtype_of(kept)
    options = {"lr": 0.01, **FORMATS[kept], **TAILS[tail]}
    alone, params = cls(parameters(dtype), **options), parameters(dtype, flat)
    if shared:
        params = fa.flatten(params.tree, shared=comm)
    opt = Sharded(cls, params, comm, bucket_bytes=9000, **options)
    for step in range(4):
        info = alone.step(gradients_of(step, dtype, tail))
        assert opt.step(gradients_of(step, dtype, tail, off_of(opt._comm))) == info
    for name, array in alone.params.items():
        np.testing.assert_array_equal(opt.params[name], array)
    assert_same_state(opt.state_dict(), alone.state_dict())
