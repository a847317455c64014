"""The table of a kernel over listed rows of one array, written anew for each step."""

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
LEAST = 16  # elements that take as long as a row of fewer, whose cache lines are far from others


class ListTable(RowTable):
    """The memory of one kernel over listed rows of one array; see `kernels/row_list.py`.

    The rows of the next launch are given as in `RowTable.spread`, each as a run by itself.

    Args:
        kernel, records, unit: as for `RowTable`.
        width: the elements of a row.
    """

    def __init__(self, kernel: Kernel, records: int, unit: int, width: int) -> None:
        super().__init__(kernel, records, unit)
        self._width = width

    def chosen(self, limit: threads.Limit, threaded: bool = True) -> Operation:
        """The C function that launches the kernel over all rows, on at most so many threads."""
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
        """The lists of elements, of gradients and, if there are any, of records; and the row."""
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
        """Write a chunk for each of some equal parts of the lists, then a task for each chunk.

        Args:
            words: where they are written, behind the row.
            at: the address of the row.
            length: the number of its words.
            count: the number of places in the lists.
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
