"""AdamW in Numba without fusion: a compiled pass over memory for each operation."""

import math
from collections.abc import Callable
from itertools import count
from types import FunctionType
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import prange

from ..kernels.cpu.threads import SERIAL_BELOW
from ..memory.aligned import aligned_zeros
from .workload import BETAS, EPS, LR, WEIGHT_DECAY, Contender, Memory

Kernel = Callable[..., None]


class Pass(NamedTuple):
    """A loop over elements, compiled serially and in parallel."""

    serial: Kernel
    parallel: Kernel

    def over(self, elements: int) -> Kernel:
        """The kernel for arrays of that size; small ones are serial, as in the library."""
        return self.serial if elements < SERIAL_BELOW else self.parallel


def _compiled(function: FunctionType, name: str, parallel: bool) -> Kernel:
    """Compile a copy with its own name, since Numba's disk cache ignores `parallel`."""
    copy = FunctionType(function.__code__, function.__globals__, name)
    copy.__qualname__, copy.__module__ = name, function.__module__
    options = {"parallel": parallel, "error_model": "numpy"}
    try:
        kernel: Kernel = numba.njit(cache=True, **options)(copy)
    except RuntimeError:  # no writable cache folder: compile in every process
        kernel = numba.njit(**options)(copy)
    return kernel


def each(function: Any) -> Pass:
    """Compile a loop over elements, serial and parallel."""
    name = function.__name__
    return Pass(
        _compiled(function, f"{name}_serial", False), _compiled(function, f"{name}_parallel", True)
    )


@each
def scale(x: Any, factor: Any) -> None:
    for i in prange(x.size):
        x[i] *= factor


@each
def shift(x: Any, number: Any) -> None:
    for i in prange(x.size):
        x[i] += number


@each
def root(x: Any) -> None:
    for i in prange(x.size):
        x[i] = math.sqrt(x[i])


@each
def scaled(out: Any, x: Any, factor: Any) -> None:
    for i in prange(x.size):
        out[i] = factor * x[i]


@each
def square(out: Any, x: Any) -> None:
    for i in prange(x.size):
        out[i] = x[i] * x[i]


@each
def add(x: Any, y: Any) -> None:
    for i in prange(x.size):
        x[i] += y[i]


@each
def subtract(x: Any, y: Any) -> None:
    for i in prange(x.size):
        x[i] -= y[i]


@each
def divide(x: Any, y: Any) -> None:
    for i in prange(x.size):
        x[i] /= y[i]


def contender(name: str, memory: Memory) -> Contender:
    """A pass for every line of the NumPy step, with temporaries in scratch memory; one array."""
    (param,), (grad,), ((exp_avg,), (exp_avg_sq,)) = memory.params, memory.grads, memory.states
    update, denominator = (aligned_zeros(param.size, np.float32) for _ in range(2))
    passes = (scale, shift, root, scaled, square, add, subtract, divide)
    _scale, _shift, _root, _scaled, _square, _add, _subtract, _divide = (
        each.over(param.size) for each in passes
    )
    beta1, beta2 = BETAS
    f32, steps = np.float32, count(1)

    def step() -> None:
        number = next(steps)
        _scale(param, f32(1 - LR * WEIGHT_DECAY))
        _scale(exp_avg, f32(beta1))
        _scaled(update, grad, f32(1 - beta1))
        _add(exp_avg, update)
        _scale(exp_avg_sq, f32(beta2))
        _square(update, grad)
        _scale(update, f32(1 - beta2))
        _add(exp_avg_sq, update)
        _scaled(denominator, exp_avg_sq, f32(1 / (1 - beta2**number)))
        _root(denominator)
        _shift(denominator, f32(EPS))
        _scaled(update, exp_avg, f32(LR / (1 - beta1**number)))
        _divide(update, denominator)
        _subtract(param, update)

    return Contender(name, step, memory.params, memory.grads)
