"""The tail of a training step: unscaling, skipping, averages, copies, clearing, accumulation."""

import copy
import itertools
import math
import pickle
import sys
from contextlib import suppress

import numpy as np
import oracles
import pytest
from cases import DEFAULTS, gradients, parameters
from heavy_ball import HeavyBall

import fastadam as fa
from fastadam.kernels.codecs import float32_to_bfloat16, float32_to_float16

ml_dtypes = pytest.importorskip("ml_dtypes")
SHAPES = ((3, 50), (), (0, 4), (25_000,), (1025,))
each_default = pytest.mark.parametrize("case", DEFAULTS, ids=lambda case: case.id)


def arrays(seed, dtype=np.float32, scale=1.0):
    rng = np.random.default_rng(seed)
    return [np.asarray(scale * rng.standard_normal(shape), dtype) for shape in SHAPES]


def rounded(array, dtype):
    return array.astype(dtype).view(np.uint16)


def same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


# All of it, against a reference


class Reference:
    """The tail in float64 NumPy, around the oracles: gradients that count are gathered, and an
    oracle starts from the first one each time."""

    def __init__(self, oracle, params, hyper, options):
        self.oracle, self.start, self.hyper = oracle, [np.float64(p) for p in params], hyper
        self.clip, self.skip = options.get("clip_norm"), options.get("skip_nonfinite", False)
        self.decay = options.get("ema_decay", 0.0)
        self.each = options.get("accumulate_steps", 1)
        self.window, self.used = [], [[] for _ in params]
        self.params, self.ema = self.start, self.start

    def step(self, grads, grad_scale=1.0):
        if self.skip and not all(np.isfinite(grad).all() for grad in grads):
            return
        self.window.append([np.float64(grad) / grad_scale for grad in grads])
        if len(self.window) < self.each:
            return
        mean = [sum(parts) / self.each for parts in zip(*self.window, strict=True)]
        self.window = []
        if self.clip is not None:
            norm = math.sqrt(sum(np.sum(grad**2) for grad in mean))
            mean = [grad * min(1.0, self.clip / (norm + 1e-6)) for grad in mean]
        for used, grad in zip(self.used, mean, strict=True):
            used.append(grad)
        self.params = [
            self.oracle(start, used, **self.hyper)[0]
            for start, used in zip(self.start, self.used, strict=True)
        ]
        self.ema = [
            ema + (1 - self.decay) * (param - ema)
            for ema, param in zip(self.ema, self.params, strict=True)
        ]


SWITCHES = {
    "clip_norm": 2.0,
    "skip_nonfinite": True,
    "ema_decay": 0.9,
    "shadow_dtype": "bfloat16",
    "zero_grads": True,
    "accumulate_steps": 2,
    "grad_scale": 8.0,
}
RULES = {
    "AdamW": (fa.AdamW, oracles.adamw, {"lr": 1e-2}),
    "SGD": (fa.SGD, oracles.sgd, {"lr": 1e-2, "momentum": 0.9}),
    "Lion": (fa.Lion, oracles.lion, {"lr": 1e-2}),
}


def covering():
    """Rows of on and off in which every pair of switches, and of switch and rule, meets."""
    names = [*SWITCHES]
    rows = [(rule, {*names}) for rule in RULES] + [(rule, set()) for rule in RULES]
    wanted = {
        (a, x, b, y)
        for a, b in itertools.combinations(names, 2)
        for x, y in itertools.product((True, False), repeat=2)
    } | {(rule, True, name, x) for rule in RULES for name in names for x in (True, False)}

    def met(row):
        rule, on = row
        values = [(name, name in on) for name in names]
        pairs = {(*one, *other) for one, other in itertools.combinations(values, 2)}
        return pairs | {(rule, True, *value) for value in values}

    for row in rows:
        wanted -= met(row)
    rng = np.random.default_rng(0)
    while wanted:
        tries = [
            (rng.choice([*RULES]), {n for n in names if rng.random() < 0.5}) for _ in range(50)
        ]
        best = max(tries, key=lambda row: len(met(row) & wanted))
        if met(best) & wanted:
            rows.append(best)
            wanted -= met(best)
    return rows


ROWS = covering()


