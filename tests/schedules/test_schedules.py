"""Schedules: one table of cases, against closed forms written here and against PyTorch."""

import copy
import math
import pickle
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastadam as fa
from fastadam import schedules

LR, END, STEPS, WARMUP = 0.3, 0.02, 40, 7
# Both sides round a few operations per step, and PyTorch multiplies up to STEPS factors.
RELATIVE, ABSOLUTE = 1e-12, 1e-15


class Case(NamedTuple):
    """A schedule and what it should be.

    Attributes:
        make: the schedule.
        formula: its value `t` steps after its first, when it has `n` steps.
        torch: the name of PyTorch's scheduler.
        like: the arguments of that scheduler, for `n` steps.
        finite: whether it has `steps`.
    """

    make: Callable[..., Any]
    formula: Callable[[int, int], float]
    torch: str = ""
    like: Callable[[int], dict[str, Any]] = lambda n: {}
    finite: bool = False

    def __call__(self, steps=STEPS, **warmup):
        return self.make(**({"steps": steps} if self.finite else {}), **warmup)


def restarts(t, period, mult):
    """Cycle by cycle, as the paper counts."""
    length = period
    while t >= length:
        t, length = t - length, length * mult
    return END + (LR - END) * (1 + math.cos(math.pi * t / length)) / 2


def cycle(t, n, *, pct=0.3, anneal="cos", div=25.0, final=1e4, three=False):
    """np.interp over the turns of the cycle, in the share of the way when it is bent."""
    first, peak = LR / div, pct * n - 1
    turns = [(0, first), (peak, LR)] + [(2 * peak, first)] * three + [(n - 1, first / final)]
    at = sum(t > when for when, _ in turns[1:-1])
    (begin, start), (stop, end) = turns[at : at + 2]
    share = (t - begin) / (stop - begin)
    bent = share if anneal == "linear" else (1 - math.cos(math.pi * share)) / 2
    return np.interp(bent, [0, 1], [start, end])


def joined(t):
    if t < 5:
        return LR - (LR - END) * t / 8
    return LR / 2 if t < 12 else LR * 0.9 ** (t - 12)


