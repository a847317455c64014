"""Decay schedules: formulas that continue for any number of steps."""

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass

from ..validation import NOT_NEGATIVE, count, number
from .base import Schedule, grown


@dataclass(frozen=True, repr=False)
class constant(Schedule):
    r"""A constant value, after an optional linear warm-up.

    $$f(t) = \mathrm{lr}$$

    PyTorch: ConstantLR with `factor=1`.

    Args:
        lr: the value, a number >= 0.
        warmup: steps of linear warm-up before it, default 0.

    Examples:
        >>> import fastadam as fa
        >>> schedule = fa.schedules.constant(1, warmup=4)
        >>> [schedule(step) for step in range(1, 7)]
        [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """

    lr: float

    def _at(self, t: int) -> float:
        return self.lr


@dataclass(frozen=True, repr=False)
class step_decay(Schedule):
    r"""A value multiplied by a factor after every `every` steps.

    $$f(t) = \mathrm{lr} \cdot \mathrm{gamma}^{\lfloor t / \mathrm{every} \rfloor}$$

    PyTorch: StepLR with `step_size=every`. Keras: ExponentialDecay with `staircase=True`.

    Args:
        lr: the initial value, a number >= 0.
        every: the number of steps between two reductions.
        gamma: the factor, a number >= 0, default 0.1.
        warmup: steps of linear warm-up before it, default 0.

    Examples:
        >>> import fastadam as fa
        >>> schedule = fa.schedules.step_decay(1, every=2, gamma=0.5)
        >>> [schedule(step) for step in range(1, 7)]
        [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    lr: float
    _: KW_ONLY
    every: int
    gamma: float = 0.1

    def _at(self, t: int) -> float:
        return grown(self.lr, self.gamma, t // self.every)


@dataclass(frozen=True, repr=False)
class exponential(Schedule):
    r"""A value multiplied by a factor after every step.

    $$f(t) = \mathrm{lr} \cdot \mathrm{gamma}^t$$

    PyTorch: ExponentialLR. Keras: ExponentialDecay with `decay_steps=1`.

    Args:
        lr: the initial value, a number >= 0.
        gamma: the factor, a number >= 0.
        warmup: steps of linear warm-up before it, default 0.

    Examples:
        >>> import fastadam as fa
        >>> schedule = fa.schedules.exponential(1, gamma=0.5)
        >>> [schedule(step) for step in range(1, 6)]
        [1.0, 0.5, 0.25, 0.125, 0.0625]
    """

    lr: float
    _: KW_ONLY
    gamma: float

    def _at(self, t: int) -> float:
        return grown(self.lr, self.gamma, t)


@dataclass(frozen=True, repr=False)
class inverse_time(Schedule):
    r"""A value inversely proportional to the number of steps.

    $$f(t) = \frac{\mathrm{lr}}{1 + \mathrm{decay} \cdot t}$$

    Keras: InverseTimeDecay with `decay_steps=1`. PyTorch: only as `lr_decay` of Adagrad.

    Args:
        lr: the initial value, a number >= 0.
        decay: the rate, a number >= 0: the value is half of `lr` after 1 / `decay` steps.
        warmup: steps of linear warm-up before it, default 0.

    Source: H. Robbins and S. Monro, A Stochastic Approximation Method, Ann. Math. Statist. 1951.

    Examples:
        >>> import fastadam as fa
        >>> schedule = fa.schedules.inverse_time(1, decay=1)
        >>> [round(schedule(step), 3) for step in range(1, 6)]
        [1.0, 0.5, 0.333, 0.25, 0.2]
    """

    lr: float
    _: KW_ONLY
    decay: float

    def _at(self, t: int) -> float:
        return self.lr / (1 + self.decay * t)


@dataclass(frozen=True, repr=False)
class inverse_sqrt(Schedule):
    r"""A value inversely proportional to the square root of the number of steps.

    $$f(t) = \frac{\mathrm{lr}}{\sqrt{1 + t / \mathrm{timescale}}}$$

    Transformers: get_inverse_sqrt_schedule with `num_warmup_steps=warmup`. With
    `timescale=warmup` it is the schedule of the first transformer, `lr * sqrt(warmup / step)` after
    the warm-up but for the step: transformers counts from 0.

    Args:
        lr: the initial value, a number >= 0.
        timescale: a number > 0: the value is half of `lr` after three times as many steps.
        warmup: steps of linear warm-up before it, default 0.

    Source: A. Vaswani et al., Attention Is All You Need, NeurIPS 2017, section 5.3; X. Zhai et al.,
    Scaling Vision Transformers, CVPR 2022, section 3.5.

    Examples:
        >>> import fastadam as fa
        >>> schedule = fa.schedules.inverse_sqrt(1, timescale=1)
        >>> [round(schedule(step), 3) for step in range(1, 5)]
        [1.0, 0.707, 0.577, 0.5]
    """

    lr: float
    _: KW_ONLY
    timescale: float

    def _at(self, t: int) -> float:
        return self.lr / math.sqrt(1 + t / self.timescale)


@dataclass(frozen=True, repr=False)
class piecewise(Schedule):
    r"""A value multiplied by given factors after given steps.

    $$f(t) = \mathrm{lr} \prod_{\mathrm{after} \le t} \mathrm{factor}_{\mathrm{after}}$$

    PyTorch: MultiStepLR, where all factors are equal. Keras: PiecewiseConstantDecay, with values
    in place of factors and `after - 1` as boundaries.

    Args:
        lr: the initial value, a number >= 0.
        factors: a dict `{after: factor}` with ascending steps; `{5: 0.1}` makes step 6 the first
            with a tenth of `lr`. The steps count from the end of the warm-up.
        warmup: steps of linear warm-up before it, default 0.

    Examples:
        >>> import fastadam as fa
        >>> schedule = fa.schedules.piecewise(1, {2: 0.5, 4: 0.1})
        >>> [schedule(step) for step in range(1, 7)]
        [1.0, 1.0, 0.5, 0.5, 0.05, 0.05]
    """

    lr: float
    factors: Mapping[int, float]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.factors, Mapping):
            raise TypeError(f"factors={self.factors!r} is not a dict; give {{after: factor}}")
        factors = {
            count("factors: step", after, 1): number(f"factors[{after}]", factor, NOT_NEGATIVE)
            for after, factor in self.factors.items()
        }
        if not factors or [*factors] != sorted(factors):
            raise ValueError(f"factors={self.factors!r}; give factors of ascending steps")
        self._set("factors", factors)

    def __hash__(self) -> int:
        return hash((self.lr, *self.factors.items(), self.warmup))

    def _at(self, t: int) -> float:
        return self.lr * math.prod([v for after, v in self.factors.items() if after <= t])