@pytest.mark.parametrize(
    ("rule", "on"), ROWS, ids=[f"{rule}-{'+'.join(sorted(on)) or 'none'}" for rule, on in ROWS]
)
def test_switches_in_pairs(rule, on):
    """Against the reference, flat and in place, for one thread and for three."""
    optimizer, oracle, hyper = RULES[rule]
    options = {name: value for name, value in SWITCHES.items() if name in on}
    keyword = {"grad_scale": options.pop("grad_scale")} if "grad_scale" in options else {}
    params, single, flat = arrays(0), arrays(0), fa.flatten(arrays(0))
    reference = Reference(oracle, params, hyper, options)
    opts = [
        optimizer(params, **hyper, **options, threads=3),
        optimizer(single, **hyper, **options, threads=1),
        optimizer(flat, **hyper, **options),
    ]
    for step in range(6):
        grads = arrays(step + 1, scale=8.0)
        if "skip_nonfinite" in options and step in (1, 4):
            grads[3][17] = np.nan if step == 1 else -np.inf
        reference.step(grads, **keyword)
        infos = []
        for opt in opts:
            given = copy.deepcopy(grads)
            infos.append(opt.step(given, **keyword))
            same(given, [np.zeros_like(g) for g in grads] if "zero_grads" in on else grads)
        assert str(infos[0]) == str(infos[1]) == str(infos[2])  # a NaN norm is not itself
    same(params, single)
    same(params, flat.leaves)
    # float32, six roundings of the parameter, and of updates of 1e-2
    for param, want in zip(params, reference.params, strict=True):
        np.testing.assert_allclose(param, want, rtol=1e-5, atol=1e-6)
    if "ema_decay" in options:
        for ema, want in zip(opts[0].ema.leaves, reference.ema, strict=True):
            np.testing.assert_allclose(ema, want, rtol=1e-5, atol=1e-6)
        same(opts[0].ema.leaves, opts[2].ema.leaves)
    if "shadow_dtype" in options:
        for opt in opts:
            for shadow, param in zip(opt.shadow.leaves, params, strict=True):
                np.testing.assert_array_equal(
                    shadow.view(np.uint16), rounded(param, ml_dtypes.bfloat16)
                )


def test_the_sequence_of_torch():
    torch = pytest.importorskip("torch")
    params = arrays(0)
    theirs = [torch.nn.Parameter(torch.from_numpy(param.copy())) for param in params]
    averages = [param.detach().clone() for param in theirs]
    reference = torch.optim.AdamW(theirs, lr=1e-2)
    opt = fa.AdamW(params, lr=1e-2, clip_norm=1.0, ema_decay=0.9, shadow_dtype="bfloat16")
    for step in range(10):
        grads = arrays(step + 1, scale=16.0)
        for param, grad in zip(theirs, grads, strict=True):
            param.grad = torch.from_numpy(grad.copy())
        torch._foreach_mul_([param.grad for param in theirs], 1 / 16)
        norm = torch.nn.utils.clip_grad_norm_(theirs, 1.0)
        reference.step()
        torch._foreach_lerp_(averages, [param.detach() for param in theirs], 0.1)
        info = opt.step(grads, grad_scale=16.0)
        assert info.grad_norm == pytest.approx(float(norm), rel=1e-5)
    for ours, want in zip(params, theirs, strict=True):
        np.testing.assert_allclose(ours, want.detach().numpy(), rtol=1e-4, atol=1e-6)
    for ours, want in zip(opt.ema.leaves, averages, strict=True):
        np.testing.assert_allclose(ours, want.numpy(), rtol=1e-4, atol=1e-6)
    for ours, param in zip(opt.shadow.leaves, params, strict=True):
        want = torch.from_numpy(param).bfloat16().view(torch.int16).numpy()
        np.testing.assert_array_equal(ours.view(np.int16), want)


