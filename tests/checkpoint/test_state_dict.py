"""Saving and loading, in PyTorch's layout."""

import copy
import json

import numpy as np
import pytest
from cases import gradients, parameters

import fastadam as fa


def trained(params, steps=3, **hyper):
    opt = fa.AdamW(params, **hyper)
    for step in range(steps):
        tree = opt.params
        opt.step({k: gradients(v.shape, 1, v.dtype, step)[0] for k, v in tree.items()})
    return opt


def tree(**shapes):
    return {name: parameters(shape) for name, shape in shapes.items()}


def test_layout():
    opt = trained(tree(w=(2, 3), b=4), lr=0.5)
    saved = opt.state_dict()
    assert saved.keys() == {"state", "param_groups"}
    assert saved["state"].keys() == {0, 1}
    assert saved["state"][0].keys() == {"step", "exp_avg", "exp_avg_sq"}
    assert saved["state"][0]["exp_avg"].shape == (2, 3)
    assert saved["state"][1]["step"] == 3
    (group,) = saved["param_groups"]
    assert group["params"] == [0, 1]
    assert group["param_names"] == ["w", "b"]
    assert group["lr"] == 0.5
    assert group["betas"] == (0.9, 0.999)


def test_it_shares_no_memory_unless_asked():
    opt = trained(tree(w=5))
    live = opt.state["exp_avg"][0]
    assert not np.shares_memory(opt.state_dict()["state"][0]["exp_avg"], live)
    assert np.shares_memory(opt.state_dict(copy=False)["state"][0]["exp_avg"], live)
    saved = opt.state_dict()
    kept = copy.deepcopy(saved)
    opt.step({"w": np.ones(5)})
    opt.param_groups[0]["lr"] = 7
    other = trained(tree(w=5))
    other.load_state_dict(saved)
    other.step({"w": np.ones(5)})
    np.testing.assert_array_equal(saved["state"][0]["exp_avg"], kept["state"][0]["exp_avg"])
    assert saved["param_groups"] == kept["param_groups"]


def test_parameters_are_matched_by_name():
    source = trained(tree(w=3, b=4))
    target = fa.AdamW(tree(b=4, w=3))
    target.load_state_dict(source.state_dict())
    for name, there, here in (("w", 0, 1), ("b", 1, 0)):
        np.testing.assert_array_equal(
            target.state["exp_avg"][here], source.state["exp_avg"][there], err_msg=name
        )
    with pytest.raises(ValueError, match=r"missing \['c'\], unknown \['b'\]"):
        fa.AdamW(tree(w=3, c=4)).load_state_dict(source.state_dict())


def test_parameters_without_names_are_matched_by_order():
    source = trained(tree(w=3, b=4))
    target = fa.AdamW([parameters(3), parameters(4)])
    target.load_state_dict(source.state_dict())
    np.testing.assert_array_equal(target.state["exp_avg"][1], source.state["exp_avg"][1])


def test_group_order_and_numbers_count_over_all_groups():
    params = [parameters(2), parameters(3), parameters(4)]
    opt = fa.AdamW([{"params": params[:2], "lr": 0.1}, {"params": params[2:], "name": "tail"}])
    opt.step([None, np.ones(3), np.ones(4)])
    saved = opt.state_dict()
    assert [group["params"] for group in saved["param_groups"]] == [[0, 1], [2]]
    assert saved["param_groups"][1]["name"] == "tail"
    assert saved["state"].keys() == {1, 2}
    other = fa.AdamW([{"params": [np.ones(2), np.ones(3)]}, {"params": [np.ones(4)]}])
    other.load_state_dict(saved)
    assert other.param_groups[0]["lr"] == 0.1
    assert other.state["exp_avg"][0] is None


