"""The table of schedules: their formulas, and the schedulers of PyTorch that equal them."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

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
    "inverse_sqrt": Case(
        lambda **w: schedules.inverse_sqrt(LR, timescale=4.0, **w),
        lambda t, n: LR * (1 + t / 4) ** -0.5,
        "LambdaLR",
        lambda n: {"lr_lambda": lambda t: 1 / math.sqrt(1 + t / 4)},
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
    "wsd, cosine": Case(
        lambda **w: schedules.wsd(LR, decay=10, decay_type="cosine", end=END, **w),
        lambda t, n: END + (LR - END) * math.cos(math.pi / 20 * min(10, max(0, t - n + 10))) ** 2,
        finite=True,
    ),
    "wsd, root": Case(
        lambda **w: schedules.wsd(LR, decay=10, decay_type="1-sqrt", **w),
        lambda t, n: LR * (1 - math.sqrt(min(10, max(0, t - n + 10)) / 10)),
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
