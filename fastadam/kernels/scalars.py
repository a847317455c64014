"""Scalar functions in plain Python: the same text runs under CPython, Numba and CUDA."""

from typing import Any


def larger(a: Any, b: Any) -> Any:
    """`max(a, b)` with CPython's choice for NaN; Numba's own differs from it."""
    return b if b > a else a


def smaller(a: Any, b: Any) -> Any:
    """`min(a, b)` with CPython's choice for NaN; Numba's own differs from it."""
    return b if b < a else a
