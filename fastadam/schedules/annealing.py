"""Annealing schedules: from a first value to a last one, in a given number of steps."""

import math
from dataclasses import KW_ONLY, dataclass
from typing import Literal

from .base import Finite, Schedule, between


@dataclass(frozen=True, repr=False)
class linear(Finite):
    r"""A straight line from `lr` to `end`.

    $$f(t) = \mathrm{lr} + (\mathrm{end} - \mathrm{lr})\, \frac tn, \qquad t \le n$$

    \(n\) is `steps - warmup`; `end` is reached at step `steps + 1`.

    PyTorch: LinearLR with `start_factor=1`, `end_factor=end / lr`, `total_iters=steps`.
    Keras: PolynomialDecay with `power=1`.

    Args:
        lr: the initial value, a number >= 0.
        steps: the total number of steps, including the warm-up.
        end: the value at the end, a number >= 0; it may be above `lr`.
        warmup: steps of linear warm-up before it, default 0.

    Examples:
        >>> import fastadam as fa
        >>> schedule = fa.schedules.linear(1, end=0.5, steps=4)
        >>> [schedule(step) for step in range(1, 7)]
        [1.0, 0.875, 0.75, 0.625, 0.5, 0.5]
    """

    lr: float
    _: KW_ONLY
    end: float

    def _of(self, t: int, n: int) -> float:
        return between(self.end, self.lr, 1 - t / n)


@dataclass(frozen=True, repr=False)
class polynomial(Finite):
    r"""A power of the remaining steps, from `lr` to `end`.

    $$f(t) = \mathrm{end} + (\mathrm{lr} - \mathrm{end})
      \left(1 - \frac tn\right)^{\mathrm{power}}, \qquad t \le n$$

    \(n\) is `steps - warmup`; `end` is reached at step `steps + 1`.

    PyTorch: PolynomialLR with `total_iters=steps`, where `end` is 0. Keras: PolynomialDecay.

    Args:
        lr: the initial value, a number >= 0.
        steps: the total number of steps, including the warm-up.
        power: the exponent, a number >= 0, default 1.
        end: the value at the end, a number >= 0, default 0.
        warmup: steps of linear warm-up before it, default 0.

    Examples:
        >>> import fastadam as fa
        >>> schedule = fa.schedules.polynomial(1, steps=4, power=2)
        >>> [schedule(step) for step in range(1, 7)]
        [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]
    """

    lr: float
    _: KW_ONLY
    power: float = 1.0
    end: float = 0.0

    def _of(self, t: int, n: int) -> float:
        return between(self.end, self.lr, (1 - t / n) ** self.power)


@dataclass(frozen=True, repr=False)
class cosine(Finite):
    r"""Half a cosine from `lr` to `end`.

    $$f(t) = \mathrm{end} + (\mathrm{lr} - \mathrm{end})\,
      \frac{1 + \cos(\pi\, t / n)}{2}, \qquad t \le n$$

    \(n\) is `steps - warmup`; `end` is reached at step `steps + 1`.

    PyTorch: CosineAnnealingLR with `T_max=steps`, `eta_min=end`, which rises again past its end;
    this one holds its last value. Keras: CosineDecay with `alpha=end / lr`.

    Args:
        lr: the initial value, a number >= 0.
        steps: the total number of steps, including the warm-up.
        end: the value at the end, a number >= 0, default 0; it may be above `lr`.
        warmup: steps of linear warm-up before it, default 0.

    Source: I. Loshchilov and F. Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR
    2017, equation 5.

    Examples:
        >>> import fastadam as fa
        >>> schedule = fa.schedules.cosine(1, steps=4)
        >>> [round(schedule(step), 3) for step in range(1, 7)]
        [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """

    lr: float
    _: KW_ONLY
    end: float = 0.0

    def _of(self, t: int, n: int) -> float:
        return between(self.end, self.lr, (1 + math.cos(math.pi * t / n)) / 2)


@dataclass(frozen=True, repr=False)
class cosine_restarts(Schedule):
    r"""Half cosines from `lr` to `end`, repeated, each `mult` times as long as the one before.

    $$f(t) = \mathrm{end} + (\mathrm{lr} - \mathrm{end})\,
      \frac{1 + \cos(\pi\, t_{\mathrm{cur}} / T_{\mathrm{cur}})}{2}$$

    The current period began \(t_{\mathrm{cur}}\) steps ago and lasts \(T_{\mathrm{cur}}\) steps.

    PyTorch: CosineAnnealingWarmRestarts with `T_0=period`, `T_mult=mult`, `eta_min=end`.
    Keras: CosineDecayRestarts.

    Args:
        lr: the first value of each period, a number >= 0.
        period: steps of the first period.
        mult: the length of a period divided by that of the one before, an int, default 1.
        end: the value that each period approaches, a number >= 0, default 0; the next period
            begins when it would be reached.
        warmup: steps of linear warm-up before it, default 0.

    Source: I. Loshchilov and F. Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR
    2017, equation 5.

    Examples:
        >>> import fastadam as fa
        >>> schedule = fa.schedules.cosine_restarts(1, period=2, mult=2)
        >>> [round(schedule(step), 3) for step in range(1, 8)]
        [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0]
    """

    lr: float
    _: KW_ONLY
    period: int
    mult: int = 1
    end: float = 0.0

    def _at(self, t: int) -> float:
        length = self.period
        if self.mult == 1:
            t %= length
        while t >= length:
            t -= length
            length *= self.mult
        return between(self.end, self.lr, (1 + math.cos(math.pi * t / length)) / 2)


