"""Rules of one's own: design, speed of writing them, and what is refused."""

import gc
import math
import operator
import re
import weakref
from math import atan
from types import SimpleNamespace

import numpy as np
import pytest
from heavy_ball import HeavyBall, heavy_ball
from own_rules import compiled

import fastadam as fa
from fastadam.kernels import factory

HALF = np.float32(0.5)


THIRD = 1 / 3  # a plain float of the module takes the dtype of the parameter


def damped(x):
    return HALF * x


@fa.rule(state=("low", "high", "roots"), hyper=("lr", "bound"))
def everything(param, grad, state, h):
    """All that a rule may use: literals, helpers, constants, min, max, abs, branches, roots."""
    low, high, roots = state
    g = max(min(grad, h.bound), -h.bound)
    low, high = min(low, damped(g)), max(high, abs(g) * THIRD)
    roots = math.sqrt(abs(low) + 0.25) / math.sqrt(high + 2.0)
    sign = 1.0 if g > 0.0 else -1.0 if g < 0.0 else 0.0
    return param - h.lr * (sign * roots + 0.1 * g), (low, high, roots)


class Everything(fa.Optimizer):
    rule = everything
    defaults = {"lr": 0.1, "bound": 2.0}

    def hyper(self, group, step):
        return {"lr": group["lr"], "bound": group["bound"]}

    def initial(self, group):
        return {"high": 0.5}


def test_a_rule_is_an_ordinary_function():
    h = SimpleNamespace(lr=0.1, beta=0.5, beta_comp=0.5)
    assert heavy_ball(1.0, 2.0, (4.0,), h) == (1.0 - 0.1 * 3.0, (3.0,))
    assert heavy_ball.state == ("exp_avg",)


def test_an_optimizer_of_ones_own():
    w = np.ones((2, 3), np.float32)
    opt = HeavyBall(w, 0.5, beta=0.75)
    info = opt.step(np.full((2, 3), 2, np.float32))
    np.testing.assert_array_equal(w, np.full((2, 3), 0.75, np.float32))
    np.testing.assert_array_equal(opt.state["exp_avg"][0], np.full((2, 3), 0.5, np.float32))
    assert info == (1, 0.5, None, False, True)
    assert "beta" in str(HeavyBall.__signature__)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_everything_a_rule_may_use_has_the_bits_of_numpy_scalars(dtype):
    rng = np.random.default_rng(0)
    param = rng.standard_normal(100).astype(dtype)
    grads = [rng.standard_normal(100).astype(dtype) * 3 for _ in range(3)]
    grads[1][:3] = [np.nan, 0, np.inf]
    want, states = (
        param.copy(),
        [np.zeros(100, dtype), np.full(100, 0.5, dtype), np.zeros(100, dtype)],
    )
    opt = Everything(param)
    h = SimpleNamespace(lr=dtype(0.1), bound=dtype(2))
    for grad in grads:
        opt.step(grad)
        for i in range(100):
            want[i], new = everything(want[i], grad[i], tuple(s[i] for s in states), h)
            for state, value in zip(states, new, strict=True):
                state[i] = value
    # HALF is a float32 and exact in float64; THIRD takes the dtype of the parameter in both
    np.testing.assert_array_equal(param, want)
    for name, state in zip(everything.state, states, strict=True):
        np.testing.assert_array_equal(opt.state[name][0], state)


@pytest.mark.parametrize("first", ["plain", "compiled"])
def test_constants_stay_what_they_were_at_the_first_use(first, monkeypatch):
    @fa.rule(hyper=("lr",))
    def own(param, grad, state, h):
        return param - damped(grad) * h.lr, state

    class Own(fa.Optimizer):
        rule = own
        defaults = {"lr": 1.0}

        def hyper(self, group, step):
            return {"lr": group["lr"]}

    def plain():
        one = np.float32(1)
        return own(one, one, (), SimpleNamespace(lr=one))[0]

    def stepped(**options):
        param = np.ones(1, np.float32)
        Own(param, **options).step(np.ones(1, np.float32))
        return param[0]

    assert (plain if first == "plain" else stepped)() == 0.5
    monkeypatch.setitem(globals(), "HALF", np.float32(0.25))
    assert {plain(), stepped(), stepped(clip_value=2.0), stepped(ema_decay=0.5)} == {0.5}


def test_a_rule_in_plain_python_keeps_float32():
    h = SimpleNamespace(lr=np.float32(0.1), bound=np.float32(2))
    one = np.float32(1)
    param, state = everything(one, one, (one, one, one), h)
    assert {type(x) for x in (param, *state)} == {np.float32}


def test_an_int_in_arithmetic_is_refused_with_the_way_out():
    def careless(param, grad, state, h):
        return param - 2 * h.lr * grad, state

    with pytest.raises(TypeError, match=r"careless.*float64.*write a float literal"):
        compiled(careless)


def test_a_double_from_outside_is_refused():
    double = np.float64(0.1)
    with pytest.raises(TypeError, match="float64"):
        compiled(lambda param, grad, state, h: (param - double * grad, state))


