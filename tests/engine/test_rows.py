"""Row-sparse gradients: results, order, duplicates, options, and what is left alone."""

import math

import ml_dtypes
import numpy as np
import pytest
import torch

import fastadam as fa

TOLERANCES = {"float64": 1e-9, "float32": 1e-5}  # of the contract; sums of duplicates differ
TWINS = {
    "sgd": (fa.SGD, torch.optim.SGD, {"lr": 0.1}),
    "adagrad": (fa.Adagrad, torch.optim.Adagrad, {"lr": 0.1, "lr_decay": 0.01}),
    "adam": (fa.SparseAdam, torch.optim.SparseAdam, {"lr": 0.1, "betas": (0.8, 0.95)}),
}


def given(rng, count, row, rows, dtype="float32"):
    """Some rows, several of them twice or more."""
    indices = rng.integers(0, rows, count)
    indices[: count // 4] = indices[:1]
    return indices, rng.normal(size=(count, *row)).astype(dtype)


def dense(shape, indices, values):
    """The gradient of all elements, in float64."""
    total = np.zeros(shape)
    np.add.at(total, np.reshape(indices, -1), np.reshape(values, (-1, *shape[1:])).astype(float))
    return total


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", TWINS)
def test_fifty_steps_follow_torch(name, dtype):
    ours, theirs, hyper = TWINS[name]
    rng = np.random.default_rng(1)
    table = rng.normal(size=(40, 3)).astype(dtype)
    twin = torch.nn.Parameter(torch.tensor(table))
    opt, other = ours({"t": table}, **hyper), theirs([twin], **hyper)
    for step in range(50):
        indices, values = given(rng, 0 if step == 7 else 12, (3,), 40, dtype)
        twin.grad = torch.sparse_coo_tensor(
            torch.tensor(indices)[None], torch.tensor(values), twin.shape, check_invariants=True
        )
        other.step()
        half = len(indices) // 2
        opt.step({"t": fa.Rows(indices.reshape(2, half), values.reshape(2, half, 3))})
    np.testing.assert_allclose(table, twin.detach().numpy(), rtol=0, atol=TOLERANCES[dtype])
    assert opt.steps == 50  # a step without rows counts, as in torch


@pytest.mark.parametrize("values_dtype", ["float32", "bfloat16", "float16"])
def test_order_and_threads_change_no_bit(values_dtype):
    rng = np.random.default_rng(2)
    dtype = ml_dtypes.bfloat16 if values_dtype == "bfloat16" else values_dtype
    indices, values = given(rng, 500, (64,), 900)
    values[100:300, 0] = 0  # their first elements do not decide the order
    values, start = values.astype(dtype), rng.normal(size=(900, 64)).astype("float32")
    results = set()
    for threads in (1, 2, 3):
        for order in (np.arange(500), rng.permutation(500), np.argsort(indices)):
            table = start.copy()
            opt = fa.Adam(table, lr=0.1, clip_norm=1.0, threads=threads)
            info = opt.step(fa.Rows(indices[order], values[order]))
            results.add((table.tobytes(), opt.state["exp_avg_sq"][0].tobytes(), info.grad_norm))
    assert len(results) == 1
    norm = np.linalg.norm(dense(start.shape, indices, values))
    assert results.pop()[2] == pytest.approx(norm, rel=1e-6)  # sums are rounded to float32


ALL = {
    "plain": (fa.AdamW, "float32", (4, 16), {}, {}),
    "narrow": (fa.AdamW, "float32", (600, 1), {}, {}),
    "elements": (fa.SGD, "float64", (300,), {"momentum": 0.9}, {}),
    "deep": (fa.AdamW, "float32", (5, 2, 3), {}, {}),
    "wide": (fa.AdamW, "float32", (2, 40000), {}, {}),
    "ema": (fa.AdamW, "float32", (9, 7), {"ema_decay": 0.9, "shadow_dtype": "bfloat16"}, {}),
    "clip": (fa.AdamW, "float32", (9, 7), {"clip_norm": 0.5, "clip_value": 0.1}, {}),
    "scale": (fa.AdamW, "float32", (9, 7), {}, {"grad_scale": 8.0}),
    "int8": (fa.AdamW, "float32", (37, 24), {"state_dtype": "int8", "min_quantized_size": 0}, {}),
    "int8 rows": (fa.Adam, "float32", (5, 512), {"state_dtype": "int8", "amsgrad": True}, {}),
    "int8 wide": (fa.AdamW, "float32", (7, 700), {"state_dtype": "int8", "ema_decay": 0.9}, {}),
    "bfloat16": (fa.AdamW, "bfloat16", (9, 7), {"rounding": "stochastic"}, {}),
    "split8": (fa.AdamW, "bfloat16", (9, 7), {"compensation": "split8"}, {}),
    "state16": (fa.AdamW, "float32", (9, 7), {"state_dtype": "bfloat16"}, {}),
    "rows": (fa.AdamW, "float32", (9, 7), {"lazy": "rows"}, {}),
    "exact": (fa.AdamW, "float32", (9, 7), {"lazy": "exact"}, {}),
}


@pytest.mark.parametrize("name", ALL)
def test_all_rows_are_the_dense_step(name):
    """Bit for bit, whatever the formats and options; and fewer rows leave the others alone."""
    cls, dtype, shape, options, of_step = ALL[name]
    rng = np.random.default_rng(3)
    dtype = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    start, order = rng.normal(size=shape).astype(dtype), rng.permutation(shape[0])
    one, two = start.copy(), start.copy()
    plain = {key: value for key, value in options.items() if key != "lazy"}
    a, b = cls(one, lr=0.1, **plain), cls(two, lr=0.1, **options)
    for _ in range(3):
        grad = rng.normal(size=shape).astype(dtype)
        first, second = a.step(grad, **of_step), b.step(fa.Rows(order, grad[order]), **of_step)
        norms = first.grad_norm or 0.0, second.grad_norm or 0.0
        assert math.isclose(*norms, rel_tol=1e-14)  # the same squares in another order
    assert one.tobytes() == two.tobytes()
    for key in a.state:
        assert a.state[key][0].tobytes() == b.state[key][0].tobytes()
    for kept in {"ema", "shadow"} & {key.removesuffix("_decay").split("_")[0] for key in options}:
        assert getattr(a, kept).buffer.tobytes() == getattr(b, kept).buffer.tobytes()
    state = {key: b.state[key][0].copy() for key in b.state}
    row = rng.normal(size=(1, *shape[1:])).astype(dtype)
    info = b.step(fa.Rows([1], row, size=shape[0], unique=True), **of_step)
    assert info.updated
    changed = {key: (state[key] != b.state[key][0]).reshape(-1) for key in state}
    others = np.arange(shape[0]) != 1
    assert two[others].tobytes() == one[others].tobytes()
    assert two[1].tobytes() != one[1].tobytes()
    for key, where in changed.items():
        if key == "row_step":
            assert where.tolist() == (~others).tolist()
            continue
        if "int8" not in name or key == "compensation":
            assert not where.reshape(shape)[others].any()
        elif not key.endswith("_scale"):  # codes of the same block may change with its scale
            width = math.prod(shape[1:])
            blocks = {*range(width // 256, -(-2 * width // 256))}
            assert {*(np.flatnonzero(where) // 256).tolist()} <= blocks
