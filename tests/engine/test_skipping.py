"""Steps that are left out, and gradients that are cleared."""

import math
import pickle

import numpy as np
import pytest
from tails import arrays, everything, trace

import fastadam as fa


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


@pytest.mark.usefixtures("in_plain_python")
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


@pytest.mark.parametrize("found_inf", ["no", None, math.nan, 2, [1, 0]])
def test_a_bad_flag_is_refused(found_inf):
    param = np.ones(2)
    with pytest.raises((TypeError, ValueError), match="found_inf"):
        fa.SGD(param).step(np.ones(2), found_inf=found_inf)
    assert param.tolist() == [1, 1]
    for good in (np.bool_(True), 1, 1.0, np.array([1.0])):
        assert fa.SGD(param).step(np.ones(2), found_inf=good).skipped


@pytest.mark.usefixtures("in_plain_python")
def test_a_mask_in_gradients_that_are_cleared_is_refused():
    param, grad = np.ones(4, np.float32), np.ones(4, np.float32)
    with pytest.raises(ValueError, match="mask lies in the memory of grads"):
        fa.SGD(param, zero_grads=True).step(grad, mask=grad.view(bool)[:4])


def test_a_skipped_step_does_not_even_switch_a_flag():
    momentum = fa.schedules.join([fa.schedules.constant(0.0), fa.schedules.constant(0.9)], [1])
    opt = fa.SGD(np.ones(2), momentum=momentum, skip_nonfinite=True)
    opt.step(np.ones(2))
    before = pickle.dumps((opt.state, opt.state_dict()))
    assert opt.step(np.full(2, np.nan)).skipped
    assert pickle.dumps((opt.state, opt.state_dict())) == before