@each_default
def test_every_rule_takes_every_option(case):
    param, grads = parameters(60, np.float32), gradients(60, 4, np.float32)
    plain = param.copy()
    opt = case.optimizer(
        param,
        clip_norm=math.inf,
        skip_nonfinite=True,
        ema_decay=0.5,
        shadow_dtype="float16",
        zero_grads=True,
    )
    alone, want = case.optimizer(plain), plain.copy()
    for grad in grads:
        alone.step(grad)
        want = want + np.float32(0.5) * (plain - want)
        opt.step(grad * 4, grad_scale=4.0)
    np.testing.assert_array_equal(param, plain)  # a power of two is exact
    np.testing.assert_array_equal(opt.ema.leaves[0], want)
    np.testing.assert_array_equal(opt.shadow.buffer.view(np.uint16), rounded(param, np.float16))


# Scale and skip


def test_a_scale_that_comes_and_goes():
    param, plain = np.ones(3, np.float32), np.ones(3, np.float32)
    opt, alone = fa.AdamW(param), fa.AdamW(plain)
    for scale in (None, 2.0, None, np.float32(0.25), 65536):
        grad = plain * np.float32(scale or 1)
        opt.step(grad, grad_scale=scale)
        alone.step(plain.copy())
    np.testing.assert_array_equal(param, plain)


@pytest.mark.parametrize(
    ("scale", "error"),
    [
        (0.0, ValueError),
        (-1.0, ValueError),
        (math.nan, ValueError),
        (math.inf, ValueError),
        ("2", TypeError),
        ([1.0, 2.0], TypeError),
    ],
)
def test_a_bad_scale_is_refused(scale, error):
    param = np.ones(3)
    with pytest.raises(error, match="grad_scale"):
        fa.AdamW(param).step(np.ones(3), grad_scale=scale)
    assert param.tolist() == [1, 1, 1]


def everything(params, **more):
    options = {"ema_decay": 0.9, "shadow_dtype": "float16", "accumulate_steps": 2, **more}
    return fa.AdamW(params, lr=fa.schedules.linear(0.1, end=0.0, steps=10), **options)


def trace(opt):
    """All that a step could change."""
    numbers = pickle.dumps((opt.params, opt.state, opt.state_dict()))
    return numbers, opt.ema.buffer.copy(), opt.shadow.buffer.copy(), repr(opt)