def bad_states():
    def change(path, value):
        def apply(saved):
            *way, last = path
            for key in way:
                saved = saved[key]
            if value is None:
                del saved[last]
            else:
                saved[last] = value

        return apply

    return {
        "no state": (change(["state"], None), "no 'state'"),
        "no groups": (change(["param_groups"], None), "no 'param_groups'"),
        "more groups": (lambda s: s["param_groups"].append(s["param_groups"][0]), "2 param_groups"),
        "fewer parameters": (change(["param_groups", 0, "params"], [0]), "belongs|keys"),
        "more parameters": (change(["param_groups", 0, "params"], [0, 1, 2]), "3 parameters"),
        "keys that are strings": (
            lambda s: s["state"].update({"0": s["state"].pop(0)}),
            "not strings",
        ),
        "another shape": (change(["state", 1, "exp_avg"], np.ones(5)), r"\(5,\), expected \(4,\)"),
        "text": (change(["state", 1, "exp_avg"], np.array(["a"] * 4)), "<U1"),
        "a part": (change(["state", 0, "exp_avg_sq"], None), "lacks.*exp_avg_sq"),
        "no step": (change(["state", 0, "step"], None), "lacks.*step"),
        "half a step": (change(["state", 0, "step"], 1.5), "whole number"),
        "a step before the first": (change(["state", 0, "step"], -1), "whole number"),
        "endless steps": (change(["state", 0, "step"], np.inf), "whole number"),
        "an entry that is none": (change(["state", 0], 5), r"state\[0\]=5"),
        "a bad number": (change(["param_groups", 0, "lr"], -1.0), "lr=-1.0"),
        "a foreign number": (change(["param_groups", 0, "momentum"], 0.9), "momentum"),
        "a group without parameters": (
            change(["param_groups", 0, "params"], None),
            "no list 'params'",
        ),
        "parameters that are no list": (change(["param_groups", 0, "params"], 2), "no list"),
        "groups that are no list": (change(["param_groups"], 2), "param_groups=2 is not a list"),
        "state that is a list": (change(["state"], [1]), "not a dict"),
        "an endless count": (change(["step"], np.inf), "step=inf must be a whole number"),
        "too small a count": (change(["step"], 1), "less than 3"),
        "Adam": (change(["param_groups", 0, "decoupled_weight_decay"], False), "fastadam.Adam"),
    }


@pytest.mark.parametrize("bad", bad_states().values(), ids=bad_states())
def test_what_does_not_fit_changes_nothing(bad):
    change, message = bad
    saved = trained(tree(w=3, b=4)).state_dict()
    change(saved)
    opt = trained(tree(w=3, b=4), steps=1, lr=0.25)
    before = opt.state_dict()
    with pytest.raises((TypeError, ValueError), match=message):
        opt.load_state_dict(saved)
    after = opt.state_dict()
    assert after["param_groups"] == before["param_groups"]
    for number, entry in before["state"].items():
        for name, array in entry.items():
            np.testing.assert_array_equal(after["state"][number][name], array)


def test_the_dtype_of_the_live_state_is_kept():
    source = trained({"w": parameters(6, np.float64)})
    target = fa.AdamW({"w": parameters(6, np.float32)})
    target.load_state_dict(source.state_dict())
    state = target.state["exp_avg"][0]
    assert state.dtype == np.float32
    np.testing.assert_array_equal(state, source.state["exp_avg"][0].astype(np.float32))


def test_live_views_stay_live():
    opt = trained(tree(w=3))
    view = opt.state["exp_avg"][0]
    opt.load_state_dict(trained(tree(w=3), steps=5).state_dict())
    assert opt.state["exp_avg"][0] is view


def test_groups_stay_the_dicts_that_users_hold():
    opt = trained(tree(w=3))
    group = opt.param_groups[0]
    opt.load_state_dict(trained(tree(w=3), lr=0.5).state_dict())
    assert opt.param_groups[0] is group
    assert group["lr"] == 0.5
    group["lr"] = 0.125
    assert opt.step({"w": np.ones(3)}).lr == 0.125


def test_a_state_with_fewer_entries_forgets_the_others():
    opt = trained(tree(w=3, b=4))
    saved = opt.state_dict()
    del saved["state"][1]
    opt.load_state_dict(saved)
    assert opt.state["exp_avg"][1] is None
    opt.step({"w": np.ones(3), "b": np.ones(4)})
    assert [int(e["step"]) for e in opt.state_dict()["state"].values()] == [4, 1]


def test_the_count_of_steps_is_kept_when_parameters_take_turns():
    opt = fa.AdamW([np.ones(2), np.ones(2)], lambda step: 1 / step)
    for turn in range(6):
        opt.step([np.ones(2), None] if turn % 2 else [None, np.ones(2)])
    saved = opt.state_dict()
    assert saved["step"] == 6
    other = fa.AdamW([np.ones(2), np.ones(2)], lambda step: 1 / step)
    other.load_state_dict(saved)
    info = other.step([np.ones(2), np.ones(2)])
    assert info.step == 7
    assert info.lr == 1 / 7


