"""Sharded optimizers with row-sparse gradients, and their comparison with one process."""

import numpy as np
from sharded_cases import assert_same_state, dtype_of

import fastadam as fa
from fastadam.distributed import Sharded

SHAPES = {"t": (300, 24), "w": (3, 90), "e": (2100,), "u": (100, 5, 2)}
TABLES = ("t", "e", "u")  # the others have arrays
ROW_CASES = {  # class, format, options
    "sgd": (fa.SGD, "float32", {"momentum": 0.9}),
    "adagrad": (fa.Adagrad, "float32", {"clip_norm": 0.5}),
    "sparse adam": (fa.SparseAdam, "float32", {"clip_norm": 0.1, "clip_norm_per": "tensor"}),
    "rowwise": (fa.RowwiseAdagrad, "float32", {"clip_norm": 0.5}),
    "torch": (fa.AdamW, "stochastic", {"skip_nonfinite": True, "ema_decay": 0.9}),
    "rows": (fa.AdamW, "float32", {"lazy": "rows", "clip_norm": 0.5}),
    "exact": (fa.AdamW, "float32", {"lazy": "exact"}),
    "int8": (fa.AdamW, "float32", {"state_dtype": "int8", "min_quantized_size": 0}),
}


def tables(dtype):
    rng = np.random.default_rng(1)
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in SHAPES.items()}


def given(step, rank, size, dtype, infinite=False):
    """Gradients of a process: small integers, so that their mean is exact; rows in no order, some
    of them twice or more, none in one process; in one step infinite in the last process."""
    rng, found = np.random.default_rng((step, rank)), dict[str, object]()
    for name, shape in SHAPES.items():
        count = 0 if (step + rank) % 3 == 2 else 12
        indices = rng.integers(0, shape[0], count)
        indices[: count // 4] = 7
        values = rng.integers(-8, 8, (count, *shape[1:])).astype(dtype) * size
        if name not in TABLES:
            found[name] = (rng.integers(-8, 8, shape) * size).astype(dtype)
        elif count or rank:
            found[name] = fa.Rows(indices, values)
        else:
            found[name] = None
    if infinite and step == 1 and rank == size - 1:
        found["w"][2, 3] = np.inf
        found["e"].values[:1] = np.inf
    return found


def of_one(step, size, dtype, infinite=False):
    """The same gradients for one process."""
    each, found = (
        [given(step, rank, size, dtype, infinite) for rank in range(size)],
        dict[str, object](),
    )
    for name in SHAPES:
        there = [grads[name] for grads in each if grads[name] is not None]
        if name not in TABLES:
            found[name] = (sum(grad.astype("f4") for grad in there) / size).astype(dtype)
        elif there:
            values = np.concatenate([rows.values for rows in there]).astype("f4") / np.float32(size)
            found[name] = fa.Rows(np.concatenate([rows.indices for rows in there]), values)
        else:
            found[name] = None
    return found


def assert_rows_of_one_process(comm, name, steps=3, shared=False):
    """Compare the steps of several processes with those of this one alone; returns the optimizer of
    several, and that of one."""
    cls, kept, options = ROW_CASES[name]
    dtype, options = dtype_of(kept), {"lr": 0.01, **options}
    if kept == "stochastic":
        options["rounding"] = "stochastic"
    alone, params = cls(tables(dtype), **options), fa.flatten(tables(dtype))
    if shared:
        params = fa.flatten(params.tree, shared=comm)
    opt = Sharded(cls, params, comm, bucket_bytes=9000, whole_rows=True, **options)
    rank, size, infinite = opt._comm.rank, opt._comm.size, "skip_nonfinite" in options
    for step in range(steps):
        info = alone.step(of_one(step, size, dtype, infinite))
        assert opt.step(given(step, rank, size, dtype, infinite)) == info
    for key, array in alone.params.items():
        np.testing.assert_array_equal(opt.params[key], array)
    assert_same_state(opt.state_dict(), alone.state_dict())
    return opt, alone
