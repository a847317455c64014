"""Row-sparse gradients of arrays on a device, in Numba's simulator, compared with the host."""

import ml_dtypes
import numpy as np
import pytest
from numba import cuda as numba_cuda

import fastadam as fa
from fastadam.cuda import target as cuda
from fastadam.cuda.row_table import in_columns
from fastadam.kernels import factory
from fastadam.memory import row_table

pytestmark = [
    pytest.mark.simulated,
    # np.errstate does not reach the threads of the simulator
    pytest.mark.filterwarnings("ignore:.* encountered in :RuntimeWarning"),
]

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
CASES = {
    "sgd": (fa.SGD, "float32", (6, 3), {"momentum": 0.9}),
    "elements": (fa.SGD, "float64", (9,), {}),
    "adagrad": (fa.Adagrad, "float32", (6, 5), {"lr": 0.1}),
    "sparse adam": (fa.SparseAdam, "float32", (6, 2, 2), {}),
    "adam": (fa.Adam, BFLOAT16, (6, 3), {}),
    "stochastic": (fa.AdamW, BFLOAT16, (5, 4), {"rounding": "stochastic"}),
    "copies": (fa.AdamW, "float32", (5, 4), {"ema_decay": 0.9, "shadow_dtype": "bfloat16"}),
    "rows": (fa.Adam, "float32", (6, 3), {"lazy": "rows"}),
    "exact": (fa.AdamW, "float32", (6, 3), {"lazy": "exact"}),
    "sums of rows": (fa.RowwiseAdagrad, "float32", (6, 5), {}),
}


@pytest.fixture(autouse=True)
def device(monkeypatch):
    assert cuda.SIMULATED, "set NUMBA_ENABLE_CUDASIM=1"
    monkeypatch.setattr(cuda, "THREADS", 2)
    monkeypatch.setattr(factory, "_made", {})
    monkeypatch.setattr(row_table, "CHUNK", 4)  # so that rows, and runs of them, are longer


def given(step, shape, dtype):
    """Some rows: one of them three times, another twice; none in the second step."""
    rng = np.random.default_rng(step)
    indices = rng.integers(0, shape[0], 0 if step == 1 else 6)
    indices[:3], indices[3:5] = 4, 1 if step else 4
    return indices, rng.normal(size=(len(indices), *shape[1:])).astype(dtype)


@pytest.mark.parametrize("name", CASES)
def test_rows_have_the_bits_of_the_host(name):
    """Whatever the dtypes of the values, and wherever indices and values lie."""
    cls, dtype, shape, options = CASES[name]
    rng, options = np.random.default_rng(9), {"lr": 0.01, **options}
    table, w = rng.normal(size=shape).astype(dtype), np.ones(3, dtype)
    tables = numba_cuda.to_device(table), numba_cuda.to_device(w)
    one, two = cls([table, w], **options), cls([*tables], **options)
    for step in range(4):
        indices, values = given(step, shape, BFLOAT16 if step == 2 else dtype)
        dense = None if "lazy" in options and step else np.full(3, step, dtype)
        if "lazy" in options:
            dense = fa.Rows(np.arange(3), np.ones(3, np.float32))
        rate = 0.125 if step == 2 else None
        one.step([fa.Rows(indices, values), dense], lr=rate)
        if step < 2:
            indices = numba_cuda.to_device(indices)
        if step != 3:
            values = numba_cuda.to_device(values)
        there = dense if isinstance(dense, fa.Rows) else numba_cuda.to_device(dense)
        if rate:
            rate = numba_cuda.to_device(np.array([rate]))
        assert two.step([fa.Rows(indices, values), there], lr=rate).updated
    assert two.steps == one.steps
    for host, other in zip((table, w), tables, strict=True):
        assert host.tobytes() == other.copy_to_host().tobytes()
    for key, arrays in one.state.items():
        for host, other in zip(arrays, two.state[key], strict=True):
            assert host.tobytes() == np.asarray(other).tobytes()
    for kept in ("ema", "shadow") if "ema_decay" in options else ():
        host, other = getattr(one, kept).buffer, getattr(two, kept).buffer
        assert host.tobytes() == np.asarray(other).tobytes()


