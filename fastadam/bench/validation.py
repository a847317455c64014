"""Validation: every contender is compared with float64 before it is timed.

The reference of AdamW is written here, from its paper. For other optimizers it is PyTorch's on
float64 tensors. Where PyTorch has none, or is not installed, it is the rule itself, evaluated in
plain Python: that checks the kernel, not the formula. Options of a step are imitated on the
gradients before the reference sees them.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from ..kernels.cpu.threads import SERIAL_BELOW
from ..rules import ROW, SIZE, Factors, Rule
from .variants import ADAMW, Variant
from .workload import BETAS, EPS, LR, WEIGHT_DECAY, Array, Case, Contender, one_array

STEPS = 7  # RAdam's rule takes its other branch from the sixth on
SPOILT = 4  # this step gets an infinite gradient, if the contender skips such steps
Trail = list[Array]  # an array before the first step and after each
Reference = Callable[[Array, Sequence[Array]], Trail]


class Outcome(NamedTuple):
    """An array of a contender after all steps, and the trail that it should have taken."""

    what: str
    found: Array
    trail: Trail


Compare = Callable[[Contender, Sequence[Outcome], int], None]


def small_cases(variant: Variant) -> list[Case]:
    """Small cases for every branch of the contenders: serial, parallel, several arrays."""
    return [
        one_array(1003, variant),
        one_array(SERIAL_BELOW + 9, variant),
        Case("3 arrays", (17, 1000, 1), variant),
    ]


def check_each(contender: Contender, outcomes: Sequence[Outcome], steps: int) -> None:
    """Compare element by element.

    A step rounds the parameter twice, its decay once, and the update a few times. Four roundings
    per step of the parameter and of ten of the largest updates bound the error.

    Raises:
        RuntimeError: if an error is larger.
    """
    for what, found, trail in outcomes:
        stacked = np.stack(trail)
        updates = np.abs(np.diff(stacked, axis=0))
        size = np.abs(stacked).max(axis=0) + 10 * updates.max(initial=0)
        allowed = 4 * steps * contender.rounding * size
        error = float(np.max(np.abs(found - stacked[-1]) / allowed))
        if not error <= 1:
            raise _wrong(contender, f"{what}: {error:.3g} times the allowed error")


def check_mean_square(contender: Contender, outcomes: Sequence[Outcome], steps: int) -> None:
    """Compare the root mean square of the error with that of the update, over all elements.

    Numbers of few bits have random errors in each element. A step rounds a parameter and each of
    its states; the errors of steps are independent. Four roundings times the square root of the
    number of steps bound them.

    Raises:
        RuntimeError: if the error is larger.
    """
    found = np.concatenate([each.found for each in outcomes])
    start, end = (np.concatenate([each.trail[k] for each in outcomes]) for k in (0, -1))
    error = float(np.linalg.norm(found - end) / np.linalg.norm(end - start))
    allowed = 4 * steps**0.5 * contender.rounding
    if not error <= allowed:
        raise _wrong(
            contender, f"the parameters: off by {error:.3g} of the update, {allowed:.3g} is allowed"
        )


def check(
    contender: Contender,
    reference: Reference | None = None,
    compare: Compare = check_each,
    together: bool = False,
) -> None:
    """Take a few steps with fresh gradients, and compare everything with the reference.

    Args:
        contender: whose steps are checked.
        reference: returns the trail of an array; by default that of AdamW.
        compare: raises if an outcome is wrong.
        together: call the reference once with all arrays in one, for a rule with sums over all.

    Raises:
        RuntimeError: if something is wrong.
    """
    read, share = contender.read, contender.grad_share
    start = [read(param) for param in contender.params]
    history = []
    for grads in gradients(contender.options, [param.shape for param in contender.params]):
        contender.fill(grads)
        history.append([np.asarray(read(grad)) / share for grad in contender.grads])
        contender.step()
        if "zero_grads" in contender.options and any(read(g).any() for g in contender.grads):
            raise _wrong(contender, "gradients, which are not zero")
    find = partial(expected, contender, reference or from_paper)
    trails = joined(find, start, history) if together else list(find(start, history))
    weights = contender.weights() if contender.weights else map(read, contender.params)
    outcomes = [
        Outcome(f"array {number} of {len(start)}", found, params)
        for number, (found, (params, _)) in enumerate(zip(weights, trails, strict=True))
    ]
    averages = zip(contender.ema, trails, strict=False)
    outcomes += [
        Outcome(f"average {number}", read(found), average)
        for number, (found, (_, average)) in enumerate(averages)
    ]
    compare(contender, outcomes, STEPS)
    for number, (param, copy) in enumerate(zip(contender.params, contender.shadow, strict=False)):
        if not same_bits(param, copy):
            raise _wrong(contender, f"copy {number}")


def _wrong(contender: Contender, what: str) -> RuntimeError:
    return RuntimeError(f"contender {contender.label} is wrong in {what}; it is not timed")


def gradients(
    options: Mapping[str, Any], shapes: Sequence[tuple[int, ...]]
) -> Iterator[list[Array]]:
    """Gradients for each step; with a bound of the norm, some are below it, and one is infinite if
    such a step is to be skipped."""
    normal = np.random.default_rng(1).standard_normal
    for step in range(STEPS):
        size = options.get("grad_scale", 1) * (0.001 if "clip_norm" in options and step % 2 else 1)
        grads = [np.float32(size) * normal(each, dtype=np.float32) for each in shapes]
        if step == SPOILT and "skip_nonfinite" in options:
            grads[-1].flat[-1] = np.inf
        yield grads


def expected(
    contender: Contender,
    reference: Reference,
    start: Sequence[Array],
    history: Sequence[Sequence[Array]],
) -> Iterator[tuple[Trail, Trail]]:
    """Trails of each parameter and of its average, in float64."""
    options = contender.options
    taken = [grads for each in history if (grads := prepared(options, each))]
    comp = 1 - options.get("ema_decay", 0.0)
    for number, param in enumerate(start):
        grads = [each[number] for each in taken] if contender.moves else []
        params = reference(param, grads)
        averages = params[:1]
        for each in params[1:]:
            averages.append(averages[-1] + comp * (each - averages[-1]))
        yield params, averages


def joined(
    find: Callable[[Sequence[Array], Sequence[Sequence[Array]]], Iterator[tuple[Trail, Trail]]],
    start: Sequence[Array],
    history: Sequence[Sequence[Array]],
) -> list[tuple[Trail, Trail]]:
    """The trails of each array, from those of one array with the elements of all."""
    (trails,) = find([np.concatenate(start)], [[np.concatenate(grads)] for grads in history])
    ends = np.cumsum([param.size for param in start])[:-1]
    parts = [[np.split(each, ends) for each in trail] for trail in trails]
    params, averages = ([list(trail) for trail in zip(*each, strict=True)] for each in parts)
    return list(zip(params, averages, strict=True))


def prepared(options: Mapping[str, Any], grads: Sequence[Array]) -> Sequence[Array]:
    """Gradients after unscaling and clipping; empty if the step is to be skipped.

    R. Pascanu, T. Mikolov and Y. Bengio, On the difficulty of training recurrent neural networks,
    ICML 2013, algorithm 1, with 1e-6 added to the norm, as in PyTorch.
    """
    unscaled = [grad.astype(np.float64) / options.get("grad_scale", 1.0) for grad in grads]
    norm = sum(float(np.vdot(grad, grad)) for grad in unscaled) ** 0.5
    if "skip_nonfinite" in options and not np.isfinite(norm):
        return []
    factor = min(1.0, options.get("clip_norm", np.inf) / (norm + 1e-6))
    return [factor * grad for grad in unscaled]


def same_bits(params: Array, shadow: Array) -> bool:
    """Compare a copy with the parameters rounded to the nearest bfloat16."""
    import ml_dtypes

    rounded = params.astype(ml_dtypes.bfloat16)
    return bool(np.array_equal(rounded.view(np.uint16), shadow.view(np.uint16)))


def reference(variant: Variant, torch: bool) -> Reference:
    """The reference for the contenders of an optimizer."""
    if variant == ADAMW:
        return from_paper
    return partial(from_torch if torch and variant.in_torch else from_rule, variant)


def from_paper(param: Array, grads: Sequence[Array]) -> Trail:
    """AdamW in float64 NumPy.

    I. Loshchilov and F. Hutter, Decoupled Weight Decay Regularization, ICLR 2019, algorithm 2,
    with the schedule multiplier 1 and the decay in units of the learning rate, as in PyTorch.
    """
    theta = param.astype(np.float64)
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    beta1, beta2 = BETAS
    trail = [theta]
    for t, grad in enumerate(grads, start=1):
        g = grad.astype(np.float64)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        theta = theta - LR * (m_hat / (np.sqrt(v_hat) + EPS) + WEIGHT_DECAY * theta)
        trail.append(theta)
    return trail


def from_torch(variant: Variant, param: Array, grads: Sequence[Array]) -> Trail:
    """PyTorch's optimizer in float64, a loop over parameters."""
    import torch

    tensor = torch.nn.Parameter(torch.from_numpy(param.astype(np.float64)))
    optimizer = variant.in_torch([tensor], foreach=False, **variant.torch_values)
    trail = [tensor.detach().numpy().copy()]
    for grad in grads:
        tensor.grad = torch.from_numpy(grad.astype(np.float64))
        optimizer.step()
        trail.append(tensor.detach().numpy().copy())
    return trail


