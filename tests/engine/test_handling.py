"""Everyday mistakes in handling an optimizer: groups, attributes, state, classes."""

import copy
import pickle

import numpy as np
import pytest
from tails import ml_dtypes

import fastadam as fa


def w():
    return np.ones(2)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"params": [w()], "lr": 0.1},
            r"params looks like a parameter group; .*list: \[\{'params'",
        ),
        ({"params": [w()], "lr": w()}, "params looks like a parameter group"),
        ([{"param": [w()], "lr": 0.1}], r"params\[0\] looks.*without the key 'params'.*'param'"),
        ([{"weights": [w()], "betas": (0.9, 0.99)}], r"params\[0\] looks.*without.*'weights'"),
        ([{"params": [w()]}, {"param": [w()]}], r"params\[1\] looks.*without the key 'params'"),
        ([{"params": [w()], "lr": 0.1}, w()], r"params\[0\] looks like.*params\[1\] is not"),
        ([w(), {"params": [w()], "lr": abs}], r"params\[1\] looks like.*params\[0\] is not"),
    ],
)
def test_what_was_meant_to_be_groups(params, message):
    with pytest.raises(TypeError, match=message):
        fa.AdamW(params)


def test_trees_with_names_of_hyperparameters():
    fa.AdamW({"params": {"w": w()}, "batch_stats": w()})
    fa.AdamW({"lr": w(), "eps": [w()]})
    opt = fa.AdamW(w())
    for group in ({"param": w()}, w(), [w()]):
        with pytest.raises(TypeError, match="a parameter group is a dict with 'params'"):
            opt.add_param_group(group)


@pytest.mark.parametrize("grads", [{"w": w()}, [{"w": w()}], [{"w": w()}, [w()]]])
def test_gradients_in_the_form_of_groups(grads):
    opt = fa.SGD([{"params": {"w": w()}}])
    with pytest.raises((TypeError, ValueError), match=r"with groups.* one flat list over all"):
        opt.step(grads)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lr", r"set opt\.param_groups\[0\]\['lr'\]"),
        ("betas", r"set opt\.param_groups\[0\]\['betas'\]"),
        ("learning_rate", r"set opt\.param_groups\[0\]\['lr'\]"),
        ("clip_norm", "argument of the constructor"),
        ("accumulate_steps", "argument of the constructor"),
        ("params", "write into the arrays"),
        ("param_groups", "edit the dicts"),
        ("grads", r"to step\(\)"),
        ("ema", "write into"),
        ("state", "load_state_dict"),
        ("steps", "load_state_dict sets it"),
        ("info", "the last step returned"),
        ("rule", "make a subclass"),
    ],
)
def test_attributes_that_nobody_would_read(name, message):
    class Mine(fa.AdamW):
        def __init__(self, params):
            self.note = 1
            super().__init__(params)
            self.other = 2

    opt = Mine(w())
    with pytest.raises(AttributeError, match=message):
        setattr(opt, name, 0.5)
    assert (opt.note, copy.deepcopy(opt).other) == (1, 2)


def test_assignments_to_the_state():
    opt = fa.AdamW(w())
    opt.step(w())

    def longer():
        opt.state["exp_avg"] += [w()]

    for change in (
        lambda: opt.state.update(exp_avg=[w()]),
        lambda: opt.state.__setitem__("exp_avg", [w()]),
        lambda: opt.state["exp_avg"].__setitem__(0, w()),
        lambda: opt.state["exp_avg"].append(w()),
        longer,
    ):
        with pytest.raises(TypeError, match=r"opt\.state\['exp_avg'\]\[0\]\[\.\.\.\] = value"):
            change()
    opt.state["exp_avg"][0][...] = 7
    for again in (copy.deepcopy(opt.state), pickle.loads(pickle.dumps(opt.state))):
        again["exp_avg"][0] = again["exp_avg"][0].tolist()
        assert again["exp_avg"] == [[7, 7]]