def test_each_sequence_belongs_to_one_block():
    rng = np.random.default_rng(5)
    for counts in ([1], [7], [1, 1, 1], [9, 1, 1, 2], [1, 2, 30, 1, 1, 5], rng.integers(1, 9, 60)):
        whole, total = np.cumsum(counts) - counts, int(np.sum(counts))
        chunks = np.stack([np.arange(total), np.ones(total), np.full(total, 2)], 1).astype(int)
        laid_out, blocks = in_columns(chunks, whole)
        assert len(laid_out) <= 3 * total
        sequence, found = np.repeat(np.arange(len(counts)), counts), []
        for block in range(blocks):
            mine = [chunk[0] for chunk in laid_out[block::blocks] if chunk[2]]
            found += mine
            assert mine == sorted(mine)
            for number in {*sequence[mine]}:
                assert (sequence[mine] == number).sum() == counts[number]
        assert sorted(found) == [*range(total)]


@pytest.mark.parametrize(
    ("cls", "options", "error", "message"),
    [
        (fa.AdamW, {"clip_norm": 1.0}, ValueError, "leave out clip_norm=1.0"),
        (fa.AdamW, {"skip_nonfinite": True}, ValueError, "leave out skip_nonfinite=True"),
        (fa.AdamW, {"accumulate_steps": 2}, ValueError, "accumulate_steps=2"),
        (fa.AdamW, {"state_dtype": "int8", "min_quantized_size": 0}, ValueError, "'int8'"),
        (fa.LAMB, {}, ValueError, "lamb adds up"),
    ],
)
def test_what_rows_on_a_device_lack_is_refused(cls, options, error, message):
    table = numba_cuda.to_device(np.ones((4, 3), np.float32))
    opt = cls(table, **options)
    rows = fa.Rows([1], numba_cuda.to_device(np.ones((1, 3), np.float32)))
    with pytest.raises(error, match=message):
        opt.step(rows)
    with pytest.raises(ValueError, match="Rows, of which the norm"):
        opt.grad_norm(rows)
    assert opt.steps == 0
    assert (table.copy_to_host() == 1).all()
    if "state_dtype" not in options:
        opt.step(numba_cuda.to_device(np.ones((4, 3), np.float32)))  # works as before


@pytest.mark.parametrize(
    ("indices", "values", "error", "message"),
    [
        (np.array([4]), np.ones((1, 3), "f4"), IndexError, r"indices\[0\] is 4, outside"),
        (np.array([1.0]), np.ones((1, 3), "f4"), TypeError, "indices have dtype float64"),
        (np.array([1]), np.ones((1, 2), "f4"), ValueError, r"a row of values has shape \(2,\)"),
        (np.array([1]), np.ones((1, 3), "f8"), TypeError, "values have dtype float64"),
        (np.array([1]), np.ones((1, 3), "i4"), TypeError, r"grads.values has dtype int32"),
    ],
)
def test_bad_rows_are_refused_before_anything_changes(indices, values, error, message):
    table = numba_cuda.to_device(np.ones((4, 3), np.float32))
    opt = fa.SGD(table, lr=1.0)
    rows = fa.Rows(numba_cuda.to_device(indices), numba_cuda.to_device(values))
    assert "Rows(1 rows of shape" in repr(rows)
    with pytest.raises(error, match=message):
        opt.step(rows)
    assert (table.copy_to_host() == 1).all()


@pytest.mark.parametrize("part", ["indices", "values"])
def test_rows_on_a_device_are_refused_for_a_table_on_the_host(part):
    parts = {"indices": np.array([1]), "values": np.ones((1, 3), np.float32)}
    rows = fa.Rows(**{**parts, part: numba_cuda.to_device(parts[part])})
    table = np.ones((4, 3), np.float32)
    with pytest.raises(TypeError, match=f"grads: {part} lie on a device, but params on the host"):
        fa.SGD(table).step(rows)
    with pytest.raises(TypeError, match=f"grad: {part} lie on a device, but param on the host"):
        fa.functional.sgd(table, rows, step=1)
    assert (table == 1).all()
