"""Arrays where they are: a row of addresses per parameter, cut into chunks; one launch for all."""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from ..kernels import threads
from ..kernels.factory import Kernel

SKIPPED = -1  # instead of the number of a record: this parameter has no gradient


def chunk_length(elements: int) -> int:
    """Enough chunks for many threads, each long enough to be worth its start, in whole blocks."""
    return min(max(elements // 64 // 256 * 256, 4096), 65536)


def chunk_table(sizes: Sequence[int], length: int) -> Any:
    """Rows (parameter, start, stop) in order, as 64-bit integers; no chunk spans two parameters."""
    size = np.asarray(sizes, np.int64)
    count = -(-size // length)
    row = np.repeat(np.arange(len(size)), count)
    start = (np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)) * length
    stop = np.minimum(start + length, size[row])
    return np.ascontiguousarray(np.stack([row, start, stop], axis=1), np.int64)


def balanced(chunks: Any, tasks: int) -> Any:
    """Where each task begins in the chunk table, so that all have about as many elements."""
    ends = np.cumsum(chunks[:, 2] - chunks[:, 1])
    total = int(ends[-1]) if len(ends) else 0
    cuts = [total * task // tasks for task in range(tasks)]
    middles = ends - (chunks[:, 2] - chunks[:, 1]) // 2
    return np.append(np.searchsorted(middles, cuts), len(chunks)).astype(np.int64)


class Table:
    """The memory of one kernel: rows of addresses, chunks of rows, records of constants.

    Small arrays; what they point to stays where it is, and is kept alive by who placed it.
    """

    def __init__(self, kernel: Kernel, sizes: Sequence[int], records: int, task_limit: int | None):
        self.kernel, self.elements, self._task_limit = kernel, sum(sizes), task_limit
        self._columns: dict[tuple[str, int], int] = {}
        for stream in kernel.streams:
            for part, _ in enumerate(stream.storage.stored):
                self._columns[stream.name, part] = 1 + len(self._columns)
        self.rows = np.full((len(sizes), 1 + len(self._columns)), 0, np.int64)
        self.chunks = chunk_table(sizes, chunk_length(self.elements))
        self.records = np.zeros(max(1, records * kernel.record.size), np.uint8)
        where = [a.ctypes.data for a in (self.rows, self.chunks, self.records)]
        self._serial, self._parallel = kernel.bind(*where)
        self._small = self.elements < threads.SERIAL_BELOW

    def place(self, stream: str, addresses: Any, rows: Any = slice(None), part: int = 0) -> None:
        """Say where the arrays of a stream begin, for all rows or for some."""
        self.rows[rows, self._columns[stream, part]] = addresses

    def write_record(self, number: int, constants: Sequence[float]) -> None:
        record = self.kernel.record
        record.pack_into(self.records, number * record.size, *constants)

    def run(self) -> None:
        """Launch the kernel over all chunks."""
        if self._small:
            return self._serial(len(self.chunks))
        tasks = threads.tasks_for(self.elements, self._task_limit)
        if tasks == 1:
            return self._serial(len(self.chunks))
        threads.launch(
            partial(self._parallel, self._bounds(tasks).ctypes.data, tasks),
            partial(self._serial, len(self.chunks)),
        )

    @cache  # noqa: B019  (a table lives as long as its optimizer)
    def _bounds(self, tasks: int) -> Any:
        return balanced(self.chunks, tasks)
