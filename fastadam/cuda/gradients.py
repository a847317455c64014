"""Read-only inputs of a step on a device, which other libraries write in streams and may
reallocate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..engine.gradients import StepArrays
from .addresses import places_of
from .context import work
from .streams import orders_of

if TYPE_CHECKING:
    from ..memory.parameter_changes import ParameterChanges


class DeviceStepArrays(StepArrays):
    """Arrays of a step on a device.

    A step waits for the streams in which they are computed. Addresses are read in every step, since
    PyTorch can replace the memory of a tensor object.
    """

    def same(self, arrays: Sequence[Any]) -> bool:
        work.turn.join(orders_of(arrays))
        return super().same(arrays) and places_of(arrays) == self.addresses

    def comparison(self, changes: ParameterChanges) -> Callable[[Sequence[Any]], bool]:
        return lambda arrays: changes.unchanged() and self.same(arrays)

    def bind(self, arrays: Sequence[Any]) -> None:
        work.turn.join(orders_of(arrays))
        super().bind(arrays)

    def _fast(self, arrays: Sequence[Any]) -> None:
        """Return None: memory of a device does not support the buffer protocol."""


class DeviceGradients(DeviceStepArrays):
    """Gradients on a device, for the same parameters as in captured steps."""

    def bind(self, arrays: Sequence[Any]) -> None:
        work.turn.captured.check_active([array is not None for array in arrays])
        super().bind(arrays)
