"""State of bytes, in blocks with a scale: accuracy, threads, saving and loading."""

import numpy as np
import pytest
from cases import DEFAULTS
from low_precision import (
    BF16,
    F16,
    F32,
    F64,
    FEW,
    LEAST,
    ROUNDED,
    RULES,
    SMALL,
    SMALLEST,
    grads,
    same,
    train,
    weights,
)

import fastadam as fa


def excess(params_dtype=F32, steps=400, lr=0.01, **options):
    """The final loss of a quadratic with scales over four decades, with noise of the same size."""
    rng, total = np.random.default_rng(0), 0.0
    scales = 10 ** rng.uniform(-4, 0, 8192)
    param = rng.standard_normal(8192).astype(BF16).astype(params_dtype)
    opt = fa.AdamW(param, lr=lr, weight_decay=0, **options)
    for step in range(steps):
        now = np.asarray(opt.master(), F64)
        opt.step((scales * (now + rng.standard_normal(8192))).astype(params_dtype))
        total += float((scales * now**2).mean()) if step >= steps // 2 else 0
    return total


@pytest.fixture(scope="module")
def float32_excess():
    return excess()


@pytest.mark.parametrize("state", ["bfloat16", "int8"])
def test_narrow_state_converges_as_float32(state, float32_excess):
    # the bar is 2; the noise of the problem is the same in both, measured is 0.99 to 1.03
    assert excess(state_dtype=state) == pytest.approx(float32_excess, rel=0.1)


def test_the_smallest_configuration_converges_as_float32(float32_excess):
    # as for narrow state above
    assert excess(BF16, **SMALLEST) == pytest.approx(float32_excess, rel=0.1)


@pytest.mark.parametrize(
    ("case", "options"),
    [
        *((case, {"state_dtype": "int8"}) for case in DEFAULTS),
        *((case, {"state_dtype": "bfloat16"}) for case in (*FEW, *ROUNDED[1::2])),
        *((case, {"state_dtype": "int8"}) for case in ROUNDED[::2]),
    ],
    ids=[
        *(f"{case.id}-int8" for case in DEFAULTS),
        *(f"{case.id}-bfloat16" for case in (*FEW, *ROUNDED[1::2])),
        *(f"{case.id}-int8" for case in ROUNDED[::2]),
    ],
)
@pytest.mark.usefixtures("in_plain_python")
def test_first_steps_use_the_state_before_it_is_rounded(case, options):
    one, other = weights(sizes=SMALL), weights(sizes=SMALL)
    ours = case.optimizer(one, **options, **LEAST, **case.hyper)
    theirs = case.optimizer(other, **case.hyper)
    train(ours, one, 1)
    train(theirs, other, 1)
    same(one, other)
    for name, arrays in theirs.state.items():
        got = ours.dequantized_state()["state"][0][name]
        # a step of a code is an eighth, and so is 16 times that of bfloat16
        np.testing.assert_allclose(got, arrays[0], rtol=1 / 8, atol=2e-5 * np.abs(arrays[0]).max())


@pytest.mark.parametrize(
    ("case", "dtype", "options"),
    [
        (FEW[0], F32, {"state_dtype": "int8"}),
        (FEW[1], BF16, SMALLEST),
    ],
    ids=["int8", "all"],
)
def test_bits_do_not_depend_on_threads(case, dtype, options):
    results = []
    for threads in (1, 3):
        params = weights(dtype, (300_000, 5000))
        opt = case.optimizer(params, threads=threads, **options, **case.hyper)
        train(opt, params, 3, dtype=dtype)
        results.append([*params, *(a for arrays in opt.state.values() for a in arrays)])
    same(*results)


@RULES
def test_bits_do_not_depend_on_cuts_at_blocks(case):
    whole, parts = weights(sizes=(12_800,)), weights(sizes=(12_800,))
    parts = [parts[0][:4352], parts[0][4352:8448], parts[0][8448:]]
    one = case.optimizer(whole, state_dtype="int8", **case.hyper)
    other = case.optimizer(parts, state_dtype="int8", **case.hyper)
    for step in range(4):
        (grad,) = grads(step, whole)
        one.step([grad])
        other.step([grad[:4352], grad[4352:8448], grad[8448:]])
    same(whole, [np.concatenate(parts)])
    for name, arrays in other.state.items():
        same(one.state[name], [np.concatenate(arrays)])