@pytest.mark.parametrize("after", [0, 1, 2, 3])
@pytest.mark.parametrize("way", ["nan", "inf", "found_inf"])
def test_a_skipped_step_leaves_no_trace(after, way):
    opt = everything(arrays(0), skip_nonfinite=True)
    for step in range(after):
        opt.step(arrays(step + 1))
    before = trace(opt)
    grads = arrays(9)
    if way != "found_inf":
        grads[3][1] = float(way)
    info = opt.step(grads, found_inf=way == "found_inf")
    assert (info.step, info.skipped, info.updated) == (after // 2, True, False)
    for old, new in zip(before, trace(opt), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_step_that_is_skipped_first_creates_no_state():
    opt = fa.AdamW(np.ones(2), skip_nonfinite=True)
    assert opt.step(np.array([1.0, np.nan])).grad_norm is not None
    assert opt.state["exp_avg"] == [None]
    assert opt.state_dict()["state"] == {}


@pytest.mark.parametrize(("dtype", "large"), [(np.float32, 3e38), (np.float64, 1e300)])
def test_large_gradients_are_finite(dtype, large):
    param = np.ones(3, dtype)
    info = fa.SGD(param, lr=0.0, skip_nonfinite=True).step(np.full(3, large, dtype))
    assert not info.skipped
    assert info.updated


def test_without_the_option_nothing_is_skipped():
    param = np.ones(2)
    info = fa.AdamW(param).step(np.array([1.0, np.nan]))
    assert not info.skipped
    assert np.isnan(param[1])


# Clearing


def test_cleared_gradients_are_those_given():
    params, grads = arrays(0), arrays(1)
    opt = fa.AdamW(params, zero_grads=True)
    opt.step([grads[0], None, *grads[2:]])
    assert not grads[0].any()
    assert grads[1] == arrays(1)[1]
    flat = fa.flatten(arrays(0))
    opt = fa.AdamW(flat, zero_grads=True)
    opt.grads.buffer[:] = 1
    opt.step()
    assert not opt.grads.buffer.any()
    opt.grads.buffer[:] = 1
    opt.step(found_inf=True)
    assert not opt.grads.buffer.any()


def test_gradients_that_cannot_be_cleared_are_refused():
    params = [np.ones(3), np.ones(3)]
    opt = fa.AdamW(params, zero_grads=True)
    shared = np.ones(3)
    with pytest.raises(ValueError, match=r"grads\[0\] and grads\[1\] are the same memory"):
        opt.step([shared, shared])
    fixed = np.ones(3)
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match=r"grads\[1\] is read-only"):
        opt.step([shared, fixed])
    assert all((param == 1).all() for param in params)
    assert (shared == 1).all()


# Averages


def test_the_average_has_the_bits_of_its_formula():
    param = parameters(40, np.float32)
    opt = fa.SGD(param, lr=0.1, ema_decay=0.99)
    want = param.copy()
    np.testing.assert_array_equal(opt.ema.buffer, want)
    for grad in gradients(40, 5, np.float32):
        opt.step(grad)
        want = want + np.float32(1 - 0.99) * (param - want)
        np.testing.assert_array_equal(opt.ema.buffer, want)


def test_the_average_may_warm_up():
    param = np.zeros(1)
    opt = fa.SGD(param, lr=1.0, ema_decay=0.5, ema_warmup=True)
    want = 0.0
    for step in range(1, 15):
        opt.step(np.array([-1.0]))
        want += (1 - min(0.5, (1 + step) / (10 + step))) * (param[0] - want)
        assert opt.ema.buffer[0] == pytest.approx(want, rel=1e-15)


def test_the_average_has_the_structure_of_the_parameters():
    tree = {"w": np.ones((2, 3), np.float32), "b": [np.zeros(3, np.float32)]}
    opt = fa.AdamW(tree, ema_decay=0.9)
    assert opt.ema.tree["w"].shape == (2, 3)
    assert opt.ema.tree["b"][0].dtype == np.float32


def test_a_missing_gradient_leaves_the_average_alone():
    opt = fa.SGD([np.zeros(2), np.zeros(2)], lr=1.0, ema_decay=0.5)
    opt.step([np.ones(2), np.ones(2)])
    opt.step([np.ones(2), None])
    assert [leaf[0] for leaf in opt.ema.leaves] == [-1.25, -0.5]


def test_masked_elements_are_averaged_where_they_are():
    param = np.zeros(2)
    opt = fa.SGD(param, lr=1.0, ema_decay=0.5)
    opt.step(np.ones(2))
    opt.step(np.ones(2), mask=np.array([True, False]))
    assert opt.ema.buffer.tolist() == [-1.25, -0.75]


def test_parameters_and_average_change_places():
    params = arrays(0)
    opt = fa.AdamW(params, ema_decay=0.9, shadow_dtype="bfloat16")
    for step in range(3):
        opt.step(arrays(step + 1))
    kept, averages = copy.deepcopy(params), [leaf.copy() for leaf in opt.ema.leaves]
    with suppress(KeyError), opt.swap_ema():
        same(params, averages)
        same(opt.ema.leaves, kept)
        for shadow, average in zip(opt.shadow.leaves, averages, strict=True):
            np.testing.assert_array_equal(
                shadow.view(np.uint16), rounded(average, ml_dtypes.bfloat16)
            )
        for wrong in (
            lambda: opt.step(arrays(1)),
            opt.state_dict,
            lambda: opt.load_state_dict({}),
            lambda: opt.add_param_group({"params": np.ones(2, np.float32)}),
            lambda: pickle.dumps(opt),
            lambda: opt.swap_ema().__enter__(),
        ):
            with pytest.raises(RuntimeError, match="swap_ema"):
                wrong()
        raise KeyError
    same(params, kept)
    same(opt.ema.leaves, averages)
    opt.step(arrays(5))


def test_new_groups_are_averaged_from_where_they_are():
    opt = fa.SGD(np.zeros(2), lr=1.0, ema_decay=0.5, accumulate_steps=2)
    for _ in range(3):
        opt.step(np.ones(2))
    opt.add_param_group({"params": np.full(3, 7.0)})
    assert [leaf.tolist() for leaf in opt.ema.leaves] == [[-0.5, -0.5], [7, 7, 7]]
    opt.step([np.ones(2), np.ones(3)])
    assert [leaf.tolist() for leaf in opt.ema.leaves] == [[-1.25, -1.25], [6.75] * 3]


@pytest.mark.parametrize("name", ["ema", "shadow"])
def test_what_was_not_asked_for_is_not_there(name):
    opt = fa.AdamW(np.ones(2, np.float32))
    assert not hasattr(opt, name)
    with pytest.raises(AttributeError, match=name):
        getattr(opt, name)
    with pytest.raises(AttributeError, match="ema_decay"), opt.swap_ema():
        pass


# Copies in low precision


def test_codes_of_all_kinds_of_numbers():
    bits = np.arange(0, 2**32, 65_521, dtype=np.uint64).astype(np.uint32)
    special = np.array([0, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000, 1, 0x477FF000], "u4")
    halfway = (np.arange(0x30000000, 0x49000000, 1 << 15) | 0x8000).astype(np.uint32)
    for value in np.concatenate([bits, special, halfway]).view(np.float32)[::5]:
        for encode, dtype in (
            (float32_to_bfloat16, ml_dtypes.bfloat16),
            (float32_to_float16, np.float16),
        ):
            with np.errstate(all="ignore"):
                code, want = encode(value), value.astype(dtype)
            if np.isnan(value):
                assert np.isnan(np.uint16(code).view(dtype))
            else:
                assert code == want.view(np.uint16)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_shadow_is_there_from_the_start_and_follows_what_is_loaded(dtype):
    flat = fa.flatten({"w": parameters((3, 3), np.float32)})
    opt = fa.AdamW(flat, shadow_dtype=dtype)
    kind = opt.shadow.tree["w"].dtype
    assert kind.name == dtype
    np.testing.assert_array_equal(opt.shadow.buffer.view(np.uint16), rounded(flat.buffer, kind))
    flat.buffer[:] = 1e6  # too large for float16
    with np.errstate(all="ignore"):
        opt.load_state_dict(opt.state_dict())
        np.testing.assert_array_equal(opt.shadow.buffer.view(np.uint16), rounded(flat.buffer, kind))


def test_bfloat16_without_ml_dtypes_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match=r"fastadam\[bfloat16\]"):
        fa.AdamW(np.ones(2, np.float32), shadow_dtype="bfloat16")


