"""Checkpoints of optimizers with options."""

import copy
import pickle

import numpy as np
import pytest
from tails import arrays, everything, same

import fastadam as fa


@pytest.mark.usefixtures("in_plain_python")
def test_saved_tails_are_matched_by_name():
    first = {"a": np.zeros(2), "b": np.ones(3)}
    second = {"b": np.ones(3), "a": np.zeros(2)}
    options = {"lr": 1.0, "ema_decay": 0.5, "accumulate_steps": 2}
    one, other = fa.SGD(first, **options), fa.SGD(second, **options)
    one.step({"a": np.ones(2), "b": None})
    other.load_state_dict(one.state_dict())
    for opt in (one, other):
        opt.step({"a": None, "b": np.full(3, 2.0)})
    for name in "ab":
        np.testing.assert_array_equal(first[name], second[name])
        np.testing.assert_array_equal(one.ema.tree[name], other.ema.tree[name])


def test_a_state_without_tail_starts_one_anew():
    param = np.zeros(2)
    opt = fa.SGD(param, lr=1.0, ema_decay=0.5, accumulate_steps=2)
    saved = fa.SGD(np.zeros(2)).state_dict()
    for _ in range(3):
        opt.step(np.ones(2))
    opt.load_state_dict(saved)
    np.testing.assert_array_equal(opt.ema.buffer, param)
    assert not opt.step(np.ones(2)).updated


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda saved: saved["ema"].pop(0), "ema lacks params"),
        (lambda saved: saved["ema"].update({0: np.ones(3)}), "ema.*shape"),
        (lambda saved: saved["accumulated"].update(count=2), "accumulate_steps=2"),
        (lambda saved: saved["accumulated"]["grads"].update({0: np.ones(3)}), "accumulated.*shape"),
    ],
)
def test_a_tail_that_does_not_fit_changes_nothing(change, message):
    opt = fa.SGD(np.zeros(2), ema_decay=0.5, accumulate_steps=2)
    opt.step(np.ones(2))
    saved = opt.state_dict()
    change(saved)
    before = pickle.dumps(opt.state_dict())
    with pytest.raises(ValueError, match=message):
        opt.load_state_dict(saved)
    assert pickle.dumps(opt.state_dict()) == before


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_go_on_alike(duplicate):
    opt = everything(arrays(0), clip_norm=1.0, zero_grads=True)
    for step in range(3):
        opt.step(arrays(step + 1))
    twin = duplicate(opt)
    for step in range(3, 6):
        opt.step(arrays(step + 1))
        twin.step(arrays(step + 1))
    same(opt.params, twin.params)
    same(opt.ema.leaves, twin.ema.leaves)
    assert not np.shares_memory(opt.ema.buffer, twin.ema.buffer)


def flags():
    switch = fa.schedules.join([fa.schedules.constant(0.0), fa.schedules.constant(0.9)], [3])
    back = fa.schedules.join([fa.schedules.constant(0.9), fa.schedules.constant(0.0)], [2])
    return [pytest.param(switch, id="on"), pytest.param(back, id="off")]


@pytest.mark.parametrize("momentum", flags())
@pytest.mark.parametrize("saved_at", range(1, 6))
@pytest.mark.usefixtures("in_plain_python")
def test_checkpoints_on_both_sides_of_a_switched_flag(momentum, saved_at):
    def run(opt, params, first, last):
        for step in range(first, last):
            grads = [params[0].copy(), params[1].copy() if step > 3 else None]
            opt.step(grads)

    def fresh(params):
        return fa.SGD(params, lr=0.1, momentum=momentum)

    straight = [np.ones(2), np.ones(2)]
    params = [np.ones(2), np.ones(2)]
    run(fresh(straight), straight, 1, 7)
    opt = fresh(params)
    run(opt, params, 1, saved_at + 1)
    saved, kept = opt.state_dict(), copy.deepcopy(params)
    twin = copy.deepcopy(opt)
    run(opt, params, saved_at + 1, 7)
    same(params, straight)
    run(twin, twin.params, saved_at + 1, 7)
    same(twin.params, straight)
    for param, old in zip(params, kept, strict=True):
        param[...] = old
    opt.load_state_dict(saved)
    run(opt, params, saved_at + 1, 7)
    same(params, straight)


@pytest.mark.parametrize(
    "change",
    [
        {"ema": {0: np.array(["a", "b"])}},
        {"ema": {0: np.ones(2, complex)}},
        {"ema": {"0": np.ones(2)}},
        {"ema": [np.ones(2)]},
        {"accumulated": {"count": 1, "grads": {"0": np.ones(2)}}},
        {"accumulated": {"count": 1.5, "grads": {}}},
        {"accumulated": {"count": "x", "grads": {}}},
        {"accumulated": {"count": 1}},
        {"accumulated": [1]},
    ],
)
def test_tails_of_another_kind_change_nothing(change):
    opt = fa.SGD(np.zeros(2), ema_decay=0.5, accumulate_steps=2)
    for _ in range(3):
        opt.step(np.ones(2))
    before = pickle.dumps(opt.state_dict())
    with pytest.raises((TypeError, ValueError), match=next(iter(change))):
        opt.load_state_dict(opt.state_dict() | change)
    assert pickle.dumps(opt.state_dict()) == before
