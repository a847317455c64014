"""Parameters, gradients and state in less memory: what a step keeps, and what it comes to."""

from typing import ClassVar

import ml_dtypes
import numpy as np
import pytest
from cases import DEFAULTS
from low_precision import BF16, F16, F32, F64, FEW, LEAST, RULES, SMALL, grads, same, train, weights

import fastadam as fa

# Parameters and gradients of sixteen bits


@RULES
@pytest.mark.usefixtures("in_plain_python")
def test_split16_is_the_run_in_float32_bit_for_bit(case):
    plain, half = weights(sizes=SMALL), weights(BF16, SMALL)
    ours = case.optimizer(half, compensation="split16", **case.hyper)
    theirs = case.optimizer(plain, **case.hyper)
    for step in range(8):
        given = grads(step, plain)
        ours.step([g.astype(BF16) for g in given])
        theirs.step(given)
    same(ours.master(), plain)
    # the halves to be used are the nearest; ties go away from zero, one bit of sixteen
    for near, exact in zip(half, plain, strict=True):
        assert np.abs(near.astype(F32) - exact).max() <= np.abs(exact).max() * 2.0**-8


@pytest.mark.parametrize(
    ("case", "dtype"),
    [*((case, BF16) for case in DEFAULTS), *((case, F16) for case in FEW)],
    ids=[*(f"{case.id}-bfloat16" for case in DEFAULTS), *(f"{case.id}-float16" for case in FEW)],
)
@pytest.mark.usefixtures("in_plain_python")
def test_arithmetic_is_in_float32_and_rounded_at_the_end(case, dtype):
    half, plain = weights(dtype, SMALL), weights(sizes=SMALL)
    ours, theirs = case.optimizer(half, **case.hyper), case.optimizer(plain, **case.hyper)
    for step in range(4):
        given = grads(step, plain)
        ours.step([g.astype(dtype) for g in given])
        theirs.step([g.astype(dtype).astype(F32) for g in given])
        for near, exact in zip(half, plain, strict=True):
            np.testing.assert_array_equal(near, exact.astype(dtype))
            exact[...] = near.astype(F32)
    for name, arrays in theirs.state.items():
        same(ours.state[name], arrays)


@pytest.mark.parametrize(
    ("param", "grad"), [(F32, BF16), (F32, F16), (F64, F32), (F64, BF16), (BF16, F32), (F16, BF16)]
)
@pytest.mark.usefixtures("in_plain_python")
def test_gradients_may_be_of_another_dtype(param, grad):
    one, other = weights(param, SMALL), weights(param, SMALL)
    ours, theirs = fa.AdamW(one), fa.AdamW(other)
    exact = F64 if param is F64 else F32
    for step in range(3):
        given = grads(step, one, grad)
        assert ours.step(given).step == step + 1
        theirs.step([g.astype(exact) for g in given])
    same(one, other)


@pytest.mark.usefixtures("in_plain_python")
def test_dtypes_of_gradients_may_change_from_step_to_step():
    one, other = weights(sizes=SMALL), weights(sizes=SMALL)
    ours, theirs = fa.AdamW(one), fa.AdamW(other)
    for step, dtype in enumerate([F32, BF16, BF16, F16, F32]):
        given = grads(step, one, dtype)
        ours.step([given[0], given[1].astype(F32)])  # also among each other
        theirs.step([g.astype(F32) for g in given])
    same(one, other)


