"""The backend of arrays on a GPU, or in Numba's simulator of one.

Numba's CUDA is imported when it is first used, since arrays of a GPU can be refused without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.backend import HOST, ChainedLaunch
from ..memory import checks
from ..memory.arrays import is_device
from ..memory.placement import in_lines
from ..memory.rows import RowsDtype
from . import array as arrays
from .array import DeferredScalar
from .device_rate import device_rate

if TYPE_CHECKING:
    from ..engine.gradients import StepArrays
    from ..engine.launch import Launch
    from ..engine.launch_plan import StepPlan
    from ..engine.step_context import StepContext
    from ..kernels.cpu.threads import Limit
    from ..kernels.factory import Kernel
    from ..kernels.target import GridTarget
    from .conditional_step import ConditionalStep
    from .device_table import DeviceTable
    from .gradients import DeviceStepArrays
    from .streams import StreamScope


class CudaBackend:
    """Arrays in the memory of a GPU."""

    name = "cuda"

    @property
    def target(self) -> GridTarget:
        from . import target

        return target

    def check_available(self) -> None:
        arrays.number_of_device()

    def as_array(self, array: Any) -> Any:
        return arrays.as_array(array)

    def to_host(self, number: Any) -> Any:
        return np.asarray(arrays.as_array(number))

    def rate(self, lr: Any) -> Any:
        if not is_device(lr):
            return HOST.rate(lr)
        return device_rate(lr)

    def zeros(self, size: int, dtype: Any) -> Any:
        return arrays.zeros(size, dtype)

    def zeros_beside(
        self, beside: Sequence[Any], counts: Sequence[int], dtype: Any, distance: int
    ) -> list[Any]:
        itemsize = np.dtype(dtype).itemsize
        _, starts, nbytes = in_lines([count * itemsize for count in counts])
        buffer, firsts = arrays.zeros(nbytes // itemsize, dtype), [s // itemsize for s in starts]
        pairs = zip(firsts, counts, strict=True)
        return [buffer[first : first + count] for first, count in pairs]

    def table(
        self, kernel: Kernel, sizes: Sequence[int], records: int, units: Any = 1
    ) -> DeviceTable:
        from .device_table import DeviceTable

        return DeviceTable(kernel, sizes, records, units)

    def chained(
        self, launches: Sequence[ChainedLaunch], threads: Limit
    ) -> tuple[list[Callable[[], None]], list[Kernel]]:
        from .chain import chained

        return [chained(launches)] if launches else [], []

    def gradients(
        self,
        params: Sequence[Any],
        param_names: Sequence[str],
        names: Sequence[str],
        dtypes: Sequence[Any],
        cleared: bool,
    ) -> StepArrays:
        if any(isinstance(dtype, RowsDtype) for dtype in dtypes):
            from .row_inputs import DeviceRowArrays

            return DeviceRowArrays(params, param_names, names, dtypes, cleared)
        from .gradients import DeviceGradients

        check = checks.check_cleared if cleared else checks.check_gradient
        convert = arrays.as_array
        return DeviceGradients(params, param_names, names, dtypes, check, convert, True, cleared)

    def masks(
        self, params: Sequence[Any], param_names: Sequence[str], names: Sequence[str]
    ) -> DeviceStepArrays:
        from .gradients import DeviceStepArrays

        dtypes, check = [np.dtype(bool)] * len(params), checks.check_mask
        return DeviceStepArrays(params, param_names, names, dtypes, check, arrays.as_array, False)

    def lock(self, params: Callable[[], Sequence[Any]] = list, owner: Any = None) -> StreamScope:
        from .graph_capture import CapturedSteps
        from .streams import StreamScope

        turn = StreamScope(params)
        if owner:
            turn.captured = CapturedSteps(owner)
        return turn

    def on(self, lock: Any, stream: Any) -> AbstractContextManager[Any]:
        scope: AbstractContextManager[Any] = lock.on(stream)
        return scope

    def deferred_scalar(self) -> DeferredScalar:
        return DeferredScalar()

    def conditional_step(
        self,
        plan: StepPlan,
        launches: Sequence[Launch],
        context: StepContext,
    ) -> ConditionalStep | None:
        from .conditional_step import ConditionalStep, capturing
        from .graph_step import GraphStep

        if not ConditionalStep.serves(context.formats, context.options):
            return None
        kind = GraphStep if capturing() else ConditionalStep
        return kind(plan, launches, context)


CUDA = CudaBackend()