# Accumulation


@pytest.mark.parametrize("scale", [None, 3.0])
@pytest.mark.parametrize("count", [2, 3])
def test_accumulation_has_the_bits_of_its_definition(count, scale):
    param, plain = parameters(50, np.float32), parameters(50, np.float32)
    opt, alone = fa.AdamW(param, accumulate_steps=count), fa.AdamW(plain)
    unscale = np.float32(1 / (scale or 1.0))
    for window in range(3):
        total = np.zeros(50, np.float32)
        for k, grad in enumerate(gradients(50, count, np.float32, window)):
            info = opt.step(grad, grad_scale=scale)
            assert info.updated is (k == count - 1)
            assert info.step == window + info.updated
            total = total + grad * unscale
        alone.step(total * np.float32(1 / count))
    np.testing.assert_array_equal(param, plain)


def test_parameters_that_miss_some_of_their_gradients():
    params = [np.zeros(2) for _ in range(4)]
    opt = fa.SGD(params, lr=1.0, accumulate_steps=2, clip_norm=math.inf)
    one = np.ones(2)
    opt.step([one, one, None, None])
    info = opt.step([one, None, one, None])
    assert [param[0] for param in params] == [-1, -0.5, -0.5, 0]
    assert info.grad_norm == pytest.approx(math.sqrt(2 + 0.5 + 0.5))
    assert sorted(opt.state_dict()["state"]) == [0, 1, 2]
    opt.step([None] * 4)
    assert not opt.step([None] * 4).updated


def test_a_window_is_saved_and_resumed():
    straight, params = arrays(0), arrays(0)
    whole, first = everything(straight), everything(params)
    for step in range(7):
        whole.step(arrays(step + 1))
    for step in range(3):
        first.step(arrays(step + 1))
    second = everything(params)
    second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    for step in range(3, 7):
        info = second.step(arrays(step + 1))
    same(straight, params)
    same(whole.ema.leaves, second.ema.leaves)
    assert (info.step, info.updated) == (3, False)
    assert whole.state_dict()["accumulated"]["count"] == 1


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


