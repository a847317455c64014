"""Steps of subsets of the parameters, and copies in arrays of the caller's."""

import copy
import threading

import numba
import numpy as np
import pytest
from tails import ml_dtypes

import fastadam as fa

SIZES = {"a": (5,), "b": (2, 3), "c": (), "d": (4,)}


@pytest.fixture(autouse=True)
def _in_plain_python(monkeypatch):
    """Small steps of many kinds: nothing is to be compiled for them."""
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)


def tree(seed, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return {name: np.asarray(rng.standard_normal(s), dtype) for name, s in SIZES.items()}


def parts(grads, names):
    return {name: grads[name] for name in names}


def same(one, other):
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


def test_hyperparameters_are_not_attributes_of_a_subset():
    opt = fa.AdamW(tree(0))
    subset = opt.subset(["a", "b"])
    with pytest.raises(AttributeError, match=r"Subset\.lr has no effect; set opt\.param_groups"):
        subset.lr = 0.1
    assert repr(subset) == "Subset of AdamW(['a', 'b'])"
    with pytest.raises(ValueError, match="no parameter 'bb'; did you mean 'b'"):
        opt.subset(["bb"])


def test_the_state_is_there_after_the_first_step_of_a_subset():
    opt, grads = fa.AdamW(tree(0)), tree(1)
    opt.subset(["a", "b"]).step(parts(grads, ["a", "b"]))
    there = [array is not None for array in opt.state["exp_avg"]]
    assert there == [True, True, False, False]


def test_subsets_with_common_parameters_share_their_state():
    params, others = tree(0), tree(0)
    opt, whole = fa.AdamW(params, lr=0.1), fa.AdamW(others, lr=0.1)
    names = (["a", "b"], ["b", "c", "d"])
    both = [opt.subset(each) for each in names]
    for seed in range(3):
        grads = tree(seed)
        for subset, each in zip(both, names, strict=True):
            subset.step(parts(grads, each))
            whole.step({name: grads[name] if name in each else None for name in grads})
    opt.subset(["a"]).step({"a": grads["a"]})  # a subset that is not kept
    opt.subset(["a"]).step({"a": grads["a"]})
    for _ in range(2):
        whole.step({name: grads[name] if name == "a" else None for name in grads})
    same(params, others)
    steps = {k: entry["step"] for k, entry in opt.state_dict()["state"].items()}
    assert steps == {0: 5, 1: 6, 2: 3, 3: 3}


CASES = [
    (fa.NAdam, {}),
    (fa.AdamW, {"clip_norm": 0.5}),
    (fa.AdamW, {"clip_norm": 0.5, "skip_nonfinite": True, "ema_decay": 0.9}),
    (fa.AdamW, {"lr": lambda step: 0.1 / step, "ema_decay": 0.9, "ema_warmup": True}),
    (fa.Lion, {"state_dtype": "int8", "min_quantized_size": 1}),
    (fa.SGD, {"lr": 0.1, "momentum": 0.9, "shadow_dtype": "bfloat16"}),
    (fa.Adagrad, {"initial_accumulator_value": 0.1}),
]


@pytest.mark.parametrize(
    ("optimizer", "kwargs"),
    CASES,
    ids=lambda value: " ".join(value) if isinstance(value, dict) else value.__name__,
)
def test_a_step_of_every_subset_is_a_step_of_all(optimizer, kwargs):
    params, others = tree(0), tree(0)
    whole, opt = optimizer(params, **kwargs), optimizer(others, **kwargs)
    subsets = {names: opt.subset([*names]) for names in ("ca", "bd")}
    for step in range(1, 6):
        grads = tree(step)
        info = whole.step(grads)
        if step == 3:
            assert opt.step(grads) == info
        else:
            norm = opt.grad_norm(grads) if "clip_norm" in kwargs else None
            for names, subset in subsets.items():
                assert subset.step(parts(grads, names), grad_norm=norm) == info
        same(others, params)
        assert opt.steps == step
    saved = whole.state_dict()
    for number, entry in opt.state_dict()["state"].items():
        same(entry, saved["state"][number])
    if whole.steps and "ema_decay" in kwargs:
        np.testing.assert_array_equal(opt.ema.buffer, whole.ema.buffer)


def test_parameters_count_their_own_steps():
    params = tree(0)
    opt = fa.AdamW([{"params": [params["a"], params["b"]]}, {"params": params["c"], "lr": 0.5}])
    subset = opt.subset([2, 0])
    for grads in ([tree(1)["c"], tree(1)["a"]], [None, tree(2)["a"]]):
        subset.step(grads)
    assert [int(entry["step"]) for entry in opt.state_dict()["state"].values()] == [2, 1]
    assert opt.steps == 2
    assert subset.step([tree(1)["c"], tree(1)["a"]], step=7).step == 7
    assert opt.steps == 7
    assert opt.state["exp_avg"][1] is None


def test_a_subset_follows_what_happens_to_the_optimizer():
    params, others = tree(0), tree(0)
    opt, whole = fa.AdamW(params), fa.AdamW(others)
    subset, rest = opt.subset(["a", "b"]), opt.subset(["c", "d"])
    saved = None
    for step in range(1, 5):
        grads = tree(step)
        if step == 3:
            for each in (opt, whole):
                each.param_groups[0]["lr"] = 0.25
                each.load_state_dict(saved)
                each.param_groups[0]["lr"] = 0.25
        whole.step(grads)
        subset.step(parts(grads, "ab"))
        rest.step(parts(grads, "cd"))
        same(params, others)
        saved = saved or copy.deepcopy(whole.state_dict())
    opt.add_param_group({"params": np.ones(2, np.float32)})
    with pytest.raises(ValueError, match="make it anew"):
        subset.step(parts(grads, "ab"))


def test_subsets_step_in_several_threads():
    params, others = tree(0), tree(0)
    opt, whole = fa.AdamW(params), fa.AdamW(others)
    errors = []

    def work(name):
        try:
            subset = opt.subset(name)
            for step in range(20):
                subset.step({name: tree(step)[name]})
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in SIZES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for step in range(20):
        whole.step(tree(step))
    assert not errors
    same(params, others)


def test_own_gradients_are_used_without_any():
    params = tree(0)
    opt = fa.SGD(params, lr=1.0)
    subset, before = opt.subset(["b"]), copy.deepcopy(params)
    with pytest.raises(ValueError, match="not been used yet"):
        subset.step()
    opt.grads.tree["b"][...] = 1
    opt.grads.tree["a"][...] = 1
    subset.step()
    same(params, before | {"b": before["b"] - 1})


def test_a_skipped_step_leaves_no_trace():
    opt = fa.AdamW(tree(0), skip_nonfinite=True)
    before = copy.deepcopy(opt.params)
    subset = opt.subset(["a"])
    info = subset.step({"a": tree(1)["a"]}, grad_norm=float("inf"))
    assert info.skipped
    assert opt.steps == 0
    same(opt.params, before)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda opt: opt.subset(["aa"]), ValueError, "did you mean 'a'"),
        (lambda opt: opt.subset([4]), ValueError, "0 to 3"),
        (lambda opt: opt.subset([0, "a"]), ValueError, "names only"),
        (lambda opt: opt.subset([]), ValueError, "at least one"),
        (lambda opt: opt.subset([1, 1]), ValueError, "each of them once"),
        (lambda opt: opt.subset(1.0), TypeError, "list of names"),
        (lambda opt: opt.subset("a").step({"b": 1}), ValueError, "keys"),
        (lambda opt: opt.subset("a").step({"a": np.ones(3, "f4")}), ValueError, "shape"),
        (lambda opt: opt.subset("a").step(tree(0)["a"]), ValueError, "a dict"),
        (
            lambda opt: opt.subset("a").step({"a": tree(0)["a"]}, grad_norm=1.0),
            ValueError,
            "give the optimizer one of them",
        ),
        (lambda opt: opt.subset("a").step({"a": tree(0)["a"]}, step=0), ValueError, "step"),
    ],
)
def test_mistakes_are_refused(wrong, error, message):
    opt = fa.AdamW(tree(0))
    before = copy.deepcopy(opt.params)
    with pytest.raises(error, match=message):
        wrong(opt)
    same(opt.params, before)


