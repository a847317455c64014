"""Timing in turns, with a clock that only advances when a step is taken."""

import gc
from functools import partial

import pytest

from fastadam.bench import timing
from fastadam.bench.timing import Timing


class Clock:
    def __init__(self):
        self.now, self.taken = 0.0, []

    def __call__(self):
        return self.now

    def step(self, name, *durations):
        """A step that takes these times in turn."""
        count = iter(range(1 << 30))

        def step():
            self.taken.append(name)
            self.now += durations[next(count) % len(durations)]

        return step


def test_quantiles_of_constant_steps():
    clock = Clock()
    steps = [clock.step("a", 0.010), clock.step("b", 0.00025)]
    slow, quick = timing.measure(steps, seconds=1.0, clock=clock)
    assert slow[:3] == pytest.approx((0.010,) * 3)
    assert quick[:3] == pytest.approx((0.00025,) * 3)
    assert timing.FEW_ROUNDS <= slow.rounds == quick.rounds <= timing.MANY_ROUNDS


def test_quantiles_are_in_order():
    clock = Clock()
    (result,) = timing.measure([clock.step("a", 0.01, 0.03, 0.02, 0.05, 0.04)], clock=clock)
    assert 0.01 <= result.p20 <= result.p50 <= result.p80 <= 0.05
    assert result.p20 < result.p80


def test_samples_last_a_millisecond():
    clock = Clock()
    timing.measure([clock.step("a", 1e-6)], rounds=1, clock=clock)
    sample = partial(timing._sample, clock=clock)
    assert 1000 <= timing._repeats(clock.step("a", 1e-6), sample) < 3000
    assert timing._repeats(clock.step("a", 1.0), sample) == 1
    assert timing._repeats(clock.step("a", 0.0), sample) == timing.MOST_REPEATS


@pytest.mark.parametrize(
    ("duration", "seconds", "rounds", "expected"),
    [
        (0.001, 1000.0, None, timing.MANY_ROUNDS),
        (10.0, 1.0, None, timing.FEW_ROUNDS),
        (10.0, 1.0, 3, 3),
        (0.001, 1e9, 500, 500),
    ],
)
def test_rounds_follow_the_budget(duration, seconds, rounds, expected):
    clock = Clock()
    step = clock.step("a", duration)
    (result,) = timing.measure([step], seconds=seconds, rounds=rounds, clock=clock)
    assert result.rounds == expected


def test_rounds_stop_when_the_time_is_over():
    clock = Clock()
    # a round is a step that is not timed and one that is: 2 s
    (result,) = timing.measure([clock.step("a", 1.0)], seconds=99.0, clock=clock)
    assert result.rounds == 50


def test_contenders_take_turns():
    clock = Clock()
    timing.measure([clock.step(name, 1.0) for name in "abc"], rounds=6, clock=clock)
    samples = clock.taken[-2 * 3 * 6 :: 2]
    rounds = ["".join(samples[k : k + 3]) for k in range(0, 18, 3)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    for place in range(3):  # each is as often first, second and last
        assert sorted(each[place] for each in rounds) == ["a", "a", "b", "b", "c", "c"]


def test_progress_rises_to_one():
    clock, seen = Clock(), []
    timing.measure([clock.step("a", 1.0)], seconds=30.0, progress=seen.append, clock=clock)
    assert seen == sorted(seen)
    assert 0 < seen[0] < seen[-1] == 1


def test_a_sample_may_be_taken_otherwise():
    calls = []

    def sample(step, repeats):
        calls.append((step, repeats))
        return 0.5

    (timing_of,) = timing.measure([print], rounds=3, sample=sample)
    assert timing_of == Timing(0.5, 0.5, 0.5, 3)
    assert calls == [(print, 1)] * 6  # three to find how many steps take a millisecond


def test_garbage_collection_comes_back():
    states = []

    def fail():
        states.append(gc.isenabled())
        raise KeyError

    with pytest.raises(KeyError):
        timing.measure([fail])
    assert states == [False]
    assert gc.isenabled()


def test_what_goes_before_a_step_is_not_timed():
    now, taken = [0.0], []

    def lasting(name, duration):
        def step():
            taken.append(name)
            now[0] += duration

        return step

    steps = [lasting("a", 0.010), lasting("b", 0.0002)]
    fills = [lasting("fill a", 1.0), lasting("fill b", 2.0)]
    slow, quick = timing.measure(steps, before=fills, rounds=3, clock=lambda: now[0])
    assert slow[:3] == pytest.approx((0.010,) * 3)
    assert quick[:3] == pytest.approx((0.0002,) * 3)
    assert taken[::2] == [f"fill {name}" for name in taken[1::2]]
    assert taken.count("b") > 10 * 3  # several in a sample