def test_an_average_is_not_dropped_silently():
    saved = fa.SGD(np.zeros(2), ema_decay=0.5).state_dict()
    with pytest.raises(ValueError, match="ema_decay"):
        fa.SGD(np.zeros(2)).load_state_dict(saved)
    window = fa.SGD(np.zeros(2), accumulate_steps=2)
    window.step(np.ones(2))
    with pytest.raises(ValueError, match="accumulate_steps"):
        fa.SGD(np.zeros(2)).load_state_dict(window.state_dict())


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


# Together with groups, schedules and rules of one's own


def test_a_rule_of_ones_own_with_groups_schedules_masks_and_missing_gradients():
    def run(**options):
        params = [np.ones(4, np.float32) for _ in range(3)]
        opt = HeavyBall(
            [{"params": params[:2]}, {"params": params[2], "lr": 0.5}],
            lr=fa.schedules.cosine(0.1, steps=6),
            **options,
        )
        mask = [np.array([True, True, False, False])] * 3
        for step in range(6):
            grads = [None if k == step % 3 else p * 2 for k, p in enumerate(params)]
            opt.step(grads, mask=mask if step % 2 else None, grad_scale=2.0)
        return params, opt

    plain, _ = run()
    params, opt = run(
        clip_norm=math.inf,
        clip_value=1e9,
        skip_nonfinite=True,
        ema_decay=0.9,
        shadow_dtype="bfloat16",
        zero_grads=True,
    )
    same(params, plain)
    assert opt.step([None] * 3).step == 6


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"ema_decay": 1.0}, ValueError),
        ({"ema_decay": -0.1}, ValueError),
        ({"ema_decay": math.nan}, ValueError),
        ({"ema_decay": "0.9"}, TypeError),
        ({"ema_warmup": True}, ValueError),
        ({"shadow_dtype": "int8"}, ValueError),
        ({"shadow_dtype": np.float16}, ValueError),
        ({"skip_nonfinite": 1}, TypeError),
        ({"zero_grads": None}, TypeError),
        ({"accumulate_steps": 0}, ValueError),
        ({"accumulate_steps": 2.0}, TypeError),
        ({"accumulate_steps": True}, TypeError),
    ],
)
def test_bad_options_are_refused(options, error):
    with pytest.raises(error, match=next(iter(options))):
        fa.AdamW(np.zeros(3, np.float32), **options)


def test_dtypes_of_which_there_can_be_no_copy_are_refused():
    mixed = [np.zeros(2), np.zeros(2, np.float32)]
    with pytest.raises(TypeError, match="ema_decay"):
        fa.AdamW(mixed, ema_decay=0.9)
    with pytest.raises(TypeError, match=r"shadow_dtype.*float64"):
        fa.AdamW(np.zeros(2), shadow_dtype="float16")
    opt = fa.AdamW(mixed[1], ema_decay=0.9)
    with pytest.raises(TypeError, match="ema_decay"):
        opt.add_param_group({"params": mixed[0]})
    assert len(opt.param_groups) == 1


# Loss scaling


def test_the_loss_scale_is_that_of_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    settings = {"init_scale": 1024.0, "growth_interval": 3, "backoff_factor": 0.25}
    ours = fa.LossScaler(**settings)
    theirs = torch.amp.GradScaler("cpu", **settings)
    for step in range(200):
        bad = bool(rng.random() < 0.2)
        param = torch.nn.Parameter(torch.ones(1))
        sgd = torch.optim.SGD([param], lr=0.0)
        theirs.scale(param.sum() * (math.inf if bad else 1.0)).backward()
        theirs.step(sgd)
        theirs.update()
        ours.update(bad)
        assert ours.scale == theirs.get_scale()
        if step % 50 == 25:
            theirs.load_state_dict(ours.state_dict())
            fresh = fa.LossScaler()
            fresh.load_state_dict(theirs.state_dict())
            assert fresh.state_dict() == ours.state_dict()
            ours = fresh


