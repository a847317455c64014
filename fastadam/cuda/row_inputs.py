"""Gradients of a step on a device, some of them row-sparse."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine.row_inputs import RowStepArrays
from ..memory import checks
from ..memory.arrays import is_device
from ..memory.rows import Rows, checked_indices
from .array import as_array, zeros
from .context import work
from .row_gradient import DeviceRowGradient
from .streams import orders_of


class DeviceRowArrays(RowStepArrays):
    """Gradients of arrays on a device; see `RowStepArrays`.

    Indices are copied to the host, where they are checked and sorted; values stay on the device.
    """

    kind = DeviceRowGradient

    def bind(self, arrays: Sequence[Any]) -> None:
        """As `RowStepArrays.bind`.

        Raises:
            RuntimeError: while a step is captured in a CUDA graph.
        """
        work.turn.captured.check_active([array is not None for array in arrays])
        given = [part for array in arrays for part in _parts(array) if is_device(part)]
        if work.turn.captures:
            raise RuntimeError(
                "grads holds Rows, whose indices are read and sorted on the host; such a step "
                "cannot be captured in a CUDA graph"
            )
        work.turn.join(orders_of(given))
        pairs = zip(arrays, self._names, strict=True)
        super().bind([_brought(a, name) if isinstance(a, Rows) else a for a, name in pairs])


def _parts(array: Any) -> tuple[Any, ...]:
    return (array.indices, array.values) if isinstance(array, Rows) else (array,)


def _brought(rows: Rows, name: str) -> Rows:
    """The rows with their indices on the host and their values on the device.

    Raises:
        TypeError, ValueError: if they are not arrays of integers and of floats.
    """
    indices, values = rows.indices, as_array(rows.values)
    if is_device(indices):
        indices = checked_indices(np.asarray(as_array(indices)))
    checks.check_array(values, f"{name}.values", written=False)
    if not is_device(values):
        there = zeros(values.size, values.dtype).reshape(values.shape)
        there[...] = values
        values = there
    return Rows(indices, values, rows.size, rows.unique)
