"""Steps on a device that puts off whatever it may, against the same on the host, bit for bit."""

import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from cases import SUMMED, TWO
from simulated_device import (
    OURS,
    THEIRS,
    Foreign,
    Twins,
    arrays,
    foreign,
    same,
    small_device,
    spoiled,
)

import fastadam as fa
from fastadam.cuda import conditional_step
from fastadam.cuda.array import DeviceArray
from fastadam.cuda.context import driver
from fastadam.cuda.driver import LEGACY
from fastadam.cuda.streams import stream_of_torch

pytestmark = [
    pytest.mark.simulated,
    # np.errstate does not reach the threads of the simulator
    pytest.mark.filterwarnings("ignore:.* encountered in :RuntimeWarning"),
]

STEPS, FEW = 11, 6  # more than may be under way, and as many as show what an option does


@pytest.fixture(autouse=True)
def device(monkeypatch):
    with small_device(monkeypatch):
        yield


OPTIONS = {
    "skip": {"skip_nonfinite": True},
    "clip": {"skip_nonfinite": True, "clip_norm": 0.5, "clip_value": 0.3},
    "per tensor": {"skip_nonfinite": True, "clip_norm": 0.5, "clip_norm_per": "tensor"},
    "ema": {"skip_nonfinite": True, "ema_decay": 0.9, "ema_warmup": True},
    "zero": {"skip_nonfinite": True, "zero_grads": True, "shadow_dtype": "float16"},
    "schedule": {"skip_nonfinite": True, "lr": fa.schedules.cosine(0.1, steps=STEPS, warmup=3)},
    "accumulate": {"skip_nonfinite": True, "accumulate_steps": 2},
    "flag": {"clip_norm": 0.5},
    "codes": {"skip_nonfinite": True, "state_dtype": "int8"},
}


@pytest.mark.parametrize(
    ("options", "progress", "steps"),
    [
        *((options, 0, FEW) for options in OPTIONS.values()),
        *((OPTIONS["skip"], progress, STEPS) for progress in (0, 3)),
    ],
)
def test_skipped_steps_are_counted_by_the_device(options, progress, steps):
    twins, rng = Twins(fa.AdamW, options), np.random.default_rng(1)
    for k in range(steps):
        bad = [None, np.nan, np.inf][rng.integers(3)] if k else None
        twins.step(k, bad, grad_scale=2.0)
        driver.do(OURS, progress)
    twins.check()


@pytest.mark.parametrize("case", [*TWO, *SUMMED[:1]], ids=lambda case: case.id)
def test_rules_of_every_kind_are_skipped_by_the_device(case):
    twins = Twins(case.optimizer, {"skip_nonfinite": True})
    for k, bad in enumerate((None, None, np.nan, None, np.inf, None)):
        twins.step(k, bad)
    twins.check()


def test_random_rounding_goes_with_the_count():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    options = {"skip_nonfinite": True, "rounding": "stochastic", "lr": 0.01}
    twins = Twins(fa.AdamW, options, bfloat16)
    for k in range(STEPS):
        twins.step(k, np.nan if k % 3 == 1 else None)
        driver.do(OURS, 3)
    twins.check()
    driver.begin(OURS)
    with pytest.raises(RuntimeError, match="random rounding"):
        twins.step(0, None)
    driver.end(OURS)


@pytest.mark.parametrize("optimizer", [fa.AdamW, fa.NAdam])
def test_what_is_edited_while_steps_are_under_way(optimizer):
    twins = Twins(optimizer, {"skip_nonfinite": True})
    for k in range(STEPS):
        twins.step(k, np.nan if k % 3 == 1 else None, lr=0.1 / (k + 1))
        if k == 6:
            for opt in (twins.opt, twins.twin):
                opt.param_groups[0]["betas"] = (0.8, 0.9)
    twins.check()


