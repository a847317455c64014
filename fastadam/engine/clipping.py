"""Clipping of gradients by their norm: the factors, computed once the norm is known."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from ..kernels.factory import kernel
from ..kernels.formats import FLOAT, floats
from ..kernels.storage.elementwise import Single
from ..kernels.stream import Stream
from ..memory.checks import address
from ..rules import rule
from .backend import backend_of
from .grad_norm import GradNorm
from .launch import Launch
from .options import Options


@rule(state=("unscale",), hyper=("max_norm", "scale", "whole"))
def factor(param, grad, state, h):  # type: ignore[no-untyped-def]
    """The factor of gradients, from the sum of their squares, as in PyTorch; NaN stays. `unscale`
    is one more factor of all gradients, which a device may have computed."""
    (unscale,) = state
    bound = h.max_norm / (math.sqrt(grad) * (h.whole * unscale) + 1e-6)
    return (1.0 if bound > 1.0 else bound) * (h.scale * unscale), state


def factor_streams(dtype: str) -> tuple[Stream, ...]:
    """The streams of `factor`, for factors of a dtype."""
    unscale = Stream("unscale", Single("float64"), "r")
    return (
        Stream("param", floats(dtype, "float64"), "w"),
        Stream("grad", FLOAT["float64"], "r"),
        unscale,
    )


class ClipFactor:
    """The factor for the gradients of some parameters, one for all or one for each.

    It is computed with every norm.

    Args:
        norm: the norm of the gradients.
        options: the options of the optimizer.
        dtypes: the dtypes of the arithmetic.
        alone: for each whole parameter, True if its gradient is clipped by its own norm; the
            others are clipped by their common norm.
        numbers: the number of the parameter of each array.

    Attributes:
        places: the address of the factor of each array, for each dtype of arithmetic.
        launches: the launches that compute factors.
    """

    def __init__(
        self,
        norm: GradNorm,
        options: Options,
        dtypes: Iterable[str],
        alone: Sequence[bool],
        numbers: Sequence[int],
    ) -> None:
        self._max_norm = options.clip_norm
        together = [k for k, each in enumerate(alone) if not each]
        total = norm.total_of(together) if together and any(alone) else norm.total
        self.places = {dtype: list[int]() for dtype in dtypes}
        # kept alive, since launches have addresses only
        self._kept, self.launches = list[Any](), list[Launch]()
        for dtype, places in self.places.items():
            found = self._factors(total, dtype) * len(alone) if together else [0] * len(alone)
            if any(alone):
                own = self._factors(norm.squares, dtype)
                found = [o if a else p for o, a, p in zip(own, alone, found, strict=True)]
            places += [found[number] for number in numbers]
        norm.then(self.launches)

    def _factors(self, squares: Any, dtype: str) -> list[int]:
        """The addresses of the factors of gradients whose squared norms these are."""
        backend = backend_of(squares)
        factors = backend.zeros(squares.size, dtype)
        made = kernel(factor, factor_streams(dtype), backend.target)
        launch = Launch(factor, made, [factors], [0])
        launch.place("grad", [address(squares)])
        launch.set_number("unscale", 1.0)
        self.launches.append(launch)
        self._kept.append(factors)
        first, step = address(factors), factors.itemsize
        return [first + k * step for k in range(factors.size)]

    def set_scale(self, scale: float, whole: float) -> None:
        """Set a further factor of the next gradients; their norms are those of the arrays times
        `whole`."""
        for launch in self.launches:
            launch.table.pack(0, self._max_norm, scale, whole)