def test_the_loss_scale_follows_steps():
    scaler = fa.LossScaler(growth_interval=1)
    opt = fa.SGD(np.ones(1, np.float32), skip_nonfinite=True, accumulate_steps=2)
    grad = np.ones(1, np.float32)
    scaler.update(opt.step(grad, grad_scale=scaler.scale))
    assert scaler.scale == 2**16
    scaler.update(opt.step(grad, grad_scale=scaler.scale))
    assert scaler.scale == 2**17
    scaler.update(opt.step(grad * np.float32(np.nan), grad_scale=scaler.scale))
    assert scaler.scale == 2**16
    assert repr(scaler) == "LossScaler(scale=65536)"


@pytest.mark.parametrize(
    "settings",
    [
        {"init_scale": 0},
        {"init_scale": math.inf},
        {"growth_factor": 1.0},
        {"backoff_factor": 1.0},
        {"growth_interval": 0},
        {"growth_interval": 1.5},
    ],
)
def test_bad_settings_of_a_scale_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        fa.LossScaler(**settings)
    scaler = fa.LossScaler()
    saved = scaler.state_dict()
    with pytest.raises(ValueError, match="lacks"):
        scaler.load_state_dict({"scale": 1.0})
    assert scaler.state_dict() == saved


# What acceptance testing found


@pytest.mark.parametrize(
    "name", ["ema", "shadow", "grad_sum", "grad_scale", "unscale", "clip_value", "ema_comp", "mask"]
)
def test_state_may_be_called_as_options_are(name):
    @fa.rule(state=(name,), hyper=("lr",))
    def summing(param, grad, state, h):
        (total,) = state
        total = total + grad
        return param - h.lr * total, (total,)

    class Summing(fa.Optimizer):
        rule = summing
        defaults = {"lr": 1.0}

        def hyper(self, group, step):
            return {"lr": group["lr"]}

    param = np.zeros(3, np.float32)
    opt = Summing(
        param,
        clip_norm=9.0,
        clip_value=2.0,
        ema_decay=0.5,
        shadow_dtype="float16",
        accumulate_steps=2,
    )
    for _ in range(4):
        opt.step(np.ones(3, np.float32), mask=np.ones(3, bool))
    assert param.tolist() == [-3, -3, -3]
    assert opt.state[name][0].tolist() == [2, 2, 2]
    assert opt.ema.buffer.tolist() == [-1.75] * 3


def test_a_window_without_any_gradient_ends_as_well():
    param = np.zeros(1)
    opt = fa.SGD([param], lr=1.0, accumulate_steps=2)
    opt.step([None])
    assert not opt.step([None]).updated
    assert not opt.step([np.ones(1)]).updated
    assert opt.step([np.ones(1)]).updated
    assert param[0] == -1


def test_measuring_does_not_clip_what_is_too_large_to_measure():
    param = np.zeros(2)
    info = fa.SGD(param, lr=1e-300, clip_norm=math.inf, skip_nonfinite=True).step(
        np.array([1e300, 1.0])
    )
    assert info.grad_norm == math.inf
    assert param.tolist() == [-1, -1e-300]


def test_a_scale_that_float32_cannot_undo_is_refused():
    for scale in (1e-39, 5e-324):
        with pytest.raises(ValueError, match="grad_scale"):
            fa.SGD(np.ones(2, np.float32)).step(np.ones(2, np.float32), grad_scale=scale)
    fa.SGD(np.ones(2)).step(np.ones(2), grad_scale=1e-39)
    scaler = fa.LossScaler()
    for _ in range(2000):
        scaler.update(True)
    opt = fa.SGD(np.ones(2, np.float32), lr=1.0)
    opt.step(np.full(2, np.float32(scaler.scale)), grad_scale=scaler.scale)
    assert opt.params.tolist() == [0, 0]


@pytest.mark.parametrize("found_inf", ["no", None, math.nan, 2, [1, 0]])
def test_a_bad_flag_is_refused(found_inf):
    param = np.ones(2)
    with pytest.raises((TypeError, ValueError), match="found_inf"):
        fa.SGD(param).step(np.ones(2), found_inf=found_inf)
    assert param.tolist() == [1, 1]
    for good in (np.bool_(True), 1, 1.0, np.array([1.0])):
        assert fa.SGD(param).step(np.ones(2), found_inf=good).skipped