def test_a_power_with_an_int_is_fine():
    moved = compiled(lambda param, grad, state, h: (param - h.lr * grad**2, state))
    np.testing.assert_array_equal(moved, np.full(3, 0.5, np.float32))


def _scaled(number):
    return number * math.log1p(number)


def _within(number):
    def inner(x):
        return math.sin(x)

    return inner(number)


def _repeated(number):
    def inner(x):
        while x > 1.0:
            x = 0.5 * x
        return x

    return inner(number)


def _renamed(number):
    library = math
    return library.cos(number)


def _imported(number):
    import math as library

    return library.cos(number)


def _chosen(number, functions=(math.sqrt, math.exp)):
    return functions[1](number)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (lambda param, grad, h: param - math.exp(grad), r"math\.exp, whose last digits depend"),
        (lambda param, grad, h: param - np.tanh(grad), r"np\.tanh|numpy\.tanh"),
        (lambda param, grad, h: param - atan(grad), "uses atan"),
        (lambda param, grad, h: param - _scaled(grad), r"_scaled uses math\.log1p"),
        (lambda param, grad, h: param - grad**h.lr, r"\*\*.*multiply instead"),
        (lambda param, grad, h: param - pow(grad, 3), "calls pow"),
        (lambda param, grad, h: print(param) or grad, "calls print"),
        (lambda param, grad, h: np.sinc(grad), "numpy.sinc, which a rule cannot"),
        (lambda param, grad, h: np.linalg.norm(grad), "numpy.linalg.norm, which a rule"),
        (lambda param, grad, h: np.random.random() * grad, "numpy.random.random, which a rule"),
        (lambda param, grad, h: operator.pow(grad, 3), "_?operator.pow, whose last digits"),
        (lambda param, grad, h: (lambda x: np.tanh(x))(grad), "numpy.tanh, whose last digits"),
        (lambda param, grad, h: _within(grad), r"_within uses math\.sin, whose"),
        (lambda param, grad, h: _repeated(grad), "_repeated has a loop"),
        (lambda param, grad, h: _renamed(grad), "_renamed uses the module math as a value"),
        (lambda param, grad, h: _imported(grad), "_imported imports math"),
        (lambda param, grad, h: _chosen(grad), "_chosen uses .*, whose last digits"),
    ],
)
def test_functions_with_other_bits_elsewhere_are_refused(update, message):
    @fa.rule(hyper=("lr",))
    def own(param, grad, state, h):
        return update(param, grad, h), state

    class Own(fa.Optimizer):
        rule, defaults = own, {"lr": 0.1}

        def hyper(self, group, step):
            return {"lr": group["lr"]}

    param = np.ones(3, np.float32)
    with pytest.raises(TypeError, match=message) as caught:
        Own(param).step(np.ones(3, np.float32))
    np.testing.assert_array_equal(param, 1)
    assert re.search(r"\(line \d+ of test_rules\.py\)", str(caught.value))


def test_loops_are_refused_and_exact_functions_are_not():
    @fa.rule()
    def repeated(param, grad, state, h):
        for _ in range(3):
            param = param - grad
        return param, state

    @fa.rule()
    def exact(param, grad, state, h):
        return param - math.copysign(np.sqrt(grad**2), grad) - math.floor(grad), state

    with pytest.raises(TypeError, match="repeated has a loop"):
        repeated(1.0, 1.0, (), None)
    assert exact(1.0, -1.5, (), None)[0] == 1.0 + 1.5 + 2


def test_a_rule_without_constants():
    moved = compiled(lambda param, grad, state, h: (param - grad, state), hyper_names=())
    np.testing.assert_array_equal(moved, np.zeros(3))


def test_defaults_of_helpers_take_the_dtype():
    def helper(x, half=0.5):
        return x * half

    moved = compiled(lambda param, grad, state, h: (param - helper(grad), state))
    np.testing.assert_array_equal(moved, np.full(3, 0.5, np.float32))


def test_tuples_of_literals_take_the_dtype():
    def pair(param, grad, state, h):
        a, b = 0.5, 0.25
        return param - (a + b) * grad, state

    np.testing.assert_array_equal(compiled(pair), np.full(3, 0.25, np.float32))


@pytest.mark.parametrize(
    "returned",
    [
        lambda param, grad, state, h: param,
        lambda param, grad, state, h: (param, grad),
        lambda param, grad, state, h: (param, (grad, grad)),
        lambda param, grad, state, h: (param, ()),
        lambda param, grad, state, h: (param, [grad]),
    ],
)
def test_a_wrong_return_is_refused(returned):
    with pytest.raises(TypeError, match=r"returns .*"):
        compiled(returned, state=("a",))


def test_what_would_end_a_kernel_in_the_middle_is_refused():
    def positive(x):
        assert x > 0.0
        return x

    def partial(param, grad, state, h):
        if grad > 0.0:
            return param - grad, state

    with pytest.raises(TypeError, match="positive raises an exception or asserts"):
        compiled(lambda param, grad, state, h: (positive(param), state))
    with pytest.raises(TypeError, match="partial returns nothing on one of its paths"):
        compiled(partial)


