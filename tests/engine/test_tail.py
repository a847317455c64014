"""The tail of a training step: unscaling, options together, and what is refused."""

import copy
import itertools
import math

import numpy as np
import oracles
import pytest
import tails
from cases import gradients, parameters
from heavy_ball import HeavyBall
from tails import arrays, each_default, ml_dtypes, rounded, same

import fastadam as fa


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


ROWS = [*covering(), ("LAMB", {*SWITCHES})]
RULES["LAMB"] = (
    fa.LAMB,
    oracles.lamb,
    {"lr": 1e-2},
)  # sums of gradients as the switches leave them


@pytest.mark.parametrize(
    ("rule", "on"), ROWS, ids=[f"{rule}-{'+'.join(sorted(on)) or 'none'}" for rule, on in ROWS]
)
def test_switches_in_pairs(rule, on, request, monkeypatch):
    """Against the reference, flat and in place, for one thread and for three.

    All switches and none are compiled, for large arrays; what is between runs in plain Python.
    """
    if 0 < len(on) < len(SWITCHES):
        request.getfixturevalue("in_plain_python")
        monkeypatch.setattr(tails, "SHAPES", ((3, 50), (), (0, 4), (60,), (25,)))
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
        # PyTorch adds hundreds of squares in float32
        assert info.grad_norm == pytest.approx(float(norm), rel=1e-5)
    # ten steps of at most 0.01, each with some float32 roundings of itself and of the parameter
    for ours, want in zip(params, theirs, strict=True):
        np.testing.assert_allclose(ours, want.detach().numpy(), rtol=1e-5, atol=1e-6)
    for ours, want in zip(opt.ema.leaves, averages, strict=True):
        np.testing.assert_allclose(ours, want.numpy(), rtol=1e-5, atol=1e-6)
    for ours, param in zip(opt.shadow.leaves, params, strict=True):
        want = torch.from_numpy(param).bfloat16().view(torch.int16).numpy()
        np.testing.assert_array_equal(ours.view(np.int16), want)


@each_default
@pytest.mark.usefixtures("in_plain_python")
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
        (-math.inf, ValueError),
        ("2", TypeError),
        (np.array("2"), TypeError),
        (np.array(True), TypeError),
        ([1.0, 2.0], TypeError),
    ],
)
@pytest.mark.usefixtures("in_plain_python")
def test_a_bad_scale_is_refused(scale, error):
    param = np.ones(3)
    with pytest.raises(error, match="grad_scale"):
        fa.AdamW(param).step(np.ones(3), grad_scale=scale)
    assert param.tolist() == [1, 1, 1]


@pytest.mark.usefixtures("in_plain_python")
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
        ({"shadow_dtype": np.float64}, ValueError),
        ({"skip_nonfinite": 2}, TypeError),
        ({"skip_nonfinite": "no"}, TypeError),
        ({"zero_grads": None}, TypeError),
        ({"accumulate_steps": 0}, ValueError),
        ({"accumulate_steps": 2.5}, TypeError),
        ({"accumulate_steps": True}, TypeError),
    ],
)
@pytest.mark.usefixtures("in_plain_python")
def test_bad_options_are_refused(options, error):
    with pytest.raises(error, match=next(iter(options))):
        fa.AdamW(np.zeros(3, np.float32), **options)


@pytest.mark.parametrize(
    "name", ["ema", "shadow", "grad_sum", "grad_scale", "unscale", "clip_value", "ema_comp", "mask"]
)
@pytest.mark.usefixtures("in_plain_python")
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


def test_measuring_does_not_clip_what_is_too_large_to_measure():
    param = np.zeros(2)
    info = fa.SGD(param, lr=1e-300, clip_norm=math.inf, skip_nonfinite=True).step(
        np.array([1e300, 1.0])
    )
    assert info.grad_norm == math.inf
    assert param.tolist() == [-1, -1e-300]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", [{}, {"clip_norm": 1e30, "accumulate_steps": 2}], ids=str)
