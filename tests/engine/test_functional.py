"""Bare kernels over buffers that the caller keeps."""

import gc
import weakref

import numpy as np
import pytest
from cases import gradients, parameters

import fastadam as fa


def buffers(n=5, dtype=np.float32):
    return parameters(n, dtype), gradients(n, 1, dtype)[0], np.zeros(n, dtype), np.zeros(n, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 5, 30_000])
def test_it_is_the_step_of_the_class(dtype, n):
    p, g, m, v = buffers(n, dtype)
    w = p.copy()
    opt = fa.AdamW(w, lr=0.1)
    for step in range(1, 4):
        fa.functional.adamw(p, g, m, v, step=step, lr=0.1)
        opt.step(g)
    np.testing.assert_array_equal(p, w)
    np.testing.assert_array_equal(m, opt.state["exp_avg"][0])
    np.testing.assert_array_equal(v, opt.state["exp_avg_sq"][0])


def test_variants_take_their_state():
    p, g, m, v = buffers()
    with pytest.raises(TypeError, match="max_exp_avg_sq"):
        fa.functional.adam(p, g, m, v, step=1, amsgrad=True)
    top = np.zeros(5, np.float32)
    fa.functional.adam(p, g, m, v, top, step=1, amsgrad=True)
    np.testing.assert_array_equal(top, v)


def test_other_arrays_and_other_keywords_at_every_call():
    sets = [buffers(n) for n in (3, 4, 3, 1000)]
    for step in range(1, 6):
        for k, (p, g, m, v) in enumerate(sets):
            q, n, w = p.copy(), m.copy(), v.copy()
            fa.functional.adamw(p, g, m, v, step=step, lr=0.1 * k)
            fa.functional.adamw(q, g.copy(), n, w, step=np.int64(step), lr=0.1 * k)
            np.testing.assert_array_equal(p, q)
            np.testing.assert_array_equal(m, n)


def test_arrays_are_not_kept_alive():
    arrays = buffers()
    fa.functional.adamw(*arrays, step=1)
    seen = [weakref.ref(array) for array in arrays]
    del arrays
    gc.collect()
    assert [array() for array in seen] == [None] * 4


def test_an_array_that_died_is_not_taken_for_none():
    p, g, m, v = buffers()
    fa.functional.adamw(p, g.copy(), m, v, step=1)
    with pytest.raises(TypeError, match="grad is None"):
        fa.functional.adamw(p, None, m, v, step=2)


def test_edited_lists_are_seen():
    p, g, m, v = buffers()
    q, n, w = p.copy(), m.copy(), v.copy()
    betas = [0.9, 0.999]
    fa.functional.adamw(p, g, m, v, step=1, betas=betas)
    betas[0] = 0.0
    fa.functional.adamw(p, g, m, v, step=2, betas=betas)
    fa.functional.adamw(q, g, n, w, step=1)
    fa.functional.adamw(q, g, n, w, step=2, betas=(0.0, 0.999))
    np.testing.assert_array_equal(p, q)


def test_edited_numbers_are_seen():
    p, g, m, v = buffers()
    q, n, w = p.copy(), m.copy(), v.copy()
    lr = np.array(0.1)
    for step in (1, 2):
        fa.functional.adamw(p, g, m, v, step=step, lr=lr)
        fa.functional.adamw(q, g, n, w, step=step, lr=float(lr))
        lr *= 2
    np.testing.assert_array_equal(p, q)


@pytest.mark.usefixtures("in_plain_python")
def test_numbers_may_change_at_every_step_and_other_names_take_turns():
    p, g, m, v = buffers()
    q = p.copy()
    opt = fa.AdamW(q)
    for step in range(1, 9):
        hyper: dict = {"lr": 0.1 / step}
        if step % 2:
            hyper |= {"weight_decay": 0.1 * step, "betas": (0.5, 1 - 0.1 / step)}
        given = g.astype(np.float16) if step in (3, 4) else g
        fa.functional.adamw(p, given, m, v, step=step, **hyper)
        opt.param_groups[0].update(fa.AdamW.defaults | hyper)
        opt.step(given)
        before = p.copy()
        for wrong in ({"lr": -1.0}, {"lr": float("nan")}, {"betas": (0.5, 1.0)}, {"rate": 1.0}):
            with pytest.raises((TypeError, ValueError)):
                fa.functional.adamw(p, g, m, v, step=step, **{**hyper, **wrong})
        np.testing.assert_array_equal(p, before)
        np.testing.assert_array_equal(p, q)


