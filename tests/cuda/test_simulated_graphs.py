"""Steps that graphs replay on a simulated device, against the same on the host, bit for bit."""

import numpy as np
import pytest
from simulated_device import OURS, THEIRS, Captured, Foreign, arrays, small_device

import fastadam as fa
from fastadam.cuda.context import driver

pytestmark = [
    pytest.mark.simulated,
    # np.errstate does not reach the threads of the simulator
    pytest.mark.filterwarnings("ignore:.* encountered in :RuntimeWarning"),
]


@pytest.fixture(autouse=True)
def device(monkeypatch):
    with small_device(monkeypatch):
        yield


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (fa.AdamW, {"betas": (0.9, 0.99)}),
        (fa.AdamW, {"betas": (0.5, 0.9), "clip_norm": 0.5, "skip_nonfinite": True}),
        (fa.Adam, {"betas": (0.5, 0.9), "ema_decay": 0.9, "ema_warmup": True}),
        (fa.RAdam, {"betas": (0.5, 0.9)}),
        (fa.SGD, {"momentum": 0.9, "clip_value": 0.1}),
        (fa.Lion, {"shadow_dtype": "float16"}),
        (fa.Adagrad, {}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "-".join(value),
)
def test_a_captured_step_counts_when_it_is_replayed(optimizer, options):
    both = Captured(optimizer, **options)
    graph, _ = both.capture()
    both.replay(graph, 9)
    both.check()
    both.step()  # and so does one between
    both.replay(graph, 3)
    both.step(lr=0.5)
    second, _ = both.capture()
    both.replay(second, 2)
    both.replay(graph, 2)
    both.check()


def test_what_a_captured_step_reports():
    both = Captured(clip_norm=0.5, skip_nonfinite=True, betas=(0.5, 0.9))
    graph, info = both.capture()
    assert info == (2, 1e-3, None, False, False)
    want = both.replay(graph, 3)
    assert info == want
    both.grads[0].fill(np.full((2, 3), np.nan, np.float32), OURS)
    driver.replay(graph, OURS)
    assert info[:2] == want[:2]
    assert info.skipped
    assert not info.updated
    both.check()


def test_a_captured_step_looks_at_a_flag():
    both, flag = Captured(betas=(0.5, 0.9), zero_grads=True), Foreign(np.zeros(1, np.float32))
    graph, info = both.capture(found_inf=flag)
    for k in range(4):
        up = k == 2
        for grad, values in zip(both.grads, arrays(1), strict=True):
            grad.fill(values, OURS)
        flag.fill(np.full(1, up, np.float32), OURS)
        driver.replay(graph, OURS)
        want = both.opt.step(arrays(1), found_inf=up)
        assert info == want
        assert not any(grad.values.any() for grad in both.grads)
    both.check()


def test_after_a_captured_step_some_things_are_refused():
    both = Captured(betas=(0.5, 0.9))
    graph, _ = both.capture()
    saved = both.twin.state_dict()
    with pytest.raises(RuntimeError, match="load_state_dict"):
        both.twin.load_state_dict(saved)
    with pytest.raises(RuntimeError, match="add_param_group"):
        both.twin.add_param_group({"params": Foreign(np.ones(2, np.float32))})
    with pytest.raises(RuntimeError, match="updates other parameters"):
        both.twin.step([None, *both.grads[1:]])
    both.replay(graph, 2)
    both.check()


def test_steps_that_cannot_be_captured_are_refused():
    for options, more, message in (
        ({"lr": fa.schedules.cosine(0.1, steps=9)}, {}, "functions of the step"),
        ({"accumulate_steps": 2}, {}, "accumulate_steps"),
        ({}, {"grad_scale": 2.0}, "grad_scale"),
        ({}, {"found_inf": True}, "found_inf"),
    ):
        both = Captured(**options)
        with pytest.raises(RuntimeError, match=message):
            both.capture(**more)
    with pytest.raises(RuntimeError, match="mu_product"):
        Captured(fa.NAdam).capture()
    with pytest.raises(RuntimeError, match="still change"):
        Captured(fa.Adagrad, lr_decay=0.1).capture()
    driver.begin(OURS)
    with pytest.raises(RuntimeError, match="take a step"):
        fa.AdamW(Foreign(np.ones(3, np.float32))).step(Foreign(np.ones(3, np.float32)), stream=OURS)
    with pytest.raises(RuntimeError, match="announce the stream 12"):
        fa.AdamW(Foreign(np.ones(3, np.float32), THEIRS)).step(
            Foreign(np.ones(3, np.float32)), stream=OURS
        )
    bare = [Foreign(np.ones(3, np.float32)) for _ in range(2)]
    with pytest.raises(RuntimeError, match="bare step"):
        fa.functional.sgd(*bare, step=1, stream=OURS)
    driver.end(OURS)


def test_a_captured_step_follows_a_learning_rate_and_a_loss_scale():
    both = Captured(betas=(0.5, 0.9), clip_norm=0.5)
    rate, scale = Foreign(np.float32([0.1])), Foreign(np.float32([4.0]))
    graph, info = both.capture(lr=rate, grad_scale=scale)
    for k in range(4):
        lr, factor = np.float32(0.1 / (k + 1)), np.float32(2.0**k)
        rate.fill([lr], OURS)
        scale.fill([factor], OURS)
        driver.replay(graph, OURS)
        want = both.opt.step(arrays(1), lr=float(lr), grad_scale=float(factor))
        assert repr(info) == repr(want)
    both.check()
