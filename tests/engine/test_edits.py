"""Edits of `param_groups`: which are noted, and when the rule of a group is chosen again."""

import numpy as np
import pytest

import fastadam as fa
from fastadam.engine.options import Options
from fastadam.engine.rule_choice import rule_and_names


@fa.rule(hyper=("lr",))
def descent(param, grad, state, h):
    return param - h.lr * grad, state


@fa.rule(hyper=("lr",))
def ascent(param, grad, state, h):
    return param + h.lr * grad, state


READINGS = {
    "item": lambda group: group["lr"],
    "get": lambda group: group.get("lr"),
    "contains": lambda group: "lr" in group and dict(group)["lr"],
    "dict": lambda group: dict(group)["lr"],
    "double star": lambda group: (lambda lr, **others: lr)(**group),
    "display": lambda group: {**group}["lr"],
    "items": lambda group: dict(group.items())["lr"],
    "values": lambda group: next(iter(group.values())),
    "union": lambda group: (group | {})["lr"],
    "copy": lambda group: group.copy()["lr"],
    "text": lambda group: float(repr(group).partition("'lr': ")[2].partition(",")[0]),
}


def of_class(reading, **attributes):
    class Signed(fa.Optimizer):
        rule = descent
        defaults = {"lr": 0.5, "momentum": 0.0, "weight_decay": 0.0}

        def variant(self, group):
            return descent if reading(group) < 1 else ascent

        def hyper(self, group, step):
            return {"lr": group["lr"]}

    for name, value in attributes.items():
        setattr(Signed, name, value)
    return Signed


@pytest.mark.usefixtures("in_plain_python")
@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
def test_the_rule_is_chosen_again_if_an_edited_number_was_read(reading):
    w = np.zeros(1)
    opt = of_class(reading)(w)
    for lr, direction in [(0.5, -1), (0.25, -1), (2.0, 1), (0.125, -1)]:
        before = w.copy()
        opt.param_groups[0]["lr"] = lr
        opt.step(np.ones(1))
        np.testing.assert_array_equal(w, before + direction * lr)


@pytest.mark.usefixtures("in_plain_python")
def test_what_the_choice_reads_may_depend_on_a_number():
    def reading(group):
        return group["lr"] if group["momentum"] else 0

    w = np.zeros(1)
    opt = of_class(reading)(w, lr=2.0)
    opt.step(np.ones(1))
    assert w == -2
    opt.param_groups[0]["lr"] = 0.5  # not read
    opt.param_groups[0]["momentum"] = 0.5  # now it will be
    opt.step(np.ones(1))
    assert w == -2.5
    opt.param_groups[0]["lr"] = 2.0
    opt.step(np.ones(1))
    assert w == -0.5


@pytest.mark.usefixtures("in_plain_python")
def test_a_check_that_reads_an_edited_number_refuses_it():
    def check(self, group):
        if group["lr"] > 1:
            raise ValueError("lr is above 1")

    w = np.zeros(1)
    opt = of_class(lambda group: 0, check=check)(w)
    for _ in range(2):
        opt.step(np.ones(1))
    opt.param_groups[0]["lr"] = 2.0
    for _ in range(2):  # the edit stays there, and is refused again
        with pytest.raises(ValueError, match="above 1"):
            opt.step(np.ones(1))
    assert w == -1
    with pytest.raises(ValueError, match="above 1"):
        of_class(lambda group: 0, check=check)(w, lr=lambda step: 2.0 * step).step(np.ones(1))
    assert w == -1


@pytest.mark.parametrize(
    ("optimizer", "names"),
    [(fa.AdamW, {"lr", "betas", "eps", "weight_decay", "l1"}), (fa.SGD, {"lr"})],
)
def test_the_rules_of_the_package_do_not_follow_from_numbers(optimizer, names):
    author = optimizer.without_arrays()
    _, read = rule_and_names(author, author.defaults, Options())
    assert names & read == ({"l1"} if optimizer is fa.AdamW else set())


def test_edits_of_all_kinds_of_numbers_are_seen():
    grad = np.ones(3, np.float32)
    w, fresh = np.ones(3, np.float32), np.ones(3, np.float32)
    opt = fa.AdamW([{"params": w}, {"params": [np.ones(2)]}])
    new = {"lr": np.float64(0.5), "betas": (0.5, 0.75), "eps": 1, "weight_decay": 0.25}
    opt.param_groups[0].update(lr=0.1)
    opt.param_groups[0].update(new)
    opt.step([grad, None])
    other = fa.AdamW(fresh, **new)
    other.step(grad)
    for lr, betas in [(0.25, (0.25, 0.5)), (0.125, [0.25, 0.5]), (0.5, (0.0, 0.25))]:
        opt.param_groups[0]["lr"], opt.param_groups[0]["betas"] = lr, betas
        other.param_groups[0].update(lr=lr, betas=betas)
        assert opt.step([grad, None]).lr == lr
        other.step(grad)
    np.testing.assert_array_equal(w, fresh)
    assert opt.param_groups[1]["lr"] == 1e-3


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("betas", (0.9, 1.0), r"betas\[1\]=1.0"),
        ("betas", (0.9,), "2 numbers"),
        ("betas", (0.9, float("nan")), r"betas\[1\]"),
        ("lr", float("inf"), "lr=inf"),
        ("lrate", None, "unexpected keyword"),
        ("state_dtype", None, "cannot be changed"),
        ("param_names", ["a", "a"], "twice"),
    ],
)
def test_wrong_edits_after_others_are_refused(name, value, error):
    w = np.ones(2, np.float32)
    opt = fa.AdamW(w, state_dtype="bfloat16")
    opt.param_groups[0]["state_dtype"] = "bfloat16"
    opt.step(np.ones(2, np.float32))
    opt.param_groups[0]["lr"] = 0.5
    opt.step(np.ones(2, np.float32))
    before = w.copy()
    opt.param_groups[0][name] = value
    with pytest.raises((TypeError, ValueError), match=error):
        opt.step(np.ones(2, np.float32))
    np.testing.assert_array_equal(w, before)
