"""Numba kernels that the library is compared with: one operation each."""

import math
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple

import numba
from numba import prange

from ..kernels.threads import SERIAL_BELOW

Kernel = Callable[..., None]


class Pass(NamedTuple):
    """A loop over elements, compiled twice."""

    serial: Kernel
    parallel: Kernel

    def over(self, elements: int) -> Kernel:
        """The kernel for arrays of that size; small ones are serial, as in the library."""
        return self.serial if elements < SERIAL_BELOW else self.parallel


def _compiled(function: FunctionType, name: str, parallel: bool) -> Kernel:
    """A copy under a name of its own: Numba's disk cache does not tell `parallel` apart."""
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