CASES = {
    "constant": Case(
        lambda **w: schedules.constant(LR, **w),
        lambda t, n: LR,
        "ConstantLR",
        lambda n: {"factor": 1.0},
    ),
    "step_decay": Case(
        lambda **w: schedules.step_decay(LR, every=6, **w),
        lambda t, n: LR * 0.1 ** (t // 6),
        "StepLR",
        lambda n: {"step_size": 6},
    ),
    "exponential": Case(
        lambda **w: schedules.exponential(LR, gamma=0.93, **w),
        lambda t, n: LR * math.exp(t * math.log(0.93)),
        "ExponentialLR",
        lambda n: {"gamma": 0.93},
    ),
    "piecewise, alike": Case(
        lambda **w: schedules.piecewise(LR, {5: 0.5, 20: 0.5, 21: 0.5}, **w),
        lambda t, n: LR * 0.5 ** ((t >= 5) + (t >= 20) + (t >= 21)),
        "MultiStepLR",
        lambda n: {"milestones": [5, 20, 21], "gamma": 0.5},
    ),
    "piecewise": Case(
        lambda **w: schedules.piecewise(LR, {5: 0.1, 20: 3.0}, **w),
        lambda t, n: LR * (1 if t < 5 else 0.1 if t < 20 else 0.3),
    ),
    "inverse_time": Case(
        lambda **w: schedules.inverse_time(LR, decay=0.25, **w),
        lambda t, n: LR / (1 + t / 4),
        "LambdaLR",
        lambda n: {"lr_lambda": lambda t: 1 / (1 + 0.25 * t)},
    ),
    "linear": Case(
        lambda **w: schedules.linear(LR, end=END, **w),
        lambda t, n: np.interp(t, [0, n], [LR, END]),
        "LinearLR",
        lambda n: {"start_factor": 1.0, "end_factor": END / LR, "total_iters": n},
        finite=True,
    ),
    "linear, up": Case(
        lambda **w: schedules.linear(LR, end=2 * LR, **w),
        lambda t, n: np.interp(t, [0, n], [LR, 2 * LR]),
        finite=True,
    ),
    "polynomial": Case(
        lambda **w: schedules.polynomial(LR, power=1.7, **w),
        lambda t, n: LR * (max(0, n - t) / n) ** 1.7,
        "PolynomialLR",
        lambda n: {"total_iters": n, "power": 1.7},
        finite=True,
    ),
    "polynomial, to an end": Case(
        lambda **w: schedules.polynomial(LR, end=END, power=2, **w),
        lambda t, n: END + (LR - END) * (max(0, n - t) / n) ** 2,
        finite=True,
    ),
    "cosine": Case(
        lambda **w: schedules.cosine(LR, **w),
        lambda t, n: LR * math.cos(math.pi / 2 * min(1, t / n)) ** 2,
        "CosineAnnealingLR",
        lambda n: {"T_max": n},
        finite=True,
    ),
    "cosine, to an end": Case(
        lambda **w: schedules.cosine(LR, end=END, **w),
        lambda t, n: END + (LR - END) * math.cos(math.pi / 2 * min(1, t / n)) ** 2,
        "CosineAnnealingLR",
        lambda n: {"T_max": n, "eta_min": END},
        finite=True,
    ),
    "cosine_restarts": Case(
        lambda **w: schedules.cosine_restarts(LR, period=9, end=END, **w),
        lambda t, n: restarts(t, 9, 1),
        "CosineAnnealingWarmRestarts",
        lambda n: {"T_0": 9, "eta_min": END},
    ),
    "cosine_restarts, longer": Case(
        lambda **w: schedules.cosine_restarts(LR, period=3, mult=2, end=END, **w),
        lambda t, n: restarts(t, 3, 2),
        "CosineAnnealingWarmRestarts",
        lambda n: {"T_0": 3, "T_mult": 2, "eta_min": END},
    ),
    "wsd": Case(
        lambda **w: schedules.wsd(LR, decay=10, **w),
        lambda t, n: np.interp(t, [n - 10, n], [LR, 0]),
        finite=True,
    ),
    "one_cycle": Case(
        lambda **w: schedules.one_cycle(LR, **w),
        lambda t, n: cycle(min(t, n - 1), n),
        "OneCycleLR",
        lambda n: {"max_lr": LR, "total_steps": n},
        finite=True,
    ),
    "one_cycle, linear": Case(
        lambda **w: schedules.one_cycle(
            LR, pct_start=0.45, anneal_strategy="linear", div_factor=5, final_div_factor=20, **w
        ),
        lambda t, n: cycle(min(t, n - 1), n, pct=0.45, anneal="linear", div=5, final=20),
        "OneCycleLR",
        lambda n: (
            {"max_lr": LR, "total_steps": n, "pct_start": 0.45, "div_factor": 5.0}
            | {"final_div_factor": 20.0, "anneal_strategy": "linear"}
        ),
        finite=True,
    ),
    "one_cycle, in three phases": Case(
        lambda **w: schedules.one_cycle(LR, pct_start=0.37, three_phase=True, **w),
        lambda t, n: cycle(min(t, n - 1), n, pct=0.37, three=True),
        "OneCycleLR",
        lambda n: {"max_lr": LR, "total_steps": n, "pct_start": 0.37, "three_phase": True},
        finite=True,
    ),
    "join": Case(
        lambda **w: schedules.join(
            [
                schedules.linear(LR, end=END, steps=8),
                schedules.constant(LR / 2),
                schedules.exponential(LR, gamma=0.9),
            ],
            [5, 12],
            **w,
        ),
        lambda t, n: joined(t),
    ),
    "Plateau": Case(lambda **w: schedules.Plateau(LR, **w), lambda t, n: LR),
}
FINITE = [name for name, case in CASES.items() if case.finite]
TORCH = [name for name, case in CASES.items() if case.torch]
# PyTorch's cosine climbs again, its cycle raises, and its others hold: compared until there.
LAST = {"CosineAnnealingLR": STEPS + 1, "OneCycleLR": STEPS}
# OneCycleLR sets the initial lr of the optimizer, on which a scheduler before it would build.
WARMED = [name for name in TORCH if CASES[name].torch != "OneCycleLR"]

each_case = pytest.mark.parametrize("case", [*CASES.values()], ids=[*CASES])
each_finite = pytest.mark.parametrize("case", [CASES[name] for name in FINITE], ids=FINITE)


def run(schedule, count):
    return [schedule(step) for step in range(1, count + 1)]


def alike(got, expected):
    np.testing.assert_allclose(got, expected, RELATIVE, ABSOLUTE)


# Values


def test_the_table_is_complete():
    assert {name.split(",")[0] for name in CASES} == {*schedules.__all__}


@each_case
def test_it_follows_its_formula_and_holds_at_the_end(case):
    got = run(case(), 3 * STEPS)
    alike(got, [case.formula(t, STEPS) for t in range(3 * STEPS)])
    assert {*map(type, got)} == {float}


@each_case
@pytest.mark.parametrize("warmup", [1, WARMUP, STEPS - 11])
def test_warmup_leads_to_its_first_value_and_shifts_the_rest(case, warmup):
    warmed, own = case(warmup=warmup), case(steps=STEPS - warmup)
    first = own(1)
    alike(run(warmed, warmup), [first * k / warmup for k in range(1, warmup + 1)])
    assert warmed(warmup) == warmed(warmup + 1) == first
    assert run(warmed, 3 * STEPS)[warmup:] == run(own, 3 * STEPS - warmup)


@pytest.mark.parametrize("name", [n for n in CASES if not n.startswith("one_cycle")])
def test_the_first_value_is_lr_exactly(name):
    assert CASES[name]()(1) == LR
    assert CASES[name](warmup=WARMUP)(WARMUP) == LR


@each_finite
@pytest.mark.parametrize("warmup", [0, WARMUP])
def test_a_finite_schedule_ends_exactly_and_stays_there(case, warmup):
    schedule = case(warmup=warmup)
    last = schedule(STEPS + 1)
    assert last in (0, END, 2 * LR, LR / 25 / 1e4, LR / 5 / 20)
    assert {*run(schedule, 5 * STEPS)[STEPS:]} == {last} == {schedule(10**15)}


@pytest.mark.parametrize(
    "make",
    [
        lambda **n: schedules.linear(1, end=0.5, **n),
        lambda **n: schedules.polynomial(1, **n),
        lambda **n: schedules.cosine(1, **n),
        lambda **n: schedules.wsd(1, decay=1, **n),
        lambda **n: schedules.one_cycle(1, **n),
        lambda **n: schedules.one_cycle(1, three_phase=True, pct_start=0.0, **n),
        lambda **n: schedules.one_cycle(1, pct_start=1.0, **n),
    ],
)
def test_a_single_step(make):
    assert all(0 <= value <= 1 for value in run(make(steps=1), 3))
    assert run(make(steps=2, warmup=1), 4)[1:] == run(make(steps=1), 3)


def test_the_rise_of_a_cycle_may_be_shorter_than_a_step():
    """PyTorch divides by zero where the rise ends at the first step."""
    assert schedules.one_cycle(1, steps=10, pct_start=0.1)(1) == 1
    assert schedules.one_cycle(1, steps=10, pct_start=0.0)(1) < 1


def test_the_last_steps_of_wsd_decay():
    assert run(schedules.wsd(1, steps=6, decay=4, warmup=1), 8) == [1, 1, 1, 0.75, 0.5, 0.25, 0, 0]
    assert run(schedules.wsd(1, steps=4, decay=4), 5) == [1, 0.75, 0.5, 0.25, 0]


def test_ends_are_exact_where_rounding_would_miss_them():
    assert 0.3 + (0.9 - 0.3) != 0.9
    assert run(schedules.linear(0.9, end=0.3, steps=1), 2) == [0.9, 0.3]
    assert run(schedules.cosine(0.9, end=0.3, steps=1), 2) == [0.9, 0.3]


def test_there_is_no_drift():
    """10,000 factors in a row would be off by a thousand times the tolerance."""
    gamma = 1 - 1e-4
    alike(schedules.exponential(1, gamma=gamma)(10**4 + 1), math.exp(1e4 * math.log1p(-1e-4)))


# PyTorch


def theirs(name, steps, warmup, count):
    """The lr that PyTorch's scheduler sets after 0, 1, ... calls of its `step`."""
    torch = pytest.importorskip("torch")
    every, case = torch.optim.lr_scheduler, CASES[name]
    opt = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR, momentum=0.9)
    scheduler = getattr(every, case.torch)(opt, **case.like(steps - warmup))
    if warmup:
        climb = every.LinearLR(opt, 1 / warmup, total_iters=warmup - 1)
        scheduler = every.SequentialLR(opt, [climb, scheduler], milestones=[warmup])
    values = []
    for _ in range(count):
        values.append(opt.param_groups[0]["lr"])
        opt.step()
        scheduler.step()
    return values


