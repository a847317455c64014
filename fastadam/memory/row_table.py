"""Table of a kernel over some rows of one array, rewritten in each step.

The kernel is that of whole arrays. Each run of elements has a table row, with the addresses of the
array. For a packed stream, such as the gradient, the address is that of a virtual array of which
the packed numbers are the run.
"""

from collections.abc import Mapping, Sequence
from ctypes import addressof, create_string_buffer
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np

from ..kernels.commit import Operation
from ..kernels.cpu import threads
from ..kernels.factory import Kernel
from ..kernels.imports import whole as loaded
from ..kernels.prefetching import CHUNKS
from ..kernels.target import HostTarget
from .arrays import address
from .launch_table import SKIPPED, Table, chunk_table

CHUNK = 16384  # elements, in whole blocks of every storage


class SortedRows(NamedTuple):
    """Rows in ascending order of their indices; without repetitions if given to a table.

    Attributes:
        keys: their indices, with the original positions in the lowest bits.
        bits: the number of these bits.
        base: the address of the gradients.
        stride: the distance between the gradients of two rows, in bytes.
        width: the number of elements of a row.
    """

    keys: Any
    bits: int
    base: int
    stride: int
    width: int

    def unpacked(self) -> tuple[Any, Any]:
        """The indices, and the addresses of the gradients."""
        return self._replace(width=1).elements(0)

    def elements(self, first: int) -> tuple[Any, Any]:
        """The first element of each row, and the addresses of the gradients.

        Elements are counted as in an array of which this one is a part that begins at `first`.
        """
        starts, sources = np.empty((2, len(self.keys)), np.int64)
        loaded("fastadam.kernels.cpu.row_passes").unpack(*self, first, starts, sources)
        return starts, sources


