"""Table of a kernel over listed rows of one array, rewritten in each step."""

from ctypes import addressof
from functools import partial
from typing import Any, cast

import numpy as np

from ..kernels.commit import Operation
from ..kernels.cpu import threads
from ..kernels.factory import Kernel
from ..kernels.row_pieces import GRAD
from ..kernels.target import HostTarget
from .arrays import address
from .launch_table import SKIPPED
from .row_table import RowTable

CHUNK, TASK = 3, 5  # words
LEAST = 16  # a shorter row takes as long as one of so many elements, because of cache misses


class ListTable(RowTable):
    """The arguments of one kernel over listed rows of one array; see `kernels/row_list.py`.

    The rows of the next launch are set by `RowTable.spread`, each as a run by itself.

    Args:
        kernel, records, unit: as for `RowTable`.
        width: the number of elements of a row.
    """

    def __init__(self, kernel: Kernel, records: int, unit: int, width: int) -> None:
        super().__init__(kernel, records, unit)
        self._width = width

    def chosen(self, limit: threads.Limit, threaded: bool = True) -> Operation:
        """The C function that launches the kernel over all rows, on at most `limit` threads."""
        lists, row = self._lists()
        count = len(lists[0])
        many = threaded and count * max(self._width, LEAST) >= threads.SERIAL_BELOW
        parts = max(1, min(threads.tasks_for(limit), count)) if many else 1
        words = np.empty(len(row) + (CHUNK + TASK) * parts, np.int64)
        words[: len(row)] = row
        self._divide(words[len(row) :], address(words), len(row), count, parts)
        self._kept = [words, self.records, *lists]
        first = address(words) + words.itemsize * (len(row) + CHUNK * parts)
        if parts == 1:
            return partial(self.kernel.run, first)
        target = cast(HostTarget, self.kernel.target)
        return target.parallel(self.kernel.run, first, words.itemsize * TASK, parts)

    def _lists(self) -> tuple[list[Any], list[int]]:
        """The lists of elements, of gradients and, if any, of records; and the table row."""
        records = None
        if self._sorted:
            lists = [*self._sorted[1].elements(self._first)]
        else:
            (starts, _), packed, records, _ = self._given
            if self._first:
                starts = starts + self._first
            lists = [np.ascontiguousarray(each, np.int64) for each in (starts, packed[GRAD])]
        row = [*self.rows[0].tolist(), address(lists[0]), 0]
        row[self._columns[GRAD, 0]] = address(lists[1])
        if records is not None:
            lists.append(np.ascontiguousarray(records, np.int64))
            row[-1] = address(lists[2])
            row[0] = 0 if row[0] != SKIPPED else SKIPPED
        return lists, row

    def _divide(self, words: Any, at: int, length: int, count: int, parts: int) -> None:
        """Write chunks that divide the lists into equal parts, then a task for each chunk.

        Args:
            words: the memory to write to, after the table row.
            at: the address of the table row.
            length: the number of its words.
            count: the length of the lists.
            parts: the number of chunks.
        """
        chunks = words[: CHUNK * parts].reshape(parts, CHUNK)
        tasks = words[CHUNK * parts :].reshape(parts, TASK)
        ends = np.arange(parts + 1)
        tasks[:, :3] = at, at + words.itemsize * length, addressof(self.records)
        tasks[:, 3], tasks[:, 4] = ends[:-1], ends[1:]
        ends *= count
        ends //= parts
        chunks[:, 0], chunks[:, 1], chunks[:, 2] = 0, ends[:-1], ends[1:]
