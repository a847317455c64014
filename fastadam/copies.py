"""What is kept of the parameters besides them: their average, and a copy in low precision."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .kernels.formats import compute_of
from .memory.dtypes import name_of, named
from .memory.flat import Flat, aligned_zeros
from .memory.parameters import Parameters
from .options import Options

CHUNK = 1 << 16  # elements exchanged at a time


class Copies:
    """The average and the copy that options ask for, made anew when parameters are added.

    Attributes:
        ema: the average, of the dtype of the arithmetic, or None.
        shadow: the copy, or None.
        swapped: whether the average stands in for the parameters at the moment.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self.ema: Flat | None = None
        self.shadow: Flat | None = None
        self.swapped = False
        self._aside: dict[int, Any] = {}

    def check(self, params: Sequence[Any]) -> None:
        """Refuse parameters of which there can be no copy in one buffer.

        Raises:
            TypeError: if dtypes are mixed, or not float32 where a copy in low precision is wanted.
        """
        dtypes = sorted({name_of(param.dtype) for param in params})
        if self._options.ema_decay is not None and len({*map(compute_of, dtypes)}) > 1:
            raise TypeError(
                f"ema_decay: the average is one buffer of one dtype, but the parameters have "
                f"{dtypes}; convert them, or make an optimizer for each dtype"
            )
        if self._options.shadow_dtype is not None and dtypes != ["float32"]:
            raise TypeError(
                f"shadow_dtype={self._options.shadow_dtype!r} is for float32 parameters; these "
                f"are {' and '.join(dtypes)}"
            )

    def follow(self, parameters: Parameters) -> None:
        """Keep copies of these parameters; averages that there are already go on."""
        self._params = parameters.arrays
        if self._options.ema_decay is not None:
            known = self.ema.leaves if self.ema else []
            dtype = compute_of(self._params[0].dtype.name)
            self.ema = parameters.flat_like(aligned_zeros(parameters.size, dtype, self._params[0]))
            for leaf, start in zip(
                self.ema.leaves, [*known, *self._params[len(known) :]], strict=True
            ):
                leaf[...] = start if start.dtype == leaf.dtype else start.astype(leaf.dtype)
        if self._options.shadow_dtype is not None:
            dtype = named(self._options.shadow_dtype)
            self.shadow = parameters.flat_like(
                aligned_zeros(parameters.size, dtype, self._params[0])
            )
            self.refresh()

    def restore(self, averages: Sequence[Any]) -> None:
        """Take over saved averages, or start from the parameters; round these into their copy."""
        if self.ema:
            for leaf, array in zip(self.ema.leaves, averages or self._params, strict=True):
                leaf[...] = array if array.dtype == leaf.dtype else array.astype(leaf.dtype)
        self.refresh()

    def refresh(self) -> None:
        """Round the parameters into their copy."""
        if self.shadow:
            with np.errstate(all="ignore"):
                for leaf, param in zip(self.shadow.leaves, self._params, strict=True):
                    leaf[...] = param.astype(leaf.dtype)

    def exchange(self) -> None:
        """Let parameters and average change places.

        Parameters of sixteen bits, which could not give the average back, are put aside instead.
        """
        assert self.ema
        for number, (leaf, param) in enumerate(zip(self.ema.leaves, self._params, strict=True)):
            if leaf.dtype == param.dtype:
                _exchange(leaf.reshape(-1), param.reshape(-1))
            elif self.swapped:
                param[...] = self._aside.pop(number)
            else:
                self._aside[number] = param.copy()
                with np.errstate(all="ignore"):
                    param[...] = leaf.astype(param.dtype)
        self.swapped = not self.swapped
        self.refresh()

    @property
    def streams(self) -> dict[str, list[Any]]:
        """The arrays by the streams of a kernel."""
        kept = {"ema": self.ema, "shadow": self.shadow}
        return {name: flat.leaves for name, flat in kept.items() if flat}


def _exchange(one: Any, other: Any) -> None:
    for start in range(0, one.size, CHUNK):
        part = slice(start, start + CHUNK)
        one[part], other[part] = other[part].copy(), one[part].copy()
