"""What is timed is right: every contender is compared with float64 before.

The reference of AdamW is written here, from its paper. For other variants it is PyTorch's optimizer
on float64 tensors. Where PyTorch has none, or is not installed, it is the rule itself, evaluated in
plain Python: that checks the kernel, not the formula.
"""

from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..kernels.threads import SERIAL_BELOW
from .contenders import (
    BETAS,
    EPS,
    LR,
    WEIGHT_DECAY,
    Array,
    Case,
    Contender,
    contenders,
    one_array,
)
from .variants import ADAMW, Variant

ROUNDING = 2.0**-24  # of a float32
STEPS = 7  # RAdam's rule takes its other branch from the sixth on
Trail = list[Array]  # the parameter before the first step and after each
Reference = Callable[[Array, Sequence[Array]], Trail]


def cases(variant: Variant) -> list[Case]:
    """Small cases that take every way through the contenders: serial, parallel, several arrays."""
    return [
        one_array(1003, variant),
        one_array(SERIAL_BELOW + 11, variant),
        Case("3 arrays", (17, 1000, 1), variant),
    ]


def validate(case: Case, name: str, torch: bool) -> None:
    """Let a contender take a few steps on memory of its own, and compare with the reference.

    Raises:
        RuntimeError: if it is wrong.
    """
    (contender,) = contenders(case, [name])
    check(contender, reference(case.variant, torch))


def check(
    contender: Contender,
    reference: Reference,
    steps: int = STEPS,
    read: Callable[[Any], Array] = np.copy,
    write: Callable[[Any, Array], None] = np.copyto,
    rounding: float = ROUNDING,
) -> None:
    """Take a few steps with fresh gradients, and compare with the reference.

    `read` copies an array of the contender, and `write` fills one; `rounding` is that of a number.

    Raises:
        RuntimeError: if they differ by more.
    """
    start = [read(param) for param in contender.params]
    normal = np.random.default_rng(1).standard_normal
    history: list[list[Array]] = []
    for _ in range(steps):
        for grad in contender.grads:
            write(grad, normal(grad.shape, np.float32))
        history.append([read(grad) for grad in contender.grads])
        contender.step()
    for number, (param, old) in enumerate(zip(map(read, contender.params), start, strict=True)):
        grads = [step[number] for step in history] if contender.moves else []
        where = f"contender {contender.name!r} is wrong for array {number} of {len(start)}"
        check_close(param, reference(old, grads), steps * rounding, where)


def check_close(array: Array, trail: Trail, rounding: float, where: str) -> None:
    """Compare what float32 steps have made of an array with the end of its trail.

    A step rounds the parameter twice, its decay once, and the update a few times. Four roundings
    per step of the parameter and of ten of the largest updates bound the error; `rounding` is that
    of all steps together.

    Raises:
        RuntimeError: if it is larger.
    """
    stacked = np.stack(trail)
    updates = np.abs(np.diff(stacked, axis=0))
    size = np.abs(stacked).max(axis=0) + 10 * updates.max(initial=0)
    error = float(np.max(np.abs(array - stacked[-1]) / (4 * rounding * size)))
    if not error <= 1:
        raise RuntimeError(f"{where}: {error:.3g} times the allowed error; it is not timed")


def reference(variant: Variant, torch: bool) -> Reference:
    """What the contenders of a variant are compared with."""
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
    told, rule = variant.over_one, variant.rule
    start = told.initial(variant.values)
    elements: list[Any] = param.astype(np.float64).tolist()
    states = [tuple(start.get(name, 0.0) for name in rule.state)] * len(elements)
    trail = [np.array(elements)]
    for t, grad in enumerate(grads, start=1):
        h = SimpleNamespace(**told.hyper(variant.values, t))
        pairs = [rule(*each, h) for each in zip(elements, grad.tolist(), states, strict=True)]
        elements, states = [list(side) for side in zip(*pairs, strict=True)]
        trail.append(np.array(elements))
    return trail