@pytest.mark.parametrize("dtype", [BF16, F16], ids=["bfloat16", "float16"])
@pytest.mark.usefixtures("in_plain_python")
def test_gradients_of_sixteen_bits_may_lie_anywhere(dtype):
    shapes = [(300,), (7, 11), (), (0,)]
    ours = [np.ones(shape, dtype) for shape in shapes]
    theirs = [np.ones(shape, dtype) for shape in shapes]
    one, other = fa.AdamW(ours), fa.AdamW(theirs)
    for step in range(4):
        given = grads(step, ours, dtype)
        buffer = np.zeros(1 + sum(g.size for g in given), dtype)
        moved, start = [], 1
        for grad in given:
            part = buffer[start : start + grad.size].reshape(grad.shape)
            part[...] = grad
            moved.append(part)
            start += grad.size
        if step == 2:
            buffer.flags.writeable = False
            moved = [part.view() for part in moved]
        one.step(moved)
        other.step(given)
    same(map(np.ravel, ours), map(np.ravel, theirs))
    with pytest.raises(ValueError, match=r"grads\[0\].*not C-contiguous"):
        one.step([np.ones(600, dtype)[::2], *given[1:]])
    with pytest.raises(ValueError, match=r"grads\[0\] lies in the memory of"):
        one.step([one.state["exp_avg"][0].view(dtype)[:300], *given[1:]])
    same(map(np.ravel, ours), map(np.ravel, theirs))


@pytest.mark.usefixtures("in_plain_python")
def test_gradients_of_doubles_are_refused_where_arithmetic_is_single():
    for dtype in (F32, BF16, F16):
        params = weights(dtype, SMALL)
        opt = fa.AdamW(params)
        with pytest.raises(TypeError, match=r"grads\[0\] has dtype float64.*astype"):
            opt.step(grads(0, params, F64))
        assert opt.state["exp_avg"] == [None, None]


def test_a_flat_of_bfloat16():
    flat = fa.flatten({"w": weights(BF16)[0].reshape(50, 100), "b": weights(BF16)[1]})
    one = weights(BF16)
    ours, theirs = fa.AdamW(flat), fa.AdamW(one)
    ours.grads.tree["w"][...] = 1
    ours.grads.tree["b"][...] = 1
    for _ in range(3):
        ours.step()
        theirs.step([np.ones(p.size, BF16) for p in one])
    same([flat.buffer], [np.concatenate(one)])


def test_bare_kernels_take_bfloat16():
    (param, *_), (grad, *_) = weights(BF16), grads(0, weights(BF16), BF16)
    want = [param.copy()]
    exp_avg, exp_avg_sq = np.zeros(param.size, F32), np.zeros(param.size, F32)
    fa.AdamW(want).step([grad])
    fa.functional.adamw(param, grad, exp_avg, exp_avg_sq, step=1)
    same([param], want)
    fa.functional.adamw(param, grad.astype(F32), exp_avg, exp_avg_sq, step=2)
    with pytest.raises(TypeError, match=r"exp_avg_sq must be an array of bfloat16; it is float32"):
        fa.functional.adamw(param, grad, exp_avg.astype(BF16), exp_avg_sq, step=2)


@pytest.mark.parametrize("options", [
    {"clip_norm": 0.5, "skip_nonfinite": True},
    {"clip_norm": 0.5, "clip_norm_per": "tensor", "clip_value": 0.01},
    {"accumulate_steps": 2, "zero_grads": True},
], ids=["clip", "per tensor", "accumulate"])  # fmt: skip
@pytest.mark.usefixtures("in_plain_python")
def test_what_goes_around_a_step_is_as_in_float32(options):
    """With all bits kept, gradients of sixteen bits are float32 numbers like others."""
    plain, half = weights(sizes=SMALL), weights(BF16, SMALL)
    ours = fa.AdamW(half, compensation="split16", **options)
    theirs = fa.AdamW(plain, **options)
    for step in range(6):
        given = grads(step, plain)
        mine = [g.astype(BF16) for g in given]
        one, other = ours.step(mine, grad_scale=4.0), theirs.step(given, grad_scale=4.0)
        assert one == other
        assert not options.get("zero_grads") or not any(g.any() for g in mine)
    same(ours.master(), plain)