def test_the_state_by_the_names_of_parameters():
    opt = fa.AdamW({"w": w(), "layers": [{"b": w()}]})
    assert opt.state["exp_avg"]["w"] is None
    opt.step({"w": w(), "layers": [{"b": w()}]})
    average = opt.state["exp_avg"]
    assert average["w"] is average[0]
    assert average["layers.0.b"] is average[1] is average[-1]
    assert average["layers"][0]["b"] is average[1]
    assert average[:1][0] is average[0]
    for change in (
        lambda: average["layers"].append(w()),
        lambda: average["layers"][0].update(b=w()),
    ):
        with pytest.raises(AttributeError):
            change()
    for name, key, message in (
        ("exp_avg", "v", r"no 'v'; it has \['w', 'layers'\] and numbers"),
        ("exp_avgs", 0, "did you mean 'exp_avg'"),
    ):
        with pytest.raises(KeyError, match=message):
            opt.state[name][key]
    groups = fa.AdamW([{"params": {"w": w(), "v": w()}}, {"params": {"w": w(), "b": w()}}])
    groups.step([w()] * 4)
    assert groups.state["exp_avg"]["b"] is groups.state["exp_avg"][3]
    with pytest.raises(KeyError):
        groups.state["exp_avg"]["w"]


def test_the_count_of_steps_and_what_the_last_one_reported():
    opt = fa.SGD(w(), skip_nonfinite=True)
    assert (opt.steps, opt.info) == (0, None)
    for grad in (w(), w() * np.nan):
        assert opt.step(grad) is opt.info
    assert (opt.steps, opt.info.step, opt.info.skipped) == (1, 1, True)
    again = copy.deepcopy(opt)
    assert (again.steps, again.info) == (1, None)


def test_a_copy_over_the_same_arrays():
    with pytest.raises(TypeError, match=r"take copy\.deepcopy"):
        copy.copy(fa.SGD(w()))


@pytest.mark.parametrize(
    "use",
    [
        lambda opt: opt.step(w()),
        lambda opt: opt.state_dict(),
        lambda opt: opt.load_state_dict({}),
        lambda opt: opt.add_param_group({"params": w()}),
        copy.deepcopy,
    ],
)
def test_a_group_without_its_parameters(use):
    for change in (lambda group: group.pop("params"), dict.clear):
        opt = fa.SGD(w())
        change(opt.param_groups[0])
        opt.param_groups[0].update()
        with pytest.raises(ValueError, match="'params' is missing"):
            use(opt)


def test_classes_that_are_no_optimizers():
    for make in (
        lambda: fa.Optimizer(w()),
        lambda: fa.functional.bare(fa.Optimizer),
        lambda: fa.plan(10, fa.Optimizer),
        lambda: fa.warmup(fa.Optimizer),
    ):
        with pytest.raises(TypeError, match=r"not? .*optimizer|defines none"):
            make()
    for name, value in (("defaults", None), ("defaults", {1: 2}), ("carried", ["a"])):
        with pytest.raises(TypeError, match=f"{name} is .*give a dict"):
            type("Bad", (fa.SGD,), {name: value})


def test_master_weights_while_the_average_is_in_their_place():
    opt = fa.SGD(w(), ema_decay=0.5)
    with opt.swap_ema(), pytest.raises(RuntimeError, match="swap_ema"):
        opt.master()


def test_the_time_of_many_groups_is_linear():
    def looks(count):
        made = []
        arrays = [np.ones(1).view(Counted) for _ in range(count)]
        Counted.seen = made
        fa.SGD([{"params": [array]} for array in arrays])
        return len(made)

    assert looks(200) <= 2.2 * looks(100)


class Counted(np.ndarray):
    """An array that counts how often it is asked for its memory."""

    seen = []

    @property
    def __array_interface__(self):
        self.seen.append(1)
        return self.view(np.ndarray).__array_interface__


def test_views_of_the_state_of_others_are_loaded_as_they_were():
    opt = fa.SGD([w(), w()], momentum=0.9, ema_decay=0.5, accumulate_steps=3)
    for number in range(5):
        opt.step([w() * number, w() * -number])
    saved, before = opt.state_dict(copy=False), opt.state_dict()
    for part in (saved["state"], saved["ema"], saved["accumulated"]["grads"]):
        part[0], part[1] = part[1], part[0]
    saved["state"][0]["momentum_buffer"] = saved["state"][0]["momentum_buffer"][::-1]
    opt.load_state_dict(saved)
    after = opt.state_dict()
    for part in (lambda s: s["ema"], lambda s: s["accumulated"]["grads"]):
        assert [part(after)[k].tolist() for k in (0, 1)] == [
            part(before)[k].tolist() for k in (1, 0)
        ]
    moments = [after["state"][k]["momentum_buffer"].tolist() for k in (0, 1)]
    assert moments == [before["state"][k]["momentum_buffer"].tolist() for k in (1, 0)]
    saved["accumulated"]["count"] = True
    with pytest.raises(TypeError, match="count=True must be a whole number"):
        opt.load_state_dict(saved)


