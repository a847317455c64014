"""Mistakes in rules and in methods of their optimizers: refused, and explained in two lines."""

from types import SimpleNamespace

import numpy as np
import pytest
from heavy_ball import HeavyBall, heavy_ball
from own_rules import compiled

import fastadam as fa

TABLE, HALVES = [0.5], np.float32(0.5)


def two_states(param, grad, state, h):
    a, b = state
    return param - a, (b,)


MISTAKES = {
    "list": (lambda p, g, state, h: (p - TABLE[0] * g, state), "TABLE, a list.* use a tuple"),
    "class": (
        lambda p, g, state, h: (p - HeavyBall.beta * g, state),
        r"uses the class HeavyBall.* BETA = HeavyBall\.beta",
    ),
    "constant": (lambda p, g, state, h: (p - h.learning_rate * g, state), r"h has no.*it has lr:"),
    "unpacking": (two_states, r"two_states: not enough values .*\('a',\)"),
    "state by name": (lambda p, g, state, h: (p, (state.a,)), r"declared numbers: \('a',\)"),
    "method": (
        lambda p, g, state, h: (p - g.clip(0.0, 1.0), state),
        r"'clip' of type float64 \(line \d+ of test_rule_mistakes\.py\); a rule may use",
    ),
    "call": (
        lambda p, g, state, h: (p, tuple([p, g][1:])),
        r"Numba cannot compile tuple\(list\(float64\)\) \(line",
    ),
    "only float32": (lambda p, g, state, h: (p - g, (HALVES,)), "as floats at module level"),
    "bool": (lambda p, g, state, h: (p - g, (g > 0.0,)), "returns bool for it: return a float"),
}


@pytest.mark.parametrize(("function", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_a_rule_is_said_in_two_lines(function, message):
    class Own(fa.Optimizer):
        rule = fa.rule(state=("a",), hyper=("lr",))(function)

        def hyper(self, group, step):
            return {"lr": 0.5}

    param = np.ones(3)
    with pytest.raises((TypeError, AttributeError, ValueError), match=message) as caught:
        Own(param).step(np.ones(3))
    assert len(str(caught.value)) < 320
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(param, np.ones(3))


def test_a_rule_without_parentheses():
    with pytest.raises(
        TypeError, match=r"two_states is decorated with @fastadam\.rule alone; declare"
    ):
        fa.rule(two_states)


def test_a_variant_that_is_no_rule():
    class Wrong(HeavyBall):
        def variant(self, group):
            return None

    with pytest.raises(TypeError, match=r"variant\(\) returned None"):
        Wrong(np.ones(3))


def test_a_constant_that_is_not_declared():
    with pytest.raises(AttributeError, match="momentum"):
        compiled(lambda param, grad, state, h: (param - h.momentum * grad, state))


def test_what_cannot_be_tracked_is_refused():
    outside = SimpleNamespace(HALF=0.5)
    with pytest.raises(TypeError, match="cannot be made from"):
        compiled(lambda param, grad, state, h: (param - outside.HALF * grad, state))


def halved(x, times):
    return x if times <= 0 else 0.5 * halved(x, times - 1)


def test_recursion_is_refused():
    def again(param, grad, state, h):
        return again(param - 1.0, grad, state, h) if param > 1.0 else (param, state)

    with pytest.raises(TypeError, match=r"halved calls itself, which a rule cannot"):
        compiled(lambda param, grad, state, h: (param - halved(grad, 3), state))
    with pytest.raises(TypeError, match="again calls itself"):
        compiled(again)


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"state": "exp_avg"}, TypeError, r"write state=\('exp_avg',\)"),
        ({"hyper": "lr"}, TypeError, "is one string"),
        ({"state": (1,)}, TypeError, "not a string"),
        ({"state": ("a b",)}, ValueError, "identifier"),
        ({"state": ("step",)}, ValueError, "reserved"),
        ({"state": ("compensation",)}, ValueError, "reserved"),
        ({"state": ("x_scale", "x")}, ValueError, "'x_scale' is reserved for the scales"),
        ({"hyper": ("lambda",)}, ValueError, "identifier"),
        ({"hyper": ("lr", "lr")}, ValueError, "twice"),
        (
            {"direction": abs, "prepare": max, "sums": ("a",)},
            TypeError,
            "direction=.* plain Python",
        ),
        ({"direction": two_states}, ValueError, "direction= is for rules with sums"),
    ],
)
def test_bad_names_are_refused(keywords, error, message):
    with pytest.raises(error, match=message):
        fa.rule(**keywords)


