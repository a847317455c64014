"""Steps inside functions that Numba compiles."""

import math
import subprocess
import sys

import numba
import numpy as np
import pytest
from embedded_cases import STEPS, inputs

import fastadam as fa
from fastadam import optimizers
from fastadam.embedding.tracing import traced
from fastadam.engine.param_groups import values_of

adamw = fa.compiled(fa.AdamW)


@numba.njit(parallel=True)
def in_parts(param, grad, exp_avg, exp_avg_sq, steps, lr):
    size = 10
    for t in range(1, steps + 1):
        constants = fa.AdamW.constants(step=t, lr=lr)
        for part in numba.prange((param.size + size - 1) // size):
            some = slice(part * size, (part + 1) * size)
            adamw(param[some], grad[some], exp_avg[some], exp_avg_sq[some], constants)


def test_loops_in_threads_on_slices():
    param, grads = inputs("float32")
    other, state = param.copy(), np.zeros((2, param.size), np.float32)
    in_parts(param, grads[0], *state, STEPS, 0.1)
    opt = fa.AdamW(other, lr=0.1)
    for _ in range(STEPS):
        opt.step(grads[0])
    np.testing.assert_array_equal(param, other)


def test_a_table_of_constants_serves_schedules():
    param, grads = inputs("float32")
    other, state = param.copy(), np.zeros((2, param.size), np.float32)
    rate = fa.schedules.cosine(0.1, steps=STEPS)
    table = np.array([fa.AdamW.constants(step=t, lr=rate) for t in range(1, STEPS + 1)])
    opt = fa.AdamW(other, lr=rate)
    for constants in table:
        adamw(param, grads[0], *state, constants)
        opt.step(grads[0])
    np.testing.assert_array_equal(param, other)


@pytest.mark.parametrize("step", [1, 2, 300])
@pytest.mark.parametrize("cls", [fa.AdamW, fa.NAdam, fa.RAdam])
def test_constants_are_those_of_hyper(cls, step):
    fa.compiled(cls)
    opt = cls(np.ones(1))
    for _ in range(step - 1 if opt.carried else 0):
        opt.step(np.ones(1))
    group = {**opt.param_groups[0]}
    if opt.carried:
        before = opt.state_dict()["state"].get(0, opt.carried)["mu_product"]
        group |= opt.carry(group | {"mu_product": float(before)}, step)
    wanted = tuple(opt.hyper(group, step).values())
    names = tuple(opt.hyper(group, step))
    order = [names.index(name) for name in cls.rule.hyper]
    found = cls.constants(step=step)
    assert found == tuple(wanted[k] for k in order)
    assert numba.njit(lambda t: cls.constants(step=t))(step) == found


# functions of the step alone, of numbers: those of Adafactor take None within a pair
TRACED = [n for n in optimizers.__all__ if n not in ("Prodigy", "Muon", "Adafactor")]


@pytest.mark.parametrize("name", TRACED)
def test_the_trace_of_hyper_computes_what_it_computes(name):
    """With the functions of Python, without a compiler."""
    cls = getattr(fa, name)
    author = cls.without_arrays()
    values = values_of(author, {})
    constants = traced(author, values)
    scope = {**vars(math), "power": pow}
    exec(constants.source, scope)
    carried = [float(cls.carried[each]) for each in constants.carried]
    for step in range(1, 30):
        found = scope["constants"](float(step), *constants.flat(values), *carried)
        carried = found[len(constants.names) :]
        assert found[: len(constants.names)] == cls.constants(step=step)


def test_hyperparameters_that_hyper_refuses_give_nan():
    constants = traced(fa.FTRL.without_arrays(), values_of(fa.FTRL.without_arrays(), {}))
    scope = dict(vars(math))
    exec(constants.source, scope)
    assert all(map(math.isnan, scope["constants"](1.0, 0.0, *[0.0] * (len(constants.numbers) - 1))))


def test_options_are_arguments(monkeypatch):
    """The same bits as an optimizer with these options, in plain Python; int8 state included."""
    rng, n = np.random.default_rng(0), 700
    other = rng.standard_normal(n).astype(np.float32)
    grad, mask = rng.standard_normal(n).astype(np.float32), rng.random(n) < 0.5
    options = ("grad_scale", "clip_value", "mask", "ema", "float16", "zero_grads")
    step = fa.compiled(fa.Lion, "float32", state="int8", options=options)
    kept = {"state_dtype": "int8", "min_quantized_size": 0, "shadow_dtype": "float16"}
    opt = fa.Lion(other, lr=0.1, clip_value=0.5, ema_decay=0.9, **kept)
    param, ema, shadow = other.copy(), other.copy(), np.zeros(n, np.uint16)
    codes, scales = np.zeros(n, np.int8), np.zeros(-(-n // 256), np.float32)
    for t in range(1, 4):
        with monkeypatch.context() as patch:
            patch.setattr(numba.config, "DISABLE_JIT", True)
            opt.step(grad.copy(), mask=mask, grad_scale=8.0)
        (launch,) = opt._engine.plan._launches
        dither, used = int(launch.numbers["dither"][0]), grad.copy()
        constants = fa.Lion.constants(step=t, lr=0.1)
        step(param, used, codes, scales, dither, 0.5, 1 / 8, mask, ema, 1 - 0.9, shadow, constants)
        assert not used.any()
    np.testing.assert_array_equal(param, other)
    np.testing.assert_array_equal(ema, opt.ema.buffer)
    np.testing.assert_array_equal(shadow.view(np.float16), opt.shadow.buffer)
    np.testing.assert_array_equal(codes, opt.state["exp_avg"][0])


def test_mistakes_are_named():
    param = np.ones(5, np.float32)
    arrays = [param, *(np.zeros_like(param) for _ in range(3))]
    constants = fa.AdamW.constants(step=1)
    for number, name in enumerate(("grad", "exp_avg", "exp_avg_sq"), start=1):
        bad = list(arrays)
        bad[number] = np.zeros(6, np.float32)
        with pytest.raises(ValueError, match=f"^{name} must have one element"):
            adamw(*bad, constants)
        bad[number] = np.zeros(5)
        with pytest.raises(numba.TypingError, match=f"{name} must be an array of float32"):
            adamw(*bad, constants)
        bad[number] = np.zeros(10, np.float32)[::2]
        with pytest.raises(numba.TypingError, match=f"{name} must be a one-dimensional contig"):
            adamw(*bad, constants)
        bad[number] = param
        with pytest.raises(ValueError, match="overlap"):
            adamw(*bad, constants)
    with pytest.raises(numba.TypingError, match="a tuple of 8 numbers"):
        adamw(*arrays, constants[1:])
    with pytest.raises(ValueError, match="another number"):
        adamw(*arrays, np.array(constants[1:]))
    np.testing.assert_array_equal(param, 1)


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((fa.Optimizer,), {}, "neither a class"),
        ((fa.AdamW, "int8"), {}, "dtype='int8' must be"),
        ((fa.AdamW,), {"options": "ema"}, r"write \('ema',\)"),
        ((fa.AdamW,), {"options": ("emma",)}, "did you mean 'ema'"),
        ((fa.AdamW,), {"state": "int4"}, "state='int4' must be"),
        ((fa.AdamW, "float64"), {"options": ("float16",)}, "for float32 parameters"),
        ((fa.AdamW,), {"compensation": "kahan"}, "for bfloat16 parameters"),
        ((fa.AdamW,), {"grads": "float64"}, "for float64 parameters"),
        ((fa.AdamW,), {"momentum": 0.9}, "momentum"),
        ((fa.AdamW.rule,), {"lr": 0.9}, "a rule has no hyperparameters"),
        ((fa.RMSprop,), {"centered": True, "state": "int8"}, "leave state_dtype out"),
    ],
)
def test_what_cannot_be_compiled_is_refused(arguments, keywords, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fa.compiled(*arguments, **keywords)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("fa.AdamW.constants(step=1, amsgrad=t > 0)", "amsgrad must be a constant"),
        ("fa.AdamW.constants(step=1, betas=t)", "betas must be a tuple of 2 numbers"),
        ("fa.AdamW.constants(step=1, lr='fast')", "lr must be a number"),
        ("fa.AdamW.constants(step=1, rate=0.1)", "rate"),
    ],
)
def test_wrong_arguments_of_constants_are_named(call, message):
    function = eval(f"lambda t: {call}", {"fa": fa})
    with pytest.raises(numba.TypingError, match=message):
        numba.njit(function)(1)


CACHED = """
import numba, numpy as np, fastadam as fa

step = fa.compiled(fa.SGD)

@numba.njit(cache=True)
def fit(p, g):
    for t in range(1, 4):
        step(p, g, fa.SGD.constants(step=t, lr=0.5))

p = np.ones(3, np.float32)
fit(p, p.copy())
print(sum(fit.stats.cache_hits.values()), p[0])
"""


def test_the_disk_cache_of_the_caller_works(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(CACHED)
    runs = [
        subprocess.run([sys.executable, program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert [run.split() for run in runs] == [["0", "-0.5"], ["1", "-0.5"]]