def test_bfloat16_from_files_that_lose_its_name():
    def opt():
        options = {"compensation": "kahan", "state_dtype": "bfloat16", "ema_decay": 0.5}
        return fa.SGD(np.ones(3, ml_dtypes.bfloat16), lr=0.3, momentum=0.9, **options)

    def nameless(array):
        return array.view("V2") if array.dtype == ml_dtypes.bfloat16 else array

    trained, other = opt(), opt()
    trained.step(np.arange(3).astype(ml_dtypes.bfloat16))
    saved = trained.state_dict()
    saved["state"][0] = {name: nameless(array) for name, array in saved["state"][0].items()}
    assert saved["state"][0]["momentum_buffer"].dtype == "V2"
    other.load_state_dict(saved)
    for name, (array,) in trained.state.items():
        np.testing.assert_array_equal(other.state[name][0], array)
    for bad in (np.ones(3, "V4"), np.ma.ones(3)):
        saved["state"][0]["momentum_buffer"] = bad
        with pytest.raises(TypeError, match="momentum_buffer"):
            other.load_state_dict(saved)


PLAIN, LARGE = {"weight_decay": 0}, {"lr": 0.2}
NETWORK = {"fc": [{"weight": np.ones((2, 2)), "bias": w()}], "norm": {"weight": w()}, "b": w()}
WEIGHT, BIAS, NORM, B = "fc.0.weight", "fc.0.bias", "norm.weight", "b"


def half_a_layer(name):
    return {"lr": 0.5 ** name.count("."), "betas": [0.9, 0.99]}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, [([WEIGHT, BIAS, NORM, B], {})]),
        ({"*.bias": PLAIN, "norm*": PLAIN | {}}, [([WEIGHT, B], {}), ([BIAS, NORM], PLAIN)]),
        (
            {"*": {"lr": 0.1}, "*.weigh[st]": PLAIN, "norm.*": LARGE},  # later ones take precedence
            [
                ([WEIGHT], {"lr": 0.1} | PLAIN),
                ([BIAS, B], {"lr": 0.1}),
                ([NORM], LARGE | PLAIN),
            ],
        ),
        (
            lambda name: PLAIN if "bias" in name else None,
            [([WEIGHT, NORM, B], {}), ([BIAS], PLAIN)],
        ),
        (
            half_a_layer,
            [([WEIGHT, BIAS], half_a_layer(WEIGHT)), *(([k], half_a_layer(k)) for k in (NORM, B))],
        ),
        (
            lambda name: {"betas": np.ones(2) * 0.9},  # arrays are equal to themselves only
            [([name], None) for name in (WEIGHT, BIAS, NORM, B)],
        ),
    ],
)
def test_groups_by_name(rules, expected):
    arrays = dict(zip((WEIGHT, BIAS, NORM, B), fa.flatten(NETWORK).leaves, strict=True))
    pairs = fa.by_name(iter(arrays.items()), rules)
    for groups in (pairs, fa.by_name(NETWORK, rules), fa.by_name(fa.flatten(NETWORK), rules)):
        assert [group["param_names"] for group in groups] == [names for names, _ in expected]
        for group, (_, settings) in zip(groups, expected, strict=True):
            assert settings is None or {k: group[k] for k in list(group)[2:]} == settings
    assert all(p is arrays[n] for g in pairs for p, n in zip(*list(g.values())[:2], strict=True))


