"""The norm of gradients: one pass over them, ahead of the one that updates."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .kernels.compose import Stream
from .kernels.factory import Kernel, kernel
from .kernels.stages import staged, streams
from .kernels.storage import Sums
from .launch import Launch, by_dtype
from .memory.checks import address
from .memory.table import SKIPPED
from .rules import rule


@rule()
def square(param, grad, state, h):  # type: ignore[no-untyped-def]
    """In float64, which holds the square of a float32 exactly."""
    value = np.float64(grad)
    return value * value, state


def norm_kernel(dtype: Any, options: tuple[str, ...]) -> Kernel:
    """The kernel that sums the squares of gradients, block by block, and changes nothing else."""
    _, *inputs = streams(square, options, np.dtype(dtype).name)
    only_read = (stream._replace(mode="r") for stream in inputs)
    return kernel(staged(square, options), (Stream("param", Sums(), "w"), *only_read))


def clip_factor(max_norm: float, norm: Any) -> Any:
    """What gradients of this norm, or these norms, are multiplied by, as in PyTorch; NaN stays."""
    with np.errstate(invalid="ignore"):  # an infinite norm under an infinite bound
        return np.minimum(max_norm / (norm + 1e-6), 1.0)


def finite(norm: float | None, grads: Sequence[Any]) -> bool:
    """Whether all gradients are finite: if their norm is, or else on a second look.

    The square of a large float64 may overflow.
    """
    return (norm is not None and math.isfinite(norm)) or all(
        np.isfinite(np.asarray(grad)).all() for grad in grads if grad is not None
    )


class Norm:
    """The norms of the gradients of some parameters, in float64.

    Every thread sums whole blocks; blocks are added per parameter, then parameters, always in the
    same order, so that the bits depend on nothing but the gradients.
    """

    def __init__(
        self, params: Sequence[Any], threads: int | None, options: tuple[str, ...] = ()
    ) -> None:
        sizes = np.array([param.size for param in params])
        starts = np.cumsum([0, *-(-sizes // Sums.block)])
        self._sums = np.zeros(starts[-1])
        self._filled = np.flatnonzero(sizes)
        self._starts = starts[self._filled]
        self._squares = np.zeros(len(params))
        self.launches = [
            Launch(square, norm_kernel(dtype, options), params, members)
            for dtype, members in by_dtype(params).items()
        ]
        for launch in self.launches:
            launch.place("param", (address(self._sums) + 8 * starts).tolist())
        self._runs = [launch.table.runner(threads) for launch in self.launches]

    def look(self, addresses: Sequence[int], active: Sequence[bool]) -> None:
        """Say where the gradients are, and which there are."""
        self._sums.fill(0)
        for launch in self.launches:
            launch.place("grad", addresses)
            launch.choose([0 if there else SKIPPED for there in active])

    def tell(self, option: str, number: float) -> None:
        """Give an option its number."""
        for launch in self.launches:
            launch.tell(option, number)

    def squares(self) -> Any:
        """The sum of the squares of each gradient; 0 for those that are not there."""
        for run in self._runs:
            run()
        if self._filled.size:
            self._squares[self._filled] = np.add.reduceat(self._sums, self._starts)
        return self._squares