@pytest.mark.parametrize("name", TORCH)
def test_it_is_that_of_torch(name):
    count = LAST.get(CASES[name].torch, 2 * STEPS)
    alike(run(CASES[name](), count), theirs(name, STEPS, 0, count))


@pytest.mark.parametrize("name", WARMED)
def test_warmup_is_that_of_torch(name):
    count = LAST.get(CASES[name].torch, 2 * STEPS)
    alike(run(CASES[name](warmup=WARMUP), count), theirs(name, STEPS, WARMUP, count))


def test_join_is_that_of_torch():
    torch = pytest.importorskip("torch")
    every = torch.optim.lr_scheduler
    opt = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    parts = [
        every.LinearLR(opt, 1.0, END / LR, 8),
        every.CosineAnnealingLR(opt, 6, END),
        every.ExponentialLR(opt, 0.9),
    ]
    scheduler = every.SequentialLR(opt, parts, milestones=[5, 12])
    ours = schedules.join(
        [
            schedules.linear(LR, end=END, steps=8),
            schedules.cosine(LR, steps=6, end=END),
            schedules.exponential(LR, gamma=0.9),
        ],
        boundaries=[5, 12],
    )
    for step in range(1, 30):
        if step != 12:  # the cosine has ended after 6; PyTorch's climbs again
            assert ours(step) == pytest.approx(opt.param_groups[0]["lr"], RELATIVE)
        opt.step()
        scheduler.step()