@pytest.mark.parametrize("count", [2**24, 2**24 + 1, 2**53, 2**53 + 2, 2**60])
def test_long_counts_are_exact(count):
    opt = trained(tree(w=3))
    saved = opt.state_dict()
    saved["state"][0]["step"] = count
    for later in range(3):
        opt.load_state_dict(saved)
        saved = opt.state_dict()
        assert int(saved["state"][0]["step"]) == count + later
        opt.step({"w": np.ones(3)})
        saved = opt.state_dict()
    saved["state"][0]["step"] = np.array(2.0**63)
    with pytest.raises(ValueError, match="must be a whole number"):
        opt.load_state_dict(saved)


def test_amsgrad_comes_with_the_state():
    source = trained(tree(w=3), amsgrad=True)
    target = fa.AdamW(tree(w=3))
    target.load_state_dict(source.state_dict())
    assert target.param_groups[0]["amsgrad"] is True
    assert set(target.rule.state) == {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"}


def test_through_json():
    """Lists for tuples, strings for numbers and lists for arrays are what JSON makes of it."""
    opt = trained(tree(w=3))
    text = json.dumps(opt.state_dict(), default=lambda array: array.tolist())
    saved = json.loads(text)
    saved["state"] = {int(k): v for k, v in saved["state"].items()}
    other = fa.AdamW(tree(w=3))
    other.load_state_dict(saved)
    assert other.param_groups[0]["betas"] == (0.9, 0.999)
    np.testing.assert_array_equal(other.state["exp_avg"][0], opt.state["exp_avg"][0])


def test_torch_flags_are_passed_over():
    saved = trained(tree(w=3)).state_dict()
    flags = {"foreach": None, "fused": True, "capturable": False, "differentiable": False}
    saved["param_groups"][0].update(flags, initial_lr=0.5)
    opt = fa.AdamW(tree(w=3))
    opt.load_state_dict(saved)
    assert opt.param_groups[0]["initial_lr"] == 0.5
    opt.step({"w": np.ones(3)})


def test_edits_since_the_last_step_are_saved():
    opt = trained(tree(w=3))
    opt.param_groups[0]["lr"] = 0.5
    assert opt.state_dict()["param_groups"][0]["lr"] == 0.5
    opt.param_groups[0]["lr"] = 0.25
    assert copy.deepcopy(opt).param_groups[0]["lr"] == 0.25
    opt.param_groups[0]["lr"] = -1.0
    with pytest.raises(ValueError, match=r"lr=-1\.0"):
        opt.state_dict()


@pytest.mark.parametrize("flags", [(True, False), (False, True), (True, False, True)])
def test_state_of_a_flag_that_was_switched_survives(flags):
    opt = fa.AdamW({"w": parameters(3)}, amsgrad=flags[0])
    opt.step({"w": np.ones(3)})
    for flag in flags[1:]:
        opt.param_groups[0]["amsgrad"] = flag
        other = copy.deepcopy(opt)
        other.step({"w": np.ones(3)})
        opt.step({"w": np.ones(3)})
    other = fa.AdamW({"w": opt.params["w"].copy()})
    other.load_state_dict(opt.state_dict())
    for each in (opt, other):  # what was kept of the flag goes on
        each.param_groups[0]["amsgrad"] = True
        each.step({"w": np.full(3, 0.1)})
    np.testing.assert_array_equal(other.params["w"], opt.params["w"])


def test_names_that_occur_twice_are_not_trusted():
    def twice():
        return {"a.b": parameters(3), "a": {"b": parameters(3, seed=9)}}

    opt = fa.AdamW(twice())
    opt.step({"a.b": np.ones(3), "a": {"b": np.full(3, 2.0)}})
    other = fa.AdamW(twice())
    other.load_state_dict(opt.state_dict())
    for one, two in zip(opt.state["exp_avg"], other.state["exp_avg"], strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_state_of_another_optimizer_is_refused_by_its_name():
    other = fa.SGD(np.ones(3), momentum=0.9)
    other.step(np.ones(3))
    opt = fa.AdamW(np.ones(3))
    with pytest.raises(
        TypeError, match=r"state_dict, its param_groups: .*unexpected keyword 'momentum'"
    ):
        opt.load_state_dict(other.state_dict())
    opt.step(np.ones(3))
