"""Row-sparse gradients: results, order, duplicates, options, and what is left alone."""

import math
import tracemalloc

import ml_dtypes
import numpy as np
import pytest

import fastadam as fa

TOLERANCES = {"float64": 1e-9, "float32": 1e-5}  # of the contract; sums of duplicates differ
TWINS = {
    "sgd": (fa.SGD, {"lr": 0.1}),
    "adagrad": (fa.Adagrad, {"lr": 0.1, "lr_decay": 0.01}),
    "adam": (fa.SparseAdam, {"lr": 0.1, "betas": (0.8, 0.95)}),
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
def test_fifty_steps_follow_torch(name, dtype, request):
    if dtype == "float64":
        request.getfixturevalue("in_plain_python")
    torch = pytest.importorskip("torch")
    ours, hyper = TWINS[name]
    theirs = getattr(torch.optim, ours.__name__)
    rng = np.random.default_rng(1)
    table = rng.normal(size=(40, 3)).astype(dtype)
    twin = torch.nn.Parameter(torch.tensor(table))
    opt, other = ours({"t": table}, **hyper), theirs([twin], **hyper)
    for step in range(50):
        indices, values = given(rng, 0 if step == 7 else 12, (3,), 40, dtype)
        twin.grad = torch.sparse_coo_tensor(
            torch.tensor(indices)[None], torch.tensor(values), twin.shape, check_invariants=True
        )
        with torch.sparse.check_sparse_tensor_invariants():
            other.step()
        half = len(indices) // 2
        opt.step({"t": fa.Rows(indices.reshape(2, half), values.reshape(2, half, 3))})
    np.testing.assert_allclose(table, twin.detach().numpy(), rtol=0, atol=TOLERANCES[dtype])
    assert opt.steps == 50  # a step without rows counts, as in torch


@pytest.mark.parametrize(
    ("values_dtype", "count", "width"),
    [("float32", 500, 64), ("bfloat16", 500, 64), ("float16", 500, 64), ("float32", 1500, 8)],
)
def test_order_and_threads_change_no_bit(values_dtype, count, width):
    rng = np.random.default_rng(2)
    dtype = ml_dtypes.bfloat16 if values_dtype == "bfloat16" else values_dtype
    indices, values = given(rng, count, (width,), 2 * count)
    values[100:300, 0] = 0  # their first elements do not decide the order
    values, start = values.astype(dtype), rng.normal(size=(2 * count, width)).astype("float32")
    results = set()
    for threads in (1, 2, 3):
        for order in (np.arange(count), rng.permutation(count), np.argsort(indices)):
            table = start.copy()
            opt = fa.Adam(table, lr=0.1, clip_norm=1.0, threads=threads)
            info = opt.step(fa.Rows(indices[order], values[order]))
            results.add((table.tobytes(), opt.state["exp_avg_sq"][0].tobytes(), info.grad_norm))
    assert len(results) == 1
    assert opt.grad_norm(fa.Rows(indices, values)) == info.grad_norm
    norm = np.linalg.norm(dense(start.shape, indices, values))
    assert results.pop()[2] == pytest.approx(norm, rel=1e-6)  # sums are rounded to float32


ALL = {
    "plain": (fa.AdamW, "float32", (4, 16), {}, {}),
    "narrow": (fa.AdamW, "float32", (600, 1), {}, {}),
    "elements": (fa.SGD, "float64", (300,), {"momentum": 0.9}, {}),
    "elements apart": (fa.Adam, "float32", (300,), {"lazy": "rows", "state_dtype": "bfloat16"}, {}),
    "sums of rows": (fa.RowwiseAdagrad, "float32", (30, 20), {"lazy": "rows"}, {}),
    "sums of half rows": (fa.AdamMini, "float32", (6, 20), {"blocks": 12}, {}),
    "sums": (fa.RowwiseAdagrad, "float32", (300,), {"weight_decay": 0.1}, {"grad_scale": 8.0}),
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


COMPILED = {"plain", "narrow", "wide", "deep", "sums"}


@pytest.mark.parametrize("name", ALL)
def test_all_rows_are_the_dense_step(name, request):
    """Bit for bit, whatever the formats and options; and fewer rows leave the others alone."""
    if name not in COMPILED:
        request.getfixturevalue("in_plain_python")
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
            assert not where.reshape(shape[0], -1)[others].any()
        elif not key.endswith("_scale"):  # codes of the same block may change with its scale
            width = math.prod(shape[1:])
            blocks = {*range(width // 256, -(-2 * width // 256))}
            assert {*(np.flatnonzero(where) // 256).tolist()} <= blocks


def steps_of(rng, shape, count):
    """Gradients of some rows for a number of steps, and at last one of all rows."""
    for _ in range(count):
        yield given(rng, 6, shape[1:], shape[0], "float64")
    yield np.arange(shape[0]), rng.normal(size=shape)


@pytest.mark.usefixtures("in_plain_python")
def test_indices_may_lie_in_any_memory():
    fixed = np.array([3, 1, 3])
    fixed.flags.writeable = False
    unaligned = np.zeros(25, np.uint8)[1:].view(np.int64)
    unaligned[:] = fixed
    for indices in (fixed, unaligned, fixed.astype(">i8"), np.repeat(fixed, 2)[::2]):
        table = np.ones((4, 2))
        fa.SGD(table, lr=0.5).step(fa.Rows(indices, np.ones((3, 2))))
        np.testing.assert_array_equal(table[:, 0], [1, 0.5, 1, 0])


def test_counts_of_rows_correct_their_bias():
    """Against Adam of each row by itself, in NumPy: the same operations in float64."""
    shape, rng = (20, 3), np.random.default_rng(4)
    table = rng.normal(size=shape)
    p, m, v, t = table.copy(), np.zeros(shape), np.zeros(shape), np.zeros((20, 1))
    opt = fa.Adam(table, lr=0.1, betas=(0.8, 0.9), lazy="rows")
    for indices, values in steps_of(rng, shape, 8):
        opt.step(fa.Rows(indices, values))
        rows, g = np.unique(indices), dense(shape, indices, values)
        t[rows] += 1
        m[rows] = 0.8 * m[rows] + 0.2 * g[rows]
        v[rows] = 0.9 * v[rows] + 0.1 * g[rows] ** 2
        root = np.sqrt(v[rows] / (1 - 0.9 ** t[rows])) + 1e-8
        p[rows] -= 0.1 * m[rows] / (1 - 0.8 ** t[rows]) / root
    np.testing.assert_allclose(table, p, rtol=1e-12)
    assert opt.state["row_step"][0].tolist() == t[:, 0].tolist()
    assert opt.steps == 9


@pytest.mark.parametrize(
    "hyper",
    [{"momentum": 0.9}, {"momentum": 0.5, "nesterov": True}, {"weight_decay": 0.1}],
    ids=lambda hyper: "-".join(hyper),
)
def test_rows_catch_up_with_sgd_on_all_elements(hyper):
    """The formulas differ from so many steps by rounding alone."""
    shape, rng = (20, 3), np.random.default_rng(5)
    table, other = (np.ones(shape) for _ in range(2))
    opt, plain = fa.SGD(table, lr=0.1, lazy="exact", **hyper), fa.SGD(other, lr=0.1, **hyper)
    for indices, values in steps_of(rng, shape, 8):
        opt.step(fa.Rows(indices, values))
        plain.step(dense(shape, indices, values))
    np.testing.assert_allclose(table, other, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("more", [{}, {"weight_decay_mode": "AdamC", "peak_lr": 0.2}])
def test_rows_catch_up_with_the_moments_of_adam(more):
    shape, rng = (20, 3), np.random.default_rng(6)
    hyper = {"lr": 0.1, "weight_decay": 0.1, "amsgrad": False, **more}
    table, other = (np.ones(shape) for _ in range(2))
    opt, plain = fa.AdamW(table, lazy="exact", **hyper), fa.AdamW(other, **hyper)
    for indices, values in steps_of(rng, shape, 8):
        if len(indices) < 20:
            indices = indices % 19  # the last row has no gradient before the last step
        opt.step(fa.Rows(indices, values))
        plain.step(dense(shape, indices, values))
    for name in ("exp_avg", "exp_avg_sq"):
        np.testing.assert_allclose(opt.state[name][0], plain.state[name][0], rtol=1e-12)
    np.testing.assert_allclose(table[19], other[19], rtol=1e-12)  # decay is exact
    assert not np.allclose(table[:19], other[:19], rtol=1e-3)  # what moments move is left out
    assert opt.state["row_step"][0].tolist() == [9] * 20


@pytest.mark.parametrize(("lazy", "shape"), [("rows", (12, 4)), ("exact", (12, 1))])
@pytest.mark.usefixtures("in_plain_python")
def test_counts_of_rows_are_saved(lazy, shape):
    rng = np.random.default_rng(7)
    start = rng.normal(size=shape).astype("float32")
    steps = [given(rng, 6, shape[1:], 12) for _ in range(6)]
    one, two = start.copy(), start.copy()
    a, b = (fa.AdamW({"t": table}, lr=0.1, lazy=lazy) for table in (one, two))
    for indices, values in steps:
        a.step({"t": fa.Rows(indices, values)})
    for indices, values in steps[:3]:
        b.step({"t": fa.Rows(indices, values)})
    again = fa.AdamW({"t": two}, lr=0.1, lazy=lazy)
    again.load_state_dict(b.state_dict())
    for indices, values in steps[3:]:
        again.step({"t": fa.Rows(indices, values)})
    assert one.tobytes() == two.tobytes()
    saved = b.state_dict()
    saved["state"][0]["row_step"] = np.zeros(5, np.int64)
    with pytest.raises(ValueError, match="row_step has shape"):
        again.load_state_dict(saved)
    with pytest.raises(ValueError, match="counted by row"):
        a.step({"t": np.ones(shape, np.float32)})
    assert one.tobytes() == two.tobytes()


@pytest.mark.usefixtures("in_plain_python")
def test_rows_beside_arrays_groups_and_none():
    rng = np.random.default_rng(8)
    names, shape = ("t", "w", "u"), (10, 4)
    one, two = ({n: np.ones(shape, np.float32) for n in names} for _ in range(2))
    options = {"lr": 0.1, "clip_norm": 0.3, "clip_norm_per": "tensor"}
    a, b = fa.Adam(one, **options), fa.Adam([{"params": [two[n]]} for n in names], **options)
    for step in range(4):
        rows = np.arange(10)[:: 1 + step]
        w, t = rng.normal(size=(2, *shape)).astype("float32")
        u = None if step == 1 else np.ones(shape, np.float32)
        t = dense(shape, rows, t[rows]).astype("float32") if step == 2 else t
        if step == 2:  # the same parameter, now with all elements
            a.step({"t": t, "w": w, "u": u})
            b.step([t, w, u])
        else:
            a.step({"t": fa.Rows(rows, t[rows].copy()), "w": w, "u": u})
            b.step([fa.Rows(rows, t[rows].copy()), w, u])
    for name in names:
        assert one[name].tobytes() == two[name].tobytes()
    assert a.state_dict()["state"][2]["step"] == 3
    flat = fa.flatten({"t": np.ones((3, 2)), "b": np.ones(3)})
    opt = fa.SGD(flat, lr=0.5)
    opt.step({"t": fa.Rows([1], np.ones((1, 2))), "b": fa.Rows([2], np.ones(1))})
    assert flat.buffer.tolist() == [1, 1, 0.5, 0.5, 1, 1, 1, 1, 0.5]


@pytest.mark.usefixtures("in_plain_python")
def test_rows_beside_gradients_of_another_dtype_in_a_first_step():
    params = {"t": np.ones((3, 2), np.float16), "w": np.ones(2, np.float16)}
    opt = fa.SGD(params, lr=0.5)
    rows = fa.Rows([1], np.ones((1, 2), np.float32))
    assert opt.step({"t": rows, "w": np.ones(2, np.float32)}).updated
    assert params["t"].tolist() == [[1, 1], [0.5, 0.5], [1, 1]]
    assert params["w"].tolist() == [0.5, 0.5]


def test_a_step_allocates_nothing_of_the_size_of_the_table():
    table = np.ones((200_000, 16), np.float32)
    opt = fa.Adam(table, lr=0.1, clip_norm=1.0, lazy="rows")
    rows = fa.Rows(np.arange(0, 200_000, 10_000), np.ones((20, 16), np.float32))
    opt.step(rows)
    before = table.copy()
    tracemalloc.start()
    opt.step(rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000  # bytes; a mark for each row would be twice that
    assert np.flatnonzero((table != before).any(axis=1)).tolist() == rows.indices.tolist()


@pytest.mark.usefixtures("in_plain_python")
def test_steps_that_do_not_count_change_nothing():
    table = np.ones((6, 2), np.float32)
    opt = fa.AdamW(table, lr=0.1, skip_nonfinite=True, lazy="rows", ema_decay=0.5)
    opt.step(fa.Rows([1, 2], np.ones((2, 2), np.float32)))
    before = table.tobytes(), opt.ema.buffer.tobytes(), opt.state["row_step"][0].tolist()
    bad = fa.Rows([1, 1], np.array([[1, np.inf], [0, -np.inf]], np.float32))
    assert opt.step(bad).skipped
    assert opt.step(fa.Rows([3], np.ones((1, 2), np.float32)), found_inf=True).skipped
    assert before == (table.tobytes(), opt.ema.buffer.tobytes(), opt.state["row_step"][0].tolist())
    assert opt.steps == 1
    large = fa.SGD(np.ones((3, 1)), lr=1e-200, skip_nonfinite=True)
    assert large.step(fa.Rows([0], np.full((1, 1), 1e200))).updated  # its square overflows


@pytest.mark.usefixtures("in_plain_python")
def test_masks_leave_state_alone():
    rng = np.random.default_rng(9)
    start, mask = rng.normal(size=(5, 3)).astype("float32"), rng.random((5, 3)) < 0.5
    one, two = start.copy(), start.copy()
    a, b = fa.Adam(one, lr=0.1, mask_state=True), fa.Adam(two, lr=0.1)
    for _ in range(3):
        grad = rng.normal(size=(5, 3)).astype("float32")
        a.step(grad, mask=mask)
        b.step(grad, mask=mask)
    assert one.tobytes() == two.tobytes()
    for name in a.state:
        state, full = a.state[name][0], b.state[name][0]
        assert (state[mask] == full[mask]).all()
        assert (state[~mask] == 0).all()
        assert (full[~mask] != 0).any()
    rows = np.array([0, 3])
    a.step(fa.Rows(rows, np.ones((2, 3), np.float32)), mask=mask)
    changed = (one != two).any(axis=1)
    assert not changed[[1, 2, 4]].any()


BAD = {
    "range": (lambda: fa.Rows([[0, 4], [1, 9]], np.ones((2, 2, 3))), IndexError, r"\[0, 1\] is 4,"),
    "negative": (
        lambda: fa.Rows([2, -1], np.ones((2, 3))),
        IndexError,
        r"indices\[1\] is -1, .*no neg",
    ),
    "unsigned": (
        lambda: fa.Rows(np.array([2**63], "u8"), np.ones((1, 3))),
        IndexError,
        "9223",
    ),
    "floats": (
        lambda: fa.Rows([0.0, 1.0], np.ones((2, 3))),
        TypeError,
        "dtype float64;",
    ),
    "nan": (lambda: fa.Rows([0.0, np.nan], np.ones((2, 3))), TypeError, "with NaN; give integers"),
    "masked": (lambda: fa.Rows(np.ma.array([0, 1]), np.ones((2, 3))), TypeError, "MaskedArray"),
    "bool": (lambda: fa.Rows([True, False], np.ones((2, 3))), TypeError, "dtype bool"),
    "list": (lambda: fa.Rows([0], [[1.0, 2.0, 3.0]]), TypeError, "values is .* not a NumPy array"),
    "ints": (lambda: fa.Rows([0], np.ones((1, 3), int)), TypeError, "values has dtype int64"),
    "shape": (lambda: fa.Rows([0, 1], np.ones((3, 3))), ValueError, r"values have shape \(3, 3\)"),
    "row": (lambda: fa.Rows([0], np.ones((1, 4))), ValueError, r"row of values has shape \(4,\)"),
    "order": (lambda: fa.Rows([0], np.ones((2, 3))[::2]), None, ""),
    "strides": (lambda: fa.Rows([0, 1], np.ones((2, 6))[:, ::2]), ValueError, "C-contiguous"),
    "size": (
        lambda: fa.Rows([0], np.ones((1, 3)), size=5),
        ValueError,
        "size=5, but .* 4 rows",
    ),
    "unique": (
        lambda: fa.Rows([2, 0, 2], np.ones((3, 3)), unique=True),
        ValueError,
        "row 2 is given 2",
    ),
    "flag": (lambda: fa.Rows([0], np.ones((1, 3)), unique=1), TypeError, "unique=1"),
    "sizes": (lambda: fa.Rows([0], np.ones((1, 3)), size=2.0), TypeError, "size=2.0"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.usefixtures("in_plain_python")
def test_bad_rows_change_nothing(name):
    make, error, message = BAD[name]
    table = np.ones((4, 3))
    opt = fa.SGD({"t": table}, lr=0.1)
    if error is None:
        assert opt.step({"t": make()}).updated
        return
    with pytest.raises(error, match=message):
        opt.step({"t": make()})
    assert (table == 1).all()
    assert opt.steps == 0
    opt.step({"t": np.ones((4, 3))})
    assert (table < 1).all()


REFUSED = {
    "accumulate": ({"accumulate_steps": 2}, ValueError, "accumulate_steps=2 would keep a sum"),
    "zero": ({"zero_grads": True}, ValueError, "zero_grads=True does not clear"),
    "start": (
        {"state_dtype": "bfloat16", "initial_accumulator_value": 0.1},
        ValueError,
        "the dtype of state 'sum' cannot represent its initial value",
    ),
    "int8": (
        {"state_dtype": "int8", "min_quantized_size": 0, "lazy": "rows"},
        ValueError,
        "needs rows of whole blocks of 256 elements, not of 3",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.usefixtures("in_plain_python")
def test_options_that_need_all_elements_are_refused(name):
    options, error, message = REFUSED[name]
    table = np.ones((4, 3), np.float32)
    opt = fa.Adagrad(table, lr=0.1, **options)
    with pytest.raises(error, match=message):
        opt.step(fa.Rows([1], np.ones((1, 3), np.float32)))
    assert (table == 1).all()
    assert opt.steps == 0
    opt.step(np.ones((4, 3), np.float32))  # none of them is in the way of arrays
    assert opt.steps == (name != "accumulate")


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (fa.NAdam, {"lazy": "rows"}, "carries"),
        (fa.Lion, {"lazy": "exact"}, "Lion has no formula"),
        (fa.Adam, {"lazy": "exact", "weight_decay": 0.1}, "weight_decay or l1"),
        (fa.SGD, {"lazy": "exact", "weight_decay": 0.1, "momentum": 0.9}, "with momentum"),
        (fa.SGD, {"lazy": "exact", "lr": lambda step: 0.1}, "schedules"),
        (fa.SGD, {"lazy": "never"}, "lazy='never'"),
    ],
)
@pytest.mark.usefixtures("in_plain_python")
def test_lazy_that_cannot_be_is_refused(cls, options, message):
    with pytest.raises(ValueError, match=message):
        cls(np.ones((4, 3)), **options)


@pytest.mark.usefixtures("in_plain_python")
def test_gradients_in_the_memory_of_parameters_are_refused():
    table = np.ones((4, 3))
    opt = fa.SGD(table, lr=0.1)
    with pytest.raises(ValueError, match=r"values lies in the memory of params"):
        opt.step(fa.Rows([0, 1], table[2:]))
    with pytest.raises(ValueError, match="no dimensions"):
        fa.SGD(np.array(1.0), lr=0.1).step(fa.Rows([0], np.ones(1)))
    assert "2 rows of shape (3,), float64" in repr(fa.Rows([0, 1], table[2:]))
    for dtype in (np.float64, np.float16):
        empty = fa.SGD(np.ones((4, 0), dtype), lr=0.1, clip_norm=1.0)
        for rows in ([0, 1], [0, 1, 1, 1]):
            grad = fa.Rows(rows, np.ones((len(rows), 0), dtype))
            assert empty.step(grad).grad_norm == 0


def test_bare_kernels_take_rows():
    rng, shape = np.random.default_rng(10), (8, 3)
    start = rng.normal(size=shape).astype("float32")
    table, other = start.copy(), start.copy()
    m, v = np.zeros((2, *shape), np.float32)
    opt = fa.Adam(other, lr=0.1)
    for step in range(1, 4):
        rows = fa.Rows(*given(rng, 6, (3,), 8))
        fa.functional.adam(table, rows, m, v, step=step, lr=0.1, threads=step)
        opt.step(rows)
    assert table.tobytes() == other.tobytes()
    assert v.tobytes() == opt.state["exp_avg_sq"][0].tobytes()
    with pytest.raises(IndexError, match="grad: indices"):
        fa.functional.adam(table, fa.Rows([8], start[:1]), m, v, step=4)
    with pytest.raises(ValueError, match="share"):
        fa.functional.adam(table, fa.Rows([0], m[:1]), m, v, step=4)
    with pytest.raises(ValueError, match="reshape"):
        fa.functional.adam(table, start, m, v, step=4)
    assert table.tobytes() == other.tobytes()