# Properties

settings.register_profile("suite", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("suite")
sizes = st.floats(0, 1e6)


@st.composite
def falling(draw):
    """A schedule that never rises after its warm-up, that warm-up, its peak."""
    lr, steps = draw(sizes), draw(st.integers(2, 200))
    warmup = draw(st.integers(0, steps - 1))
    end = lr * draw(st.floats(0, 1))
    make = draw(
        st.sampled_from(
            [
                lambda **w: schedules.constant(lr, **w),
                lambda **w: schedules.step_decay(lr, every=draw(st.integers(1, 50)), **w),
                lambda **w: schedules.exponential(lr, gamma=draw(st.floats(0, 1)), **w),
                lambda **w: schedules.inverse_time(lr, decay=draw(sizes), **w),
                lambda **w: schedules.linear(lr, end=end, steps=steps, **w),
                lambda **w: schedules.polynomial(
                    lr, end=end, steps=steps, power=draw(st.floats(0, 9)), **w
                ),
                lambda **w: schedules.cosine(lr, end=end, steps=steps, **w),
                lambda **w: schedules.wsd(
                    lr, steps=steps, decay=draw(st.integers(1, steps - warmup)), **w
                ),
            ]
        )
    )
    return make(warmup=warmup), warmup, lr


@given(falling())
def test_it_climbs_to_its_peak_and_falls(drawn):
    schedule, warmup, peak = drawn
    values = run(schedule, 250)
    assert max(values) == peak
    assert min(values) >= 0
    climb, fall = values[:warmup], values[warmup:]
    assert climb == sorted(climb)
    assert all(b <= a * (1 + 1e-15) for a, b in pairwise(fall))  # an ulp of end


@given(sizes, st.integers(1, 30), st.integers(1, 3), st.floats(0, 1), st.integers(1, 2000))
def test_restarts_stay_between_end_and_peak(lr, period, mult, share, step):
    value = schedules.cosine_restarts(lr, period=period, mult=mult, end=share * lr)(step)
    assert share * lr <= value <= lr


@given(st.integers(1, 300), st.floats(0, 1), st.booleans(), st.sampled_from(["cos", "linear"]))
def test_a_cycle_never_exceeds_its_peak(steps, pct_start, three_phase, anneal_strategy):
    schedule = schedules.one_cycle(
        LR,
        steps=steps,
        pct_start=pct_start,
        three_phase=three_phase,
        anneal_strategy=anneal_strategy,
    )
    assert all(0 <= value <= LR for value in run(schedule, steps + 2))


# Plateau


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


@pytest.mark.parametrize(("number", "options"), [*enumerate(plateaus())])
def test_a_plateau_is_that_of_torch(number, options):
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


@each_case
@pytest.mark.parametrize(
    ("step", "error"),
    [(0, ValueError), (-3, ValueError), (1.5, TypeError), ("1", TypeError), (None, TypeError)]
    + [(True, TypeError), (np.float64(2.5), TypeError), (math.nan, TypeError)],
)
def test_a_step_is_an_int_from_1(case, step, error):
    for warmup in (0, WARMUP):
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
    "linear": {"lr": 1, "end": 0, "steps": 9},
    "polynomial": {"lr": 1, "end": 0, "steps": 9, "power": 2},
    "cosine": {"lr": 1, "end": 0, "steps": 9},
    "cosine_restarts": {"lr": 1, "end": 0, "period": 9, "mult": 2},
    "wsd": {"lr": 1, "steps": 9, "decay": 3},
    "one_cycle": {"lr": 1, "steps": 9, "pct_start": 0.5, "div_factor": 9, "final_div_factor": 9},
    "join": {"schedules": [abs, abs], "boundaries": [3]},
    "Plateau": {"lr": 1, "factor": 0.5, "patience": 1, "threshold": 0, "cooldown": 1}
    | {"min_lr": 0, "eps": 0},
}
COUNTS = {"every", "steps", "period", "mult", "patience", "cooldown"}
NUMBERS = {"lr", "gamma", "decay", "end", "power", "pct_start", "div_factor", "final_div_factor"}
NUMBERS |= {"factor", "threshold", "min_lr", "eps"}


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