def test_flat_and_in_place_have_the_same_bits():
    flat, params = fa.flatten(weights(BF16)), weights(BF16)
    ours, theirs = fa.AdamW(flat, **SMALLEST), fa.AdamW(params, **SMALLEST)
    train(ours, flat.leaves, 3, dtype=BF16)
    train(theirs, params, 3, dtype=BF16)
    same([flat.buffer], [np.concatenate(params)])


def test_small_parameters_keep_their_state():
    params = weights(sizes=(4096, 4095))
    opt = fa.AdamW(params, state_dtype="int8")
    train(opt, params, 1)
    assert [a.dtype for a in opt.state["exp_avg"]] == [np.int8, F32]
    assert [a.shape for a in opt.state["exp_avg"]] == [(4096,), (4095,)]
    assert opt.state["exp_avg_scale"][0].shape == (16,)
    assert opt.state["exp_avg_scale"][1] is None
    every = fa.AdamW(weights(), state_dtype="int8", min_quantized_size=0)
    train(every, every.params, 1)
    assert {a.dtype for a in every.state["exp_avg"]} == {np.dtype(np.int8)}


def largest_move(case, huge, tiny, **options):
    """Of 50 steps with some huge and many tiny gradients, and of 50 without any."""
    param, largest = np.zeros(4096, F32), 0.0
    opt = case.optimizer(param, **options, **case.hyper)
    grad = np.random.default_rng(0).uniform(-tiny, tiny, 4096).astype(F32)
    grad[::256] = huge
    for step in range(100):
        before = param.copy()
        opt.step(grad if step < 50 else np.zeros_like(grad))
        largest = max(largest, float(np.abs(param - before).max()))
    return largest


@pytest.mark.parametrize("huge", [1e3, 1e6, 1e12])
@pytest.mark.parametrize("tiny", [1e-3, 1e-6])
@RULES
def test_nothing_explodes_when_gradients_vanish(case, huge, tiny):
    ours = largest_move(case, huge, tiny, state_dtype="int8")
    # means and roots of mean squares are each off by an eighth at most, in steps that add up
    assert ours <= 1.5 * largest_move(case, huge, tiny)


def test_a_nan_spoils_its_own_block_alone():
    (param,) = weights(sizes=(4096,))
    opt = fa.AdamW(param, state_dtype="int8")
    (grad,) = grads(0, [param])
    grad[300] = np.nan
    opt.step(grad)
    assert np.flatnonzero(np.isnan(param)).tolist() == [300]
    for step in range(1, 4):
        opt.step(grads(step, [param])[0])
    assert np.flatnonzero(np.isnan(param)).tolist() == list(range(256, 512))


def test_a_nan_that_is_skipped_leaves_no_trace():
    params = weights(BF16)
    opt = fa.AdamW(params, skip_nonfinite=True, **SMALLEST)
    train(opt, params, 2, dtype=BF16)
    kept = [
        a.copy() for a in (*params, *(a for s in opt.state.values() for a in s if a is not None))
    ]
    bad = grads(3, params, BF16)
    bad[0][7] = np.nan
    assert opt.step(bad).skipped
    same([*params, *(a for s in opt.state.values() for a in s if a is not None)], kept)


# Saving and loading


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        (F32, {"state_dtype": "int8"}),
        (F32, {"state_dtype": "bfloat16"}),
        (BF16, {"compensation": "kahan"}),
        (BF16, {"compensation": "split16", "accumulate_steps": 2}),
        (BF16, {"rounding": "stochastic", "seed": 5}),
        (F16, {"rounding": "stochastic", "ema_decay": 0.9}),
        (BF16, SMALLEST),
    ],
    ids=str,
)
def test_a_resumed_run_has_the_same_bits(dtype, options):
    params = weights(dtype)
    opt = fa.AdamW(params, **options)
    train(opt, params, 5, dtype=dtype)
    saved, resumed = opt.state_dict(), [p.copy() for p in params]
    train(opt, params, 5, first=5, dtype=dtype)
    again = fa.AdamW(resumed, **options)
    again.load_state_dict(saved)
    train(again, resumed, 5, first=5, dtype=dtype)
    same(resumed, params)
    for name, arrays in opt.state.items():
        same([a for a in again.state[name] if a is not None], [a for a in arrays if a is not None])