def test_warm_steps_do_not_wait():
    """Not the host: until so many are under way that none of their outcomes is known."""
    twins = Twins(fa.AdamW, {"skip_nonfinite": True, "clip_norm": 1.0})
    for k in range(3):
        twins.step(k, None)
    driver.finish_all()
    before = driver.waits
    for k in range(3, 3 + conditional_step.MAX_IN_FLIGHT):
        twins.step(k, np.nan if k == 4 else None)
    assert driver.waits == before
    assert driver.streams[OURS]
    twins.check()


def test_plain_steps_do_not_wait():
    host = arrays(0)
    params = foreign(host)
    opt, twin = fa.AdamW(host, clip_norm=0.5), fa.AdamW(params, clip_norm=0.5)
    given = [foreign(arrays(k)) for k in range(20)]  # alive until they are read
    for k, there in enumerate(given):
        if k == 3:
            driver.finish_all()
            before = driver.waits
        opt.step(arrays(k))
        twin.step(there, stream=OURS)
    assert driver.waits == before
    same(host, params)


@pytest.mark.parametrize(
    ("optimizer", "options", "uploads"),
    [
        (fa.SGD, {"momentum": 0.9}, 0),  # the constants of later steps are the same
        (fa.SGD, {"momentum": 0.9, "clip_norm": 0.5}, 0),
        (fa.AdamW, {}, 1),
        (fa.AdamW, {"clip_norm": 0.5}, 1),
        (fa.AdamW, {"clip_norm": 0.5, "skip_nonfinite": True, "ema_decay": 0.9}, 1),
    ],
    ids=str,
)
def test_a_step_sends_its_constants_at_once_if_they_changed(
    optimizer, options, uploads, monkeypatch
):
    params, grads = foreign(arrays(0)), foreign(arrays(1))
    opt, sent, copy_in = optimizer(params, **options), [], driver.copy_in
    monkeypatch.setattr(driver, "copy_in", lambda *each: (sent.append(each), copy_in(*each)))
    for _ in range(4):
        sent.clear()
        opt.step(grads, stream=OURS)
    assert len(sent) == uploads


def test_missing_gradients_between_skipped_steps():
    lr = fa.schedules.cosine(0.1, steps=9, warmup=3)
    twins = Twins(fa.AdamW, {"skip_nonfinite": True, "lr": lr})
    for k in range(6):
        grads = arrays(k + 1)
        grads[0] = None if k in (2, 3) else grads[0]
        spoiled(grads, np.nan if k in (1, 3) else None)
        there = foreign(grads)
        one, other = twins.opt.step(grads), twins.twin.step(there, stream=OURS)
        twins.infos.append((one, other, [], [], there))
    twins.check()


def test_a_step_follows_the_streams_that_arrays_announce():
    host = arrays(0)
    there = foreign(host, THEIRS)
    opt, twin = fa.SGD(host, lr=0.5, momentum=0.9), fa.SGD(there, lr=0.5, momentum=0.9)
    grads = foreign(map(np.zeros_like, host), OURS)
    for k in range(4):
        values = arrays(k + 1)
        for grad, value in zip(grads, values, strict=True):
            grad.fill(value, OURS)
        opt.step(values)
        twin.step(grads)
        for param, want in zip(there, host, strict=True):  # in their stream it has happened
            driver.queue(THEIRS, partial(check_values, param, want.copy()))
        assert LEGACY not in driver.streams or not driver.streams[LEGACY]
        for grad in grads:  # the step has read them, before they change
            grad.fill(np.full_like(grad.values, 9), OURS)
    driver.do(OURS)
    same(host, there)


def check_values(array, want):
    np.testing.assert_array_equal(array.values, want)