def test_the_average_of_bfloat16_is_kept_in_float32():
    params = weights(BF16)
    opt = fa.AdamW(params, lr=0.01, ema_decay=0.9)
    same(opt.ema.leaves, [p.astype(F32) for p in params])
    train(opt, params, 5, dtype=BF16)
    before, average = [p.copy() for p in params], opt.ema.buffer.copy()
    with opt.swap_ema():
        same(params, [leaf.astype(BF16) for leaf in opt.ema.leaves])
    same(params, before)
    same([opt.ema.buffer], [average])


def test_an_average_too_large_for_float16_is_infinite():
    params = np.ones(3, np.float16)
    opt = fa.SGD(params, ema_decay=0.9)
    opt.ema.buffer[:2] = 1e5, 2.0
    with opt.swap_ema():
        same([params], [np.array([np.inf, 2.0, 1.0], np.float16)])
    same([params], [np.ones(3, np.float16)])


# Small updates


def stalling(dtype, lr=1e-3, steps=400, **options):
    """The change of parameters of 1 after updates of less than half their last bit."""
    param = np.ones(4096, dtype)
    opt = fa.SGD(param, lr=lr, **options)
    for _ in range(steps):
        opt.step(np.ones(4096, dtype))
    return 1 - np.asarray(opt.master(), F64)


def test_rounding_to_nearest_loses_small_updates_and_the_others_do_not():
    want = 400 * 1e-3
    assert not stalling(BF16).any()
    # 2**-9 of it are the bits of kahan and split8 together, at each of 400 steps half a last bit
    assert stalling(BF16, compensation="kahan") == pytest.approx(want, abs=400 * 2.0**-17)
    assert stalling(BF16, compensation="split8") == pytest.approx(want, abs=400 * 2.0**-17)
    assert stalling(BF16, compensation="split16") == pytest.approx(want, rel=1e-4)
    chance = stalling(BF16, rounding="stochastic")
    # a last bit is at most 2**-8: 400 times 0.001 * 2**-8 of variance, 4096 parameters
    deviation = np.sqrt(want * 2.0**-8)
    assert abs(chance.mean() - want) < 6 * deviation / 64
    assert np.abs(chance - want).max() < 7 * deviation
    smaller = stalling(BF16, 2e-6, compensation="split8")  # below the bits of that as well
    assert not smaller.any()
    chance = stalling(BF16, 2e-6, compensation="split8", rounding="stochastic")
    assert chance.mean() == pytest.approx(8e-4, rel=0.1)


@pytest.mark.parametrize("compensation", ["kahan", "split8", "split16"])
@pytest.mark.usefixtures("in_plain_python")
def test_elements_that_a_mask_holds_keep_their_bits(compensation):
    params = weights(BF16, (500,))
    opt = fa.AdamW(params, compensation=compensation)
    train(opt, params, 3, dtype=BF16)
    kept = [params[0].copy(), *opt.master()]
    opt.step(grads(3, params, BF16), mask=[np.zeros(500, bool)])
    same([*params, *opt.master()], kept)


def test_seeds_steps_and_parameters_draw_apart():
    def noise(seed, steps):
        params = [np.ones(4096, BF16), np.ones(4096, BF16)]
        opt = fa.SGD(params, lr=1e-3, rounding="stochastic", seed=seed)
        for _ in range(steps):
            for param in params:
                param[...] = 1
            opt.step([np.ones(4096, BF16)] * 2)
        return [param != 1 for param in params]

    one = noise(1, 1)
    long = 1 + (1 << 64)
    for other in ([one[1], one[0]], noise(2, 1), noise(1, 2), noise(1 << 40, 1), noise(long, 1)):
        assert abs(np.corrcoef(one[0], other[0])[0, 1]) < 5 / 64  # 5 deviations of 4096 draws
    np.testing.assert_array_equal(one, noise(1, 1))


