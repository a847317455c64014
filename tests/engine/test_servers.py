"""Steps without gradients: towards a target, and with weighted sums of inputs; bounds."""

import math

import numpy as np
import pytest

import fastadam as fa

SHAPES = {"w": (3, 7), "b": (), "e": (0, 2), "v": (1500,)}


def tree(seed, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return {k: np.asarray(rng.standard_normal(shape), dtype) for k, shape in SHAPES.items()}


def mapped(function, *trees):
    return {k: np.asarray(function(*(each[k] for each in trees))) for k in SHAPES}


def weighted(pairs):
    """The sum in the order and the dtype of the arrays."""
    (first, total), *others = pairs
    total = mapped(lambda x: x * x.dtype.type(first), total)
    for weight, each in others:
        total = mapped(lambda t, x, w=weight: t + x * x.dtype.type(w), total, each)
    return total


def pairs(count, dtype=np.float32):
    weights = np.random.default_rng(9).standard_normal(count)
    return [(float(w), tree(20 + k, dtype)) for k, w in enumerate(weights)]


def same(one, other):
    for a, b in zip(one.params.values(), other.params.values(), strict=True):
        np.testing.assert_array_equal(a, b)


def both(make, dtype=np.float32):
    return make(tree(0, dtype)), make(tree(0, dtype))


OPTIONS = [{}, {"clip_norm": 0.5, "skip_nonfinite": True, "ema_decay": 0.9}]


@pytest.mark.parametrize(
    ("dtype", "options"), [*zip(("float64", "float32"), OPTIONS, strict=True)], ids=str
)
def test_steps_without_gradients_have_the_bits_of_those_with(dtype, options):
    """Kinds of steps take turns, and go on with the same state."""
    one, other = both(lambda params: fa.AdamW(params, lr=0.1, **options), dtype)
    for turn in range(2):
        goal, some = tree(3 + turn, dtype), pairs(3, dtype)
        steps = [
            ({"target": goal}, lambda p, goal=goal: mapped(np.subtract, p, goal)),
            ({"inputs": some}, lambda p, some=some: weighted(some)),
            ({"target": some}, lambda p, some=some: mapped(np.subtract, p, weighted(some))),
            ({"grads": goal, "lr": 0.2}, lambda p, goal=goal: goal),
        ]
        for arguments, gradient in steps:
            grads = gradient(other.params)
            mine, theirs = one.step(**arguments), other.step(grads, lr=arguments.get("lr"))
            assert mine == theirs
            same(one, other)


@pytest.mark.parametrize("count", [16, 17, 40])
@pytest.mark.usefixtures("in_plain_python")
def test_many_inputs_are_added_in_passes(count):
    one, other = both(lambda params: fa.SGD(params, lr=1.0), "float64")
    some = pairs(count, "float64")
    one.step(inputs=some)
    other.step(weighted(some))
    for a, b in zip(one.params.values(), other.params.values(), strict=True):
        # sums of up to 40 numbers around 1, added in another order
        np.testing.assert_allclose(a, b, rtol=0, atol=40 * 40 * 2**-53)


@pytest.mark.parametrize("count", [2, 20])
def test_bits_do_not_depend_on_threads_or_layout(count):
    rng = np.random.default_rng(0)
    some = [(k / 7, rng.standard_normal(300_000).astype(np.float32)) for k in range(count)]
    results = []
    for threads in (1, 2):
        param = np.ones(300_000, np.float32)
        fa.AdamW(param, threads=threads).step(inputs=some)
        fa.AdamW(param, threads=threads).step(target=some)
        results.append(param)
    flat = fa.flatten({"a": np.ones(100_000, np.float32), "b": np.ones(200_000, np.float32)})
    fa.AdamW(flat).step(inputs=some)
    fa.AdamW(flat).step(target=some)
    for each in (results[1], flat.buffer):
        np.testing.assert_array_equal(results[0], each)


def test_half_precision_is_summed_in_single():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    half = ml_dtypes.bfloat16
    one, other = both(lambda params: fa.SGD(params, lr=1.0), half)
    some = pairs(20, half)
    one.step(inputs=some)
    wide = [(w, mapped(lambda x: x.astype(np.float32), each)) for w, each in some]
    first, last = weighted(wide[:16]), weighted(wide[16:])  # the passes
    other.step(mapped(np.add, first, last))
    same(one, other)


@pytest.mark.usefixtures("in_plain_python")
def test_none_leaves_a_parameter_alone():
    params = [np.ones(3), np.ones(2)]
    opt = fa.SGD(params, lr=1.0)
    opt.step(target=[np.zeros(3), None])
    opt.step(inputs=[(2.0, [None, np.ones(2)]), (1.0, [None, np.ones(2)])])
    assert [param.tolist() for param in params] == [[0, 0, 0], [-2, -2]]
    with pytest.raises(ValueError, match=r"None in inputs\[1\]\[1\]"):
        opt.step(inputs=[(1.0, [None, np.ones(2)]), (1.0, [None, None])])
    with pytest.raises(ValueError, match="give None in all inputs"):
        opt.step(inputs=[(1.0, [np.ones(3), None])] * 20 + [(1.0, [None, None])])


@pytest.mark.usefixtures("in_plain_python")
def test_a_scale_a_mask_and_a_skipped_step():
    param, mask = np.ones(3), np.array([True, False, True])
    opt = fa.SGD(param, lr=1.0)
    opt.step(inputs=[(1.0, np.ones(3)), (3.0, np.ones(3))], mask=mask, grad_scale=2.0)
    assert param.tolist() == [-1, 1, -1]
    assert opt.step(target=np.zeros(3), found_inf=True).skipped
    assert param.tolist() == [-1, 1, -1]


@pytest.mark.usefixtures("in_plain_python")
def test_finite_sums_whose_squares_overflow_are_not_skipped():
    param = np.zeros(2)
    opt = fa.SGD(param, lr=1.0, skip_nonfinite=True)
    assert opt.step(inputs=[(1.0, np.full(2, 1e300)), (-1.0, np.full(2, 9e299))]).updated
    assert opt.step(inputs=[(1.0, np.full(2, 1e308)), (1.0, np.full(2, 1e308))]).skipped
    assert opt.step(target=np.full(2, 1e300)).updated
    assert opt.step(target=np.array([0.0, math.nan])).skipped


ONES = np.ones(3, np.float32)
REFUSED = [
    ({"grads": ONES, "target": ONES}, TypeError, "got grads and target"),
    ({"target": ONES, "inputs": [(1.0, ONES)]}, TypeError, "got target and inputs"),
    ({"target": np.ones(4, np.float32)}, ValueError, "target has shape"),
    ({"target": np.ones(3)}, TypeError, "target has dtype float64"),
    ({"target": ONES, "grad_scale": 2.0}, TypeError, "not a gradient of a scaled loss"),
    ({"target": fa.Rows([0], ONES[:1])}, TypeError, "Rows"),
    ({"inputs": []}, TypeError, "list of pairs"),
    ({"inputs": ONES}, TypeError, "list of pairs"),
    ({"inputs": [ONES]}, TypeError, r"inputs\[0\] is not a pair"),
    ({"inputs": [(math.nan, ONES)]}, ValueError, r"inputs\[0\]\[0\]=nan must be finite"),
    ({"inputs": [(1.0, ONES), (-1e300, ONES)]}, ValueError, r"inputs\[1\]\[0\]=-1e\+300 is too"),
    ({"inputs": [(np.ma.masked, ONES)]}, TypeError, "must be a number"),
    ({"inputs": [("1", ONES)]}, TypeError, "must be a number"),
    ({"inputs": [(1.0, ONES), (1.0, ONES[:2])]}, ValueError, r"inputs\[1\]\[1\] has shape"),
    ({"inputs": [(1.0, ONES), (1.0, ONES.astype(np.float16))]}, TypeError, "convert one"),
    ({"inputs": [(1.0, ONES)] * 20 + [(1.0, ONES[:2])]}, ValueError, r"inputs\[20\]\[1\] has"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), REFUSED)
@pytest.mark.usefixtures("in_plain_python")
def test_bad_arguments_are_refused(arguments, error, message):
    param = np.ones(3, np.float32)
    opt = fa.Adam(param)
    with pytest.raises(error, match=message):
        opt.step(**arguments)
    assert param.tolist() == [1, 1, 1]
    assert opt.steps == 0


@pytest.mark.parametrize("name", ["target", "inputs"])
@pytest.mark.usefixtures("in_plain_python")
def test_the_memory_of_a_parameter_is_no_target_or_input(name):
    param = np.ones(3)
    opt = fa.SGD(param)
    for count in (1, 2, 20):
        value = param if name == "target" else [(1.0, np.ones(3))] * (count - 1) + [(1.0, param)]
        with pytest.raises(ValueError, match="lies in the memory of params"):
            opt.step(**{name: value})


def test_options_that_need_gradients_are_refused():
    for option, message in (
        ({"accumulate_steps": 2}, "give all trees to one step"),
        ({"zero_grads": True}, "zero_grads=True writes zeros"),
    ):
        with pytest.raises(ValueError, match=message):
            fa.SGD(np.ones(3), **option).step(target=np.ones(3))


def flower(strategy, param, models, rounds, eta=0.1, betas=(0.9, 0.99), tau=1e-3):
    """The parameters of a server of Flower 1.42 after some rounds, in float64."""
    (beta1, beta2), m, v = betas, np.zeros_like(param), np.zeros_like(param)
    for number, model in zip(range(1, rounds + 1), models, strict=True):
        delta = model - param
        m = beta1 * m + (1 - beta1) * delta
        if strategy == "FedYogi":
            v, rate = v - (1 - beta2) * delta**2 * np.sign(v - delta**2), eta
        else:
            v = beta2 * v + (1 - beta2) * delta**2
            power = number + 1.0
            rate = eta * math.sqrt(1 - beta2**power) / (1 - beta1**power)
        param = param + rate * m / (np.sqrt(v) + tau)
    return param


@pytest.mark.parametrize("strategy", ["FedAdam", "FedYogi"])
@pytest.mark.usefixtures("in_plain_python")
def test_servers_compute_what_those_of_flower_do(strategy):
    rng, rounds, clients = np.random.default_rng(0), 20, 3
    param = rng.standard_normal(500).astype(np.float32)
    models = rng.standard_normal((rounds, clients, 500)).astype(np.float32)
    shares = [0.5, 0.2, 0.3]
    means = np.tensordot(models.astype(np.float64), shares, (1, 0))
    want = flower(strategy, param.astype(np.float64), means, rounds)
    settings = {"betas": (0.9, 0.99), "eps": 1e-3, "bias_correction": False}
    if strategy == "FedYogi":
        opt = fa.Yogi(param, lr=0.1, initial_accumulator_value=0.0, **settings)
    else:
        opt = fa.Adam(param, **settings)
    for number, some in enumerate(models, 2):
        rate = 0.1 * math.sqrt(1 - 0.99**number) / (1 - 0.9**number)
        lr = 0.1 if strategy == "FedYogi" else rate
        opt.step(target=list(zip(shares, some, strict=True)), lr=lr)
    # 20 steps of 0.1 with about 8 roundings each, in single precision
    np.testing.assert_allclose(param, want, rtol=0, atol=3e-7 * np.abs(want).max())


# Bounds


@pytest.mark.usefixtures("in_plain_python")
def test_bounds_are_those_of_clip_after_each_update():
    rng = np.random.default_rng(0)
    param = rng.standard_normal(1500).astype(np.float32)
    one = fa.Adam(param, lr=0.3, lower=-0.7, upper=0.1)
    other = fa.Adam(want := param.copy(), lr=0.3)
    for _ in range(4):
        grad = rng.standard_normal(1500).astype(np.float32)
        one.step(grad)
        other.step(grad)
        np.clip(want, -0.7, 0.1, out=want)
        np.testing.assert_array_equal(param, want)
    assert param.min() == np.float32(-0.7)
    assert param.max() == np.float32(0.1)


@pytest.mark.usefixtures("in_plain_python")
def test_bounds_hold_in_half_precision():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    half = ml_dtypes.bfloat16
    for options in ({"rounding": "stochastic"}, {"compensation": "split8"}):
        param = np.zeros(4000, half)
        opt = fa.SGD(param, lr=1.0, lower=-0.1, upper=0.3, **options)
        opt.step(np.random.default_rng(0).standard_normal(4000).astype(np.float32))
        assert param.min() == half(-0.1)
        assert param.max() == half(0.3)


@pytest.mark.usefixtures("in_plain_python")
def test_bounds_of_groups_masks_and_nan():
    params = [np.zeros(3), np.zeros(3)]
    groups = [{"params": params[:1], "upper": 0.5}, {"params": params[1:], "lower": -0.5}]
    opt = fa.SGD(groups, lr=1.0, lower=-2.0)
    grads = [np.array([-1.0, 3.0, math.nan]), np.array([1.0, -3.0, 1.0])]
    opt.step(grads, mask=[np.full(3, True), np.array([True, True, False])])
    assert params[0][:2].tolist() == [0.5, -2.0]
    assert math.isnan(params[0][2])
    assert params[1].tolist() == [-0.5, 3.0, 0.0]
    assert "upper=0.5" in repr(opt)


def test_infinite_bounds_are_none():
    opt = fa.SGD(param := np.zeros(2), lr=1.0, lower=-math.inf, upper=math.inf)
    opt.step(np.array([1.0, -1.0]))
    assert param.tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lower": 1.0, "upper": 0.0}, ValueError, "lower=1.0 is above upper=0.0"),
        ({"lower": math.nan}, ValueError, "lower=nan allows"),
        ({"upper": -math.inf}, ValueError, "allows no number"),
        ({"upper": "1"}, TypeError, "None means no bound"),
    ],
)
def test_bad_bounds_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        fa.SGD(np.zeros(2), **options)
