"""Schedules as values, and the arguments that they refuse."""

import copy
import itertools
import math
import pickle
import re

import numpy as np
import pytest
from schedule_cases import WARMUP, each_case, run

from fastadam import schedules

# As values


@each_case
def test_it_is_a_value(case):
    schedule, other = case(warmup=WARMUP), case(warmup=WARMUP)
    assert schedule == other
    assert hash(schedule) == hash(other)
    assert schedule != case()
    for again in (pickle.loads(pickle.dumps(schedule)), copy.deepcopy(schedule)):
        assert again == schedule
        assert run(again, 50) == run(schedule, 50)
    assert eval(repr(schedule), dict(vars(schedules))) == schedule


@each_case
def test_it_cannot_be_changed(case):
    with pytest.raises(AttributeError):
        case().warmup = 3


def test_it_prints_as_the_call_that_makes_it():
    assert repr(schedules.cosine(1e-3, steps=1000, warmup=100)) == (
        "cosine(0.001, steps=1000, warmup=100)"
    )
    assert repr(schedules.piecewise(1, {5: 1})) == "piecewise(1.0, {5: 1.0})"


def test_numpy_numbers_become_plain():
    schedule = schedules.cosine(np.float64(1), steps=np.int64(4), end=np.int32(0))
    assert repr(schedule) == "cosine(1.0, steps=4)"
    assert type(schedule(np.int64(2))) is float
    assert schedule(np.uint8(2)) == schedule(2)


def test_later_changes_of_arguments_do_not_reach_it():
    factors, boundaries = {5: 0.1}, [3]
    pieces = schedules.piecewise(1, factors)
    both = schedules.join([pieces, pieces], boundaries)
    factors[6], boundaries[0] = 0.1, 9
    assert pieces == schedules.piecewise(1, {5: 0.1})
    assert both == schedules.join([pieces, pieces], [3])


# Bad input


BAD_STEPS = [(0, ValueError), (-3, ValueError), (1.5, TypeError), ("1", TypeError)]
BAD_STEPS += [(step, TypeError) for step in (None, True, np.float64(2.5), math.nan)]


@each_case
def test_a_step_is_an_int_from_1(case):
    for warmup, (step, error) in itertools.product((0, WARMUP), BAD_STEPS):
        with pytest.raises(error, match=re.escape(f"step={step!r}")):
            case(warmup=warmup)(step)


BAD_NUMBERS = [
    (-1.0, ValueError, "must be >"),
    (math.nan, ValueError, "must be finite"),
    (math.inf, ValueError, "must be finite"),
    (10**400, ValueError, "must be finite"),
    ("1", TypeError, "must be a number; give"),
    (None, TypeError, "must be a number; give"),
    (True, TypeError, "must be a number; give"),
    (1j, TypeError, "must be a number; give"),
]


BAD_COUNTS = [
    (-1, ValueError, "must be >="),
    (2.5, TypeError, "must be a whole number; give"),
    (True, TypeError, "must be a whole number; give"),
    ("2", TypeError, "must be a whole number; give"),
]


GOOD = {
    "constant": {"lr": 1},
    "step_decay": {"lr": 1, "every": 3, "gamma": 0.5},
    "exponential": {"lr": 1, "gamma": 0.5},
    "piecewise": {"lr": 1, "factors": {3: 0.1}},
    "inverse_time": {"lr": 1, "decay": 0.5},
    "inverse_sqrt": {"lr": 1, "timescale": 9},
    "linear": {"lr": 1, "end": 0, "steps": 9},
    "polynomial": {"lr": 1, "end": 0, "steps": 9, "power": 2},
    "cosine": {"lr": 1, "end": 0, "steps": 9},
    "cosine_restarts": {"lr": 1, "end": 0, "period": 9, "mult": 2},
    "wsd": {"lr": 1, "end": 0, "steps": 9, "decay": 3},
    "one_cycle": {"lr": 1, "steps": 9, "pct_start": 0.5, "div_factor": 9, "final_div_factor": 9},
    "join": {"schedules": [abs, abs], "boundaries": [3]},
    "Plateau": {"lr": 1, "factor": 0.5, "patience": 1, "threshold": 0, "cooldown": 1}
    | {"min_lr": 0, "eps": 0},
}


COUNTS = {"every", "steps", "period", "mult", "patience", "cooldown"}


NUMBERS = {"lr", "gamma", "decay", "end", "power", "pct_start", "div_factor", "final_div_factor"}