def from_rule(variant: Variant, param: Array, grads: Sequence[Array]) -> Trail:
    """The rule in plain Python, element by element, with the constants that its class computes."""
    told, rule = variant.over_one, variant.rule.of(param.shape)
    start = told.initial(variant.values)
    elements: list[Any] = param.astype(np.float64).reshape(-1).tolist()
    states = [tuple(start.get(name, 0.0) for name in rule.state)] * len(elements)
    factors = _Factors(rule.factors, param.shape) if rule.factors else None
    trail, carried = [param.astype(np.float64)], told.carried if told.carries_sums else {}
    for t, grad in enumerate(grads, start=1):
        values = {**variant.values, **carried}
        h = SimpleNamespace(**told.hyper(values, t))
        if factors:
            states = factors.read(grad.astype(np.float64), h)
        given = [*zip(elements, grad.reshape(-1).tolist(), states, strict=True)]
        length = rule.row_length(param.shape) if rule.over == ROW else len(given)
        rows = [_sums(rule, given[k : k + length], h) for k in range(0, len(given), length)]
        sums = rows[0]
        pairs = [rule(*each, h, *rows[k // length]) for k, each in enumerate(given)]
        elements, states = [list(side) for side in zip(*pairs, strict=True)]
        trail.append(np.reshape(elements, param.shape))
        if told.carries_sums:
            carried = told.carry_sums(values, t, vars(sums[0]))
    return trail


class _Factors:
    """The numbers of the rows and columns of a matrix, which formulas of a rule update."""

    def __init__(self, formulas: Factors, shape: tuple[int, ...]) -> None:
        self._formulas, (rows, columns) = formulas, shape
        self._rows, self._columns = np.zeros(rows), np.zeros(columns)

    def read(self, grad: Array, h: Any) -> list[tuple[Any, ...]]:
        """Update by a gradient, and return the state of each element as the rule reads it."""
        formulas = self._formulas
        terms = np.vectorize(formulas.term)(grad, h)
        average = np.vectorize(formulas.average)
        self._rows = average(self._rows, terms.mean(axis=1), h)
        self._columns = average(self._columns, terms.mean(axis=0), h)
        rows = np.vectorize(formulas.row)(self._rows, self._rows.mean(), h)
        columns = np.vectorize(formulas.column)(self._columns, h)
        return [(row, column) for row in rows for column in columns]


def _sums(rule: Rule, given: Sequence[Any], h: Any) -> list[SimpleNamespace]:
    """The last argument of a rule with sums; nothing for other rules."""
    if rule.prepare is None:
        return []
    terms = [rule.prepare(*each, h) for each in given]
    sums = {
        name: math.fsum(column)
        for name, column in zip(rule.sums, zip(*terms, strict=True), strict=True)
    }
    return [SimpleNamespace(**sums, **{SIZE: float(len(given))})]