def test_a_bound_beyond_all_numbers_is_none():
    param = np.ones(2, np.float32)
    fa.SGD(param, lr=1.0, clip_value=1e300).step(np.ones(2, np.float32))
    fa.SGD(param, lr=1.0, clip_norm=10**400).step(np.ones(2, np.float32))
    assert param.tolist() == [-1, -1]


def test_a_mask_in_gradients_that_are_cleared_is_refused():
    param, grad = np.ones(4, np.float32), np.ones(4, np.float32)
    with pytest.raises(ValueError, match="mask lies in the memory of grads"):
        fa.SGD(param, zero_grads=True).step(grad, mask=grad.view(bool)[:4])


def flags():
    switch = fa.schedules.join([fa.schedules.constant(0.0), fa.schedules.constant(0.9)], [3])
    back = fa.schedules.join([fa.schedules.constant(0.9), fa.schedules.constant(0.0)], [2])
    return [pytest.param(switch, id="on"), pytest.param(back, id="off")]


@pytest.mark.parametrize("momentum", flags())
@pytest.mark.parametrize("saved_at", range(1, 6))
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


def test_a_skipped_step_does_not_even_switch_a_flag():
    momentum = fa.schedules.join([fa.schedules.constant(0.0), fa.schedules.constant(0.9)], [1])
    opt = fa.SGD(np.ones(2), momentum=momentum, skip_nonfinite=True)
    opt.step(np.ones(2))
    before = pickle.dumps((opt.state, opt.state_dict()))
    assert opt.step(np.full(2, np.nan)).skipped
    assert pickle.dumps((opt.state, opt.state_dict())) == before


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


@pytest.mark.parametrize(
    "wrong",
    [{"scale": "x"}, {"_growth_tracker": None}, {"growth_interval": math.inf}, {"scale": True}],
)
def test_a_loss_scaler_loads_all_or_nothing(wrong):
    scaler = fa.LossScaler()
    before = scaler.state_dict()
    with pytest.raises((TypeError, ValueError), match="LossScaler"):
        scaler.load_state_dict(before | {"scale": 8.0} | wrong)
    assert scaler.state_dict() == before
    with pytest.raises(TypeError, match="state_dict"):
        scaler.load_state_dict(None)
    for found_inf in ("x", None, math.nan):
        with pytest.raises((TypeError, ValueError), match="found_inf"):
            scaler.update(found_inf)
    scaler.load_state_dict(before | {"more": 1})


def test_a_window_whose_sum_overflows_is_skipped():
    param = np.zeros(2, np.float32)
    opt = fa.SGD(param, lr=1.0, skip_nonfinite=True, accumulate_steps=2)
    large = np.full(2, 3e38, np.float32)
    opt.step(large)
    assert opt.step(large).skipped
    assert param.tolist() == [0, 0]
    assert opt.step(-large).updated
    wide = np.zeros(2)
    opt = fa.SGD(wide, lr=0.0, skip_nonfinite=True, accumulate_steps=2)
    opt.step(np.full(2, 1e300))
    assert opt.step(np.full(2, 1e300)).updated
    opt.step(np.full(2, 1.5e308))
    assert opt.step(np.full(2, 1.5e308)).skipped


def test_a_scale_that_leaves_nothing_is_refused():
    for scale in (1e39, 1e50):
        with pytest.raises(ValueError, match="grad_scale"):
            fa.SGD(np.ones(2, np.float32)).step(np.ones(2, np.float32), grad_scale=scale)


def test_a_scaler_grows_and_falls_within_bounds():
    scaler = fa.LossScaler(init_scale=2.0**125, growth_interval=3)
    scaler.load_state_dict(scaler.state_dict() | {"_growth_tracker": 7})
    scaler.update(False)
    assert scaler.scale == 2.0**126
    for _ in range(3):
        scaler.update(False)
    assert scaler.scale == 2.0**126
    for wrong in (2.0**-127, 2.0**127):
        with pytest.raises(ValueError, match="init_scale"):
            fa.LossScaler(init_scale=wrong)
        with pytest.raises(ValueError, match="scale="):
            scaler.load_state_dict(scaler.state_dict() | {"scale": wrong})
