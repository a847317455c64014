"""The loss scale."""

import math

import numpy as np
import pytest

import fastadam as fa


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


@pytest.mark.parametrize(
    "wrong",
    [
        {"growth_interval": 1.5},
        {"scale": "x"},
        {"_growth_tracker": None},
        {"growth_interval": math.inf},
        {"scale": True},
    ],
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


def test_a_scaler_takes_the_numbers_of_numpy():
    scaler = fa.LossScaler(np.float32(1024), growth_interval=np.int32(1))
    scaler.update(np.False_)
    assert scaler.scale == 2048
    with pytest.raises(TypeError, match="init_scale"):
        fa.LossScaler(np.complex64(1024))


def test_a_scaler_grows_and_falls_within_bounds():
    scaler = fa.LossScaler(init_scale=2.0**125, growth_interval=3)
    scaler.load_state_dict(scaler.state_dict() | {"_growth_tracker": 7})
    scaler.update(False)
    assert scaler.scale == 2.0**126
    for _ in range(6):
        scaler.update(False)
    assert scaler.scale == 2.0**127  # as PyTorch's, whose scale is a float32
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="init_scale"):
            fa.LossScaler(init_scale=wrong)
        with pytest.raises(ValueError, match="scale="):
            scaler.load_state_dict(scaler.state_dict() | {"scale": wrong})
        with pytest.raises(ValueError, match="scale="):
            scaler.scale = wrong
    assert scaler.scale == 2.0**127