def test_keys_of_codes_differ_with_seeds_and_steps():
    """A seed more is not a step more."""

    def key(seed, step):
        opt = fa.AdamW(np.ones(4096, F32), state_dtype="int8", seed=seed)
        opt.step(np.ones(4096, F32))
        opt._engine.plan.preprocessor.noise.advance(step)
        (launch,) = opt._engine.plan._launches
        return int(launch.numbers["dither"][0])

    keys = {key(seed, step) for seed in (0, 1, 2, 1 << 32, 1 << 64) for step in (1, 2, 3)}
    assert len(keys) == 15


def mixed(bits, shift, factor):
    return (bits ^ bits >> shift) * factor % (1 << 32)


def hash_of(counter, key, second_key):
    """lowbias32 (C. Wellons), with a key at its start and one in its middle."""
    bits = mixed((counter + key) % (1 << 32), 16, 0x7FEB352D)
    bits = mixed(bits ^ second_key, 15, 0x846CA68B)
    return bits ^ bits >> 16


def seeds_of(seed):
    """Two keys from all 32-bit words of a seed, the lowest first."""
    keys = []
    for start in (0, 0x9E3779B9):
        bits = start
        for at in range(0, max(seed.bit_length(), 1), 32):
            bits = hash_of(seed >> at & 0xFFFFFFFF, bits, start)
        keys.append(bits)
    return keys


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("seed", [0, 5, 0xFFFFFFFF, 1 << 32, 3 + (7 << 64)])
def test_keys_are_hashes_of_seed_step_and_parameter(seed, count):
    params, grads = ([np.ones(4096, BF16) for _ in range(count)] for _ in range(2))
    opt = fa.AdamW(params, seed=seed, state_dtype="int8", rounding="stochastic")
    opt.step(grads)
    plan, one, two = opt._engine.plan, *seeds_of(seed)
    numbers = plan._launches[0].numbers

    def check(step, draws, late):
        plan.preprocessor.noise.advance(step)
        counts = [step - each for each in late]
        dithers = [hash_of(n % (1 << 32), one, two ^ n >> 32) for n in counts]
        noise = [hash_of(draw, key, one) for draw, key in zip(draws, dithers, strict=True)]
        assert numbers["dither"].tolist() == dithers
        assert numbers["noise"].tolist() == noise

    for step in (1, 2, 0xFFFFFFFF, (1 << 32) + 7):
        check(step, range(count), [0] * count)
    draws, late = [4, 0xFFFFFFFF, 1 << 20][:count], [3, 0, 1][:count]
    plan.draw(np.array(draws, np.uint32), np.array(late, np.int64))
    for step in (3, 4, (1 << 32) + 1):
        check(step, draws, late)


# What is refused