def test_state_is_read_after_the_stream_that_wrote_it():
    param = Foreign(np.ones(3, np.float32))
    opt = fa.SGD(param, lr=1.0, momentum=0.5)
    opt.step(Foreign(np.ones(3, np.float32)), stream=OURS)
    opt.step(Foreign(np.ones(3, np.float32)), stream=THEIRS)
    assert np.asarray(opt.state["momentum_buffer"][0]).tolist() == [1.5] * 3
    opt.grads.buffer[...] = 2.0
    opt.step(stream=OURS)
    opt.zero_grad()
    assert not np.asarray(opt.grads.buffer).any()
    driver.finish_all()
    assert param.values.tolist() == [1 - 1 - 1.5 - 2.75] * 3


def test_gradients_say_the_stream_where_parameters_do_not():
    flat = fa.flatten([Foreign(np.ones(3, np.float32))])
    assert isinstance(flat.buffer, DeviceArray)
    grad = Foreign(np.zeros(3, np.float32), OURS)
    opt = fa.SGD(flat, lr=1.0)
    grad.fill(np.ones(3, np.float32), OURS)
    opt.step([grad])
    assert driver.streams[OURS]
    assert not np.asarray(flat.buffer).any()


def test_bare_kernels_take_a_stream():
    host = [np.ones(5, np.float32), np.ones(5, np.float32), *np.zeros((2, 5), np.float32)]
    there = foreign(host)
    for step in range(1, 40):
        fa.functional.adamw(*host, step=step)
        fa.functional.adamw(*there, step=step, stream=OURS)
    assert driver.streams[OURS]
    same(host, there)
    with pytest.raises(ValueError, match="on the host"):
        fa.functional.adamw(*host, step=1, stream=OURS)


@pytest.mark.parametrize("bad", [True, "fast", 1.5, -1, object()])
def test_what_is_no_stream_is_refused(bad):
    opt = fa.SGD(Foreign(np.ones(3, np.float32)))
    with pytest.raises(TypeError, match="is not a stream"):
        opt.step(Foreign(np.ones(3, np.float32)), stream=bad)
    opt.step(Foreign(np.ones(3, np.float32)))
    with pytest.raises(ValueError, match="on the host"):
        fa.SGD(np.ones(3)).step(np.ones(3), stream=OURS)


def test_gradients_that_moved_are_found_again():
    opt = fa.SGD(param := Foreign(np.ones(3, np.float32)), lr=1.0)
    grad = Foreign(np.ones(3, np.float32))
    opt.step(grad)
    other = np.full(3, 5, np.float32)
    grad.interface["data"] = other.__array_interface__["data"]
    opt.step(grad)
    driver.finish_all()
    assert param.values.tolist() == [-5] * 3
    param.interface["data"] = other.__array_interface__["data"]
    with pytest.raises(ValueError, match="other memory"):
        opt.step(grad)


def test_flags_that_are_none_are_refused():
    opt = fa.SGD(param := Foreign(np.ones(3, np.float32)), lr=1.0)
    grad = Foreign(np.ones(3, np.float32))
    opt.step(grad)
    for flag in (np.ones(2, np.float32), np.ones(1, np.complex64)):
        with pytest.raises(TypeError, match="found_inf"):
            opt.step(grad, found_inf=Foreign(flag))
    for dtype in (np.float32, np.float64, np.bool_, np.uint8, np.int32, np.int64):
        for up in (0, 1):
            assert opt.step(grad, found_inf=Foreign(np.full((), up, dtype))).skipped == bool(up)
    assert opt.step(grad, found_inf=True) == (7, 1.0, None, True, False)
    assert opt.step(grad).step == 8
    driver.finish_all()
    assert param.values.tolist() == [-7] * 3


def test_a_stream_is_asked_for_once_in_a_step():
    """An array may take its time to say it, and PyTorch does."""
    asked = []

    class Asked(Foreign):
        @property
        def __cuda_array_interface__(self):
            asked.append(self)
            return super().__cuda_array_interface__

    values, grad = Asked(np.ones(3, np.float32), OURS), Asked(np.ones(3, np.float32), OURS)
    opt = fa.SGD(values, lr=1.0)
    for _ in range(2):
        opt.step(grad)
    asked.clear()
    opt.step(grad)
    assert asked.count(values) == 2  # an array of no known kind also says where it is