def test_a_flag_that_a_schedule_switches_is_followed():
    p, g, *buffer, _ = buffers()
    hyper = {"lr": 0.1, "momentum": lambda step: 0.9 if step > 1 else 0.0}
    fa.functional.sgd(p, g, step=1, **hyper)
    fa.functional.sgd(p, g, *buffer, step=2, **hyper)
    np.testing.assert_array_equal(*buffer, g)
    with pytest.raises(ValueError, match="momentum"):
        fa.functional.sgd(p, g, step=1, nesterov=True, **hyper)


@pytest.mark.parametrize("position", range(4))
def test_bad_buffers(position):
    names = ("param", "grad", "exp_avg", "exp_avg_sq")
    wide = np.ones(10, np.float32)
    for bad, error in (
        (np.ones(6, np.float32), ValueError),
        (np.ones(5), TypeError),
        (wide[::2], ValueError),
        (np.ones((5, 1), np.float32), ValueError),
        ([1.0] * 5, TypeError),
        (None, TypeError),
    ):
        arrays = list(buffers())
        kept = [array.copy() for array in arrays]
        arrays[position] = bad
        with pytest.raises(error, match=rf"adamw\(\): ({'|'.join(names)})"):
            fa.functional.adamw(*arrays, step=1)
        for k, array in enumerate(kept):
            if k != position:
                np.testing.assert_array_equal(arrays[k], array)
    arrays = list(buffers())
    arrays[position].flags.writeable = False
    if position == 1:
        fa.functional.adamw(*arrays, step=1)
    else:
        with pytest.raises(ValueError, match="read-only"):
            fa.functional.adamw(*arrays, step=1)


def test_shared_memory():
    p, g, m, v = buffers()
    for arrays in ((p, p, m, v), (p, g, m, m), (p, g, p, v), (p, v, m, v)):
        with pytest.raises(ValueError, match="same memory"):
            fa.functional.adamw(*arrays, step=1)
    whole = np.zeros(8, np.float32)
    with pytest.raises(ValueError, match="share the same memory"):
        fa.functional.adamw(p, g, whole[:5], whole[3:], step=1)


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({}, TypeError, "step"),
        ({"step": 0}, ValueError, "step=0.*from 1"),
        ({"step": 1.5}, TypeError, "step=1.5 must be a whole number"),
        ({"step": 1, "lr": -1.0}, ValueError, "lr=-1.0"),
        ({"step": 1, "betas": (0.9, 1.0)}, ValueError, "betas"),
        ({"step": 1, "betas": np.array([0.9, 0.99, 1])}, TypeError, "betas=array"),
        (
            {"step": 1, "weight_deacy": 0.1},
            TypeError,
            "'weight_deacy'; did you mean 'weight_decay'?",
        ),
        ({"step": 1, "eps_mode": "x"}, ValueError, "eps_mode"),
        ({"step": 1, "momentum": 0.9}, TypeError, "momentum"),
        ({"step": 1, "initial_lr": 0.9}, TypeError, "initial_lr"),
        ({"step": 1, "threads": 0}, ValueError, "threads"),
        ({"step": 1, "threads": -1}, ValueError, "threads"),
    ],
)
def test_bad_keywords(keywords, error, message):
    p, g, m, v = buffers()
    fa.functional.adamw(p, g, m, v, step=1, betas=(0.9, 0.99))
    kept = p.copy()
    with pytest.raises(error, match=message):
        fa.functional.adamw(p, g, m, v, **keywords)
    np.testing.assert_array_equal(p, kept)


