"""The table of a kernel over some rows of one array on a device, sent with each launch."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import numpy as np

from ..kernels.commit import Operation
from ..kernels.cpu.threads import Limit
from ..kernels.factory import Kernel
from ..kernels.storage.base import WHOLE
from ..kernels.target import GridTarget
from ..memory.row_table import RowTable
from . import array as device
from .device_table import BLOCKS

WORD = 8  # bytes


class DeviceRowTable(RowTable):
    """The arguments of one kernel over runs of elements of one array; see `RowTable`.

    A launch sends a page: the records, a row for each run, the chunks, and the arguments of the
    kernel. Numbers of options are in a separate page with a fixed address.
    """

    def __init__(self, kernel: Kernel, records: int, unit: int = 1) -> None:
        columns = [column for stream in kernel.streams for column in stream.storage.stored]
        self._numbers = np.zeros(sum(column.per == WHOLE for column in columns), np.int64)
        self._free = 0
        self._there = device.zeros(len(self._numbers), np.int64)
        self._small_ring = device.ring(max(WORD, self._numbers.nbytes))
        self._page, self._ring = device.zeros(0, np.int64), device.ring(WORD)
        super().__init__(kernel, records, unit)
        self.small = True

    def room(self, dtype: str, count: int) -> tuple[Any, Any]:
        """A number for the array, which the host writes, and its address on the device."""
        first, self._free = self._free, self._free + count
        numbers = self._numbers[first : self._free].view(dtype)[:count]
        return numbers, self._there.address + WORD * first + numbers.itemsize * np.arange(count)

    @property
    def serial(self) -> Operation:
        return self._launch

    def _launch(self) -> None:
        self.chosen(None)()

    def run(self, limit: Limit) -> None:
        self._launch()

    def runner(self, limit: Limit) -> Callable[[], None]:
        return self._launch

    def chosen(self, limit: Limit, threaded: bool = True) -> Operation:
        """The function that sends the page, and launches the kernel over all runs."""
        rows, chunks, _, whole = self._laid_out()
        if not len(chunks):
            return nothing
        grid = min(len(chunks), BLOCKS)
        if whole is not None:
            chunks, grid = in_columns(chunks, whole)
        page, task = self._page_of(rows, chunks)
        start = cast(GridTarget, self.kernel.target).launcher(self.kernel.run, grid, task)
        return partial(self._send_and, start, page)

    def _send_and(self, start: Callable[[], None], page: Any) -> None:
        if len(self._numbers):
            numbers = self._numbers
            self._small_ring.send(self._there.address, numbers.ctypes.data, numbers.nbytes)
        self._ring.send(self._page.address, page.ctypes.data, page.nbytes)
        start()

    def _page_of(self, rows: Any, chunks: Any) -> tuple[Any, int]:
        """The page of a launch, for which memory on the device is allocated, and the address there
        of the arguments of the kernel."""
        records = np.frombuffer(self.records, np.uint8)
        at_rows = -(-len(records) // WORD)
        at_chunks = at_rows + rows.size
        at_task = at_chunks + chunks.size
        page = np.empty(at_task + 5, np.int64)
        if len(page) > self._page.size:
            self._page = device.zeros(len(page) + len(page) // 8, np.int64)
            self._ring = device.ring(self._page.nbytes)
        base = self._page.address
        page.view(np.uint8)[: len(records)] = records
        page[at_rows:at_chunks] = rows.reshape(-1)
        page[at_chunks:at_task] = chunks.reshape(-1)
        page[at_task:] = base + WORD * at_rows, base + WORD * at_chunks, base, 0, len(chunks)
        return page, base + WORD * at_task


def in_columns(chunks: Any, whole: Any) -> tuple[Any, int]:
    """Chunks in an order in which each sequence belongs to one thread block, and the number of
    blocks.

    A block processes a chunk, then the one that is as many chunks later as there are blocks, and so
    on.

    Args:
        chunks: the chunks, in order; empty chunks are added.
        whole: the first chunk of each sequence.
    """
    ends = np.append(whole, len(chunks))
    blocks = min(max(1, len(chunks) // int(np.diff(ends).max())), BLOCKS)
    cuts = ends[np.searchsorted(ends, len(chunks) * np.arange(blocks + 1) // blocks)]
    counts = np.diff(cuts)
    column = np.repeat(np.arange(blocks), counts)
    place = np.arange(len(chunks)) - cuts[column]
    found = np.zeros((int(counts.max()), blocks, 3), np.int64)
    found[place, column] = chunks
    return found.reshape(-1, 3), blocks


def nothing() -> None:
    """Launch nothing."""