def test_any_scale_is_undone_with_all_bits(dtype, options):
    true = np.array([1.0, -1.5, 0.3, 3e-5, 0.0], dtype)
    for exponent in (-149, -140, -127, 0, 126, 127, 128, 149, 200, 260, 1000, math.inf):
        for factor in (1.0, 1.3):
            scale = factor * 2.0 ** min(exponent, 1001) if exponent < math.inf else exponent
            grad = true * dtype(min(max(scale, 2.0**-100), 2.0**120))
            param = np.zeros(5, dtype)
            opt = fa.SGD(param, lr=1.0, **options)
            for _ in range(options.get("accumulate_steps", 1)):
                info = opt.step(grad, grad_scale=scale)
            with np.errstate(all="ignore"):
                want = (grad.astype(np.longdouble) / np.longdouble(scale)).astype(dtype)
            if factor == 1 and not options:
                np.testing.assert_array_equal(-param, want)
            # 1/scale is rounded, and so is the product; below, two steps of the smallest number
            small = float(np.finfo(dtype).smallest_subnormal)
            np.testing.assert_allclose(-param, want, rtol=3 * np.finfo(dtype).eps, atol=2 * small)
            if options:
                norm = math.sqrt(sum(float(x) ** 2 for x in want))
                assert info.grad_norm == pytest.approx(norm, rel=1e-3, abs=1e-40)


@pytest.mark.usefixtures("in_plain_python")
def test_a_scale_that_float32_cannot_undo_is_refused():
    for scale in (1e-90, 5e-324):
        with pytest.raises(ValueError, match="grad_scale"):
            fa.SGD(np.ones(2, np.float32)).step(np.ones(2, np.float32), grad_scale=scale)
    fa.SGD(np.ones(2)).step(np.ones(2), grad_scale=1e-90)
    scaler = fa.LossScaler()
    for _ in range(2000):
        scaler.update(True)
    opt = fa.SGD(np.ones(2, np.float32), lr=1.0)
    opt.step(np.full(2, np.float32(scaler.scale)), grad_scale=scaler.scale)
    assert opt.params.tolist() == [0, 0]


def test_a_bound_beyond_all_numbers_is_none():
    param = np.ones(2, np.float32)
    fa.SGD(param, lr=1.0, clip_value=1e300).step(np.ones(2, np.float32))
    fa.SGD(param, lr=1.0, clip_norm=10**400).step(np.ones(2, np.float32))
    assert param.tolist() == [-1, -1]


# The average of schedule-free optimizers


@pytest.mark.parametrize("name", ["ScheduleFreeAdamW", "ScheduleFreeSGD"])
@pytest.mark.usefixtures("in_plain_python")
def test_swap_average_shows_the_average_and_leaves_no_trace(name):
    rng = np.random.default_rng(0)
    params = [rng.standard_normal(1500).astype(np.float32), np.ones(3, np.float32)]
    opt = getattr(fa, name)(params, lr=0.1, shadow_dtype="bfloat16")
    with opt.swap_average():  # before the first step both are the same
        pass
    for _ in range(5):
        opt.step([rng.standard_normal(1500).astype(np.float32), None])
    before, saved = [param.copy() for param in params], opt.state["z"][0].copy()
    with opt.swap_average():
        # p + (1 - 1 / 0.9) * (z - p), in single precision
        want = before[0] + (1 - 1 / 0.9) * (saved - before[0])
        np.testing.assert_allclose(params[0], want, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(params[1], before[1])
        np.testing.assert_array_equal(opt.shadow.leaves[0], params[0].astype("bfloat16"))
        for refused in (opt.step, opt.state_dict, opt.swap_average().__enter__):
            with pytest.raises(RuntimeError, match=r"leave swap_average\(\) first"):
                refused()
    for param, old in zip(params, before, strict=True):
        np.testing.assert_array_equal(param, old)
    assert opt.step([before[0], before[1]]).step == 6
