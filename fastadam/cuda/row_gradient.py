"""The row-sparse gradient of a parameter on a device."""

from typing import Any

import numpy as np

from ..engine.convert import identity
from ..engine.launch import kernel_for
from ..engine.row_gradient import RowGradient
from ..kernels.factory import Kernel, kernel
from ..kernels.formats import Formats
from ..kernels.row_pieces import ROW_LENGTH
from ..kernels.rule_streams import streams
from ..kernels.storage.base import WHOLE
from ..kernels.storage.elementwise import Single
from ..kernels.stream import Stream
from ..memory.row_table import RowTable
from ..memory.rows import Rows
from ..rules import rule
from . import target
from .array import DeviceArray, zeros
from .row_table import DeviceRowTable


@rule()
def row_sum(param, grad, state, h):  # type: ignore[no-untyped-def]
    """`param` is the sum so far."""
    return param + grad, ()


class DeviceRowGradient(RowGradient):
    """The rows of a parameter on a device; see `RowGradient`."""

    def __init__(self, param: Any, name: str, param_name: str) -> None:
        super().__init__(param, name, param_name)
        self._sums, self._zeros = zeros(0, self._compute), zeros(0, self._compute)

    def take(self, rows: Rows) -> None:
        """As `RowGradient.take`.

        Raises:
            ValueError: for state in blocks, and if the norm is needed.
        """
        if self.measured:
            raise ValueError(
                f"{self.name} is Rows, of which the norm is taken on the host only, and the "
                "parameters lie on a device; give an array"
            )
        if self.block < WHOLE:
            raise ValueError(
                f"{self.name} is Rows, but state in blocks of {self.block} elements is updated by "
                "rows on the host only, and the parameters lie on a device; leave out "
                "state_dtype='int8', or give an array"
            )
        super().take(rows)

    def table(self, kernel: Kernel, records: int, unit: int = 1) -> RowTable:
        return DeviceRowTable(kernel, records, unit)

    def steps_in(self, array: Any) -> "RowCounts":
        return RowCounts(array)

    def on_host(self, values: Any) -> Any:
        return np.asarray(values)

    def _buffer(self, elements: int) -> int:
        """The address of `elements` negative zeros; the memory is reused in later steps."""
        if elements > self._sums.size:
            room = elements + elements // 8
            self._sums, self._zeros = zeros(room, self._compute), zeros(room, self._compute)
            self._zeros[...] = -0.0
        self._sums[:elements] = self._zeros[:elements]
        return self._sums.address

    def _adder(self, dtype: str) -> RowTable:
        """The table of a kernel in which each thread processes the same elements of every row, so
        that no other thread accesses its sums."""
        formats = Formats(self._compute, dtype)
        parts = *streams(row_sum, (), formats), Stream(ROW_LENGTH, Single("int64"), "r")
        table = DeviceRowTable(kernel(row_sum, parts, target), 1, max(1, self.width))
        numbers, places = table.room("int64", 1)
        numbers[:] = self.width
        table.place(ROW_LENGTH, places)
        return table


class RowCounts:
    """Integers on a device, one for each row, which the host reads and writes for some rows.

    Kernels copy them as float64, without changing a bit.
    """

    def __init__(self, array: DeviceArray) -> None:
        self._array = array
        made = kernel_for(identity, Formats.alike("float64"), like=array)
        self._gather, self._scatter = DeviceRowTable(made, 1), DeviceRowTable(made, 1)
        self._gather.place("grad", [array.address])
        self._scatter.place("param", [array.address])
        self._room = zeros(0, "int64")

    def fill(self, count: int) -> None:
        self._array.fill(count)

    def __getitem__(self, numbers: Any) -> Any:
        places = self._places(len(numbers))
        self._gather.spread((numbers, numbers + 1), {"param": places})
        self._gather.run(None)
        return np.asarray(self._room[: len(numbers)])

    def __setitem__(self, numbers: Any, counts: Any) -> None:
        places = self._places(len(numbers))
        self._room[: len(numbers)] = counts
        self._scatter.spread((numbers, numbers + 1), {"grad": places})
        self._scatter.run(None)

    def _places(self, count: int) -> Any:
        """The addresses of `count` adjacent numbers."""
        if count > self._room.size:
            self._room = zeros(count + count // 8, "int64")
        return self._room.address + self._room.itemsize * np.arange(count)
