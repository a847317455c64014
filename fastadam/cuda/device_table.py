"""The table of a kernel on a device: a copy of the host's, of which changed parts are sent."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from ..kernels.cpu.threads import Limit
from ..kernels.factory import Kernel
from ..kernels.storage.base import WHOLE
from ..kernels.target import GridTarget
from ..memory.launch_table import Table
from . import array as device

BLOCKS = 1 << 16  # of a grid, at most
WORD = 8  # bytes


def chunk_length(elements: int) -> int:
    """The length of a chunk, in whole blocks.

    Large arrays have some thousand chunks, more than a large GPU runs blocks at a time. A chunk has
    at least one group of neighbours for each thread.
    """
    return min(max(elements // 4096 // 1024 * 1024, 1024), 16384)


class DeviceTable(Table):
    """Rows, records and numbers in the memory of a device.

    All of them lie in one page, with a copy on the host. A launch sends the changed parts through
    pinned memory: first the head, which may change in every step.

    Attributes:
        head: the part of the page, on the host, with records and numbers.
        task: the arguments of the kernel for all chunks.
    """

    def __init__(self, kernel: Kernel, sizes: Sequence[int], records: int, units: Any = 1) -> None:
        super().__init__(kernel, sizes, records, units)
        columns = [column for stream in kernel.streams for column in stream.storage.stored]
        singles = [column for column in columns if column.per == WHOLE]
        self._free = -(-len(self.records) // WORD)  # the first word that numbers may take
        head = self._free + len(singles) * len(sizes)
        self._host = np.zeros(head + self.rows.size, np.int64)
        self.head, rows = self._host[:head], self._host[head:]
        self.rows = rows.reshape(self.rows.shape)
        self._write_records_into(self.head.data.cast("B"))
        self._page = device.zeros(len(self._host), np.int64)
        self._chunks = device.zeros(max(1, self.chunks.size), np.int64)
        self._chunks[: self.chunks.size] = self.chunks.reshape(-1)
        self.task = self._task_of(len(self.chunks))
        self._ring = device.ring(self._host.nbytes)
        self._sent = (b"", b"")
        self.small = True

    @property
    def _target(self) -> GridTarget:
        return cast(GridTarget, self.kernel.target)

    def length_of_chunks(self, elements: int) -> int:
        """The length of a chunk with at least a block of elements for each warp."""
        target, blocks = self._target, (s.storage.block for s in self.kernel.streams)
        least, warps = min(blocks), target.THREADS // target.WARP
        return max(chunk_length(elements), least * warps if least < WHOLE else 0)

    def _task_of(self, chunks: int) -> device.DeviceArray:
        """The arguments of the kernel for `chunks` chunks."""
        task, page = device.zeros(5, np.int64), self._page.address
        task[...] = [page + self.head.nbytes, self._chunks.address, page, 0, chunks]
        return task

    def room(self, dtype: str, count: int) -> tuple[Any, Any]:
        """An array of a number for each parameter, which the host writes, and their addresses."""
        first, self._free = self._free, self._free + count
        numbers = self.head[first : self._free].view(dtype)[:count]
        return numbers, self._page.address + WORD * first + numbers.itemsize * np.arange(count)

    def runner(self, limit: Limit) -> Callable[[], None]:
        """A function that launches the kernel over all chunks, in the current stream."""
        grid = min(len(self.chunks), BLOCKS)
        if not grid:
            return lambda: None
        start = self._target.launcher(self.kernel.run, grid, self.task.address)

        def run() -> None:
            self.send()
            start()

        return run

    @property
    def serial(self) -> Callable[[], None]:
        if self._serial is None:
            self._serial = self.runner(None)
        return self._serial

    def conditional_task(self) -> tuple[device.DeviceArray, Callable[[], None]]:
        """A task that the prologue kernel enables, and a function that launches the kernel with it.

        The prologue kernel writes the head.
        """
        task = self._task_of(0)
        if not self.chunks.size:
            return task, lambda: None
        grid = min(len(self.chunks), BLOCKS)
        start = self._target.launcher(self.kernel.run, grid, task.address)

        def run() -> None:
            self._sent = b"", self._sent[1]
            start()

        return task, run

    def send_rows(self) -> None:
        """Send the rows to the device, if they changed; the prologue kernel writes the head."""
        rows = self.rows.tobytes()
        if rows != self._sent[1]:
            self.send()

    @property
    def home(self) -> int:
        """The address of the head on the device."""
        return self._page.address

    def send(self) -> None:
        """Send everything that has changed to the device."""
        now, sent = (self.head.tobytes(), self.rows.tobytes()), self._sent
        if now[1] != sent[1]:
            self._ring.send(self._page.address, self._host.ctypes.data, self._host.nbytes)
        elif now[0] != sent[0]:
            self._ring.send(self._page.address, self._host.ctypes.data, self.head.nbytes)
        self._sent = now