NUMBERS |= {"timescale", "factor", "threshold", "min_lr", "eps"}


@pytest.mark.parametrize("name", GOOD)
def test_every_argument_is_checked(name):
    make = getattr(schedules, name)
    make(**GOOD[name])
    for argument in [*GOOD[name], "warmup"]:
        count = argument in COUNTS | {"warmup"} or (name, argument) == ("wsd", "decay")
        for value, error, message in BAD_COUNTS if count else BAD_NUMBERS * (argument in NUMBERS):
            with pytest.raises(error, match=f"{argument}=.*{message}"):
                make(**{**GOOD[name], argument: value})
    assert GOOD.keys() == {*schedules.__all__}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda s: s.cosine(1, steps=0), ValueError, "steps=0 must be >= 1"),
        (lambda s: s.cosine(1, steps=5, warmup=5), ValueError, "warmup=5 .*steps=5"),
        (lambda s: s.step_decay(1, every=0), ValueError, "every=0"),
        (lambda s: s.cosine_restarts(1, period=0), ValueError, "period=0"),
        (lambda s: s.cosine_restarts(1, period=3, mult=0), ValueError, "mult=0"),
        (lambda s: s.inverse_sqrt(1, timescale=0), ValueError, "timescale=0"),
        (lambda s: s.wsd(1, steps=9, decay=3, decay_type="sqrt"), ValueError, "decay_type='sqrt'"),
        (lambda s: s.wsd(1, steps=9, decay=0), ValueError, "decay=0"),
        (lambda s: s.wsd(1, steps=9, decay=10), ValueError, "decay=10"),
        (lambda s: s.wsd(1, steps=9, decay=7, warmup=3), ValueError, "decay=7 .* 6 steps"),
        (lambda s: s.one_cycle(1, steps=9, pct_start=1.1), ValueError, "pct_start=1.1"),
        (lambda s: s.one_cycle(1, steps=9, div_factor=0), ValueError, "div_factor=0"),
        (lambda s: s.one_cycle(1, steps=9, final_div_factor=0), ValueError, "final_div_factor=0"),
        (lambda s: s.one_cycle(1, steps=9, anneal_strategy="exp"), ValueError, "'cos' or 'linear'"),
        (lambda s: s.one_cycle(1, steps=9, three_phase=2), TypeError, "three_phase=2"),
        (lambda s: s.piecewise(1, {}), ValueError, "factors={}"),
        (lambda s: s.piecewise(1, [(5, 0.1)]), TypeError, "factors=.*dict"),
        (lambda s: s.piecewise(1, {9: 0.1, 5: 0.1}), ValueError, "factors=.*ascending"),
        (lambda s: s.piecewise(1, {5.5: 0.1}), TypeError, "factors: step=5.5"),
        (lambda s: s.piecewise(1, {0: 0.1}), ValueError, "factors: step=0"),
        (lambda s: s.piecewise(1, {5: -0.1}), ValueError, r"factors\[5\]=-0.1 must be >= 0"),
        (lambda s: s.join([], []), ValueError, "at least one schedule"),
        (lambda s: s.join([abs, abs], [1, 2]), ValueError, r"boundaries=\[1, 2\] for 2 schedules"),
        (lambda s: s.join([abs, abs, abs], [2, 2]), ValueError, "do not ascend"),
        (lambda s: s.join([abs, abs], [0]), ValueError, "boundaries: step=0"),
        (lambda s: s.join([abs, 0.1], [3]), TypeError, "functions of the step"),
        (lambda s: s.join(abs, [3]), TypeError, "schedules=.*not a list"),
        (lambda s: s.join([abs, abs], 3), TypeError, "boundaries=3 is not a list"),
        (lambda s: s.Plateau(1, factor=1), ValueError, "factor=1"),
        (lambda s: s.Plateau(1, mode="least"), ValueError, "mode='least' must be 'min' or 'max'"),
        (lambda s: s.Plateau(1, threshold_mode="x"), ValueError, "threshold_mode='x'"),
        (lambda s: s.cosine(1, 100), TypeError, "positional"),
        (lambda s: s.cosine(1, total_steps=9), TypeError, "'total_steps'; did you mean 'steps'"),
        (lambda s: s.cosine(1, T_max=9), TypeError, r"cosine\(\) .*did you mean 'steps'"),
    ],
)
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make(schedules)