# In an optimizer


def steps(opt, count):
    return [opt.step(np.ones(3)).lr for _ in range(count)]


@each_case
def test_an_optimizer_follows_it(case):
    schedule = case(warmup=WARMUP)
    assert steps(fa.AdamW(np.ones(3), schedule), 50) == run(schedule, 50)


def everywhere():
    """An optimizer with schedules for all that a schedule can say."""
    return fa.AdamW(
        np.ones(3),
        lr=schedules.cosine(0.1, steps=12, warmup=3),
        betas=(schedules.linear(0.85, end=0.95, steps=12), 0.99),
        weight_decay=schedules.step_decay(0.1, every=2),
    )


@pytest.mark.parametrize(
    "again",
    [
        lambda opt: pickle.loads(pickle.dumps(opt)),
        copy.deepcopy,
        lambda opt: resumed(opt),
    ],
    ids=["pickle", "deepcopy", "state_dict"],
)
def test_schedules_resume_where_the_optimizer_is(again):
    opt = everywhere()
    steps(opt, 5)
    other = again(opt)
    assert steps(opt, 9) == steps(other, 9)
    np.testing.assert_array_equal(opt.params, other.params)
    saved = other.state_dict()["param_groups"][0]
    assert saved["lr"] == 0
    assert saved["betas"] == (0.95, 0.99)
    assert saved["weight_decay"] == pytest.approx(0.1**7)


def resumed(opt):
    other = everywhere()
    other.params[...] = opt.params
    other.load_state_dict(opt.state_dict())
    return other


def test_other_schedules_take_over_at_the_saved_step():
    opt = everywhere()
    steps(opt, 4)
    other = fa.AdamW(np.ones(3), schedules.exponential(1, gamma=0.5))
    other.load_state_dict(opt.state_dict())
    assert steps(other, 2) == [0.5**4, 0.5**5]


def test_an_optimizer_follows_a_plateau():
    plateau = schedules.Plateau(1, factor=0.5, patience=0)
    opt = fa.SGD(np.ones(3), lr=plateau)
    lrs = []
    for metric in (1.0, 1.0, 0.5, 0.5):
        lrs += steps(opt, 1)
        plateau.update(metric)
    assert lrs == [1, 1, 0.5, 0.5]
    again = pickle.loads(pickle.dumps(opt))
    assert steps(opt, 1) == steps(again, 1) == [0.25]


def test_an_optimizer_refuses_a_schedule_out_of_its_range():
    opt = fa.AdamW(np.ones(3), betas=(schedules.linear(0.9, end=1, steps=2), 0.999))
    steps(opt, 2)
    with pytest.raises(ValueError, match="at step 3 betas="):
        steps(opt, 1)


def test_growth_without_end_is_no_error():
    assert schedules.step_decay(0.0, every=1, gamma=10.0)(400) == 0
    assert schedules.exponential(1.0, gamma=10.0)(400) == math.inf
