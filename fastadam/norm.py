"""The norm of gradients: one pass over them, ahead of the one that updates."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .kernels.compose import Stream
from .kernels.factory import Kernel, kernel
from .kernels.storage import FLOAT, Sums
from .memory.checks import address
from .memory.table import SKIPPED, Table
from .rules import rule


@rule()
def square(param, grad, state, h):  # type: ignore[no-untyped-def]
    """In float64, which holds the square of a float32 exactly."""
    value = np.float64(grad)
    return value * value, state


def norm_kernel(dtype: Any) -> Kernel:
    """The kernel that sums the squares of gradients, block by block."""
    storage = FLOAT[np.dtype(dtype).name]
    return kernel(square, (Stream("param", Sums(), "w"), Stream("grad", storage, "r")))


class Norm:
    """The norms of the gradients of some parameters, in float64.

    Every thread sums whole blocks; blocks are added per parameter, then parameters, always in the
    same order, so that the bits depend on nothing but the gradients.
    """

    def __init__(self, params: Sequence[Any], threads: int | None) -> None:
        sizes = np.array([param.size for param in params])
        starts = np.cumsum([0, *-(-sizes // Sums.block)])
        self._sums = np.zeros(starts[-1])
        self._filled = np.flatnonzero(sizes)
        self._starts = starts[self._filled]
        self._squares = np.zeros(len(params))
        self._tables, self._runs = [], []
        for dtype in {param.dtype for param in params}:
            members = [i for i, param in enumerate(params) if param.dtype == dtype]
            table = Table(norm_kernel(dtype), sizes[members].tolist(), 0)
            table.place("param", address(self._sums) + 8 * starts[members])
            self._tables.append((table, members))
            self._runs.append(table.runner(threads))

    @property
    def kernels(self) -> list[Kernel]:
        return [table.kernel for table, _ in self._tables]

    def look(self, addresses: Sequence[int], active: Sequence[bool]) -> None:
        """Say where the gradients are, and which there are."""
        self._sums.fill(0)
        for table, members in self._tables:
            table.place("grad", [addresses[i] for i in members])
            table.rows[:, 0] = [0 if active[i] else SKIPPED for i in members]

    def squares(self) -> Any:
        """The sum of the squares of each gradient; 0 for those that are not there."""
        for run in self._runs:
            run()
        if self._filled.size:
            self._squares[self._filled] = np.add.reduceat(self._sums, self._starts)
        return self._squares