def test_only_functions_can_be_rules():
    with pytest.raises(TypeError, match="not a plain Python function"):
        fa.rule()(max)
    with pytest.raises(TypeError, match=r"rule must be a function marked with @fastadam\.rule"):

        class Unmarked(fa.Optimizer):
            rule = staticmethod(lambda param, grad, state, h: (param, state))


@pytest.mark.parametrize(
    ("constants", "error", "message"),
    [
        ({"lr": 0.1}, ValueError, r"missing: \['beta', 'beta_comp'\]"),
        (
            {"lr": 0.1, "beta": 0, "beta_comp": 1, "eps": 1},
            ValueError,
            r"not in the rule: \['eps'\]",
        ),
        ({"lr": 0.1, "beta": 0, "gamma": 1}, ValueError, "gamma"),
        ({"lr": "a", "beta": 0, "beta_comp": 1}, TypeError, "give numbers"),
        (None, TypeError, "None; give a dict"),
        ([0.1, 0.9, 0.1], TypeError, "give a dict"),
        ({"lr": 1e39, "beta": 0, "beta_comp": 1}, ValueError, "too large"),
    ],
)
def test_what_hyper_returns_is_checked_before_anything_moves(constants, error, message):
    class Wrong(HeavyBall):
        def hyper(self, group, step):
            return constants

    param = np.ones(3, np.float32)
    opt = Wrong(param)
    with pytest.raises(error, match=message):
        opt.step(np.ones(3, np.float32))
    np.testing.assert_array_equal(param, np.ones(3))
    assert opt.state == {"exp_avg": [None]}
    assert opt.state_dict()["state"] == {}


@pytest.mark.parametrize("after", [None, {}, {"age": "old"}, {"age": np.nan}, {"age": 1, "b": 1}])
def test_what_carry_returns_is_checked_before_anything_moves(after):
    class Wrong(HeavyBall):
        carried = {"age": 0.0}

        def carry(self, group, step):
            return after

    param = np.ones(3, np.float32)
    with pytest.raises((TypeError, ValueError), match="carry"):
        Wrong(param).step(np.ones(3, np.float32))
    np.testing.assert_array_equal(param, np.ones(3))


@pytest.mark.parametrize("adapter", [False, True], ids=["core", "torch"])
@pytest.mark.parametrize("method", ["hyper", "carry", "initial", "variant", "check"])
@pytest.mark.parametrize(
    "write",
    [lambda group: group.update(lr=0.0), lambda group: group.__setitem__("lr", group["lr"] * 0.5)],
    ids=["update", "setitem"],
)
def test_the_group_that_methods_get_is_read_only(method, write, adapter):
    """Written to, it would change the optimizer for good."""

    def written(self, group, *step):
        write(group)
        return getattr(super(Writes, self), method)(group, *step)

    class Writes(HeavyBall):
        carried = {"age": 0.0}

        def carry(self, group, step):
            return {"age": 1.0}

    setattr(Writes, method, written)
    param, grad = np.ones(3, np.float32), np.ones(3, np.float32)
    if adapter:
        torch = pytest.importorskip("torch")
        ft = pytest.importorskip("fastadam.torch")
        tensor = torch.nn.Parameter(torch.from_numpy(param))
        tensor.grad = torch.from_numpy(grad)
        named = type("TorchWrites", (ft.Optimizer,), {"core": Writes})
        take = lambda: named([tensor], lr=0.5).step()  # noqa: E731
    else:
        take = lambda: Writes(param, lr=lambda step: 0.5).step(grad, lr=0.25)  # noqa: E731
    with pytest.raises(TypeError, match=r"group that hyper\(\).* is read-only"):
        take()
    np.testing.assert_array_equal(param, np.ones(3))
    if method in ("hyper", "variant", "check") and not adapter:
        with pytest.raises(TypeError, match="is read-only"):
            fa.functional.bare(Writes)(param, grad, np.zeros(3, np.float32), step=1)


def test_an_optimizer_without_hyper_says_so():
    class Unfinished(fa.Optimizer):
        rule = heavy_ball

    with pytest.raises(NotImplementedError, match=r"Unfinished defines no hyper"):
        Unfinished(np.ones(2)).step(np.ones(2))
