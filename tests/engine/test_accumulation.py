"""Gradients of several micro-batches."""

import math
import pickle

import numpy as np
import pytest
from cases import gradients, parameters
from tails import arrays, everything, same

import fastadam as fa


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


@pytest.mark.usefixtures("in_plain_python")
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


def test_a_window_without_any_gradient_ends_as_well():
    param = np.zeros(1)
    opt = fa.SGD([param], lr=1.0, accumulate_steps=2)
    opt.step([None])
    assert not opt.step([None]).updated
    assert not opt.step([np.ones(1)]).updated
    assert opt.step([np.ones(1)]).updated
    assert param[0] == -1


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
