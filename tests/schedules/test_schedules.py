"""Schedules: one table of cases, against closed forms written here and against PyTorch."""

import copy
import math
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_cases import (
    CASES,
    END,
    LAST,
    LR,
    RELATIVE,
    STEPS,
    TORCH,
    WARMED,
    WARMUP,
    alike,
    each_case,
    each_finite,
    run,
)

import fastadam as fa
from fastadam import schedules

# Values


def test_the_table_is_complete():
    assert {name.split(",")[0] for name in CASES} == {*schedules.__all__}


@each_case
def test_it_follows_its_formula_and_holds_at_the_end(case):
    got = run(case(), 3 * STEPS)
    alike(got, [case.formula(t, STEPS) for t in range(3 * STEPS)])
    assert {*map(type, got)} == {float}


@each_case
def test_warmup_leads_to_its_first_value_and_shifts_the_rest(case):
    for warmup in (1, WARMUP, STEPS - 11):
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


@pytest.mark.parametrize("decay_type", ["linear", "cosine", "1-sqrt"])
def test_transformers_has_the_same_schedules(decay_type):
    transformers = pytest.importorskip("transformers.optimization")
    torch = pytest.importorskip("torch")
    opt = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    theirs = transformers.get_wsd_schedule(
        opt, 3, 10, num_training_steps=18, decay_type=decay_type, min_lr_ratio=0.1
    )
    ours = schedules.wsd(1, steps=18, decay=10, decay_type=decay_type, end=0.1, warmup=3)
    alike(run(ours, 30)[3:], [theirs.lr_lambdas[0](step) for step in range(3, 33)][:27])
    theirs = transformers.get_inverse_sqrt_schedule(opt, 3)
    ours = schedules.inverse_sqrt(1, timescale=3, warmup=3)
    alike(run(ours, 20)[3:], [theirs.lr_lambdas[0](step) for step in range(3, 20)])


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
