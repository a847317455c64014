"""Rules with factors: Adafactor for matrices, its bits, its state, and what is refused."""

import copy

import numpy as np
import oracles
import pytest
from cases import gradients, parameters

import fastadam as fa
from fastadam.kernels.cpu import threads

SHAPES = ((6, 5), (3, 1100), (2, 70, 3), (3, 2, 2, 3), (7,), (), (0, 4), (1, 9), (9, 1))
KEYWORDS = {"lr": 0.05, "weight_decay": 0.1}


def trained(dtype, steps, threads=None, **keywords):
    params = [parameters(shape, dtype, k) for k, shape in enumerate(SHAPES)]
    opt = fa.Adafactor(params, threads=threads, **KEYWORDS, **keywords)
    grads = [gradients(shape, steps, dtype, k) for k, shape in enumerate(SHAPES)]
    for each in zip(*grads, strict=True):
        opt.step([*each])
    return opt, params, grads


def check(dtype, opt, params, grads, bound):
    for k, (shape, param) in enumerate(zip(SHAPES, params, strict=True)):
        if not param.size:
            assert opt.state["row_var"][k].shape == (0, 1)
            assert opt.state["col_var"][k].shape == (1, 4)
            continue
        start = parameters(shape, dtype, k)
        want, state = oracles.adafactor(start, grads[k], **KEYWORDS)
        assert np.abs(param - want).max() <= bound * np.abs(want).max(), shape
        for name, value in state.items():
            found = opt.state[name][k]
            assert found.shape == np.shape(value)
            np.testing.assert_allclose(found, value, rtol=bound)


def test_oracle_in_float64(in_plain_python):
    """To 1e-9: some hundred roundings of 1e-16 in each of 20 steps."""
    check(np.float64, *trained(np.float64, 20), 1e-9)


def test_oracle_and_bits_in_float32():
    """To 1e-6: some ten roundings of 6e-8 in each of 20 steps, of which few are in one direction.

    The bits do not depend on the number of threads.
    """
    found = trained(np.float32, 20)
    check(np.float32, *found, 1e-6)
    before, threads.SERIAL_BELOW = threads.SERIAL_BELOW, 0
    try:
        _, params, _ = trained(np.float32, 20, threads=2)
    finally:
        threads.SERIAL_BELOW = before
    for one, other in zip(found[1], params, strict=True):
        assert one.tobytes() == other.tobytes()


def test_compiled_bits_are_those_of_plain_python(request):
    _, params, _ = trained(np.float32, 2)
    request.getfixturevalue("in_plain_python")
    _, plain, _ = trained(np.float32, 2)
    for one, other in zip(params, plain, strict=True):
        assert one.tobytes() == other.tobytes()


def test_state_is_saved(in_plain_python, tmp_path):
    opt, params, grads = trained(np.float32, 2)
    for name, load, kept in (
        ("dict", None, None),
        ("file", tmp_path / "a.safetensors", None),
        ("state file", tmp_path / "b.safetensors", tmp_path / "state.bin"),
    ):
        twins = [param.copy() for param in params]
        other = fa.Adafactor(twins, state_file=kept)
        if load:
            fa.save(load, opt)
            fa.load(load, other)
        else:
            other.load_state_dict(copy.deepcopy(opt.state_dict()))
        mine = [param.copy() for param in params]
        third = fa.Adafactor(mine)
        third.load_state_dict(opt.state_dict())
        for each in (other, third):
            each.step([grad[0] for grad in grads])
        assert all(map(np.array_equal, twins, mine)), name
        fa.save(tmp_path / "again.safetensors", other)
        fa.load(tmp_path / "again.safetensors", third)
    saved = opt.state_dict()
    assert saved["state"][0].keys() == {"step", "row_var", "col_var"}
    assert saved["state"][4].keys() == {"step", "variance"}
    saved["state"][0]["row_var"] = saved["state"][0]["row_var"][:2]
    with pytest.raises(ValueError, match=r"row_var has shape \(2, 1\), expected \(6, 1\)"):
        fa.Adafactor([param.copy() for param in params]).load_state_dict(saved)


