"""Learning rates that follow a metric, against those of PyTorch."""

import copy
import math
import pickle

import numpy as np
import pytest
from schedule_cases import LR, run

from fastadam import schedules


def plateaus():
    """Settings of a plateau, all modes among them."""
    rng = np.random.default_rng(11)
    for number in range(60):
        yield {
            "factor": float(rng.choice([0.1, 0.5, 0.9])),
            "patience": int(rng.integers(0, 4)),
            "threshold": float(rng.choice([0, 1e-4, 0.05])),
            "threshold_mode": ("rel", "abs")[number % 2],
            "cooldown": int(rng.integers(0, 4)),
            "min_lr": float(rng.choice([0, 1e-3])),
            "eps": float(rng.choice([1e-8, 1e-3])),
            "mode": ("min", "max")[number // 2 % 2],
        }


def metrics(seed):
    """A noisy path down, or up, with many repetitions, a NaN, and infinities towards its end."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, 80) + np.linspace(3, -3, 80) * rng.choice([-1, 0, 1])
    values = values.round(1)
    values[[rng.integers(80), *rng.integers(60, 80, 2)]] = np.nan, np.inf, -np.inf
    return values


@pytest.mark.parametrize("first", range(4))
def test_plateaus_are_those_of_torch(first):
    for number, options in [*enumerate(plateaus())][first::4]:
        assert_as_in_torch(number, options)


def assert_as_in_torch(number, options):
    torch = pytest.importorskip("torch")
    opt = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, **options)
    plateau = schedules.Plateau(LR, **options)
    for step, metric in enumerate(metrics(number), 1):
        opt.step()
        scheduler.step(metric)
        plateau.update(metric)
        assert plateau(step) == opt.param_groups[0]["lr"]
        state = plateau.state_dict()
        known = {name: getattr(scheduler, name) for name in state if name != "lr"}
        assert state == {"lr": plateau(step), **known}


def test_a_metric_that_is_nan_counts_as_bad():
    plateau = schedules.Plateau(1, factor=0.5, patience=1)
    for _ in range(2):
        plateau.update(math.nan)
    assert plateau(1) == 0.5


def test_warmup_leads_to_the_present_value_of_a_plateau():
    plateau = schedules.Plateau(1, factor=0.5, patience=0, warmup=4)
    plateau.update(1)
    plateau.update(1)
    assert run(plateau, 5) == [0.125, 0.25, 0.375, 0.5, 0.5]


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))]
)
def test_a_copy_of_a_plateau_goes_on_by_itself(again):
    plateau = schedules.Plateau(1, factor=0.5, patience=0)
    plateau.update(1)
    other = again(plateau)
    assert other == plateau
    other.update(1)
    assert (plateau(1), other(1)) == (1, 0.5)
    assert other != plateau


def test_a_plateau_resumes_from_its_state():
    plateau, other = (schedules.Plateau(1, factor=0.5, patience=1) for _ in range(2))
    for metric in (3, 2, 4, 5, 6):
        plateau.update(metric)
    saved = plateau.state_dict()
    assert saved == {"lr": 0.5, "best": 2, "num_bad_epochs": 1, "cooldown_counter": 0}
    other.load_state_dict(saved)
    assert other == plateau
    plateau.update(7)
    assert (plateau(1), other(1), saved["lr"]) == (0.25, 0.5, 0.5)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (None, TypeError, "state_dict=None"),
        ({}, ValueError, "num_bad_epochs"),
        ({"lr": -1.0}, ValueError, "lr=-1.0 must be >= 0"),
        ({"best": "x"}, TypeError, "best='x'"),
        ({"num_bad_epochs": 1.5}, TypeError, "num_bad_epochs=1.5"),
        ({"extra": 1}, ValueError, "extra"),
    ],
)
def test_a_wrong_state_of_a_plateau_changes_nothing(bad, error, message):
    plateau = schedules.Plateau(1)
    before = plateau.state_dict()
    with pytest.raises(error, match=message):
        plateau.load_state_dict({**before, **bad} if bad else bad)
    assert plateau.state_dict() == before


@pytest.mark.parametrize("bad", [None, "better", [1.0, 2.0]])
def test_a_metric_is_a_number(bad):
    with pytest.raises(TypeError, match="metric="):
        schedules.Plateau(1).update(bad)
