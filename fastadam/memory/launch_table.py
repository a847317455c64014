"""Table of a launch: a row of addresses for each parameter, divided into chunks."""

from collections.abc import Callable, Iterator, Sequence
from ctypes import addressof, create_string_buffer
from functools import partial
from itertools import pairwise
from typing import Any, cast

import numpy as np

from ..kernels.commit import Operation
from ..kernels.cpu import openmp, threads
from ..kernels.factory import Kernel
from ..kernels.storage.base import ROW, Column
from ..kernels.stream import Stream
from ..kernels.target import HostTarget
from .aligned import aligned_zeros
from .arrays import address
from .files.windows import Windows

SKIPPED = -1  # in place of the number of a record, for a parameter without a gradient


def chunk_length(elements: int) -> int:
    """The length of a chunk: whole blocks, short enough for many threads, long enough to be worth
    starting."""
    return min(max(elements // 64 // 1024 * 1024, 4096), 65536)


def chunk_table(sizes: Sequence[int], length: int, units: Any = 1) -> Any:
    """Rows (parameter, start, stop) in order, as 64-bit integers; no chunk spans two parameters.

    Args:
        sizes: the number of elements of each parameter.
        length: the number of elements of a chunk.
        units: for each parameter, the number of elements that may not be divided, such as rows.
    """
    size = np.asarray(sizes, np.int64)
    lengths = np.broadcast_to(np.maximum(length // units, 1) * units, size.shape)
    count = -(-size // lengths)
    row = np.repeat(np.arange(len(size)), count)
    start = (np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)) * lengths[row]
    stop = np.minimum(start + lengths[row], size[row])
    return np.ascontiguousarray(np.stack([row, start, stop], axis=1), np.int64)


def balanced(chunks: Any, tasks: int) -> Any:
    """The first chunk of each task, such that all tasks have about as many elements."""
    ends = np.cumsum(chunks[:, 2] - chunks[:, 1])
    total = int(ends[-1]) if len(ends) else 0
    cuts = [total * task // tasks for task in range(tasks)]
    middles = ends - (chunks[:, 2] - chunks[:, 1]) // 2
    return np.append(np.searchsorted(middles, cuts), len(chunks)).astype(np.int64)


def cut(chunks: Any, tasks: int) -> list[Any]:
    """The chunks of each task, of at most `tasks`, none of which has few elements."""
    elements = int(np.sum(chunks[:, 2] - chunks[:, 1]))
    count = min(tasks, len(chunks)) if elements >= threads.SERIAL_BELOW else 1
    return [chunks[first:last] for first, last in pairwise(balanced(chunks, count))]


class Table:
    """The arguments of one kernel: rows of addresses, chunks of rows, records of constants.

    The arrays at these addresses are kept alive by the caller of `place`.

    Attributes:
        rows: for each parameter the number of its record or SKIPPED, then addresses.
        pack: `pack(offset, *constants)` writes a record.
        small: True if one thread is faster than several.
        windows: the windows of launches over files larger than memory, or None.
        units: the number of elements, for each parameter or for all, that may not be divided.
        backward: True if each task starts with its last chunk; on the host, set before launches.
    """

    windows: Windows | None = None
    backward = False

    def __init__(self, kernel: Kernel, sizes: Sequence[int], records: int, units: Any = 1) -> None:
        self.kernel, self.units, elements = kernel, np.asarray(units), sum(sizes)
        self._columns: dict[tuple[str, int], int] = {}
        self._stored: list[Column] = []
        for stream in kernel.streams:
            for part, column in enumerate(stream.storage.stored):
                self._stored.append(column)
                self._columns[stream.name, part] = len(self._stored)
        self._before: Any = None  # bytes before what is here of each array, for parts of arrays
        self.streams = {stream.name for stream in kernel.streams}
        self.rows = np.zeros((len(sizes), 1 + len(self._columns)), np.int64)
        self.chunks = chunk_table(sizes, self.length_of_chunks(elements), self.units)
        self._write_records_into(create_string_buffer(max(1, records * kernel.record.size)))
        self._ranges: dict[Any, Callable[[], None]] = {}
        self._kept: list[Any] = []  # what launches hold the addresses of
        self.small = elements < threads.SERIAL_BELOW
        self._serial: Operation | None = None

    def length_of_chunks(self, elements: int) -> int:
        return chunk_length(elements)

    def _write_records_into(self, room: Any) -> None:
        self.records, self.pack = room, partial(self.kernel.record.pack_into, room)

    def room(self, dtype: str, count: int) -> tuple[Any, Any]:
        """An array of a number for each parameter, which the host writes, and their addresses."""
        numbers = aligned_zeros(count, dtype)
        return numbers, address(numbers) + numbers.itemsize * np.arange(count)

    def chunks_of(self, rows: Any) -> Any:
        """The chunks of some rows, of a table whose chunks are in the order of its rows."""
        numbers = self.chunks[:, 0]
        sides = (np.searchsorted(numbers, rows, side) for side in ("left", "right"))
        parts = [self.chunks[first:last] for first, last in zip(*sides, strict=True)]
        return np.concatenate([self.chunks[:0], *parts])

    def begin_at(self, starts: Sequence[int]) -> None:
        """Declare each row a part of an array, beginning at this element, so that the kernel
        numbers the elements as in the whole array."""
        first = np.asarray(starts, np.int64)
        self.chunks[:, 1:] += first[self.chunks[:, 0]][:, None]
        self._before = np.empty((len(first), len(self._stored)), np.int64)
        for number, column in enumerate(self._stored):
            per = self.units if column.per == ROW else column.per
            self._before[:, number] = first // per * np.dtype(column.dtype).itemsize
        self.rows[:, 1:] -= self._before

    def place(self, stream: str, addresses: Any, part: int = 0) -> None:
        """Set the addresses of the arrays of a stream, one for each row."""
        number = self._columns[stream, part]
        self.rows[:, number] = addresses
        if self._before is not None:
            self.rows[:, number] -= self._before[:, number - 1]

    def columns(self) -> Iterator[tuple[Stream, Column, int]]:
        """The stream, the stored column and the column of `rows` of each address."""
        for stream in self.kernel.streams:
            for part, column in enumerate(stream.storage.stored):
                yield stream, column, self._columns[stream.name, part]

    def operations(self, limit: threads.Limit, threaded: bool = True) -> list[Operation]:
        """The C functions that launch the kernel over all chunks, on at most `limit` threads."""
        if self.windows and not self.small:
            return self.windows.operations(limit, threaded)
        return [self.chosen(limit, threaded)]

    def placed(self, stream: str, part: int = 0) -> Any:
        """The addresses of the arrays of a stream, one for each row of whole arrays."""
        return self.rows[:, self._columns[stream, part]].copy()

    def chosen(self, limit: threads.Limit, threaded: bool = True) -> Operation:
        """The C function that launches the kernel over all chunks, on at most `limit` threads."""
        count = min(threads.tasks_for(limit), len(self.chunks)) if threaded else 1
        return self.serial if self.small or count == 1 else self.parallel(count)

    def over(self, first: int, last: int, limit: threads.Limit, threaded: bool) -> Operation:
        """The C function that launches the kernel over a range of chunks."""
        count = min(threads.tasks_for(limit), last - first) if threaded else 1
        return self.parallel(count, first, last)

    def runner(self, limit: threads.Limit) -> Callable[[], None]:
        """A function that launches the kernel over all chunks, on at most `limit` threads."""
        if self.small:
            return self.serial
        operations = partial(self.operations, limit)
        return partial(threads.run, operations, limit)

    @property
    def serial(self) -> Operation:
        """A function that launches the kernel in the calling thread."""
        if self._serial is None:  # a forked child would inherit the lock of a `cached_property`
            target = cast(HostTarget, self.kernel.target)
            self._serial = target.serial(self.kernel.run, self._tasks(1).ctypes.data)
        return self._serial

    def task_over(self, chunks: Any) -> int:
        """The address of a task that launches the kernel over some chunks."""
        chunks = np.ascontiguousarray(chunks, np.int64)
        words = self.rows.ctypes.data, chunks.ctypes.data, addressof(self.records), 0, len(chunks)
        task = np.array(words, np.int64)
        self._kept += [chunks, task]
        return task.ctypes.data

    def parallel(self, count: int, first: int = 0, last: int | None = None) -> Callable[[], None]:
        """A function that launches the kernel over a range of chunks in `count` tasks."""
        key = count, first, last, openmp.team
        if key not in self._ranges:
            tasks, run = self._tasks(count, first, last), self.kernel.run
            target = cast(HostTarget, self.kernel.target)
            self._ranges[key] = (
                target.serial(run, tasks.ctypes.data)
                if count == 1
                else target.parallel(run, tasks.ctypes.data, tasks.strides[0], count)
            )
        return self._ranges[key]

    def _tasks(self, count: int, first: int = 0, last: int | None = None) -> Any:
        """A row for each task: the addresses of the tables, first chunk, last chunk."""
        tasks = np.empty((count, 5), np.int64)
        cuts = first + balanced(self.chunks[first:last], count)
        chunks = self.chunks
        if self.backward:
            chunks = chunks.copy()
            for start, stop in pairwise(cuts):
                chunks[start:stop] = self.chunks[start:stop][::-1]
            self._kept.append(chunks)
        tasks[:, :3] = self.rows.ctypes.data, chunks.ctypes.data, addressof(self.records)
        tasks[:, 3], tasks[:, 4] = cuts[:-1], cuts[1:]
        self._kept.append(tasks)
        return tasks