def test_codes_are_saved_as_they_are():
    params = weights()
    opt = fa.AdamW(params, state_dtype="int8")
    train(opt, params, 2)
    saved = opt.state_dict()["state"]
    assert {k: v.dtype.name for k, v in saved[0].items()} == {
        "step": "float32",
        "exp_avg": "int8",
        "exp_avg_sq": "int8",
        "exp_avg_scale": "float32",
        "exp_avg_sq_scale": "float32",
    }
    assert saved[1].keys() == {"step", "exp_avg", "exp_avg_sq"}


def test_state_moves_between_floats_and_codes():
    params = weights()
    opt = fa.AdamW(params, state_dtype="int8")
    train(opt, params, 5)
    floats = opt.dequantized_state()
    assert floats["state"][0].keys() == {"step", "exp_avg", "exp_avg_sq"}
    plain = fa.AdamW(weights())
    plain.load_state_dict(opt.state_dict())  # codes into floats
    for name in ("exp_avg", "exp_avg_sq"):
        assert plain.state[name][0].dtype == F32
        np.testing.assert_array_equal(plain.state[name][0], floats["state"][0][name])
    again = fa.AdamW(weights(), state_dtype="int8")
    again.load_state_dict(plain.state_dict())  # and back: what codes stand for is exact
    same(again.state["exp_avg"], opt.state["exp_avg"])
    same(again.state["exp_avg_sq"][:1], opt.state["exp_avg_sq"][:1])


def test_state_goes_to_pytorch_and_back():
    torch = pytest.importorskip("torch")
    params = weights()
    opt = fa.AdamW(params, state_dtype="int8")
    train(opt, params, 3)
    tensors = [torch.tensor(p) for p in params]
    theirs = torch.optim.AdamW(tensors)
    given = opt.dequantized_state()
    for entry in given["state"].values():
        entry.update({name: torch.tensor(array) for name, array in entry.items()})
    theirs.load_state_dict(given)
    opt.load_state_dict(theirs.state_dict())
    assert opt.step(grads(4, params)).step == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entry: entry.pop("exp_avg_scale"), "lacks.*exp_avg_scale"),
        (lambda entry: entry.update(exp_avg_scale=np.ones(3, F32)), r"\(3,\), expected \(20,\)"),
        (lambda entry: entry.update(compensation=np.ones(5000, np.int16)), "split16.*None"),
        (lambda entry: entry.update(compensation=np.ones(5000, F32)), "float32.*None"),
        (lambda entry: entry.update(exp_avg=np.ones(5000, F32)), r"exp_avg_scale.*\(20,\)"),
    ],
    ids=["no scales", "other scales", "compensation", "no compensation", "scales of floats"],
)
def test_saved_codes_that_do_not_fit_change_nothing(change, message):
    params = weights()
    opt = fa.AdamW(params, state_dtype="int8")
    train(opt, params, 2)
    saved, kept = opt.state_dict(), opt.state_dict()
    change(saved["state"][0])
    with pytest.raises(ValueError, match=message):
        opt.load_state_dict(saved)
    same([opt.state["exp_avg"][0]], [kept["state"][0]["exp_avg"]])


@pytest.mark.parametrize("state", [None, "bfloat16", "int8"])
@pytest.mark.usefixtures("in_plain_python")
def test_saved_numbers_that_are_too_large_become_infinite(state):
    params = weights()
    opt = fa.AdamW(params, state_dtype=state, ema_decay=0.9)
    train(opt, params, 1)
    saved = opt.dequantized_state()
    saved["state"][0]["exp_avg"] = np.full(5000, 1e300)
    saved["ema"][0] = np.full(5000, 1e300)
    opt.load_state_dict(saved)
    assert np.isinf(opt.dequantized_state()["state"][0]["exp_avg"]).all()
    assert np.isinf(opt.ema.leaves[0]).all()


def test_initial_state_is_coded():
    params = weights()
    opt = fa.Adagrad(params, initial_accumulator_value=0.3, state_dtype="int8")
    train(opt, params, 1)
    want = F32(0.3) + grads(0, params)[0] ** 2
    got = opt.dequantized_state()["state"][0]["sum"]
    # a step between codes is at most an eighth of the number
    np.testing.assert_allclose(got, want, rtol=1 / 8)