@pytest.mark.parametrize(
    ("options", "dtype", "error", "message"),
    [
        ({"state_dtype": "int4"}, F32, ValueError, "state_dtype='int4'.*'int8'"),
        ({"state_dtype": np.int16}, F32, ValueError, "state_dtype="),
        ({"rounding": "up"}, BF16, ValueError, "rounding='up'"),
        ({"rounding": "stochastic"}, F32, ValueError, "bfloat16 and float16 parameters.*float32"),
        ({"compensation": "split4"}, BF16, ValueError, "compensation='split4'"),
        ({"compensation": "split8"}, F32, ValueError, "bfloat16 parameters.*float32"),
        ({"compensation": "kahan"}, F16, ValueError, "bfloat16 parameters.*float16"),
        ({"compensation": "split16", "rounding": "stochastic"}, BF16, ValueError, "nothing to"),
        ({"seed": -1}, BF16, ValueError, "seed=-1"),
        ({"seed": 1.5}, BF16, TypeError, "seed=1.5"),
        ({"min_quantized_size": -1}, F32, ValueError, "min_quantized_size=-1"),
        ({"shadow_dtype": "bfloat16"}, BF16, TypeError, "float32 parameters"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("in_plain_python")
def test_bad_options_are_refused(options, dtype, error, message):
    with pytest.raises(error, match=message):
        fa.AdamW(weights(dtype), **options)


@pytest.mark.usefixtures("in_plain_python")
def test_state_that_may_not_be_rounded_is_refused():
    for state in ("int8", "bfloat16"):
        with pytest.raises(ValueError, match=f"state_dtype='{state}'.*rmsprop.*leave"):
            fa.RMSprop(weights(), centered=True, state_dtype=state)
        with pytest.raises(ValueError, match=f"state_dtype='{state}'"):
            fa.plan(1e6, "rmsprop", centered=True, state_dtype=state)
    opt = fa.RMSprop(weights(), state_dtype="int8")
    train(opt, opt.params, 1)
    opt.param_groups[0]["centered"] = True
    with pytest.raises(ValueError, match="state_dtype='int8'"):
        train(opt, opt.params, 1)
    fa.RMSprop(weights(BF16), centered=True, rounding="stochastic", state_dtype="float32")


@pytest.mark.usefixtures("in_plain_python")
def test_options_of_sixteen_bits_may_meet_other_parameters():
    params = [*weights(BF16), *weights()]
    opt = fa.AdamW(params, compensation="split8", rounding="stochastic")
    for step in range(2):
        opt.step([g.astype(p.dtype) for g, p in zip(grads(step, params), params, strict=True)])
    assert [a is None for a in opt.state["compensation"]] == [False, False, True, True]
    assert [w.dtype for w in opt.master()] == [F32] * 4


class Ramp(fa.Optimizer):
    """Two states that start at numbers; each step adds them to the parameter."""

    @fa.rule(state=("a", "b"), hyper=("lr",))
    def rule(param, grad, state, h):  # noqa: N805
        a, b = state
        return param - h.lr * grad - a - b, (a, b)

    defaults: ClassVar = {"lr": 0.0, "start": 0.3}

    def hyper(self, group, step):
        return {"lr": group["lr"]}

    def initial(self, group):
        return {"a": group["start"], "b": -0.1}


@pytest.mark.parametrize("adapter", [False, True], ids=["core", "torch"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("state_dtype", ["float32", "bfloat16", "int8"])
@pytest.mark.usefixtures("in_plain_python")
def test_what_state_starts_at_is_not_rounded_before_the_first_step(state_dtype, dtype, adapter):
    """It is afterwards, and for each parameter in its own first step."""
    start = [np.zeros(600, dtype), np.zeros(500, dtype)]
    grads = [[np.ones(600, dtype), None], [np.ones(600, dtype), np.ones(500, dtype)]]
    if adapter:
        torch = pytest.importorskip("torch")
        ft = pytest.importorskip("fastadam.torch")
        tensors = [torch.nn.Parameter(torch.from_numpy(array)) for array in start]
        opt = type("Ramp", (ft.Optimizer,), {"core": Ramp})(
            tensors, state_dtype=state_dtype, **LEAST
        )
    else:
        opt = Ramp(start, state_dtype=state_dtype, **LEAST)
        opt.param_groups[0]["start"] = 0.3
    exact, seen = dtype(0) - dtype(0.3) - dtype(-0.1), []
    for given in grads:
        if adapter:
            for tensor, grad in zip(tensors, given, strict=True):
                tensor.grad = None if grad is None else torch.from_numpy(grad)
            opt.step()
        else:
            opt.step(given)
        seen.append((start[0][0], start[1][0]))
    assert seen[0] == (exact, 0)
    assert seen[1][1] == exact
    kept = ml_dtypes.bfloat16 if state_dtype == "bfloat16" else np.float32
    a, b = (dtype(kept(dtype(number))) for number in (0.3, -0.1))
    np.testing.assert_allclose(seen[1][0], exact - a - b, rtol=1e-6, atol=0)
    if (dtype, state_dtype) != (np.float32, "float32"):
        return
    with pytest.raises(ValueError, match=r"a=1e\+300 is too large for float32"):
        Ramp([np.ones(5000)], start=1e300, state_dtype="int8").step([np.ones(5000)])