@pytest.mark.usefixtures("in_plain_python")
def test_a_step_of_groups_by_name():
    rules = {"*bias": PLAIN, "norm*": LARGE | PLAIN}
    one, other = copy.deepcopy(NETWORK), copy.deepcopy(NETWORK)
    grads = fa.flatten(NETWORK).zeros_like()
    grads.buffer[:] = np.arange(grads.buffer.size)
    ordered = [g for group in fa.by_name(grads, rules) for g in group["params"]]
    opt = fa.AdamW(fa.by_name(one, rules), lr=0.1, weight_decay=0.5)
    opt.step(ordered)
    (layer,), norm = other["fc"], other["norm"]["weight"]
    for k, array in enumerate((layer["weight"], layer["bias"], norm, other["b"])):
        settings = {"lr": 0.2 if k == 2 else 0.1, "weight_decay": 0.5 if k in (0, 3) else 0}
        fa.AdamW(array, **settings).step(grads.leaves[k])
    np.testing.assert_array_equal(fa.flatten(one).buffer, fa.flatten(other).buffer)
    with pytest.raises(TypeError, match=r"param_groups\[1\].*'decay'"):
        fa.AdamW(fa.by_name(NETWORK, {"b": {"decay": 0}}))
    mask, names = fa.flatten(NETWORK), (WEIGHT, BIAS, NORM, B)
    mask = {name: np.ones(leaf.shape, bool) for name, leaf in zip(names, mask.leaves, strict=True)}
    for given in (grads, grads.tree, dict(zip(names, grads.leaves, strict=True))):
        for options in ({}, {"mask": mask}):
            again = copy.deepcopy(NETWORK)
            fa.AdamW(fa.by_name(again, rules), lr=0.1, weight_decay=0.5).step(given, **options)
            np.testing.assert_array_equal(fa.flatten(one).buffer, fa.flatten(again).buffer)
    again = copy.deepcopy(NETWORK)
    fa.SGD(fa.by_name(again, {"*bias": PLAIN}), lr=1.0).step(target=fa.flatten(one))
    # p - (p - target) in float32: some last bits, 6e-8 each
    np.testing.assert_allclose(fa.flatten(again).buffer, fa.flatten(one).buffer, rtol=1e-6)
    with pytest.raises(ValueError, match=r"missing \['norm.weight'\], unknown \['norm.w'\]"):
        opt.step({**grads.tree, "norm": {"w": None}})


NO_NAMES = r"has no names; give a dict of arrays.*pairs of a name.*model\.named_parameters\(\)"


@pytest.mark.parametrize(
    ("params", "rules", "kind", "message"),
    [
        (w(), {}, TypeError, NO_NAMES),
        ([w(), w()], {}, TypeError, NO_NAMES),
        ([NETWORK], {}, TypeError, NO_NAMES),
        (3, {}, TypeError, NO_NAMES),
        ({}, {}, ValueError, "contains no arrays"),
        ({"a.b": w(), "a": {"b": w()}}, {}, ValueError, "two parameters are named 'a.b'"),
        (
            NETWORK,
            {"*norn*": PLAIN},
            ValueError,
            r"'\*norn\*' matches.*did you mean '\*norm\*'\? The",
        ),
        (
            NETWORK,
            {"*.biass": PLAIN},
            ValueError,
            r"did you mean '\*\.bias'\? The parameters are fc",
        ),
        (NETWORK, {"bias": PLAIN}, ValueError, r"did you mean '\*bias\*'\?"),
        (
            NETWORK,
            {"zzz*": PLAIN},
            ValueError,
            r"parameter; the parameters are fc\.0\.weight, .*b$",
        ),
        (dict.fromkeys("abcdefghij", w()), {"z": {}}, ValueError, "a, b, .*, h and 2 more$"),
        (NETWORK, {"*": 0.1}, TypeError, r"rules\['\*'\] is 0.1; give a dict"),
        (NETWORK, lambda name: 0.1, TypeError, r"rules\('fc\.0\.weight'\) is 0.1; give a dict"),
        (NETWORK, {"*": {"params": []}}, ValueError, r"rules\['\*'\] sets 'params'.*leave it out"),
        (NETWORK, {0: PLAIN}, TypeError, "the key 0, which is not a string"),
        (NETWORK, ["*"], TypeError, "neither a dict nor a function"),
    ],
)
def test_mistakes_in_groups_by_name(params, rules, kind, message):
    with pytest.raises(kind, match=message):
        fa.by_name(params, rules)
