"""Schedules: hyperparameters as functions of the step, counted from 1.

A schedule can be given wherever an optimizer takes a number, and can be called directly. It is
immutable, compared and pickled by its arguments, and its repr is the call that creates it. Only a
`fa.schedules.Plateau` changes, through its `update(metric)`.

At step k a schedule has the value that PyTorch's scheduler of the same formula sets after k - 1
calls of its `step()`. Past its end it holds its last value. Arguments are checked when it is
created, the step when it is called: TypeError and ValueError name the argument, its value and the
fix.

Examples:
    >>> import numpy as np, fastadam as fa
    >>> schedule = fa.schedules.cosine(0.1, steps=10, warmup=2)
    >>> [round(schedule(step), 3) for step in range(1, 12)]
    [0.05, 0.1, 0.1, 0.096, 0.085, 0.069, 0.05, 0.031, 0.015, 0.004, 0.0]
    >>> schedule
    cosine(0.1, steps=10, warmup=2)
    >>> opt = fa.AdamW(np.ones(3), lr=schedule)
    >>> opt.step(np.ones(3)).lr, opt.step(np.ones(3)).lr
    (0.05, 0.1)
"""

from typing import TYPE_CHECKING, NoReturn

from ..validation import missing
from .annealing import cosine, cosine_restarts, linear, one_cycle, polynomial, wsd
from .decay import constant, exponential, inverse_sqrt, inverse_time, piecewise, step_decay
from .join import join
from .plateau import Plateau

__all__ = [
    "Plateau",
    "constant",
    "cosine",
    "cosine_restarts",
    "exponential",
    "inverse_sqrt",
    "inverse_time",
    "join",
    "linear",
    "one_cycle",
    "piecewise",
    "polynomial",
    "step_decay",
    "wsd",
]


def _attribute(name: str) -> NoReturn:
    raise missing(__name__, name, __all__)


def __dir__() -> list[str]:
    return __all__


if not TYPE_CHECKING:  # a type checker would take any name for one that is there
    __getattr__ = _attribute