def test_options_for_all_parameters_together_are_refused():
    with pytest.raises(ValueError, match="accumulate_steps=2"):
        fa.AdamW(tree(0), accumulate_steps=2).subset("a")
    opt = fa.AdamW(tree(0), clip_norm=1.0, clip_norm_per="tensor")
    with pytest.raises(ValueError, match="each by its own"):
        opt.subset("a").step({"a": tree(0)["a"]}, grad_norm=1.0)


# Copies in arrays of the caller's


def test_copies_are_written_into_the_arrays_that_were_given():
    params = tree(0)
    kept = {
        "a": np.zeros(5, ml_dtypes.bfloat16),
        "b": np.zeros((2, 3), np.float16),
        "c": np.zeros((), np.float32),
        "d": None,
    }
    opt = fa.AdamW(params, lr=0.5, shadow=kept, ema_decay=0.5)
    assert opt.shadow["a"] is kept["a"]

    def check(values):
        for name, array in kept.items():
            if array is not None:
                np.testing.assert_array_equal(array, values[name].astype(array.dtype))

    check(params)
    for step in range(3):
        opt.step(tree(step))
        check(params)
    with opt.swap_ema():
        check(params)
    check(params)
    saved = opt.state_dict()
    opt.subset("a").step({"a": tree(1)["a"]})
    check(params)
    opt.load_state_dict(saved)
    twin = copy.deepcopy(opt)
    assert twin.shadow["a"] is not kept["a"]
    twin.step(tree(3))
    check(params)


def test_copies_belong_to_groups():
    params = tree(0)
    opt = fa.SGD(
        [
            {"params": {"a": params["a"]}, "shadow": {"a": np.empty(5, np.float16)}},
            {"params": params["b"]},
        ],
        lr=0.5,
    )
    opt.step([tree(1)["a"], tree(1)["b"]])
    np.testing.assert_array_equal(opt.shadow[0], params["a"].astype(np.float16))
    assert opt.shadow[1] is None
    assert "shadow" not in opt.param_groups[0]
    assert opt.memory().shadow == 10


@pytest.mark.parametrize(
    ("shadow", "kwargs", "error", "message"),
    [
        (lambda p: p, {}, ValueError, "the same memory"),
        (lambda p: np.zeros(3, np.float32), {}, ValueError, "shape"),
        (lambda p: np.zeros(5), {}, TypeError, "float64"),
        (lambda p: [np.zeros(5, np.float32)], {}, TypeError, "not a NumPy array"),
        (lambda p: np.zeros(5, np.float16), {"shadow_dtype": "float16"}, ValueError, "one of them"),
    ],
)
def test_arrays_that_cannot_hold_copies_are_refused(shadow, kwargs, error, message):
    param = tree(0)["a"]
    with pytest.raises(error, match=message):
        fa.SGD(param, lr=0.5, shadow=shadow(param), **kwargs)


def test_copies_are_of_float32_parameters():
    with pytest.raises(TypeError, match="float32 parameters"):
        fa.SGD(np.ones(2), lr=0.5, shadow=np.ones(2, np.float32))
    with pytest.raises(ValueError, match="put it into the groups"):
        fa.SGD([{"params": np.ones(2, "f4")}], lr=0.5, shadow=[np.ones(2, "f4")])