def test_the_stream_of_torch_is_a_handle(monkeypatch):
    torch = SimpleNamespace(_C=SimpleNamespace())
    torch._C._cuda_getCurrentRawStream = {0: 0, 1: OURS}.__getitem__
    torch._C._cuda_getDevice = lambda: 1
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert [stream_of_torch(), stream_of_torch(1), stream_of_torch(0)] == [OURS, OURS, LEGACY]


# Numbers that the device has


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (fa.AdamW, {"clip_norm": 0.5, "skip_nonfinite": True}),
        (fa.AdamW, {}),
        (fa.Adan, {"weight_decay": 0.1, "no_prox": True}),
        (fa.SGD, {"momentum": 0.9}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "-".join(value),
)
def test_a_learning_rate_and_a_loss_scale_of_the_device(optimizer, options):
    """The host does not know them; the results are those of the numbers."""
    twins, grads = Twins(optimizer, options), foreign(arrays(1))
    rate, scale = Foreign(np.float32([0.0])), Foreign(np.float32([0.0]))
    for k in range(7):
        lr, factor = np.float32(0.1 / (k + 1)), np.float32(2.0 ** (k + 3))
        rate.fill([lr], OURS)
        scale.fill([factor], OURS)
        for grad, values in zip(grads, arrays(1), strict=True):
            grad.fill(values, OURS)
        if k == 2:
            driver.finish_all()
            before = driver.waits
        given = {"lr": rate, "grad_scale": scale} if k != 5 else {"lr": float(lr)}
        there = {"lr": float(lr), "grad_scale": float(factor)} if k != 5 else {"lr": float(lr)}
        one = twins.opt.step(arrays(1), **there)
        other = twins.twin.step(grads, **given, stream=OURS)
        twins.infos.append((one, other, [], [], None))
        assert k not in range(2, 5) or driver.waits == before
    twins.check()


def test_numbers_of_a_device_that_are_none_are_refused():
    opt = fa.SGD(Foreign(np.ones(3, np.float32)))
    grad = Foreign(np.ones(3, np.float32))
    opt.step(grad)
    for bad in (np.ones(2, np.float32), np.ones(1, np.int32)):
        with pytest.raises(TypeError, match="lr is an array"):
            opt.step(grad, lr=Foreign(bad))
        for _ in range(2):
            opt.step(grad, grad_scale=2.0)
        with pytest.raises(TypeError, match="grad_scale is an array"):
            opt.step(grad, grad_scale=Foreign(bad))
    opt = fa.Adan(Foreign(np.ones(3, np.float32)), weight_decay=0.1)
    opt.step(grad)
    with pytest.raises(TypeError, match="give lr as a float"):
        opt.step(grad, lr=Foreign(np.float32([0.1])))


@pytest.mark.parametrize("lazy", ["torch", "rows"])
def test_rows_wait_for_what_writes_them(lazy):
    rng = np.random.default_rng(3)
    host = rng.standard_normal((9, 3)).astype(np.float32)
    there = Foreign(host)
    opt, twin = fa.Adam(host, lazy=lazy), fa.Adam(there, lazy=lazy)
    for count in (3, 12, 5, 30):  # the pages grow
        given = rng.integers(0, 9, count), rng.standard_normal((count, 3)).astype(np.float32)
        written = [Foreign(np.zeros_like(part), THEIRS) for part in given]
        for part, values in zip(written, given, strict=True):
            part.fill(values, THEIRS)
        opt.step(fa.Rows(*given))
        twin.step(fa.Rows(*written), stream=OURS)
    driver.begin(OURS)
    with pytest.raises(RuntimeError, match=r"Rows, .* cannot be captured"):
        twin.step(fa.Rows(*written), stream=OURS)
    driver.end(OURS)
    same([host], [there])
    for name, (state,) in opt.state.items():
        same([state], [np.asarray(twin.state[name][0])])
