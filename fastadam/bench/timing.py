"""Timing in turns: every round takes one sample of each contender, in an order that changes.

A disturbance of the machine then slows all contenders down alike. A sample is preceded by one step
that is not timed: it brings the contender's arrays back into the caches, and outlasts the threads
of the previous contender, which spin for some milliseconds when their work is done.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

Step = Callable[[], object]
Clock = Callable[[], float]
Sample = Callable[[Step, int], float]

SAMPLE = 1e-3  # seconds: a sample lasts at least so long
FEW_ROUNDS, MANY_ROUNDS = 7, 301
MOST_REPEATS = 1 << 16


class Timing(NamedTuple):
    """Seconds per step: quantiles over the rounds."""

    p20: float
    p50: float
    p80: float
    rounds: int

    def columns(self, steps: int = 1) -> dict[str, Any]:
        """The columns of a measurement, for one of so many steps that were timed together."""
        seconds = {"p20_s": self.p20, "p50_s": self.p50, "p80_s": self.p80}
        return {"rounds": self.rounds, **{name: s / steps for name, s in seconds.items()}}


def measure(
    steps: Sequence[Step],
    *,
    before: Sequence[Step] | None = None,
    seconds: float = 10.0,
    rounds: int | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
    clock: Clock = perf_counter,
    sample: Sample | None = None,
) -> list[Timing]:
    """Time each step, all of them in turns.

    Args:
        steps: what to time.
        before: for each step, a call before it every time, which is not timed.
        seconds: time to spend; at least 7 rounds are made, and at most 301.
        rounds: number of rounds, instead of a time.
        progress: called between rounds with the fraction that is done.
        clock: returns the time in seconds.
        sample: `sample(step, repeats)` returns the mean time of that many steps in a row, after one
            that does not count, in place of `clock` and `before`.
    """
    samples: list[list[float]] = [[] for _ in steps]
    with _no_collection():
        ahead: Sequence[Step | None] = before or [None] * len(steps)
        takes = [sample or partial(_sample, clock=clock, before=each) for each in ahead]
        repeats = [_repeats(step, take) for step, take in zip(steps, takes, strict=True)]
        for number in _rounds(seconds, rounds, clock, progress):
            for k in _order(len(steps), number):
                samples[k].append(takes[k](steps[k], repeats[k]))
    return [_timing(each) for each in samples]


@contextmanager
def _no_collection() -> Iterator[None]:
    """Switch garbage collection off, and on again if it was on."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _sample(step: Step, repeats: int, clock: Clock, before: Step | None = None) -> float:
    """The mean time of a few steps, after one that does not count; in a row, unless there is a call
    before each."""
    rows, length = (1, repeats) if before is None else (repeats, 1)
    _row(step, 1, clock, before)
    return sum(_row(step, length, clock, before) for _ in range(rows)) / repeats


def _row(step: Step, length: int, clock: Clock, before: Step | None) -> float:
    """The time of that many steps in a row."""
    if before is not None:
        before()
    start = clock()
    for _ in range(length):
        step()
    return clock() - start


def _repeats(step: Step, sample: Sample) -> int:
    """The steps in a sample: three samples in a row must last, as one may be disturbed."""
    repeats = 1
    while repeats < MOST_REPEATS and any(
        sample(step, repeats) * repeats < SAMPLE for _ in range(3)
    ):
        repeats *= 2
    return repeats


def _rounds(
    seconds: float, rounds: int | None, clock: Clock, progress: Callable[[float], None]
) -> Iterator[int]:
    """Numbers of the rounds, until there are enough or the time is over."""
    few, many = (FEW_ROUNDS, MANY_ROUNDS) if rounds is None else (rounds, rounds)
    start, number, elapsed = clock(), 0, 0.0
    while number < few or (number < many and elapsed < seconds):
        yield number
        number += 1
        elapsed = clock() - start
        progress(min(1.0, max(number / many, min(number / few, elapsed / seconds))))


def _order(count: int, number: int) -> list[int]:
    """The order of a round: another first each time, and every other round backwards."""
    order = [(k + number) % count for k in range(count)]
    return order[::-1] if number % 2 else order


def _timing(samples: Sequence[float]) -> Timing:
    p20, p50, p80 = np.quantile(samples, (0.2, 0.5, 0.8)).tolist()
    return Timing(p20, p50, p80, len(samples))