def test_the_module_lists_what_it_has():
    assert {"adam", "adamw", "bare"} <= set(dir(fa.functional))
    assert "exp_avg_sq" in str(fa.functional.adamw.__signature__)
    with pytest.raises(AttributeError, match="it has bare, "):
        fa.functional.lbfgs  # noqa: B018


@pytest.mark.parametrize("other", ["adam", fa.Adam(np.ones(1)), dict])
def test_bare_wants_a_class(other):
    with pytest.raises(TypeError, match=r"(?s)^bare\(\): .* is not the class of an optimizer"):
        fa.functional.bare(other)


@pytest.mark.usefixtures("in_plain_python")
def test_options_are_those_of_an_optimizer():
    """With arrays of the caller's, gradients of another dtype and state in int8."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    rng, n = np.random.default_rng(0), 5000
    param, grad = rng.standard_normal((2, n)).astype(np.float32)
    grad, mask, other = grad.astype(ml_dtypes.bfloat16), rng.random(n) < 0.5, param.copy()
    ema, shadow = param.copy(), np.zeros(n, ml_dtypes.bfloat16)
    state = [np.zeros(n, np.int8), np.zeros(20, np.float32)] * 2
    state = [array.copy() for array in state]
    options = {"clip_value": 0.5, "ema_decay": 0.9}
    opt = fa.AdamW(
        other,
        lr=0.1,
        state_dtype="int8",
        shadow_dtype="bfloat16",
        clip_norm=float("inf"),
        **options,
    )
    for t in (1, 2):
        arrays = {"ema": ema, "shadow": shadow, "mask": mask}
        norm = fa.functional.adamw(
            param, grad, *state, step=t, lr=0.1, grad_scale=8.0, norm=True, **options, **arrays
        )
        assert norm == opt.step(grad, mask=mask, grad_scale=8.0).grad_norm
    names = [name + part for name in ("exp_avg", "exp_avg_sq") for part in ("", "_scale")]
    kept = [opt.state[name][0] for name in names]
    for got, wanted in zip(
        [param, ema, shadow, *state], [other, opt.ema.buffer, opt.shadow.buffer, *kept], strict=True
    ):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ema": np.zeros(5, np.float32)}, "need each other"),
        ({"ema_decay": 0.9}, "need each other"),
        ({"ema": np.zeros(4, np.float32), "ema_decay": 0.9}, r"adamw\(\): ema has shape"),
        ({"ema": np.zeros(5, np.float32), "ema_decay": 1.5}, "ema_decay=1.5"),
        ({"clip_value": -1.0}, "clip_value=-1.0"),
        ({"grad_scale": 0.0}, "grad_scale=0.0"),
        ({"mask": np.zeros(5)}, "not an array of bool"),
        ({"shadow": np.zeros(5, np.float32)}, "a bfloat16 or float16 copy"),
        ({"norm": 2}, "norm=2"),
        ({"seed": -1}, "seed=-1"),
        ({"norm": True, "clip_valu": 1.0}, "clip_valu"),
    ],
)
def test_bad_options(options, message):
    p, g, m, v = buffers()
    before = p.copy()
    with pytest.raises((TypeError, ValueError), match=message):
        fa.functional.adamw(p, g, m, v, step=1, **options)
    np.testing.assert_array_equal(p, before)


def test_state_in_low_precision_is_checked():
    p, g, *_ = buffers()
    codes, scale = np.zeros(5, np.int8), np.zeros(1, np.float32)
    with pytest.raises(TypeError, match="exp_avg, exp_avg_scale, exp_avg_sq, exp_avg_sq_scale"):
        fa.functional.adamw(p, g, codes, codes.copy(), step=1)
    with pytest.raises(ValueError, match="exp_avg_scale has 2 elements; it must have 1"):
        fa.functional.lion(p, g, codes, np.zeros(2, np.float32), step=1)
    with pytest.raises(ValueError, match="share"):
        fa.functional.lion(p, g, p.view(np.int8)[:5], scale, step=1)
    with pytest.raises(ValueError, match="leave state_dtype out"):
        fa.functional.rmsprop(p, g, codes, scale, codes, scale, step=1, centered=True)