class RowTable(Table):
    """The arguments of one kernel over runs of elements of one array.

    Attributes:
        rows: one table row, that of the whole array, from which those of the runs are derived.
    """

    def __init__(self, kernel: Kernel, records: int, unit: int = 1) -> None:
        super().__init__(kernel, [0], records, unit)
        self.small = False  # the next step may have many rows
        self._sizes = [self._item(name, part) for name, part in self._columns]
        self._first = 0  # the first element, if the array is a part of another
        self._given: tuple[Any, ...] = ()
        self._sorted: tuple[str, SortedRows] | None = None
        self._rooms = np.empty((0, self.rows.shape[1]), np.int64)
        self._numbered = np.empty((0, 3), np.int64)
        self._template = b""
        self.spread((np.empty(0, np.int64), np.empty(0, np.int64)), {})

    def _item(self, name: str, part: int) -> int:
        stream = next(each for each in self.kernel.streams if each.name == name)
        return np.dtype(stream.storage.stored[part].dtype).itemsize

    def begin_at(self, starts: Sequence[int]) -> None:
        super().begin_at(starts)
        (self._first,) = starts

    def spread(
        self,
        runs: tuple[Any, Any],
        packed: Mapping[str, Any],
        records: Any = None,
        whole: Any = None,
    ) -> None:
        """Set the runs of the next launch.

        Args:
            runs: the first element of each run, and the element after its last.
            packed: for packed streams, the address of the first element of each run.
            records: the number of the record of each run; None for that of the whole array.
            whole: for runs that may update the same numbers, the first run of each sequence that
                one thread updates in order; None if no two runs do.
        """
        self._given, self._sorted = (runs, packed, records, whole), None

    def spread_rows(self, stream: str, rows: SortedRows) -> None:
        """Set the rows of the next launch, for which `stream` is packed.

        Rows that are adjacent, in the array and in the packed stream, are one run.
        """
        self._sorted = stream, rows

    def chosen(self, limit: threads.Limit, threaded: bool = True) -> Operation:
        """The C function that launches the kernel over all runs, on at most `limit` threads."""
        rows, chunks, total, whole = self._laid_out()
        many = threaded and total >= threads.SERIAL_BELOW
        count = max(1, min(threads.tasks_for(limit), len(chunks))) if many else 1
        cuts = np.array([0, len(chunks)])
        if count > 1:
            cuts = np.empty(count + 1, np.int64)
            loaded("fastadam.kernels.cpu.row_passes").divide(chunks, total, cuts)
        if whole is not None:
            ends = np.append(whole, len(chunks))
            cuts = ends[np.searchsorted(ends, cuts)]
        tasks = np.empty((count, 5), np.int64)
        tasks[:, :3] = address(rows), address(chunks), addressof(self.records)
        tasks[:, 3], tasks[:, 4] = cuts[:-1], cuts[1:]
        self._kept = [tasks, rows, chunks, self.records]
        first, target = address(tasks), cast(HostTarget, self.kernel.target)
        if count == 1:
            return partial(self.kernel.run, first)
        return target.parallel(self.kernel.run, first, tasks.strides[0], count)

    def _laid_out(self) -> tuple[Any, Any, int, Any]:
        """The table rows and the chunks of all runs, the number of their elements, and the first
        chunk of each sequence that one thread updates in order; see `spread`."""
        found = self._from_rows(*self._sorted) if self._sorted else self._from_runs()
        rows, padded, total, longest = found
        count, whole = len(rows), None if self._sorted else self._given[-1]
        if whole is None and longest > CHUNK:
            starts, stops = padded[:count, 1], padded[:count, 2]
            cut = chunk_table(stops - starts, CHUNK, self.units)
            cut[:, 1:] += starts[cut[:, 0], None]
            padded = np.concatenate([cut, np.zeros((CHUNKS, 3), np.int64)])
        else:
            padded[count:, 1:] = 0
        return rows, padded[:-CHUNKS], total, whole

    def _from_rows(self, stream: str, given: SortedRows) -> tuple[Any, Any, int, int]:
        """The table rows and the chunks of sorted rows, and the number of elements of all of them
        and of the longest."""
        rows, column = self._filled(len(given.keys)), self._columns[stream, 0]
        enlist = loaded("fastadam.kernels.cpu.row_passes").enlist_sorted
        where = rows, column, self._sizes[column - 1], self._numbered
        count, total, longest = enlist(*where, *given, self._first)
        return rows[:count], self._numbered[: count + CHUNKS], total, longest

    def _from_runs(self) -> tuple[Any, Any, int, int]:
        """As `_from_rows`, for the runs that were set by `spread`."""
        passes = loaded("fastadam.kernels.cpu.row_passes")
        (starts, stops), packed, records, _ = self._given
        if self._first:
            starts, stops = starts + self._first, stops + self._first
        rows = self._filled(len(starts))
        if records is not None:
            rows[:, 0] = records if self.rows[0, 0] != SKIPPED else SKIPPED
        padded = self._numbered[: len(rows) + CHUNKS]
        total = longest = 0
        for k, (stream, addresses) in enumerate(packed.items()):
            column = self._columns[stream, 0]
            given = rows, column, addresses, starts, self._sizes[column - 1]
            if k:
                passes.shift(*given)
            else:
                total, longest = passes.enlist(*given, stops, padded)
        return rows, padded, total, longest

    def _filled(self, count: int) -> Any:
        """An array of `count` table rows, equal to that of the whole array; its memory is reused in
        the next steps."""
        if count + CHUNKS > len(self._rooms):
            self._rooms = np.empty((count + count // 8 + CHUNKS, self.rows.shape[1]), np.int64)
            self._numbered = np.empty((len(self._rooms), 3), np.int64)
            self._numbered[:, 0] = np.arange(len(self._rooms))
            self._template = b""
        if self._template != (template := self.rows.tobytes()):
            self._rooms[:], self._template = self.rows[0], template
        return self._rooms[:count]

    def records_for(self, count: int) -> None:
        """Allocate `count` records."""
        self._write_records_into(create_string_buffer(max(1, count * self.kernel.record.size)))

    def run(self, limit: threads.Limit) -> None:
        """Launch the kernel, on at most `limit` threads."""
        threads.run(lambda threaded: [self.chosen(limit, threaded)], limit)
