"""Rules with sums over rows: their bits, their state, row-sparse gradients, and what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest
from cases import BY_ROW, gradients, parameters

import fastadam as fa
from fastadam.distributed import Sharded
from fastadam.engine import launch
from fastadam.kernels.factory import kernel

SHAPES = ((3, 50), (), (0, 4), (5, 0), (40, 64), (2, 1030), (1, 2, 70), (259,))
each_by_row = pytest.mark.parametrize("case", BY_ROW, ids=lambda case: case.id)


def arrays(seed, dtype=np.float32):
    return [parameters(shape, dtype, seed + k) for k, shape in enumerate(SHAPES)]


def steps(count, dtype=np.float32):
    return [
        [gradients(shape, 1, dtype, seed)[0] for shape in SHAPES] for seed in range(20, 20 + count)
    ]


def added(terms):
    """The sum of a row: blocks of 1024 in order, in each of them elements an eighth apart."""
    total = 0.0
    for start in range(0, terms.size, 1024):
        block = terms[start : start + 1024]
        while block.size > 1:
            eighth = -(-block.size // 8)
            a, b, c, d, e, f, g, h = np.pad(block, (0, 8 * eighth - block.size)).reshape(8, -1)
            block = ((a + e) + (c + g)) + ((b + f) + (d + h))
        total = total + block[0]
    return np.float64(total)


def by_hand(opt, rule, param, grad, states, h):
    """A step of a rule in NumPy scalars."""
    length = max(1, rule.row_length(param.shape))
    flat, grad = param.reshape(-1), grad.reshape(-1)
    for row in range(flat.size // length):
        part = range(row * length, (row + 1) * length)

        def old(i, row=row):
            pairs = zip(rule.state, states, strict=True)
            return tuple(s[row if name in rule.row_state else i] for name, s in pairs)

        terms = np.float64([rule.prepare(flat[i], grad[i], old(i), h) for i in part])
        sums = dict(zip(rule.sums, map(np.float32, map(added, terms.T)), strict=True))
        s = SimpleNamespace(**sums, size=np.float32(length))
        for i in part:
            before = old(i)
            flat[i], new = rule(flat[i], grad[i], before, h, s)
            for name, state, value in zip(rule.state, states, new, strict=True):
                if name not in rule.row_state:
                    state[i] = value
                elif i == part[-1]:
                    state[row] = value


@each_by_row
def test_bits_are_those_of_the_rule_whatever_the_threads_and_the_target(case, request):
    results = []
    for threads in (1, 3):
        params = arrays(0)
        opt = case.optimizer(params, threads=threads)
        for grads in steps(2):
            opt.step(grads)
        results.append((params, opt))
    (params, opt), (others, other) = results
    want = arrays(0)
    for k, param in enumerate(want):
        length = max(1, opt.rule.row_length(param.shape))
        states = [
            np.zeros(param.size // (length if name in opt.rule.row_state else 1), np.float32)
            for name in opt.rule.state
        ]
        for step, grads in enumerate(steps(2), start=1):
            constants = opt.hyper(opt.param_groups[0], step)
            h = SimpleNamespace(**{name: np.float32(value) for name, value in constants.items()})
            by_hand(opt, opt.rule, param, grads[k], states, h)
        np.testing.assert_array_equal(params[k], param)
        for name, state in zip(opt.rule.state, states, strict=True):
            np.testing.assert_array_equal(opt.state[name][k].reshape(-1), state)
            np.testing.assert_array_equal(other.state[name][k], opt.state[name][k])
        np.testing.assert_array_equal(others[k], params[k])
    request.getfixturevalue("in_plain_python")
    plain = arrays(0)[:6]
    opt = case.optimizer(plain)
    for grads in steps(2):
        opt.step(grads[:6])
    for one, two in zip(plain, params, strict=False):
        np.testing.assert_array_equal(one, two)


@each_by_row
@pytest.mark.parametrize("lazy", ["torch", "rows"])
@pytest.mark.usefixtures("in_plain_python")
def test_rows_of_a_gradient_are_updated_like_all_rows(case, lazy):
    table, dense = parameters((60, 64), np.float32), parameters((60, 64), np.float32)
    opt, twin = case.optimizer(table, lazy=lazy, threads=2), case.optimizer(dense)
    rng = np.random.default_rng(0)
    order, values = rng.permutation(60), rng.standard_normal((60, 64)).astype(np.float32)
    opt.step(fa.Rows(order, values))
    twin.step(values[np.argsort(order)])
    np.testing.assert_array_equal(table, dense)
    some, before = order[:9], table.copy()
    state = {name: opt.state[name][0].copy() for name in opt.rule.state}
    twice = rng.standard_normal((2, 9, 64)).astype(np.float32)
    opt.step(fa.Rows(np.append(some, some), twice.reshape(18, 64)))
    rest = np.setdiff1d(np.arange(60), some)
    np.testing.assert_array_equal(table[rest], before[rest])
    for name, array in state.items():
        assert opt.state[name][0].shape[0] == 60
        np.testing.assert_array_equal(opt.state[name][0][rest], array[rest])
    twin.step(scattered(some, twice[0] + twice[1]))
    np.testing.assert_array_equal(table[some], dense[some])


def scattered(rows, values):
    grad = np.zeros((60, 64), np.float32)
    grad[rows] = values
    return grad


def test_rows_of_one_element_are_updated_like_elements(monkeypatch):
    made = []

    def noted(rule, streams, *rest):
        made.append((rule.over, [stream.name for stream in streams]))
        return kernel(rule, streams, *rest)

    monkeypatch.setattr(launch, "kernel", noted)
    single = ("", ["param", "grad", "state:sum"])
    rows = ("row", [*single[1], "sum:squares", "sum:size", "row_length"])
    column, vector, matrix = (np.ones(shape, np.float32) for shape in ((5, 1), (3,), (3, 2)))
    for arrays, kinds in (([column, vector], [single]), ([vector, matrix, column], [single, rows])):
        opt = fa.RowwiseAdagrad(arrays, state_dtype="bfloat16")
        opt.step([np.ones_like(array) for array in arrays])
        assert made == kinds
        assert {state.dtype for state in opt.state["sum"]} == {np.dtype(np.float32)}
        made.clear()
    opt.step([fa.Rows([1], np.ones(1, np.float32)), None, None])
    assert made[0] == rows


@pytest.mark.usefixtures("in_plain_python")
def test_numbers_of_rows_stay_exact_in_low_precision(tmp_path):
    options = {"state_dtype": "int8", "min_quantized_size": 0}
    grads = [gradients((6, 512), 1, np.float32, seed)[0] for seed in range(6)]
    param, plain, resumed = (parameters((6, 512), np.float32) for _ in range(3))
    opt, twin = fa.AdamMini(param, lr=0.01, **options), fa.AdamMini(plain, lr=0.01)
    for grad in grads[:3]:
        opt.step(grad)
        twin.step(grad)
    assert opt.state["vmean"][0].dtype == np.float32
    np.testing.assert_array_equal(opt.state["vmean"][0], twin.state["vmean"][0])
    # moments are rounded by at most 2**-4 of themselves, each update is about lr
    np.testing.assert_allclose(param, plain, rtol=0, atol=3 * 0.01 * 2**-3)
    resumed[...] = param
    fa.save(tmp_path / "run.safetensors", opt)
    other = fa.AdamMini(resumed, lr=0.01, **options)
    fa.load(tmp_path / "run.safetensors", other)
    for grad in grads[3:]:
        opt.step(grad)
        other.step(grad)
    np.testing.assert_array_equal(resumed, param)


def test_state_in_a_file_is_that_in_memory(tmp_path):
    param, twin = parameters((50, 24), np.float32), parameters((50, 24), np.float32)
    plain = fa.AdamMini(twin)
    for _ in range(2):
        opt = fa.AdamMini(param, state_file=tmp_path / "state.bin")
        grad = gradients((50, 24), 1, np.float32)[0]
        opt.step(grad)
        plain.step(grad)
        del opt
    np.testing.assert_array_equal(param, twin)


def test_a_plan_counts_numbers_of_rows():
    table = np.zeros((10, 64), np.float32)
    assert fa.RowwiseAdagrad(table).memory().state == 10 * 4
    assert fa.AdamMini([table, np.zeros(7, np.float32)]).memory().state == 640 * 4 + 40 + 28 + 4


class Alone:
    rank, size = 0, 1

    def exchange(self, send, receive):
        return lambda: None


def total(param, grad, state, h):
    return (abs(grad),)


def test_what_is_refused():
    table = np.zeros((4, 100), np.float32)
    opt = fa.AdamMini(table, state_dtype="int8", min_quantized_size=0)
    with pytest.raises(ValueError, match=r"rows of 100 elements.* are no whole blocks of 256"):
        opt.step(np.ones_like(table))
    opt = fa.AdamMini(table, blocks=2)
    with pytest.raises(ValueError, match=r"Rows of 100 elements, but adam_mini .* rows of 200"):
        opt.step(fa.Rows([1], np.ones((1, 100), np.float32)))
    opt.step(np.ones_like(table))
    for blocks in (4, 400):
        opt.param_groups[0]["blocks"] = blocks
        with pytest.raises(
            ValueError, match=rf"'vmean' has numbers of 2 rows, .* ask for {blocks}"
        ):
            opt.step(np.ones_like(table))
    for array, blocks in ((table, 7), (table[0], 80), (table[0, :5], 3), (table[0, :5], 9)):
        with pytest.raises(ValueError, match=rf"blocks={blocks} do not divide .* divisor of its"):
            fa.AdamMini(array, blocks=blocks).step(np.ones_like(array))
    with pytest.raises(ValueError, match=r"mask_state=True .* rowwise_adagrad has one number"):
        fa.RowwiseAdagrad(table, mask_state=True)
    with pytest.raises(ValueError, match="squares of rows of real numbers"):
        fa.RowwiseAdagrad(np.zeros((2, 2), complex))
    with pytest.raises(ValueError, match="lazy='exact': RowwiseAdagrad has no formula"):
        fa.RowwiseAdagrad(table, lazy="exact")
    with pytest.raises(ValueError, match=r"Sharded divides .* AdamMini adds up squares"):
        Sharded(fa.AdamMini, table, Alone())
    with pytest.raises(ValueError, match=r"Sharded divides .* Adafactor has numbers of the col"):
        Sharded(fa.Adafactor, table, Alone())
    with pytest.raises(TypeError, match="RowwiseAdagrad adds up squares of rows"):
        fa.functional.bare(fa.RowwiseAdagrad)
    with pytest.raises(ValueError, match="adds up squares of rows"):
        fa.compiled(fa.AdamMini, dtype="float32")
    with pytest.raises(ValueError, match=r"row_state=.* sums over rows"):
        fa.rule(state=("v",), row_state=("v",))
    with pytest.raises(ValueError, match="'w' is not in state"):
        fa.rule(state=("v",), sums=("a",), over="row", prepare=total, row_state=("w",))

    @fa.rule(state=("v",), sums=("a",), over="row", prepare=total, row_state=("v",))
    def wrong(param, grad, state, h, s):
        return param - s.a, (state[0] + grad,)

    class Wrong(fa.Optimizer):
        rule = wrong
        defaults = {}

        def hyper(self, group, step):
            return {}

    with pytest.raises(TypeError, match="'v' has one number for each row, but depends on"):
        Wrong(table).step(np.ones_like(table))