@dataclass(frozen=True, repr=False)
class wsd(Finite):
    r"""Warm-up, stable, decay: `lr`, then a line or a curve to `end` over the last `decay` steps.

    $$f(t) = \mathrm{end} + (\mathrm{lr} - \mathrm{end})\, d(x), \qquad
      x = \max\left(0, 1 - \frac{n - t}{\mathrm{decay}}\right), \qquad t \le n$$

    \(n\) is `steps - warmup`. \(d(x)\) is \(1 - x\), or \((1 + \cos \pi x) / 2\), or
    \(1 - \sqrt{x}\). The first of the last `decay` steps has `lr`, and `end` is reached at step
    `steps + 1`.

    Transformers: get_wsd_schedule with `num_decay_steps=decay`, `num_training_steps=steps`,
    `min_lr_ratio=end / lr`.

    Args:
        lr: the value before the decay, a number >= 0.
        steps: all steps, those of the warm-up and of the decay among them.
        decay: the number of steps of the decay at the end; at most `steps - warmup`.
        decay_type: the shape of the decay, "linear" (default), "cosine" or "1-sqrt".
        end: the value at the end, a number >= 0, default 0.
        warmup: steps of linear warm-up before it, default 0.

    Source: S. Hu et al., MiniCPM: Unveiling the Potential of Small Language Models with Scalable
    Training Strategies, COLM 2024, section 4. "1-sqrt": A. Hägele et al., Scaling Laws and
    Compute-Optimal Training Beyond Fixed Training Durations, NeurIPS 2024, section 3.

    Examples:
        >>> import fastadam as fa
        >>> schedule = fa.schedules.wsd(1, steps=8, decay=4, warmup=2)
        >>> [schedule(step) for step in range(1, 11)]
        [0.5, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """

    lr: float
    _: KW_ONLY
    decay: int
    decay_type: Literal["linear", "cosine", "1-sqrt"] = "linear"
    end: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decay > self.steps - self.warmup:
            raise ValueError(
                f"decay={self.decay} is more than the {self.steps - self.warmup} steps after the "
                "warm-up; give a smaller decay, or more steps"
            )

    def _of(self, t: int, n: int) -> float:
        left = min(1.0, (n - t) / self.decay)
        if self.decay_type == "cosine":
            left = (1 - math.cos(math.pi * left)) / 2
        elif self.decay_type == "1-sqrt":
            left = 1 - math.sqrt(1 - left)
        return between(self.end, self.lr, left)


@dataclass(frozen=True, repr=False)
class one_cycle(Finite):
    r"""One cycle: rise to `lr`, then fall below the first value.

    The first value is `lr / div_factor`. It reaches `lr` after the share `pct_start` of its steps,
    and `lr / div_factor / final_div_factor` at its last step. With `three_phase` it falls back to
    the first value in as many steps as it rose, and from there to the last value.

    PyTorch: OneCycleLR with `max_lr=lr`, `total_steps=steps`, `cycle_momentum=False`, which raises
    an error past the end; this one holds its last value. A `warmup`, which leads to the first
    value, is seldom needed.

    Args:
        lr: the highest value, a number >= 0.
        steps: the total number of steps, including the warm-up.
        pct_start: the share of the steps in which it rises, 0 to 1, default 0.3.
        anneal_strategy: the shape of each phase, "cos" (default) or "linear".
        div_factor: `lr` over the first value, default 25.
        final_div_factor: the first value over the last, default 1e4.
        three_phase: fall in two phases, default False.
        warmup: steps of linear warm-up before it, default 0.

    Source: L. N. Smith and N. Topin, Super-Convergence: Very Fast Training of Neural Networks Using
    Large Learning Rates, arXiv 2017.

    Examples:
        >>> import fastadam as fa
        >>> schedule = fa.schedules.one_cycle(1, steps=10, anneal_strategy="linear")
        >>> [round(schedule(step), 3) for step in range(1, 11)]
        [0.04, 0.52, 1.0, 0.857, 0.714, 0.571, 0.429, 0.286, 0.143, 0.0]
    """

    lr: float
    _: KW_ONLY
    pct_start: float = 0.3
    anneal_strategy: Literal["cos", "linear"] = "cos"
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    three_phase: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pct_start > 1:
            raise ValueError(f"pct_start={self.pct_start} is a share of the steps; give 0 to 1")

    def _of(self, t: int, n: int) -> float:
        t = min(t, n - 1)
        first, peak = self.lr / self.div_factor, self.pct_start * n - 1
        turns = [(0.0, first), (peak, self.lr), (n - 1.0, first / self.final_div_factor)]
        if self.three_phase:
            turns.insert(2, (2 * peak, first))
        phase = 0
        while t > turns[phase + 1][0]:
            phase += 1
        (begin, start), (stop, end) = turns[phase : phase + 2]
        left = (stop - t) / (stop - begin) if stop > begin else 0.0
        if self.anneal_strategy == "cos":
            left = (1 - math.cos(math.pi * left)) / 2
        return between(end, start, left)