def test_literals_beyond_the_dtype_are_infinite():
    def bounded(param, grad, state, h):
        return min(param, 1e39) - h.lr * grad, state

    np.testing.assert_array_equal(compiled(bounded), np.full(3, 0.5, np.float32))
    one = np.float32(1)
    h = SimpleNamespace(lr=np.float32(0.5))
    assert fa.rule(hyper=("lr",))(bounded)(one, one, (), h)[0] == 0.5


def test_a_rule_that_is_made_again_shares_its_kernels_and_is_freed():
    def moved(factor):
        @fa.rule(hyper=("lr",))
        def cell(param, grad, state, h):
            return param - h.lr * grad * factor, state

        class Cell(fa.Optimizer):
            rule = cell
            defaults = {"lr": 1.0}

            def hyper(self, group, step):
                return {"lr": group["lr"]}

        param = np.ones(3)
        Cell(param, clip_value=2.0).step(np.ones(3))
        return param[0], weakref.ref(cell), weakref.ref(Cell)

    first, *_ = moved(0.5)
    kernels = len(factory._made)
    for _ in range(20):
        again, *references = moved(0.5)
    gc.collect()
    assert first == again == 0.5
    assert len(factory._made) == kernels
    assert [reference() for reference in references] == [None, None]
    assert moved(0.25)[0] == 0.75  # another rule of the same name
    assert len(factory._made) == kernels + 1


def test_warmup_compiles_classes_and_instances():
    opt = HeavyBall(np.ones(3))
    fa.warmup(HeavyBall, opt)
    fa.warmup(HeavyBall, dtype="float64")
    opt.step(np.ones(3))
    fa.warmup(fa.RowwiseAdagrad, fa.Muon)  # with sums, and with matrices
    opts = [fa.RowwiseAdagrad(np.ones(3, np.float32)), fa.RowwiseAdagrad(np.ones((3, 4), "f"))]
    opts.append(fa.Muon(np.ones((3, 4), np.float32)))
    compiled = len(factory._made)
    for each in opts:
        each.step(np.ones_like(each.params))
    assert len(factory._made) == compiled
    with pytest.raises(TypeError, match="dtype=int64 is not supported; give float32 or float64"):
        fa.warmup(HeavyBall, dtype=int)
    for wrong in ("adamw", None, np.ndarray):
        with pytest.raises(TypeError, match=r"is not an optimizer.*such as fastadam\.AdamW"):
            fa.warmup(wrong)
    fa.warmup(HeavyBall, opt, device="cpu")
    with pytest.raises(ValueError, match="device='tpu'; give 'cpu' or 'cuda'"):
        fa.warmup(HeavyBall, device="tpu")


def test_literals_have_the_dtype_in_plain_python_too():
    @fa.rule(hyper=("lr",))
    def own(param, grad, state, h):
        a, b, c = 0.1, 0.7, 0.3
        return param - a * b * c * math.sqrt(0.3) * (0.1 if grad > 0.0 else 0.9) * grad, state

    class Own(fa.Optimizer):
        rule = own
        defaults = {"lr": 1.0}

        def hyper(self, group, step):
            return {"lr": group["lr"]}

    w, g = (np.random.default_rng(seed).standard_normal(300).astype(np.float32) for seed in (0, 1))
    want = np.array([own(p, x, (), None)[0] for p, x in zip(w, g, strict=True)])
    Own(w).step(g)
    assert want.dtype == np.float32
    np.testing.assert_array_equal(w, want)


def test_max_of_three():
    moved = compiled(lambda param, grad, state, h: (max(param - grad, -3.0, h.lr), state))
    np.testing.assert_array_equal(moved, np.full(3, 0.5, np.float32))
    moved = compiled(lambda param, grad, state, h: (min(param + grad, 3.0, h.lr), state))
    np.testing.assert_array_equal(moved, np.full(3, 0.5, np.float32))


def test_a_hyper_of_its_own_depends_on_more_unless_it_says_so():
    class Same(fa.AdamW):
        pass

    class Other(fa.AdamW):
        def hyper(self, group, step):
            return super().hyper(group, step)

    class Told(Other):
        hyper_depends_on_step_only = True

        def hyper(self, group, step):
            return super().hyper(group, step)

    found = [each.hyper_depends_on_step_only for each in (fa.AdamW, Same, Other, Told)]
    assert found == [True, True, False, True]


def test_an_instance_without_arrays_computes_constants():
    made = fa.AdamW.without_arrays()
    constants = made.hyper(fa.AdamW.defaults, 1)
    assert constants.keys() == {*made.variant(fa.AdamW.defaults).hyper}
    with pytest.raises(
        TypeError, match=r"Optimizer\.rule must be a function.*Optimizer defines none"
    ):
        fa.Optimizer.without_arrays()