def test_options(in_plain_python):
    """Clipping, accumulation, a scale, masks and None: as on gradients that are so beforehand."""
    shape = (6, 5)
    first, second = gradients(shape, 2, np.float32)
    params = [parameters(shape, np.float32) for _ in range(6)]
    clipped, scaled, micro, plain, half, masked = params
    norm = np.float32(np.linalg.norm(np.float64(first)))
    fa.Adafactor(clipped, clip_norm=float(norm) / 2).step(first)
    fa.Adafactor(scaled).step(first * 1024, grad_scale=1024.0)
    opt = fa.Adafactor(micro, accumulate_steps=2)
    opt.step(first), opt.step(first)
    fa.Adafactor(plain).step(first)
    fa.Adafactor(half).step(first / 2)
    assert np.array_equal(plain, scaled)
    assert np.array_equal(plain, micro)
    np.testing.assert_allclose(clipped, half, rtol=1e-5)
    mask = np.arange(30).reshape(shape) % 2 > 0
    fa.Adafactor(masked).step(first, mask=mask)
    start = parameters(shape, np.float32)
    assert np.array_equal(masked, np.where(mask, plain, start))
    opt = fa.Adafactor([plain, half])
    opt.step([second, None])
    assert opt.state["row_var"][1] is None
    assert opt.state_dict()["state"].keys() == {0}


def test_a_skipped_step_changes_nothing(in_plain_python):
    param = parameters((6, 5), np.float32)
    opt = fa.Adafactor(param, skip_nonfinite=True)
    opt.step(gradients((6, 5), 1, np.float32)[0])
    before = param.copy(), opt.state["row_var"][0].copy(), opt.state["col_var"][0].copy()
    assert opt.step(np.full((6, 5), np.inf, np.float32)).skipped
    after = param, opt.state["row_var"][0], opt.state["col_var"][0]
    assert all(map(np.array_equal, before, after))


def test_bytes():
    opt = fa.Adafactor([np.zeros((64, 1024), np.float32), np.zeros(7, np.float32)])
    budget = opt.memory()
    assert budget.state == 4 * (64 + 1024 + 7)
    assert fa.plan(1e6, "adafactor").state == 0
    listed = next(each for each in fa.optimizers.list() if each.name == "Adafactor")
    assert (listed.state_bytes, listed.traffic) == (0, 24)


def _term(grad, h):
    return grad * grad


def _average(number, mean, h):
    return h.beta * number + (1.0 - h.beta) * mean


def _row(number, mean, h):
    return number / mean


def _column(number, h):
    return number


def _terms(param, grad, state, h):
    return (grad,)


FACTORS = fa.Factors(_term, _average, _row, _column)
SUMS = {"hyper": ("lr", "beta"), "sums": ("total",), "prepare": _terms}


def test_own_rule(in_plain_python):
    """A rule of one's own, against NumPy in float64, where 1e-12 is thousands of roundings."""

    @fa.rule(state=("rows", "columns"), factors=FACTORS, **SUMS)
    def scaled(param, grad, state, h, s):
        return param - h.lr * grad / (1.0 + state[0] * state[1]), state

    class Scaled(fa.Optimizer):
        rule = scaled
        defaults = {"lr": 0.1, "beta": 0.5}

        def hyper(self, group, step):
            return {"lr": group["lr"], "beta": group["beta"]}

    param, grad = parameters((4, 3)), gradients((4, 3), 1)[0]
    rows, columns = (0.5 * np.mean(grad**2, axis, keepdims=True) for axis in (1, 0))
    want = param - 0.1 * grad / (1 + rows / rows.mean() * columns)
    Scaled(param).step(grad)
    np.testing.assert_allclose(param, want, rtol=1e-12)
    with pytest.raises(ValueError, match=r"params has shape \(3,\), but scaled has numbers"):
        Scaled(np.zeros(3))


def test_refused():
    param = np.zeros((4, 3), np.float32)
    with pytest.raises(ValueError, match="is Rows, but adafactor_matrices adds up"):
        fa.Adafactor(param).step(fa.Rows([0], np.zeros((1, 3), np.float32)))
    with pytest.raises(ValueError, match=r"mask_state=True is for state of elements"):
        fa.Adafactor(param, mask_state=True)
    with pytest.raises(ValueError, match="complex numbers"):
        fa.Adafactor(np.zeros((2, 2), np.complex64))
    with pytest.raises(ValueError, match="adds up param_squares"):
        fa.compiled(fa.Adafactor, dtype="float32")
    with pytest.raises(TypeError, match=r"factors=1 must be fastadam.Factors"):
        fa.rule(state=("a", "b"), factors=1, **SUMS)
    with pytest.raises(ValueError, match="takes two names of state"):
        fa.rule(state=("a",), factors=FACTORS, **SUMS)
    with pytest.raises(ValueError, match="sums over each parameter"):
        fa.rule(state=("a", "b"), factors=FACTORS)
    with pytest.raises(TypeError, match="matrices=1 must be a function marked"):
        fa.rule(matrices=1)
    with pytest.raises(ValueError, match="the same names in both"):
        fa.rule(matrices=fa.AdamW.rule)
    with pytest.raises(TypeError, match="cannot be given together with matrix= or factors="):
        fa.rule(matrices=fa.AdamW.rule, matrix=_terms)
