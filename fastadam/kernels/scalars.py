"""Scalar functions in plain Python: the same text runs under CPython, Numba and CUDA."""

from typing import Any


def larger(a: Any, b: Any, c: Any = None) -> Any:
    """`max` of two or three, with CPython's choice for NaN; Numba's own differs from it."""
    top = b if b > a else a
    if c is None:
        return top
    return c if c > top else top


def smaller(a: Any, b: Any, c: Any = None) -> Any:
    """`min` of two or three, with CPython's choice for NaN; Numba's own differs from it."""
    least = b if b < a else a
    if c is None:
        return least
    return c if c < least else least
